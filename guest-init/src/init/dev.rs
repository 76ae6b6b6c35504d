//! /dev and the three standard descriptors.

use core::ffi::CStr;
use core::fmt;

use crate::mounts;
use crate::shared::cmdline::Terminal;
use crate::shared::message::Line;
use crate::sys;

/// Character devices that a workload may count on: path, major, minor (devices.txt).
const NODES: &[(&CStr, usize, usize)] = &[
    (c"/dev/null", 1, 3),
    (c"/dev/port", 1, 4),
    (c"/dev/zero", 1, 5),
    (c"/dev/full", 1, 7),
    (c"/dev/random", 1, 8),
    (c"/dev/urandom", 1, 9),
    (c"/dev/kmsg", 1, 11),
    (c"/dev/ttyS0", 4, 64),
    (c"/dev/tty", 5, 0),
    (c"/dev/console", 5, 1),
    (c"/dev/ptmx", 5, 2),
];

/// Links that programs expect beside the nodes, with what they point at.
const LINKS: &[(&CStr, &CStr)] = &[
    (c"/dev/fd", c"/proc/self/fd"),
    (c"/dev/stdin", c"/proc/self/fd/0"),
    (c"/dev/stdout", c"/proc/self/fd/1"),
    (c"/dev/stderr", c"/proc/self/fd/2"),
];

/// Fills /dev: by the kernel's devtmpfs or, where it has none, node by node.
pub(crate) fn populate() {
    if mounts::devtmpfs().is_err() {
        for &(path, major, minor) in NODES {
            // A node that exists already or can't be made shows when it is opened.
            let _ = sys::make_character_device(path, major, minor);
        }
    }
    for &(path, target) in LINKS {
        // A convenience; nothing here depends on it.
        let _ = sys::symlink(target, path);
    }
}

/// Points standard output and error at the serial port and standard input at /dev/null, so that a
/// workload which reads sees the end of the file instead of waiting for ever.
///
/// The serial port itself rather than /dev/console, which may be a screen that nobody sees. What
/// can't be opened stays as the kernel left it.
pub(crate) fn open_console() {
    if let Ok(null) = sys::open(c"/dev/null", sys::O_RDWR) {
        sys::use_as(null, &[0]);
    }
    let serial = sys::open(c"/dev/ttyS0", sys::O_WRONLY | sys::O_NOCTTY | sys::O_NONBLOCK);
    let console = || sys::open(c"/dev/console", sys::O_WRONLY | sys::O_NOCTTY);
    if let Ok(console) = serial.or_else(|_| console()) {
        // Opened without waiting for a carrier; written with waiting for room.
        sys::clear_status_flags(console);
        sys::use_as(console, &[1, 2]);
    }
}

/// Makes the serial port the terminal of this session, which has none, and its standard descriptors.
/// Where it can't be opened they stay as they are.
pub(crate) fn take(terminal: Terminal) {
    if let Ok(serial) = sys::open(c"/dev/ttyS0", sys::O_RDWR | sys::O_NONBLOCK) {
        sys::clear_status_flags(serial);
        if let Some(size) = terminal.size {
            sys::set_window_size(serial, size);
        }
        sys::use_as(serial, &[0, 1, 2]);
    }
}

/// Prints a line for people on the console.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let line = Line::new(format_args!("vmbisect-init: {text}"));
    // There is nobody left to tell if the console can't be written.
    let _ = sys::write_vector(2, &[line.as_bytes()]);
}
