//! Files, directories and mounts.

use core::ffi::CStr;
use core::ptr;

use super::{Errno, syscall};

pub(crate) const O_WRONLY: usize = 0o1;
pub(crate) const O_RDWR: usize = 0o2;
pub(crate) const O_NOCTTY: usize = 0o400;
pub(crate) const O_NONBLOCK: usize = 0o4000;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;

pub(crate) const MS_NOSUID: usize = 2;
pub(crate) const MS_NODEV: usize = 4;
pub(crate) const MS_NOEXEC: usize = 8;

const READ: usize = 0;
const CLOSE: usize = 3;
const IOCTL: usize = 16;
const PREAD64: usize = 17;
const PWRITE64: usize = 18;
const WRITEV: usize = 20;
const OPEN: usize = 2;
const FCNTL: usize = 72;
const CHDIR: usize = 80;
const DUP2: usize = 33;
const MKDIR: usize = 83;
const SYMLINK: usize = 88;
const MKNOD: usize = 133;
const MOUNT: usize = 165;
const PIPE2: usize = 293;

const F_SETFL: usize = 4;
const S_IFCHR: usize = 0o020_000;
/// ioctl: wait until a terminal's output is sent.
const TCSBRK: usize = 0x5409;
/// ioctl: say how large a terminal is.
const TIOCSWINSZ: usize = 0x5414;

fn path(path: &CStr) -> usize {
    path.as_ptr().expose_provenance()
}

/// Opens a file that exists.
pub(crate) fn open(file: &CStr, flags: usize) -> Result<i32, Errno> {
    // SAFETY: the path is a string that ends in NUL.
    unsafe { syscall(OPEN, [path(file), flags, 0, 0, 0]) }.map(descriptor)
}

/// A descriptor as the kernel returned it, which is never more than the limit of open files.
fn descriptor(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(-1)
}

fn argument(descriptor: i32) -> usize {
    // Sign-extended; the kernel takes the low half, and -1 is no open file.
    isize::try_from(descriptor).unwrap_or(-1).cast_unsigned()
}

/// Closes a descriptor.
pub(crate) fn close(descriptor: i32) {
    // SAFETY: takes no memory. Whether it fails makes no difference: the descriptor is gone.
    let _ = unsafe { syscall(CLOSE, [argument(descriptor), 0, 0, 0, 0]) };
}

