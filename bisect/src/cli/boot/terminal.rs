//! This process's terminal as the guest's.
//!
//! The terminal is raw while the guest has it: every key goes to the guest, those that make signals
//! as well. It is given back whatever happens: when [`Attached`] is dropped, by a panic too; before
//! the process ends by itself; and while it is stopped (SIGTSTP). Output keeps its translation of
//! line ends, for what this program itself says meanwhile. A serial line can't say how large the terminal
//! is: the guest is told on its command line, once.

mod escape;

use std::io::{self, PipeWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGQUIT, SIGTSTP};
use signal_hook::iterator::{Handle, Signals};
use vmbisect::cancel::Cancel;
use vmbisect::trial::{Terminal, TerminalSize};

use self::escape::{Escape, Key};
use crate::cli::Output;

/// How the terminal was before it was raw, while it is.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The guest's as long as it lives.
pub(super) struct Attached {
    /// Closing it ends the reader.
    lifeline: Option<PipeWriter>,
    reader: Option<JoinHandle<()>>,
    signals: Handle,
}

/// Connects standard input with the guest's console. Leaving by Ctrl-A x cancels `cancel`.
pub(super) fn attach(
    terminal: Terminal,
    cancel: Cancel,
    output: &Output,
) -> anyhow::Result<Attached> {
    let signals = Signals::new([SIGTSTP, SIGCONT, SIGQUIT]);
    let mut signals = signals.context("can't handle signals")?;
    let (ended, lifeline) = io::pipe().context("can't make a pipe")?;
    // From here on the terminal is given back, whatever fails.
    let mut attached =
        Attached { lifeline: Some(lifeline), reader: None, signals: signals.handle() };
    if make_raw() {
        output.note("this terminal is the guest's: Ctrl-A x leaves, Ctrl-A Ctrl-A sends Ctrl-A");
    }
    let token = cancel.clone();
    thread::Builder::new()
        .name("terminal signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGTSTP => {
                        restore();
                        // It stops the process here, as it would without a handler.
                        let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                    }
                    SIGCONT => {
                        make_raw();
                    }
                    _ => token.cancel(),
                }
            }
        })
        .context("can't start a thread")?;
    let reader = move || {
        if let Left::ByKey = read(&terminal, &ended) {
            cancel.cancel();
        }
    };
    let reader = thread::Builder::new().name("terminal".into()).spawn(reader);
    attached.reader = Some(reader.context("can't start a thread")?);
    Ok(attached)
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.signals.close();
        drop(self.lifeline.take());
        if let Some(reader) = self.reader.take() {
            // It prints nothing and can't panic; if it did, that was said.
            let _ = reader.join();
        }
        restore();
    }
}

/// Prints what the guest printed, as it is: escape sequences are what a terminal is for. Where standard
/// output is for JSON, it goes to standard error.
pub(super) fn print(bytes: &[u8], output: &Output) {
    let write = |to: &mut dyn Write| to.write_all(bytes).and_then(|()| to.flush());
    let written = match output.json {
        true => write(&mut io::stderr().lock()),
        false => write(&mut io::stdout().lock()),
    };
    if written.is_err() {
        restore();
        std::process::exit(141);
    }
}

/// How large the terminal is that shows what the guest prints, if there is one that knows.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    let (rows, columns) = (size.ws_row, size.ws_col);
    (rows > 0 && columns > 0).then_some(TerminalSize { rows, columns })
}

/// Gives the terminal back, if it is raw.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // There is nothing else to be done where it fails; the terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

/// Makes standard input raw if it is a terminal; whether it is.
fn make_raw() -> bool {
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(now) = tcgetattr(io::stdin()) else { return false };
    let mut raw = now.clone();
    raw.make_raw();
    raw.output_modes |= now.output_modes & (OutputModes::OPOST | OutputModes::ONLCR);
    if tcsetattr(io::stdin(), OptionalActions::Drain, &raw).is_err() {
        return false;
    }
    // After SIGCONT without a stop it is raw already.
    before.get_or_insert(now);
    true
}

/// Why no more is read.
enum Left {
    /// Ctrl-A x was typed.
    ByKey,
    /// The guest is gone, or standard input has ended; the guest goes on without.
    Over,
}

/// Hands over what is typed until `ended` is closed at its other end.
fn read(terminal: &Terminal, ended: &impl std::os::fd::AsFd) -> Left {
    let mut escape = Escape::default();
    let mut buffer = [0; 4096];
    loop {
        let stdin = io::stdin();
        let mut sources = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut sources, None) {
            Ok(_) if !sources[1].revents().is_empty() => return Left::Over,
            Ok(_) | Err(rustix::io::Errno::INTR) if sources[0].revents().is_empty() => continue,
            Ok(_) => {}
            Err(_) => return Left::Over,
        }
        // Unbuffered, since what a buffer holds poll does not see.
        let got = match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) | Err(_) => return Left::Over,
            Ok(got) => got,
        };
        let mut typed = Vec::with_capacity(got);
        for byte in buffer.iter().take(got) {
            match escape.next(*byte) {
                Key::Bytes(bytes) => typed.extend_from_slice(bytes.as_slice()),
                Key::Leave => return Left::ByKey,
            }
        }
        terminal.send(&typed);
    }
}
