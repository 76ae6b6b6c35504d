//! Running the workload.

use core::ffi::CStr;
use core::fmt;

use crate::dev;
use crate::report;
use crate::shared::arguments::{self, BadBlock};
use crate::shared::cmdline::Terminal;
use crate::shared::message::Message;
use crate::shared::status;
use crate::sys::{self, Errno};

const ENVIRONMENT: &[&CStr] = &[
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"HOME=/root",
    c"TERM=linux",
];

/// Why there is no status of a workload.
pub(crate) enum Failure {
    /// The argument block can't be read.
    NoBlock(Errno),
    /// The argument block is longer than it may be.
    BlockTooLong,
    /// The argument block is not what the host writes.
    BadBlock(BadBlock),
    /// There is no memory or no number for a process.
    NoProcess(Errno),
    /// The program can't be executed.
    NoProgram(Errno),
    /// The process was started and then lost.
    Lost(Errno),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = arguments::PATH.to_str().unwrap_or_default();
        match self {
            Failure::NoBlock(error) => write!(f, "can't read {path}: {error}"),
            Failure::BlockTooLong => write!(f, "{path} is too long"),
            Failure::BadBlock(BadBlock::CutOff) => write!(f, "{path} is cut off"),
            Failure::BadBlock(BadBlock::TooMany) => write!(f, "{path} has too many arguments"),
            Failure::BadBlock(BadBlock::NoProgram) => write!(f, "{path} names no program"),
            Failure::NoProcess(error) => write!(f, "can't fork: {error}"),
            Failure::NoProgram(error) => write!(f, "can't execute the workload: {error}"),
            Failure::Lost(error) => write!(f, "can't wait for the workload: {error}"),
        }
    }
}

/// Runs the workload, if there is one, until it ends; its status as a shell would show it.
///
/// Processes that it leaves behind are reaped while it runs and go down with the guest. With
/// a `terminal` it has the serial port for its terminal, else it can read nothing.
pub(crate) fn run(terminal: Option<Terminal>) -> Result<u8, Failure> {
    let mut block = [0; arguments::MAX_BYTES + 1];
    let length = sys::read_file(arguments::PATH, &mut block).map_err(Failure::NoBlock)?;
    let block = block.get(..length).unwrap_or_default();
    if block.len() > arguments::MAX_BYTES {
        return Err(Failure::BlockTooLong);
    }
    let mut argv = [core::ptr::null(); arguments::MAX_ARGUMENTS + 1];
    let parsed = arguments::parse(block).map_err(Failure::BadBlock)?;
    for (place, argument) in argv.iter_mut().take(arguments::MAX_ARGUMENTS).zip(parsed) {
        *place = argument.as_ptr();
    }
    let Some(program) = arguments::parse(block).map_err(Failure::BadBlock)?.next() else {
        return Ok(0);
    };

    report::send(Message::Start);
    let (reader, writer) = sys::pipe().map_err(Failure::NoProcess)?;
    let child = match sys::fork().map_err(Failure::NoProcess)? {
        None => become_workload(program, &argv, writer, terminal),
        Some(child) => child,
    };
    sys::close(writer);
    // The other end is closed by a successful execve, so that nothing comes.
    let mut code = [0; 2];
    if let Ok(2) = sys::read(reader, &mut code) {
        return Err(Failure::NoProgram(Errno::from_bytes(code)));
    }
    sys::close(reader);
    loop {
        let (pid, wait_status) = sys::wait_for_any().map_err(Failure::Lost)?;
        if pid == child {
            return Ok(status::as_shell_shows(wait_status));
        }
    }
}

/// In the child: a session of its own, /tmp, no access to the agent port, and the program.
fn become_workload(
    program: &CStr,
    argv: &[*const i8],
    writer: i32,
    terminal: Option<Terminal>,
) -> ! {
    let mut envp = [core::ptr::null(); ENVIRONMENT.len() + 1];
    for (place, variable) in envp.iter_mut().zip(ENVIRONMENT) {
        *place = variable.as_ptr();
    }
    report::renounce();
    sys::new_session();
    if let Some(terminal) = terminal {
        dev::take(terminal);
    }
    sys::change_directory(c"/tmp");
    let error = sys::execute(program, argv, &envp);
    // PID 1 takes silence for success and then sees this status.
    let _ = sys::write_vector(writer, &[&error.to_bytes()]);
    sys::exit(127)
}
