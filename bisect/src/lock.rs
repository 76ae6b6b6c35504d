//! Files that one process at a time works with (flock(2)).

use std::fs::{File, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};

/// An open file, locked until it is dropped or its process dies.
///
/// A flock(2) belongs to the open file, not to the process: a child that another thread has just
/// forked shares it until its execve(2). Closing the file would leave the lock to that child for a
/// moment, so dropping this unlocks it, which holds for everybody who has it.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Locks a file, or gives `None` where somebody else holds it.
    ///
    /// # Errors
    /// Fails where the file system can't lock.
    pub fn attempt(file: File) -> io::Result<Option<Locked>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Locked(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Locks a file, as soon as nobody else holds it.
    ///
    /// # Errors
    /// Fails where the file system can't lock.
    pub fn wait(file: File) -> io::Result<Locked> {
        loop {
            match file.lock() {
                Ok(()) => return Ok(Locked(file)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it, which is next, is the most that can be done about an error.
        let _ = self.0.unlock();
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::Locked;

    #[test]
    fn it_is_free_when_dropped_even_if_a_child_still_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Locked::attempt(File::create(&path).unwrap()).unwrap().unwrap();
        // As a child between fork and exec does, this shares the open file.
        let childs = lock.try_clone().unwrap();
        assert!(Locked::attempt(File::open(&path).unwrap()).unwrap().is_none());
        drop(lock);
        assert!(Locked::attempt(File::open(&path).unwrap()).unwrap().is_some());
        drop(childs);
    }
}
