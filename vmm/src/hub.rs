//! Where a machine's threads agree on how it ends.

use std::io;
use std::sync::Mutex;

use vmm_sys_util::eventfd::EventFd;

use crate::Ending;
use crate::sync::lock;

/// The ending, once there is one, and the event that says so.
#[derive(Debug)]
pub(crate) struct Hub {
    ending: Mutex<Option<Ending>>,
    ended: EventFd,
}

impl Hub {
    pub(crate) fn new() -> io::Result<Hub> {
        Ok(Hub {
            ending: Mutex::new(None),
            ended: EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?,
        })
    }

    /// Ends the machine. The first ending counts.
    pub(crate) fn end(&self, ending: Ending) {
        let mut slot = lock(&self.ending);
        if slot.is_none() {
            *slot = Some(ending);
            // It can only fail if it was written before.
            let _ = self.ended.write(1);
        }
    }

    /// How the machine ended, if it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        lock(&self.ending).clone()
    }

    /// Becomes readable when the machine has ended.
    pub(crate) fn ended(&self) -> &EventFd {
        &self.ended
    }
}
