//! A stack, page tables and unwind tables that lie.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::KernelSymbols;
use vmm::forensics::{AddressSpace, Code, PhysicalMemory, Registers, backtrace, slide};

/// The most frames that a backtrace may have.
const MOST: usize = 4096;

/// Where a kernel's image is mapped.
const IMAGE: u64 = 0xffff_ffff_8000_0000;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<32>() else { return };
    let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let paged = head[0] & 1 != 0;
    let base = if paged { IMAGE } else { 0 };
    let registers = Registers {
        rip: base + word(2),
        rsp: base + word(4),
        rbp: base + word(6),
        rflags: 0x202,
        cs: 0x10,
        cr0: if paged { 1 << 31 } else { 0 },
        cr3: word(8) << 12 & 0xf000,
        cr4: u64::from(head[1] & 1) << 12,
        efer: if paged { 1 << 10 } else { 0 },
        ..Registers::default()
    };
    let memory: Vec<u8> = rest.to_vec();
    let memory: &dyn PhysicalMemory = &memory;
    let mut at = 10;
    let symbols = KernelSymbols::collect(|_| {
        let address = word(at);
        at = if at + 2 < 30 { at + 2 } else { 10 };
        (address != 0).then_some(base + address)
    });
    let space = AddressSpace::new(memory, registers.paging());
    let banner = symbols.get("linux_banner").unwrap_or_default();
    let code = Code::new(&space, &symbols, slide(&space, banner).unwrap_or_default());
    let frames = backtrace(&space, &code, &registers);
    assert!(frames.len() <= MOST, "{} frames", frames.len());
});
