//! A report on its way out: the words, and a line of bounded length to put them in.

use core::fmt::{self, Write};

/// First of the agent port's I/O ports. One byte written is one byte of a line.
pub const AGENT_PORT: u16 = 0x7b0;

/// What one byte read from [`AGENT_PORT`] gives where something listens.
///
/// A write to a port that nobody claims goes nowhere and says nothing, and a read of it gives
/// 0xFF. PID 1 reads the port before it trusts its reports to it.
pub const AGENT_PORT_MAGIC: u8 = 0x76;

/// What every report begins with.
pub const PREFIX: &str = "vmbisect-agent: ";

/// Name of the kernel command line parameter that carries the nonce.
pub const NONCE_PARAMETER: &str = "vmbisect.nonce";

/// Name of the kernel command line parameter that gives the workload the serial port for its
/// controlling terminal and its standard input. Its value, which may be missing, is how large the
/// terminal is: `ROWSxCOLUMNS`.
pub const TERMINAL_PARAMETER: &str = "vmbisect.terminal";

/// Most bytes of a report, without the end of the line. Longer ones are cut.
pub const MAX_LINE: usize = 512;

/// Keys of the facts that PID 1 reports.
pub mod fact {
    /// Number of CPUs online.
    pub const CPUS: &str = "cpus";
    /// Release of the running kernel, as `uname -r` shows it.
    pub const RELEASE: &str = "release";
    /// `enabled` or `disabled`: what the kernel logged about KVM's paravirt spinlocks. Not
    /// reported where it logged nothing.
    pub const PV_SPINLOCKS: &str = "pv-spinlocks";
}

/// What PID 1 says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    /// PID 1 runs and has mounted what a workload needs.
    Init,
    /// Something about the guest that the console may not show.
    Fact(&'a str, fmt::Arguments<'a>),
    /// The workload is started next.
    Start,
    /// The workload ended with this status.
    Exit(u8),
    /// PID 1 could not do its work.
    Fail(fmt::Arguments<'a>),
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Init => f.write_str("init"),
            Message::Fact(key, value) => write!(f, "fact {key} {value}"),
            Message::Start => f.write_str("start"),
            Message::Exit(status) => write!(f, "exit {status}"),
            Message::Fail(reason) => write!(f, "fail {reason}"),
        }
    }
}

/// One line of text. What does not fit is cut off; whatever could end a line or confuse a terminal
/// is replaced by `?`.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    bytes: [u8; MAX_LINE + 1],
    length: usize,
}

impl Line {
    /// The report that says `message`.
    pub(crate) fn report(nonce: &str, message: Message<'_>) -> Line {
        Line::new(format_args!("{PREFIX}{nonce} {message}"))
    }

    /// A line with this text.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Line {
        let mut line = Line { bytes: [0; MAX_LINE + 1], length: 0 };
        // Fails only where a Display of what is formatted does, and none does.
        let _ = line.write_fmt(text);
        line.bytes[line.length] = b'\n';
        line
    }

    /// The line, its end included.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..=self.length]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == MAX_LINE {
                break;
            }
            let visible = byte == b' ' || byte.is_ascii_graphic();
            self.bytes[self.length] = if visible { byte } else { b'?' };
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, MAX_LINE, Message};

    #[test]
    fn a_report_is_one_line() {
        let line = Line::report("c0ffee", Message::Exit(3));
        assert_eq!(line.as_bytes(), b"vmbisect-agent: c0ffee exit 3\n");
        let line = Line::report("c0ffee", Message::Fail(format_args!("a\nb\x1b[m\r")));
        assert_eq!(line.as_bytes(), b"vmbisect-agent: c0ffee fail a?b?[m?\n");
    }

    #[test]
    fn a_long_line_is_cut_and_still_ends() {
        let long = "x".repeat(MAX_LINE * 2);
        let line = Line::new(format_args!("{long}"));
        assert_eq!(line.as_bytes().len(), MAX_LINE + 1);
        assert_eq!(line.as_bytes().last(), Some(&b'\n'));
    }
}
