//! What the fuzz targets reach into: there only where they are built (`--cfg fuzzing`).

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::agent::Agent;
use crate::console::Console;
use crate::devices::agent_port::AgentPort;
use crate::devices::bus::Bus;
use crate::devices::i8042::I8042;
use crate::devices::serial::Serial;
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

    /// Something is typed.
    pub fn receive(&mut self, bytes: &[u8]) {
        lock(self.bus.serial()).receive(bytes);
    }

    /// The machine has ended: the console's last line comes.
    pub fn finish(self) {
        lock(self.bus.serial()).console().finish();
    }
}
