//! Error numbers.

use core::fmt;

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(u16);

impl Errno {
    pub(crate) const INTR: Errno = Errno(4);
    pub(crate) const BUSY: Errno = Errno(16);
    pub(crate) const INVAL: Errno = Errno(22);
    pub(crate) const NODEV: Errno = Errno(19);

    /// What a system call returned: -4095 to -1 are errors.
    pub(super) fn check(result: isize) -> Result<usize, Errno> {
        match u16::try_from(result.wrapping_neg()) {
            Ok(code @ 1..=4095) => Err(Errno(code)),
            _ => Ok(result.cast_unsigned()),
        }
    }

    /// For the way through a pipe.
    pub(crate) fn to_bytes(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }

    /// From the way through a pipe.
    pub(crate) fn from_bytes(bytes: [u8; 2]) -> Errno {
        Errno(u16::from_ne_bytes(bytes))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            1 => "not permitted",
            2 => "no such file or directory",
            5 => "input/output error",
            7 => "too many arguments",
            8 => "not an executable format that this kernel knows",
            11 => "resource temporarily unavailable",
            12 => "out of memory",
            13 => "permission denied",
            16 => "busy",
            19 => "not in this kernel",
            20 => "not a directory",
            21 => "is a directory",
            22 => "invalid argument",
            38 => "no such system call",
            code => return write!(f, "error {code}"),
        };
        f.write_str(text)
    }
}
