//! What the fuzz targets reach into: there only where they are built (`--cfg fuzzing`).

use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kvm_bindings::{KVM_COALESCED_MMIO_PAGE_OFFSET, kvm_coalesced_mmio, kvm_coalesced_mmio_ring};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::agent::Agent;
use crate::console::Console;
use crate::devices::agent_port::AgentPort;
use crate::devices::bus::{self, Bus};
use crate::devices::i8042::I8042;
use crate::devices::serial::{PostedWrites, Serial};
use crate::kernel::{Kernel, decompressed_size};
use crate::memory::Ram;
use crate::queue::Queue;
use crate::sync::lock;
use crate::{BootMode, Ending};

/// Guest memory that images are loaded into.
const MEMORY: usize = 64 << 20;

/// Bytes that the console takes.
const CONSOLE_LIMIT: u64 = 1 << 20;

/// Reads an image and, if it is one, loads it in every way.
pub fn load(image: Vec<u8>) {
    static MEMORY_OF_ALL: OnceLock<Option<Ram>> = OnceLock::new();
    let ram = MEMORY_OF_ALL.get_or_init(|| Ram::new(MEMORY).ok());
    let Some(memory): Option<&GuestMemoryMmap> = ram.as_ref().map(Ram::guest) else { return };
    let Ok(kernel) = Kernel::from_bytes(image) else { return };
    let _ = (kernel.version(), kernel.compression(), kernel.reads_mp_table());
    for boot in [BootMode::Direct, BootMode::Native] {
        if let Ok(loaded) = kernel.load(memory, boot) {
            assert!(loaded.end <= MEMORY as u64, "it ends at {:#x}", loaded.end);
        }
    }
}

/// Decompresses a payload; gives the size of what is to be loaded of it.
pub fn decompress(payload: &[u8], init_size: u64) -> Option<u64> {
    decompressed_size(payload, init_size)
}

thread_local! {
    /// What KVM puts aside, of the one machine that all inputs share. None where there is no KVM.
    static POSTED: RefCell<Option<Posted>> = RefCell::new(Posted::new());
}

/// The ring of writes that KVM puts aside, seen from KVM's side.
struct Posted {
    ring: NonNull<kvm_coalesced_mmio_ring>,
    /// None while a serial port has them.
    writes: Option<PostedWrites>,
    _vcpu: VcpuFd,
    _vm: VmFd,
}

/// How many writes fit the ring's page.
const RING_ENTRIES: u32 =
    ((PAGE_BYTES - size_of::<kvm_coalesced_mmio_ring>()) / size_of::<kvm_coalesced_mmio>()) as u32;
const PAGE_BYTES: usize = 4096;

impl Posted {
    fn new() -> Option<Posted> {
        let vm = Kvm::new().ok()?.create_vm().ok()?;
        let vcpu = vm.create_vcpu(0).ok()?;
        let writes = PostedWrites::new(&vm, &vcpu, bus::SERIAL).ok()?;
        let offset = PAGE_BYTES * KVM_COALESCED_MMIO_PAGE_OFFSET as usize;
        // SAFETY: a new shared mapping of one page at an address that the kernel picks; the result is
        // checked. It is never unmapped.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                offset.try_into().ok()?,
            )
        };
        let ring = NonNull::new(address.cast()).filter(|_| address != libc::MAP_FAILED)?;
        Some(Posted { ring, writes: Some(writes), _vcpu: vcpu, _vm: vm })
    }

    /// Adds a write, as KVM does. False if there is no room, and the guest exits for it.
    fn push(&mut self, value: u8) -> bool {
        let ring = self.ring.as_ptr();
        // SAFETY: the page is mapped for good, the vCPU never runs, and whoever reads it does so on
        // this thread.
        unsafe {
            let (first, last) = ((*ring).first, (*ring).last);
            let next = (last + 1) % RING_ENTRIES;
            if next == first {
                return false;
            }
            let entries = (&raw mut (*ring).coalesced_mmio).cast::<kvm_coalesced_mmio>();
            let mut write =
                kvm_coalesced_mmio { phys_addr: bus::SERIAL.into(), len: 1, ..Default::default() };
            write.data[0] = value;
            entries.add(last as usize).write(write);
            (*ring).last = next;
        }
        true
    }
}

/// The devices behind I/O ports.
#[derive(Debug)]
pub struct Ports {
    bus: Bus,
    ending: Option<Ending>,
}

impl Ports {
    /// Devices whose events nobody listens to.
    #[expect(clippy::new_without_default, clippy::expect_used, reason = "for fuzz targets alone")]
    pub fn new() -> Ports {
        let queue = Arc::new(Queue::new());
        queue.release();
        let agent = Arc::new(Agent::new("nonce".into(), queue.clone(), Instant::now()));
        let console = Console::new(queue, agent.clone(), Instant::now(), CONSOLE_LIMIT);
        let interrupt = || EventFd::new(libc::EFD_NONBLOCK).expect("an event");
        let bus = Bus::new(
            Serial::new(interrupt(), console),
            I8042::new(interrupt()),
            AgentPort::new(agent),
        );
        let posted = |posted: &mut Option<Posted>| posted.as_mut()?.writes.take();
        if let Some(writes) = POSTED.with_borrow_mut(posted) {
            lock(bus.serial()).post(writes);
        }
        Ports { bus, ending: None }
    }

    /// One read of the guest's.
    pub fn read(&mut self, port: u16, data: &mut [u8]) {
        let ending = self.bus.read(port, data);
        self.ending = self.ending.take().or(ending);
    }

    /// One write of the guest's.
    pub fn write(&mut self, port: u16, data: &[u8]) {
        let ending = self.bus.write(port, data);
        self.ending = self.ending.take().or(ending);
    }

    /// A byte for the serial port that KVM puts aside, if there is a KVM and room.
    pub fn post(&mut self, value: u8) {
        let put_aside =
            |posted: &mut Option<Posted>| posted.as_mut().is_some_and(|it| it.push(value));
        if !POSTED.with_borrow_mut(put_aside) {
            self.write(bus::SERIAL, &[value]);
        }
    }

    /// The vCPU was kicked.
    pub fn kick(&mut self) {
        let ending = self.bus.catch_up_if_free();
        self.ending = self.ending.take().or(ending);
    }

    /// Something is typed.
    pub fn receive(&mut self, bytes: &[u8]) {
        lock(self.bus.serial()).receive(bytes);
    }

    /// The machine has ended: what was put aside is made up for, and the console's last line comes.
    pub fn finish(self) {
        let mut serial = lock(self.bus.serial());
        serial.catch_up();
        serial.console().finish();
        let writes = serial.unpost();
        POSTED.with_borrow_mut(|posted| {
            if let Some(posted) = posted {
                posted.writes = writes;
            }
        });
    }
}
