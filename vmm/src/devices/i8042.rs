//! The keyboard controller, to which nothing is connected.
//!
//! A kernel with SERIO_I8042 probes it for seconds if it does not answer, so it answers all that the
//! probing asks: self test, interface tests, its command byte, its output port. The auxiliary port
//! does not exist. A byte for the keyboard comes back as a transmission time-out, which is what a
//! controller reports when no keyboard is plugged in. Command 0xFE pulses the reset line.

use vmm_sys_util::eventfd::EventFd;

/// The keyboard's interrupt.
pub(crate) const IRQ: u32 = 1;

// Status register.
const OUTPUT_FULL: u8 = 1 << 0;
const SYSTEM: u8 = 1 << 2;
const LAST_WAS_COMMAND: u8 = 1 << 3;
const NOT_LOCKED: u8 = 1 << 4;
const TIME_OUT: u8 = 1 << 6;

// Command byte.
const KEYBOARD_INTERRUPT: u8 = 1 << 0;
const SYSTEM_FLAG: u8 = 1 << 2;
const KEYBOARD_OFF: u8 = 1 << 4;
const AUXILIARY_OFF: u8 = 1 << 5;
const TRANSLATE: u8 = 1 << 6;

/// What a keyboard that does not answer is reported as, together with [`TIME_OUT`].
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0x55;
/// "Clock line stuck low": the auxiliary port's test fails.
const CLOCK_STUCK: u8 = 0x01;
/// Reset line high, A20 open.
const OUTPUT_PORT: u8 = 0x03;
const RESET_LINE: u8 = 1 << 0;

/// What the next byte on the data port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Keyboard,
    Memory(usize),
    OutputPort,
    KeyboardOutput,
    Auxiliary,
}

/// The controller's registers.
#[derive(Debug)]
pub(crate) struct I8042 {
    interrupt: EventFd,
    /// The byte that waits on the data port, and the status bits that come with it.
    output: Option<(u8, u8)>,
    /// Internal memory; the first byte is the command byte.
    memory: [u8; 32],
    next: Next,
    last_was_command: bool,
}

/// The guest pulled the reset line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResetPulled;

impl I8042 {
    /// A controller that raises `interrupt` when a byte from the keyboard waits.
    pub(crate) fn new(interrupt: EventFd) -> I8042 {
        let mut memory = [0; 32];
        memory[0] = KEYBOARD_INTERRUPT | SYSTEM_FLAG | AUXILIARY_OFF | TRANSLATE;
        I8042 { interrupt, output: None, memory, next: Next::Keyboard, last_was_command: false }
    }

    /// Port 0x64.
    pub(crate) fn status(&self) -> u8 {
        let waiting = self.output.map_or(0, |(_, flags)| OUTPUT_FULL | flags);
        let command = if self.last_was_command { LAST_WAS_COMMAND } else { 0 };
        SYSTEM | NOT_LOCKED | command | waiting
    }

    /// Port 0x60.
    pub(crate) fn read_data(&mut self) -> u8 {
        self.output.take().map_or(0, |(byte, _)| byte)
    }

    /// Port 0x64.
    pub(crate) fn command(&mut self, command: u8) -> Option<ResetPulled> {
        self.last_was_command = true;
        self.next = Next::Keyboard;
        match command {
            0x20..=0x3f => {
                let byte = self.memory.get(usize::from(command & 0x1f)).copied().unwrap_or(0);
                self.answer(byte);
            }
            0x60..=0x7f => self.next = Next::Memory(usize::from(command & 0x1f)),
            // The auxiliary port can't be enabled, its test fails, and its loop-back answers as the
            // keyboard would: each of them says that it isn't there.
            0xa9 => self.answer(CLOCK_STUCK),
            0xaa => self.answer(SELF_TEST_PASSED),
            0xab => self.answer(0),
            0xad => self.memory[0] |= KEYBOARD_OFF,
            0xae => self.memory[0] &= !KEYBOARD_OFF,
            0xc0 => self.answer(0),
            0xd0 => self.answer(OUTPUT_PORT),
            0xd1 => self.next = Next::OutputPort,
            0xd2 | 0xd3 => self.next = Next::KeyboardOutput,
            0xd4 => self.next = Next::Auxiliary,
            // Pulses those of the four lowest output lines whose bit is clear.
            0xf0..=0xff if command & RESET_LINE == 0 => return Some(ResetPulled),
            _ => {}
        }
        None
    }

