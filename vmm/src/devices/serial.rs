//! The first serial port: a 16550A whose transmitter is always ready.

use std::io;

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial as Uart};
use vmm_sys_util::eventfd::EventFd;

use crate::Ending;
use crate::console::Console;

/// The serial port, its output connected to the console.
#[derive(Debug)]
pub(crate) struct Serial {
    uart: Uart<Interrupt, NoEvents, Console>,
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

impl Serial {
    /// A port that raises `interrupt` and writes to `console`.
    pub(crate) fn new(interrupt: EventFd, console: Console) -> Serial {
        Serial { uart: Uart::new(Interrupt(interrupt), console) }
    }

    /// Reads the register at `offset`.
    pub(crate) fn read(&mut self, offset: u8) -> u8 {
        self.uart.read(offset)
    }

    /// Writes the register at `offset`.
    pub(crate) fn write(&mut self, offset: u8, value: u8) -> Option<Ending> {
        // The console takes every byte; an interrupt line whose counter is full is raised already.
        let _ = self.uart.write(offset, value);
        self.uart.writer_mut().take_ending()
    }

    /// What the port writes to.
    pub(crate) fn console(&mut self) -> &mut Console {
        self.uart.writer_mut()
    }
}
