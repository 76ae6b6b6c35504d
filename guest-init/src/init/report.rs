//! Getting a report out: over the agent port where somebody listens, else over the console.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::shared::cmdline::MAX_NONCE;
use crate::shared::message::{AGENT_PORT, AGENT_PORT_MAGIC, Line, Message};
use crate::sys::{self, Errno};

/// Which way reports go; one of the four values below. Atomics, since a signal handler reports too.
static CHANNEL: AtomicU8 = AtomicU8::new(TERMINAL);

/// Plain lines to standard error.
const TERMINAL: u8 = 0;
/// The agent port, by the OUT instruction.
const PORT: u8 = 1;
/// The agent port, through /dev/port.
const DEV_PORT: u8 = 2;
/// The kernel log, which the kernel prints on its console.
const KMSG: u8 = 3;

/// The open file behind [`DEV_PORT`] and [`KMSG`].
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

static NONCE: [AtomicU8; MAX_NONCE] = [const { AtomicU8::new(b'-') }; MAX_NONCE];
static NONCE_LENGTH: AtomicUsize = AtomicUsize::new(1);

/// Sets the nonce of every report from here on; before that it is `-`.
pub(crate) fn set_nonce(nonce: &str) {
    for (place, byte) in NONCE.iter().zip(nonce.bytes()) {
        place.store(byte, Relaxed);
    }
    NONCE_LENGTH.store(nonce.len().min(MAX_NONCE), Relaxed);
}

/// Finds the best way out for reports.
pub(crate) fn choose_channel() {
    if sys::allow_port(AGENT_PORT, true).is_ok() && sys::read_port(AGENT_PORT) == AGENT_PORT_MAGIC {
        CHANNEL.store(PORT, Relaxed);
    } else if let Ok(port) = open_dev_port() {
        DESCRIPTOR.store(port, Relaxed);
        CHANNEL.store(DEV_PORT, Relaxed);
    } else if let Ok(log) = sys::open(c"/dev/kmsg", sys::O_WRONLY | sys::O_CLOEXEC) {
        DESCRIPTOR.store(log, Relaxed);
        CHANNEL.store(KMSG, Relaxed);
    }
}

/// Opens /dev/port, whose offsets are port numbers, if the agent port answers there.
fn open_dev_port() -> Result<i32, Errno> {
    let port = sys::open(c"/dev/port", sys::O_RDWR | sys::O_CLOEXEC)?;
    let mut answer = [0];
    match sys::read_at(port, &mut answer, AGENT_PORT.into()) {
        Ok(1) if answer == [AGENT_PORT_MAGIC] => Ok(port),
        _ => {
            sys::close(port);
            Err(Errno::NODEV)
        }
    }
}

/// Gives up access to the agent port, in a process that is to become the workload.
pub(crate) fn renounce() {
    // Not allowed in the first place where it fails.
    let _ = sys::allow_port(AGENT_PORT, false);
}

/// Sends a report.
///
/// Nothing is to be done where even that fails: the reset that follows the last report ends the
/// guest, and the host does not take a reset for success.
pub(crate) fn send(message: Message<'_>) {
    let mut nonce = [0; MAX_NONCE];
    for (byte, place) in nonce.iter_mut().zip(&NONCE) {
        *byte = place.load(Relaxed);
    }
    let nonce = nonce.get(..NONCE_LENGTH.load(Relaxed)).unwrap_or_default();
    let line = Line::report(core::str::from_utf8(nonce).unwrap_or("-"), message);
    let bytes = line.as_bytes();
    let descriptor = DESCRIPTOR.load(Relaxed);
    match CHANNEL.load(Relaxed) {
        PORT => bytes.iter().for_each(|&byte| sys::write_port(AGENT_PORT, byte)),
        DEV_PORT => {
            for byte in bytes {
                let _ = sys::write_at(descriptor, core::slice::from_ref(byte), AGENT_PORT.into());
            }
        }
        KMSG => {
            // One write is one record. Level 0, so that it is printed whatever the console's
            // level is.
            let _ = sys::write_vector(descriptor, &[b"<0>", bytes]);
        }
        _ => {
            // Whatever was printed last may not have ended its line.
            let _ = sys::write_vector(2, &[b"\n", bytes]);
            sys::drain_terminal(2);
        }
    }
}