    /// Port 0x60.
    pub(crate) fn write_data(&mut self, value: u8) -> Option<ResetPulled> {
        self.last_was_command = false;
        match std::mem::replace(&mut self.next, Next::Keyboard) {
            Next::Memory(0) => self.memory[0] = value | AUXILIARY_OFF,
            Next::Memory(index) => {
                if let Some(byte) = self.memory.get_mut(index) {
                    *byte = value;
                }
            }
            Next::OutputPort if value & RESET_LINE == 0 => return Some(ResetPulled),
            Next::OutputPort => {}
            Next::KeyboardOutput => {
                self.answer(value);
                self.raise();
            }
            Next::Keyboard | Next::Auxiliary => {
                self.output = Some((RESEND, TIME_OUT));
                self.raise();
            }
        }
        None
    }

    fn answer(&mut self, byte: u8) {
        self.output = Some((byte, 0));
    }

    fn raise(&self) {
        if self.memory[0] & KEYBOARD_INTERRUPT != 0 {
            // A full counter means that the interrupt is pending already.
            let _ = self.interrupt.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> I8042 {
        I8042::new(EventFd::new(libc::EFD_NONBLOCK).unwrap())
    }

    /// Sends a command and reads its answer, if there is one.
    fn ask(controller: &mut I8042, command: u8) -> Option<u8> {
        assert_eq!(controller.command(command), None);
        (controller.status() & OUTPUT_FULL != 0).then(|| controller.read_data())
    }

    #[test]
    fn answers_what_a_kernel_probes() {
        let mut i8042 = controller();
        assert_eq!(i8042.status() & OUTPUT_FULL, 0, "nothing to flush");
        assert_eq!(ask(&mut i8042, 0xaa), Some(0x55));
        assert_eq!(ask(&mut i8042, 0xab), Some(0));
        let command_byte = ask(&mut i8042, 0x20).unwrap();
        assert_eq!(ask(&mut i8042, 0x60), None);
        assert_eq!(i8042.write_data(command_byte | KEYBOARD_OFF), None);
        assert_eq!(ask(&mut i8042, 0x20), Some(command_byte | KEYBOARD_OFF));
    }

    #[test]
    fn auxiliary_port_is_absent_and_stays_off() {
        let mut i8042 = controller();
        i8042.command(0xd3);
        i8042.write_data(0x5a);
        assert_eq!(i8042.status() & (1 << 5), 0, "the loop's answer is not the auxiliary port's");
        assert_eq!(ask(&mut i8042, 0xa9), Some(CLOCK_STUCK));
        i8042.command(0xa8);
        assert_ne!(ask(&mut i8042, 0x20).unwrap() & AUXILIARY_OFF, 0);
    }

    #[test]
    fn keyboard_commands_time_out_with_an_interrupt() {
        let mut i8042 = controller();
        i8042.write_data(0xf2);
        assert_eq!(i8042.status() & (OUTPUT_FULL | TIME_OUT), OUTPUT_FULL | TIME_OUT);
        assert_eq!(i8042.read_data(), RESEND);
        assert_eq!(i8042.interrupt.read().unwrap(), 1);
    }

    #[test]
    fn reset_line_is_pulled_by_pulse_and_by_output_port() {
        let mut i8042 = controller();
        assert_eq!(i8042.command(0xff), None);
        assert_eq!(i8042.command(0xfe), Some(ResetPulled));
        i8042.command(0xd1);
        assert_eq!(i8042.write_data(0xdf), None);
        i8042.command(0xd1);
        assert_eq!(i8042.write_data(0x02), Some(ResetPulled));
    }
}
