//! Processes.

use core::ffi::{CStr, c_char};
use core::ptr;

use super::{Errno, syscall};

const FORK: usize = 57;
const EXECVE: usize = 59;
const WAIT4: usize = 61;
const SETSID: usize = 112;
const EXIT_GROUP: usize = 231;

/// Forks: the child's PID in the parent, `None` in the child.
pub(crate) fn fork() -> Result<Option<usize>, Errno> {
    // SAFETY: takes no memory; there is one thread, so the child's copy is whole.
    let pid = unsafe { syscall(FORK, [0; 5]) }?;
    Ok(if pid == 0 { None } else { Some(pid) })
}

/// Becomes another program. Returns only where that fails. Both lists must end in a null pointer.
pub(crate) fn execute(program: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    let terminated = |list: &[*const c_char]| list.last().is_some_and(|last| last.is_null());
    if !terminated(argv) || !terminated(envp) {
        return Errno::INVAL;
    }
    let list = |list: &[*const c_char]| list.as_ptr().expose_provenance();
    let program = program.as_ptr().expose_provenance();
    // SAFETY: the program is a string that ends in NUL, the lists end in null; a pointer in them
    // that is not a string gives EFAULT.
    match unsafe { syscall(EXECVE, [program, list(argv), list(envp), 0, 0]) } {
        Err(error) => error,
        // It does not return when it worked.
        Ok(_) => Errno::INVAL,
    }
}

/// Waits for any child to end: its PID and its wait status.
pub(crate) fn wait_for_any() -> Result<(usize, i32), Errno> {
    const ANY: usize = usize::MAX;
    let mut status = 0;
    loop {
        let pointer = ptr::from_mut(&mut status).expose_provenance();
        // SAFETY: the kernel writes one int to `status`.
        match unsafe { syscall(WAIT4, [ANY, pointer, 0, 0, 0]) } {
            Err(Errno::INTR) => {}
            result => return result.map(|pid| (pid, status)),
        }
    }
}

/// Starts a session without a controlling terminal.
pub(crate) fn new_session() {
    // SAFETY: takes no memory. A process that has just been forked leads no group, so it works.
    let _ = unsafe { syscall(SETSID, [0; 5]) };
}

/// Ends this process.
pub(crate) fn exit(status: u8) -> ! {
    loop {
        // SAFETY: takes no memory and does not return.
        let _ = unsafe { syscall(EXIT_GROUP, [status.into(), 0, 0, 0, 0]) };
    }
}
