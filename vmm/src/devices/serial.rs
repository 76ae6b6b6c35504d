//! The first serial port: a 16550A whose transmitter is always ready.
//!
//! A kernel that prints a byte asks whether the transmitter is ready and then writes to it. KVM can
//! put such writes aside instead of leaving the guest for each (KVM_CAP_COALESCED_PIO); they are made
//! up for before anything else happens at the port, so that the port sees every access in its order,
//! and the question before the next byte brings the last one. That halves what a byte costs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_bindings::{KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_coalesced_mmio_ring};
use kvm_ioctls::{IoEventAddress, VcpuFd, VmFd};
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial as Uart};
use vmm_sys_util::eventfd::EventFd;

use crate::Ending;
use crate::console::Console;

/// Registers, a port each.
pub(crate) const PORTS: u8 = 8;

/// The interrupt that a PC's first serial port raises.
pub(crate) const IRQ: u32 = 4;

/// The register that bytes are transmitted by: the port's first.
const TRANSMIT: u8 = 0;

/// The register that received bytes are read from, the same one.
const RECEIVE: u8 = 0;

/// Bytes that may wait for a guest that does not read: a page of text, pasted.
const MOST_WAITING: usize = 64 << 10;

/// The serial port, its output connected to the console.
#[derive(Debug)]
pub(crate) struct Serial {
    uart: Uart<Interrupt, NoEvents, Console>,
    posted: Option<PostedWrites>,
    /// What was typed and does not fit the receiver's 64 bytes yet.
    waiting: VecDeque<u8>,
}

/// The port's interrupt line.
#[derive(Debug)]
struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Writes to the transmit register that KVM has put aside.
///
/// They are a VM's, whichever of its vCPUs they are read through.
#[derive(Debug)]
pub(crate) struct PostedWrites(VcpuFd);

impl PostedWrites {
    /// Has KVM put aside writes of one byte to `port`.
    pub(crate) fn new(vm: &VmFd, vcpu: &VcpuFd, port: u16) -> Result<Self, kvm_ioctls::Error> {
        // SAFETY: the descriptor is open as long as `vcpu` lives.
        let vcpu = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        let vcpu = vcpu
            .try_clone_to_owned()
            .map_err(|error| kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(0)))?;
        // SAFETY: the descriptor is a vCPU's, and nobody else has this copy of it.
        let mut vcpu = unsafe { vm.create_vcpu_from_rawfd(vcpu.into_raw_fd())? };
        vcpu.map_coalesced_mmio_ring()?;
        vm.register_coalesced_mmio(IoEventAddress::Pio(port.into()), 1)?;
        Ok(PostedWrites(vcpu))
    }

    fn next(&mut self) -> Option<u8> {
        // It can only fail if there is no ring.
        let write = self.0.coalesced_mmio_read().ok().flatten()?;
        write.data.first().copied()
    }
}

/// The same ring, to see from outside of the vCPUs' threads whether there is anything in it.
#[derive(Debug)]
pub(crate) struct PostedRing {
    ring: NonNull<kvm_coalesced_mmio_ring>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and two fields of it are all that is
// accessed, by atomic loads.
unsafe impl Send for PostedRing {}

impl PostedRing {
    /// Maps the ring that belongs to `vcpu`'s VM.
    pub(crate) fn map(vcpu: &VcpuFd) -> io::Result<PostedRing> {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        // SAFETY: a new shared mapping at an address that the kernel picks; the result is checked.
        // The mapping holds its own reference to the vCPU.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<kvm_coalesced_mmio_ring>(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                page.saturating_mul(KVM_COALESCED_MMIO_PAGE_OFFSET.into()),
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let ring = NonNull::new(address.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(PostedRing { ring })
    }

    /// Whether all writes were made up for.
    pub(crate) fn is_empty(&self) -> bool {
        let ring = self.ring.as_ptr();
        // SAFETY: `ring` is mapped as long as `self` lives; the fields are aligned words, which KVM
        // and the vCPUs' threads write as such.
        let (first, last) = unsafe {
            (
                AtomicU32::from_ptr(&raw mut (*ring).first),
                AtomicU32::from_ptr(&raw mut (*ring).last),
            )
        };
        first.load(Ordering::Relaxed) == last.load(Ordering::Relaxed)
    }
}

impl Drop for PostedRing {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and nobody has a pointer into it any more.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), size_of::<kvm_coalesced_mmio_ring>()) };
    }
}

impl Serial {
    /// A port that raises `interrupt` and writes to `console`.
    pub(crate) fn new(interrupt: EventFd, console: Console) -> Serial {
        Serial {
            uart: Uart::new(Interrupt(interrupt), console),
            posted: None,
            waiting: VecDeque::new(),
        }
    }

    /// Takes writes to the transmit register from `posted` from now on.
    pub(crate) fn post(&mut self, posted: PostedWrites) {
        self.posted = Some(posted);
    }

    /// Gives back what [`Serial::post`] got.
    #[cfg(fuzzing)]
    pub(crate) fn unpost(&mut self) -> Option<PostedWrites> {
        self.posted.take()
    }

    /// Reads the register at `offset`.
    pub(crate) fn read(&mut self, offset: u8) -> u8 {
        self.catch_up();
        let value = self.uart.read(offset);
        if offset == RECEIVE {
            self.feed();
        }
        value
    }

    /// Has the guest receive `bytes`. Of more than wait already and 64 KiB the rest is lost, as on a
    /// line without flow control.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let room = MOST_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(bytes.iter().take(room));
        self.feed();
    }

    /// Fills the receiver as far as it has room. It has none in loopback mode.
    fn feed(&mut self) {
        let room = self.uart.fifo_capacity().min(self.waiting.len());
        if room == 0 {
            return;
        }
        let next: Vec<u8> = self.waiting.iter().take(room).copied().collect();
        // A failure is that of the interrupt: the line's counter is full, so it is raised already,
        // and the bytes were taken.
        let taken = self.uart.enqueue_raw_bytes(&next).unwrap_or(room);
        self.waiting.drain(..taken);
    }

    /// Writes the register at `offset`.
    pub(crate) fn write(&mut self, offset: u8, value: u8) {
        self.catch_up();
        self.put(offset, value);
    }

    /// Makes up for the writes that were put aside.
    pub(crate) fn catch_up(&mut self) {
        while let Some(value) = self.posted.as_mut().and_then(PostedWrites::next) {
            self.put(TRANSMIT, value);
        }
    }

    /// The end of the machine, if the last accesses brought it.
    pub(crate) fn take_ending(&mut self) -> Option<Ending> {
        self.uart.writer_mut().take_ending()
    }

    /// What the port writes to.
    pub(crate) fn console(&mut self) -> &mut Console {
        self.uart.writer_mut()
    }

    fn put(&mut self, offset: u8, value: u8) {
        // The console takes every byte; an interrupt line whose counter is full is raised already.
        let _ = self.uart.write(offset, value);
    }
}
