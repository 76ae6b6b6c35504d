//! What PID 1 and the host's side of this crate have in common, free of `std` and of system calls.
//!
//! PID 1 is a crate of its own that includes this directory with `#[path]`; here it is a module
//! of the library, so that unit tests and lints see it.

pub(crate) mod arguments;
pub(crate) mod cmdline;
pub(crate) mod kernel_log;
pub(crate) mod message;
pub(crate) mod status;
