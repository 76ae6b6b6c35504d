//! The kernel's log in a guest's memory, in which the guest may have written anything.
//!
//! | bytes of the input | what they say |
//! | --- | --- |
//! | 0 | paging: bits 0 and 1: none, long mode, PAE, 32-bit; bit 2: five levels, or pages of 4 MiB |
//! | 1 | page of the top-level table |
//! | 2 | 64 KiB of memory at most, beyond what the input has |
//! | 3 to 15 | addresses of the symbols: in units of 256 bytes from where the kernel is mapped; 0: unknown |
//! | from 16 on | memory |

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::KernelSymbols;
use vmm::forensics::{AddressSpace, Paging, PhysicalMemory, pv_spinlocks, read_kernel_log, slide};

/// The most that a log's text may come to: a kernel's largest buffer, several times over.
const MOST: usize = 64 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<16>() else { return };
    let cr3 = u64::from(head[1]) << 12;
    let option = head[0] & 4 != 0;
    let (base, paging) = match head[0] & 3 {
        0 => (0, Paging { cr0: 0, cr3: 0, cr4: 0, efer: 0 }),
        1 => {
            let cr4 = 1 << 5 | u64::from(option) << 12;
            (0xffff_ffff_8000_0000, Paging { cr0: 1 << 31, cr3, cr4, efer: 1 << 10 })
        }
        2 => (0xc000_0000, Paging { cr0: 1 << 31, cr3, cr4: 1 << 5, efer: 0 }),
        _ => (0xc000_0000, Paging { cr0: 1 << 31, cr3, cr4: u64::from(option) << 4, efer: 0 }),
    };
    let mut memory: Vec<u8> = rest.to_vec();
    memory.resize(memory.len().max(usize::from(head[2]) << 8), 0);
    // Each name at an address within reach, or unknown.
    let mut next = 0;
    let symbols = KernelSymbols::collect(|_| {
        let at = head[3 + next % 13];
        next += 1;
        (at != 0).then_some(base + (u64::from(at) << 8))
    });
    for symbols in [symbols, KernelSymbols::default()] {
        let memory: &dyn PhysicalMemory = &memory;
        let space = AddressSpace::new(memory, paging);
        let banner = symbols.get("linux_banner").unwrap_or_default();
        let moved = slide(&space, banner).unwrap_or_default();
        let _ = pv_spinlocks(&space, &symbols, moved);
        if let Ok(log) = read_kernel_log(&space, &symbols, moved) {
            let text: usize =
                log.records.iter().flat_map(|record| record.lines()).map(|l| l.len()).sum();
            assert!(text <= MOST, "{text} bytes of log");
        }
    }
});
