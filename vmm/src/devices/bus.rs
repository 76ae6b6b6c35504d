//! I/O ports: which device answers where.
//!
//! | port | device |
//! | --- | --- |
//! | 0x60, 0x64 | keyboard controller |
//! | 0x70, 0x71 | real-time clock and CMOS memory |
//! | 0x3f8–0x3ff | serial port |
//! | 0x7b0 | agent port |
//! | 0xcf9 | reset control |
//!
//! The interrupt controllers and the timer (0x20, 0x40–0x43, 0x61, 0xa0, 0x4d0) are KVM's and never
//! come here. Nobody else answers: reads give 0xff, as on a bus with nothing on it, and writes are
//! lost. That is also how a kernel sees that there is no PCI.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, TryLockError};

use guest_init::protocol::{AGENT_PORT, AGENT_PORT_MAGIC};

use super::agent_port::AgentPort;
use super::cmos::Cmos;
use super::i8042::I8042;
use super::serial::{self, Serial};
use crate::Ending;
use crate::sync::lock;

const KEYBOARD_DATA: u16 = 0x60;
const KEYBOARD_COMMAND: u16 = 0x64;
const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
pub(crate) const SERIAL: u16 = 0x3f8;
const SERIAL_END: u16 = SERIAL + serial::PORTS as u16 - 1;
pub(crate) const RESET_CONTROL: u16 = 0xcf9;
const RESET_CPU: u8 = 1 << 2;

/// Every device of a machine. The vCPUs share it; each device has a lock of its own.
#[derive(Debug)]
pub(crate) struct Bus {
    serial: Mutex<Serial>,
    i8042: Mutex<I8042>,
    cmos: Mutex<Cmos>,
    agent_port: Mutex<AgentPort>,
    reset_control: AtomicU8,
}

impl Bus {
    pub(crate) fn new(serial: Serial, i8042: I8042, agent_port: AgentPort) -> Bus {
        Bus {
            serial: Mutex::new(serial),
            i8042: Mutex::new(i8042),
            cmos: Mutex::new(Cmos::new()),
            agent_port: Mutex::new(agent_port),
            reset_control: AtomicU8::new(0),
        }
    }