/// Reads once, again if a signal came in between; 0 is the end of the file.
pub(crate) fn read(descriptor: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        let pointer = buffer.as_mut_ptr().expose_provenance();
        // SAFETY: the kernel writes only to the buffer.
        match unsafe { syscall(READ, [argument(descriptor), pointer, buffer.len(), 0, 0]) } {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Reads at an offset.
pub(crate) fn read_at(descriptor: i32, buffer: &mut [u8], offset: usize) -> Result<usize, Errno> {
    let pointer = buffer.as_mut_ptr().expose_provenance();
    // SAFETY: the kernel writes only to the buffer.
    unsafe { syscall(PREAD64, [argument(descriptor), pointer, buffer.len(), offset, 0]) }
}

/// Writes at an offset.
pub(crate) fn write_at(descriptor: i32, bytes: &[u8], offset: usize) -> Result<usize, Errno> {
    let pointer = bytes.as_ptr().expose_provenance();
    // SAFETY: the kernel only reads the bytes.
    unsafe { syscall(PWRITE64, [argument(descriptor), pointer, bytes.len(), offset, 0]) }
}

/// Writes all parts with one system call.
pub(crate) fn write_vector(descriptor: i32, parts: &[&[u8]]) -> Result<usize, Errno> {
    // `struct iovec` is a pointer and a length; so is a slice, but in an order that Rust does not
    // promise.
    let mut vector = [[0; 2]; 2];
    let mut count = 0;
    for (entry, part) in vector.iter_mut().zip(parts) {
        *entry = [part.as_ptr().expose_provenance(), part.len()];
        count += 1;
    }
    let pointer = vector.as_ptr().expose_provenance();
    // SAFETY: `count` entries are valid, and the kernel only reads what they point at.
    unsafe { syscall(WRITEV, [argument(descriptor), pointer, count, 0, 0]) }
}

/// Reads a whole file, as much of it as fits; how many bytes that was.
pub(crate) fn read_file(file: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    let descriptor = open(file, O_CLOEXEC)?;
    let mut length = 0;
    let result = loop {
        match buffer.get_mut(length..).map(|rest| read(descriptor, rest)) {
            None | Some(Ok(0)) => break Ok(length),
            Some(Ok(count)) => length += count,
            Some(Err(error)) => break Err(error),
        }
    };
    close(descriptor);
    result
}

/// Makes a descriptor available under other numbers, and under those only.
pub(crate) fn use_as(descriptor: i32, numbers: &[i32]) {
    for &number in numbers {
        // SAFETY: takes no memory. It fails only where the descriptor is not open.
        let _ = unsafe { syscall(DUP2, [argument(descriptor), argument(number), 0, 0, 0]) };
    }
    if !numbers.contains(&descriptor) {
        close(descriptor);
    }
}

/// Clears O_NONBLOCK and its like.
pub(crate) fn clear_status_flags(descriptor: i32) {
    // SAFETY: takes no memory. It fails only where the descriptor is not open.
    let _ = unsafe { syscall(FCNTL, [argument(descriptor), F_SETFL, 0, 0, 0]) };
}

/// Waits until a terminal has sent what was written to it. Anything else is left alone.
pub(crate) fn drain_terminal(descriptor: i32) {
    // SAFETY: takes no memory; 1 is "send no break".
    let _ = unsafe { syscall(IOCTL, [argument(descriptor), TCSBRK, 1, 0, 0]) };
}

/// Tells a terminal its rows and columns.
pub(crate) fn set_window_size(descriptor: i32, [rows, columns]: [u16; 2]) {
    // `struct winsize`: rows, columns, and pixels, which are not known.
    let size = [rows, columns, 0, 0];
    let pointer = size.as_ptr().expose_provenance();
    // SAFETY: the kernel only reads the four numbers.
    let _ = unsafe { syscall(IOCTL, [argument(descriptor), TIOCSWINSZ, pointer, 0, 0]) };
}

/// A pipe that execve closes: the end to read and the end to write.
pub(crate) fn pipe() -> Result<(i32, i32), Errno> {
    let mut ends = [0_i32; 2];
    // SAFETY: the kernel writes two ints to the array.
    unsafe { syscall(PIPE2, [ptr::from_mut(&mut ends).expose_provenance(), O_CLOEXEC, 0, 0, 0]) }?;
    let [reader, writer] = ends;
    Ok((reader, writer))
}

/// Makes a directory.
pub(crate) fn make_directory(directory: &CStr, mode: usize) -> Result<(), Errno> {
    // SAFETY: the path is a string that ends in NUL.
    unsafe { syscall(MKDIR, [path(directory), mode, 0, 0, 0]) }.map(drop)
}

/// Makes a node for a character device with mode 0600.
pub(crate) fn make_character_device(node: &CStr, major: usize, minor: usize) -> Result<(), Errno> {
    // SAFETY: the path is a string that ends in NUL; the number is in the old encoding, which the
    // kernel still takes.
    unsafe { syscall(MKNOD, [path(node), S_IFCHR | 0o600, major << 8 | minor, 0, 0]) }.map(drop)
}

/// Makes a symbolic link.
pub(crate) fn symlink(target: &CStr, link: &CStr) -> Result<(), Errno> {
    // SAFETY: both are strings that end in NUL.
    unsafe { syscall(SYMLINK, [path(target), path(link), 0, 0, 0]) }.map(drop)
}

/// Mounts a file system that needs no device.
pub(crate) fn mount(kind: &CStr, target: &CStr, flags: usize, options: &CStr) -> Result<(), Errno> {
    let kind = path(kind);
    // SAFETY: all four are strings that end in NUL; the kernel only reads them.
    unsafe { syscall(MOUNT, [kind, path(target), kind, flags, path(options)]) }.map(drop)
}

/// Changes the working directory, if it is there.
pub(crate) fn change_directory(directory: &CStr) {
    // SAFETY: the path is a string that ends in NUL.
    let _ = unsafe { syscall(CHDIR, [path(directory), 0, 0, 0, 0]) };
}
