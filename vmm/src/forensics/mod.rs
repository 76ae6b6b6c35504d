//! What became of a guest, read from outside: its vCPUs' registers, its memory, its log.
//!
//! ```text
//! vcpu_state   what each vCPU was doing
//! hang         what a row of looks at all vCPUs says about the machine
//! memory       physical memory, and a vCPU's view of it
//! paging       page tables, of 64-bit and of 32-bit kernels
//! unwind       registers and a stack to a backtrace
//! printk       the kernel's own log
//! pv_lock      whether its spinlocks are paravirtual
//! symbols      where things lie in this kernel
//! ```
//!
//! Guests are hostile: whatever is read from one may have been written to harm the reader.

#[cfg(test)]
#[path = "../../tests/support/memory.rs"]
mod fake;
mod hang;
mod memory;
mod paging;
mod printk;
mod pv_lock;
mod symbols;
mod unwind;
mod vcpu_state;

pub use memory::{AddressSpace, PhysicalMemory};
pub use paging::Paging;
pub use printk::{KernelLog, LogError, LogRecord, LogSource, read as read_kernel_log};
pub use pv_lock::pv_spinlocks;
pub use symbols::KernelSymbols;
pub use unwind::{Code, Frame, FrameSource, backtrace};
pub use vcpu_state::{MpState, Registers, VcpuState};

pub(crate) use hang::{Activity, Glimpse, Window, certain_hang};

/// What every kernel begins its `linux_banner` with.
const BANNER: &[u8; 14] = b"Linux version ";

/// The granularity by which kernels are moved (CONFIG_PHYSICAL_ALIGN is a multiple of it).
const SLIDE_STEP: u64 = 2 << 20;

/// By how many bytes the kernel was moved in virtual addresses from where its `linux_banner` was
/// linked (KASLR). None if it is nowhere: that was another kernel's banner.
pub fn slide(space: &AddressSpace<'_>, banner: u64) -> Option<u64> {
    let image = space.image();
    let is_there = |slide: &u64| {
        let address = banner.checked_add(*slide).filter(|address| *address < image.end);
        address.and_then(|address| space.array(address)).is_some_and(|bytes| bytes == *BANNER)
    };
    let slides = (0..image.end - image.start).step_by(SLIDE_STEP as usize);
    slides.into_iter().find(is_there)
}

/// What was read from a machine at rest.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) log: Result<KernelLog, LogError>,
    pub(crate) pv_spinlocks: Option<bool>,
    /// Whether the symbols are this kernel's, as far as that can be told. If not they were not used.
    pub(crate) symbols_fit: Option<bool>,
}

/// Reads a machine at rest, and gives each vCPU its backtrace.
pub(crate) fn examine(
    memory: &dyn PhysicalMemory,
    symbols: &KernelSymbols,
    vcpus: &mut [VcpuState],
) -> Findings {
    // The kernel's part is the same for all of them, but for those that have not got to it yet.
    let of = |vcpu: &VcpuState| vcpu.registers.paging();
    let Some(paging) = vcpus.iter().map(of).find(Paging::is_on).or(vcpus.first().map(of)) else {
        let log = Err(LogError::NotFound);
        return Findings { log, pv_spinlocks: None, symbols_fit: None };
    };
    let space = AddressSpace::new(memory, paging);
    let found = symbols.get("linux_banner").map(|banner| slide(&space, banner));
    let none = KernelSymbols::default();
    let (symbols, slide) = match found {
        Some(Some(slide)) => (symbols, slide),
        Some(None) => (&none, 0),
        None => (symbols, 0),
    };
    let code = Code::new(&space, symbols, slide);
    for vcpu in vcpus.iter_mut().filter(|vcpu| vcpu.mp_state != MpState::NotStarted) {
        let own = AddressSpace::new(memory, vcpu.registers.paging());
        vcpu.backtrace = backtrace(&own, &code, &vcpu.registers);
    }
    Findings {
        log: read_kernel_log(&space, symbols, slide),
        pv_spinlocks: pv_spinlocks(&space, symbols, slide),
        symbols_fit: found.map(|slide| slide.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Kind;
    use super::*;

    /// A vCPU of a kernel of this kind.
    fn vcpu(kind: Kind, rip: u64) -> VcpuState {
        let paging = kind.paging();
        let registers = Registers {
            rip: kind.base() + rip,
            rsp: kind.base() + 0xfff0,
            cs: 0x60,
            cr0: paging.cr0,
            cr3: paging.cr3,
            cr4: paging.cr4,
            efer: paging.efer,
            ..Registers::default()
        };
        VcpuState { registers, ..VcpuState::default() }
    }

    fn first_frames(vcpus: &[VcpuState]) -> Vec<Option<u64>> {
        vcpus.iter().map(|vcpu| vcpu.backtrace.first().map(|frame| frame.address)).collect()
    }

    #[test]
    fn a_kernel_of_any_kind_is_examined_wherever_it_was_moved_to() {
        for kind in Kind::ALL {
            let mut memory = kind.memory(0x10000);
            // It was linked to below where it is.
            let linked = kind.base() - (2 << 20);
            memory[0x9000..0x900e].copy_from_slice(BANNER);
            let function = kind.pointer(kind.base() + 0x200);
            memory[0xa000..][..function.len()].copy_from_slice(&function);
            let symbols = KernelSymbols::collect(|name| match name {
                "linux_banner" => Some(linked + 0x9000),
                "native_queued_spin_lock_slowpath" => Some(linked + 0x100),
                "__pv_queued_spin_lock_slowpath" => Some(linked + 0x200),
                "pv_ops" => Some(linked + 0xa000),
                _ => None,
            });
            let not_started = VcpuState { mp_state: MpState::NotStarted, ..VcpuState::default() };
            let mut vcpus = [not_started, vcpu(kind, 0x5000)];
            let found = examine(&memory, &symbols, &mut vcpus);
            assert_eq!(
                (found.symbols_fit, found.pv_spinlocks),
                (Some(true), Some(true)),
                "{kind:?}"
            );
            assert_eq!(first_frames(&vcpus), [None, Some(linked + 0x5000)], "{kind:?}");
            // Without the symbols, or with those of another kernel, they are where they are.
            memory[0x9000] = b'M';
            let found = examine(&memory, &symbols, &mut vcpus);
            assert_eq!((found.symbols_fit, found.pv_spinlocks), (Some(false), None), "{kind:?}");
            assert_eq!(first_frames(&vcpus), [None, Some(kind.base() + 0x5000)], "{kind:?}");
        }
    }

    #[test]
    fn whatever_became_of_the_page_tables_each_vcpu_has_its_first_frame() {
        let memory = vec![0; 0x10000];
        for kind in Kind::ALL {
            let mut vcpus = [VcpuState::default(), vcpu(kind, 0x5000)];
            let found = examine(&memory, &KernelSymbols::default(), &mut vcpus);
            assert_eq!(first_frames(&vcpus), [Some(0), Some(kind.base() + 0x5000)], "{kind:?}");
            assert_eq!(found.symbols_fit, None);
        }
    }
}