    /// Reads. What comes back is the end of the machine, which a read can bring where it is the first
    /// that is seen of writes that KVM has put aside.
    ///
    /// One access of 1, 2 or 4 bytes. Every device here is eight bits wide, so a wider access is one
    /// to each of the ports that it covers, as on the ISA bus.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) -> Option<Ending> {
        // What nearly every exit of a boot is: may the next byte be sent to the serial port?
        if let [byte] = data {
            return self.read_byte(port, byte);
        }
        let ports = port..=u16::MAX;
        data.iter_mut().zip(ports).fold(None, |ending, (byte, port)| {
            let other = self.read_byte(port, byte);
            ending.or(other)
        })
    }

    #[inline]
    fn read_byte(&self, port: u16, byte: &mut u8) -> Option<Ending> {
        if (SERIAL..=SERIAL_END).contains(&port) {
            let mut serial = lock(&self.serial);
            *byte = serial.read((port - SERIAL) as u8);
            return serial.take_ending();
        }
        *byte = self.read_port(port);
        None
    }

    /// See [`Bus::read`]. What comes back is the end of the machine.
    pub(crate) fn write(&self, port: u16, data: &[u8]) -> Option<Ending> {
        let narrow = data.len() == 1;
        for (value, port) in data.iter().zip(port..=u16::MAX) {
            // The address register of PCI covers the same port when it is written as a whole.
            if port == RESET_CONTROL && !narrow {
                continue;
            }
            if let Some(ending) = self.write_port(port, *value) {
                return Some(ending);
            }
        }
        None
    }

    /// Takes what the guest has sent to the serial port and nobody has looked at yet.
    pub(crate) fn catch_up(&self) -> Option<Ending> {
        let mut serial = lock(&self.serial);
        serial.catch_up();
        serial.take_ending()
    }

    /// Like [`Bus::catch_up`], but leaves it to whoever is at the serial port: he may wait there for a
    /// slow listener, and to be kicked must not mean to wait with him.
    pub(crate) fn catch_up_if_free(&self) -> Option<Ending> {
        let mut serial = match self.serial.try_lock() {
            Ok(serial) => serial,
            Err(TryLockError::Poisoned(serial)) => serial.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        serial.catch_up();
        serial.take_ending()
    }

    /// The serial port, for what is done to it from outside of the guest.
    pub(crate) fn serial(&self) -> &Mutex<Serial> {
        &self.serial
    }

    /// Apart, so that it costs nothing where the serial port is read.
    #[inline(never)]
    fn read_port(&self, port: u16) -> u8 {
        match port {
            KEYBOARD_DATA => lock(&self.i8042).read_data(),
            KEYBOARD_COMMAND => lock(&self.i8042).status(),
            CMOS_DATA => lock(&self.cmos).read(),
            AGENT_PORT => AGENT_PORT_MAGIC,
            RESET_CONTROL => self.reset_control.load(Ordering::Relaxed),
            _ => 0xff,
        }
    }

    fn write_port(&self, port: u16, value: u8) -> Option<Ending> {
        match port {
            KEYBOARD_DATA => lock(&self.i8042).write_data(value).map(|_| Ending::Reset),
            KEYBOARD_COMMAND => lock(&self.i8042).command(value).map(|_| Ending::Reset),
            CMOS_INDEX => {
                lock(&self.cmos).select(value);
                None
            }
            CMOS_DATA => {
                lock(&self.cmos).write(value);
                None
            }
            SERIAL..=SERIAL_END => {
                let mut serial = lock(&self.serial);
                serial.write((port - SERIAL) as u8, value);
                serial.take_ending()
            }
            AGENT_PORT => {
                // What a report follows on the console comes before it.
                let before = if value == b'\n' { self.catch_up() } else { None };
                before.or_else(|| lock(&self.agent_port).write(value))
            }
            RESET_CONTROL => {
                self.reset_control.store(value & !RESET_CPU, Ordering::Relaxed);
                (value & RESET_CPU != 0).then_some(Ending::Reset)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use proptest::prelude::*;
    use vmm_sys_util::eventfd::EventFd;

    use super::*;
    use crate::agent::Agent;
    use crate::console::Console;
    use crate::queue::Queue;

    fn bus() -> (Bus, Arc<Queue>) {
        let queue = Arc::new(Queue::new());
        // Nobody reads the events here; a full queue must not block the test.
        queue.release();
        let start = Instant::now();
        let agent = Arc::new(Agent::new("nonce".into(), queue.clone(), start));
        let console = Console::new(queue.clone(), agent.clone(), start, 1 << 16);
        let interrupt = || EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let bus = Bus::new(
            Serial::new(interrupt(), console),
            I8042::new(interrupt()),
            AgentPort::new(agent),
        );
        (bus, queue)
    }

    fn read(bus: &Bus, port: u16) -> u8 {
        let mut data = [0];
        bus.read(port, &mut data);
        data[0]
    }

    #[test]
    fn unclaimed_ports_float() {
        let (bus, _queue) = bus();
        let mut data = [0; 4];
        bus.read(0xcf8, &mut data);
        assert_eq!(data, [0xff, 0, 0xff, 0xff]);
        bus.read(0xfffe, &mut data);
        assert_eq!(data[..2], [0xff, 0xff]);
        assert_eq!(bus.write(0x80, &[1]), None);
        assert_eq!(bus.write(0xffff, &[1, 2, 3, 4]), None);
    }

    #[test]
    fn reset_control_resets_by_byte_alone() {
        let (bus, _queue) = bus();
        assert_eq!(bus.write(0xcf8, &0x8000_0400u32.to_le_bytes()), None);
        assert_eq!(bus.write(0xcf9, &[0x02]), None);
        assert_eq!(read(&bus, 0xcf9), 0x02);
        assert_eq!(bus.write(0xcf9, &[0x06]), Some(Ending::Reset));
    }

    #[test]
    fn report_on_the_agent_port_ends_the_machine() {
        let (bus, _queue) = bus();
        let send = |line: &str| line.bytes().find_map(|byte| bus.write(AGENT_PORT, &[byte]));
        assert_eq!(send("vmbisect-agent: other exit 0\n"), None);
        assert_eq!(send(&format!("{}\n", "x".repeat(1 << 20))), None);
        assert_eq!(send("vmbisect-agent: nonce exit 3\n"), Some(Ending::Exit { status: 3 }));
    }

    proptest! {
        #[test]
        fn no_access_panics(
            accesses in prop::collection::vec(
                (
                    prop_oneof![
                        0x60u16..0x72, 0x3f0u16..0x400, 0x7aeu16..0x7b2, 0xcf8u16..0xcfc, any::<u16>()
                    ],
                    prop::collection::vec(any::<u8>(), 1..5),
                    0..3,
                ),
                0..400,
            )
        ) {
            let (bus, _queue) = bus();
            for (port, mut data, what) in accesses {
                match what {
                    0 => bus.read(port, &mut data),
                    1 => bus.write(port, &data),
                    _ => {
                        lock(bus.serial()).receive(&data);
                        None
                    }
                };
            }
        }

        /// However it is cut and whenever the guest reads, nothing is lost or changes places.
        #[test]
        fn what_is_typed_is_received_in_order(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), 0_usize..100), 0..20)
        ) {
            const LINE_STATUS: u16 = SERIAL + 5;
            let (bus, _queue) = bus();
            let received = |most: usize| -> Vec<u8> {
                let ready = |_: &usize| read(&bus, LINE_STATUS) & 1 != 0;
                (0..most).take_while(ready).map(|_| read(&bus, SERIAL)).collect()
            };
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for (part, reads) in parts {
                lock(bus.serial()).receive(&part);
                sent.extend(part);
                got.extend(received(reads));
            }
            got.extend(received(usize::MAX));
            prop_assert_eq!(got, sent);
        }
    }
}
