//! What became of a guest, read from outside: its vCPUs' registers, its memory, its log.
//!
//! ```text
//! vcpu_state   what each vCPU was doing
//! hang         what a row of looks at all vCPUs says about the machine
//! memory       physical memory, and what page tables make of it
//! unwind       registers and a stack to a backtrace
//! printk       the kernel's own log
//! pv_lock      whether its spinlocks are paravirtual
//! symbols      where things lie in this kernel
//! ```
//!
//! Guests are hostile: whatever is read from one may have been written to harm the reader.

mod hang;
mod memory;
mod printk;
mod pv_lock;
mod symbols;
mod unwind;
mod vcpu_state;

pub use memory::{AddressSpace, Paging, PhysicalMemory};
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
    let is_there = |slide: &u64| {
        let address = banner.checked_add(*slide).filter(|address| *address < memory::IMAGE_END);
        address.and_then(|address| space.array(address)).is_some_and(|bytes| bytes == *BANNER)
    };
    let slides = (0..memory::IMAGE_END - memory::IMAGE_START).step_by(SLIDE_STEP as usize);
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
    // The kernel's part is the same for all of them.
    let Some(paging) = vcpus
        .iter()
        .filter(|vcpu| vcpu.mp_state != MpState::NotStarted)
        .map(|vcpu| vcpu.registers.paging())
        .find(|paging| AddressSpace::new(memory, *paging).is_readable())
    else {
        let log = Err(LogError::PageTables);
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
