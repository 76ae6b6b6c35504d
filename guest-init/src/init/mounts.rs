//! File systems that a workload expects.

use core::ffi::CStr;
use core::fmt::{self, Write};
use core::iter;

use crate::dev;
use crate::sys::{self, Errno};

/// A file system to mount.
struct Mount {
    kind: &'static CStr,
    target: &'static CStr,
    flags: usize,
    options: &'static CStr,
}

const SAFE: usize = sys::MS_NOSUID | sys::MS_NODEV | sys::MS_NOEXEC;
const USUAL: usize = sys::MS_NOSUID | sys::MS_NODEV;

const PROC: Mount = Mount { kind: c"proc", target: c"/proc", flags: SAFE, options: c"" };

/// The others, in the order in which they depend on each other.
const OTHERS: &[Mount] = &[
    Mount { kind: c"sysfs", target: c"/sys", flags: SAFE, options: c"" },
    Mount { kind: c"tmpfs", target: c"/tmp", flags: USUAL, options: c"mode=1777" },
    Mount { kind: c"tmpfs", target: c"/dev/shm", flags: USUAL, options: c"mode=1777" },
    Mount { kind: c"devpts", target: c"/dev/pts", flags: SAFE, options: c"mode=620,ptmxmode=666" },
    Mount { kind: c"debugfs", target: c"/sys/kernel/debug", flags: SAFE, options: c"" },
    Mount { kind: c"cgroup2", target: c"/sys/fs/cgroup", flags: SAFE, options: c"" },
];

/// Mounts the kernel's own /dev.
pub(crate) fn devtmpfs() -> Result<(), Errno> {
    mount(&Mount {
        kind: c"devtmpfs",
        target: c"/dev",
        flags: sys::MS_NOSUID,
        options: c"mode=755",
    })
}

/// Mounts /proc.
pub(crate) fn proc() -> Result<(), Errno> {
    mount(&PROC)
}

/// Mounts what else the kernel has and says on the console what it has not, /proc included.
pub(crate) fn others(proc: Result<(), Errno>) {
    let others = OTHERS.iter().map(|mount| (mount, self::mount(mount)));
    let all = iter::once((&PROC, proc)).chain(others);
    let mut missing = [None; 1 + OTHERS.len()];
    for ((mount, result), missing) in all.zip(&mut missing) {
        *missing = result.err().map(|error| (mount, error));
    }
    if missing.iter().any(Option::is_some) {
        dev::say(format_args!("not mounted:{}", Missing(&missing)));
    }
}

fn mount(mount: &Mount) -> Result<(), Errno> {
    // Where it exists already, or where mount says better what is wrong.
    let _ = sys::make_directory(mount.target, 0o755);
    match sys::mount(mount.kind, mount.target, mount.flags, mount.options) {
        // The same file system is there already: CONFIG_DEVTMPFS_MOUNT, or whoever started us.
        Err(Errno::BUSY) => Ok(()),
        result => result,
    }
}

/// The file systems that could not be mounted, and why.
struct Missing<'a>(&'a [Option<(&'a Mount, Errno)>]);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mount, error) in self.0.iter().flatten() {
            f.write_char(' ')?;
            f.write_str(mount.kind.to_str().unwrap_or("?"))?;
            write!(f, " ({error})")?;
        }
        Ok(())
    }
}
