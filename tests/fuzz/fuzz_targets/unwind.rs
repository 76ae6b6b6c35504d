//! A stack, page tables and unwind tables that lie.
//!
//! | bytes of the input | what they say |
//! | --- | --- |
//! | 0 | paging: bits 0 and 1: none, long mode, PAE, 32-bit; bit 2: five levels, or pages of 4 MiB |
//! | 1 | page of the top-level table |
//! | 2, 4, 6 | rip, rsp and rbp: 16 bits, from where the kernel is mapped |
//! | 8 to 31 | addresses of the symbols that tell of code and its tables: 16 bits; 0: unknown |
//! | from 32 on | memory |

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::KernelSymbols;
use vmm::forensics::{AddressSpace, Code, PhysicalMemory, Registers, backtrace, slide};

/// The most frames that a backtrace may have.
const MOST: usize = 4096;

/// The symbols that the unwinder wants, in the order of the input.
const NAMES: [&str; 9] = [
    "_stext",
    "_etext",
    "__start_orc_unwind_ip",
    "__stop_orc_unwind_ip",
    "__start_orc_unwind",
    "__stop_orc_unwind",
    "linux_banner",
    "_sinittext",
    "_einittext",
];

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<32>() else { return };
    let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let option = u64::from(head[0] >> 2 & 1);
    let (base, cr0, cr4, efer) = match head[0] & 3 {
        0 => (0, 0, 0, 0),
        1 => (0xffff_ffff_8000_0000, 1 << 31, 1 << 5 | option << 12, 1 << 10),
        2 => (0xc000_0000, 1 << 31, 1 << 5, 0),
        _ => (0xc000_0000, 1 << 31, option << 4, 0),
    };
    let registers = Registers {
        rip: base + word(2),
        rsp: base + word(4),
        rbp: base + word(6),
        rflags: 0x202,
        cs: 0x10,
        cr0,
        cr3: u64::from(head[1]) << 12,
        cr4,
        efer,
        ..Registers::default()
    };
    let memory: Vec<u8> = rest.to_vec();
    let memory: &dyn PhysicalMemory = &memory;
    let symbols = KernelSymbols::collect(|name| {
        let place = NAMES.iter().position(|known| *known == name)?;
        let address = word(8 + 2 * place);
        (address != 0).then_some(base + address)
    });
    let space = AddressSpace::new(memory, registers.paging());
    let banner = symbols.get("linux_banner").unwrap_or_default();
    let code = Code::new(&space, &symbols, slide(&space, banner).unwrap_or_default());
    let frames = backtrace(&space, &code, &registers);
    assert!(frames.len() <= MOST, "{} frames", frames.len());
});
