//! The kernel's log in a guest's memory, in which the guest may have written anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::KernelSymbols;
use vmm::forensics::{AddressSpace, Paging, PhysicalMemory, pv_spinlocks, read_kernel_log, slide};

/// The most that a log's text may come to: a kernel's largest buffer, several times over.
const MOST: usize = 64 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<16>() else { return };
    // Without paging, or with tables somewhere in what follows.
    let paging = match head[0] & 1 {
        0 => Paging { cr0: 0, cr3: 0, cr4: 0, efer: 0 },
        _ => Paging {
            cr0: 1 << 31,
            cr3: u64::from(head[1]) << 12,
            cr4: u64::from(head[2] & 1) << 12,
            efer: 1 << 10,
        },
    };
    let memory: Vec<u8> = rest.to_vec();
    // Each name at an address within reach, or unknown.
    let mut next = 3;
    let symbols = KernelSymbols::collect(|_| {
        let at = head[3 + next % 13];
        next += 1;
        (at != 0).then_some(u64::from(at) * 8)
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
