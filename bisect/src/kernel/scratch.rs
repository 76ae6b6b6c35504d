//! The directory that builds happen in: one build at a time, and nothing of a broken one is used.
//!
//! `lock` is held (flock(2)) while a build runs; `tree` is the worktree, `out` make's object
//! directory, and `state.json` says what `out` was made with and whether make came to its end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{BuildError, Dependencies};
use crate::cancel::Cancel;
use crate::lock::Locked;

/// The environment variable that marks a build's processes with the scratch directory.
pub(super) const MARK: &str = "VMBISECT_BUILD_SCRATCH";
/// How often a taken lock is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How long a killed process may take to go.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// What `out` is made with.
    key: String,
    /// Whether make came to its end, well or not.
    complete: bool,
}

/// The scratch directory, held.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: PathBuf,
    _lock: Locked,
}

/// Where the worktree of a scratch directory is.
pub(super) fn worktree(dir: &Path) -> PathBuf {
    dir.join("tree")
}

impl Scratch {
    /// Waits for the lock, ends what a killed run left, and takes the directory over.
    pub(super) fn acquire(
        dir: &Path,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<Scratch, BuildError> {
        let path = dir.join("lock");
        let mut told = false;
        let lock = loop {
            let file = File::create(&path).map_err(BuildError::io("create", &path))?;
            if let Some(lock) = Locked::attempt(file).map_err(BuildError::io("lock", &path))? {
                break lock;
            }
            if !told {
                on_line(&format!("another vmbisect builds in {}: waiting for it", dir.display()));
                told = true;
            }
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            std::thread::sleep(RETRY);
        };
        let scratch = Scratch { dir: dir.to_owned(), _lock: lock };
        scratch.end_leftovers()?;
        Ok(scratch)
    }

    /// make's object directory.
    pub(super) fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// The log of the build that runs.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("build.log")
    }

    /// What the build that runs comes to have read.
    pub(super) fn dependencies(&self) -> PathBuf {
        self.dir.join(Dependencies::FILE)
    }

    /// Readies `out` for a build with `key`: kept if its last build had the same one and came to
    /// its end, else emptied. Until [`Scratch::end`] it counts as broken.
    pub(super) fn begin(&self, key: &str) -> Result<(), BuildError> {
        let path = self.dir.join("state.json");
        let state: Option<State> =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let usable = State { key: key.to_owned(), complete: true };
        let out = self.out();
        if state != Some(usable) {
            match fs::remove_dir_all(&out) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BuildError::io("remove", &out)(error));
                }
                _ => {}
            }
        }
        fs::create_dir_all(&out).map_err(BuildError::io("create", &out))?;
        self.write_state(State { key: key.to_owned(), complete: false })
    }

    /// Says that make came to its end.
    pub(super) fn end(&self, key: &str) -> Result<(), BuildError> {
        self.write_state(State { key: key.to_owned(), complete: true })
    }

    fn write_state(&self, state: State) -> Result<(), BuildError> {
        let path = self.dir.join("state.json");
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            serde_json::to_writer(&mut file, &state)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(BuildError::io("write", &path))
    }

    /// A build whose parent was killed goes on by itself; it is found by its environment.
    fn end_leftovers(&self) -> Result<(), BuildError> {
        let mark = format!("{MARK}={}", self.dir.display());
        let deadline = Instant::now() + KILL_DEADLINE;
        // A process may start another while the list is read, so look until there is none.
        loop {
            let left = marked(mark.as_bytes());
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = io::Error::other("processes of an earlier build do not end");
                return Err(BuildError::io("use", &self.dir)(error));
            }
            left.into_iter().for_each(end);
        }
    }
}

fn marked(mark: &[u8]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let own = rustix::process::getpid();
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| *pid != own)
        .filter(|pid| {
            // Another user's can't be read, and is none of ours.
            let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
            environment.is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|it| it == mark))
        })
        .collect()
}

/// Kills a process and waits for it to go; one that has gone already is as good.
fn end(pid: Pid) {
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if pidfd_send_signal(&handle, Signal::KILL).is_ok() {
        let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::{MARK, Scratch};
    use crate::cancel::Cancel;
    use crate::kernel::BuildError;

    fn acquire(dir: &std::path::Path) -> Scratch {
        Scratch::acquire(dir, &mut |_| (), &Cancel::new()).unwrap()
    }

    #[test]
    fn objects_are_kept_only_from_a_complete_build_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = acquire(dir.path());
        let object = scratch.out().join("a.o");
        scratch.begin("key").unwrap();
        std::fs::write(&object, "x").unwrap();
        scratch.end("key").unwrap();
        scratch.begin("key").unwrap();
        assert!(object.exists());
        // Killed here: not complete.
        scratch.begin("key").unwrap();
        assert!(!object.exists());
        std::fs::write(&object, "x").unwrap();
        scratch.end("key").unwrap();
        scratch.begin("other").unwrap();
        assert!(!object.exists());
    }

    #[test]
    fn a_taken_lock_is_waited_for_until_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let held = acquire(dir.path());
        let cancel = Cancel::new();
        let token = cancel.clone();
        let mut said = Vec::new();
        let mut on_line = |line: &str| {
            said.push(line.to_owned());
            token.cancel();
        };
        let result = Scratch::acquire(dir.path(), &mut on_line, &cancel);
        assert!(matches!(result, Err(BuildError::Cancelled)));
        assert_eq!(said.len(), 1);
        drop(held);
        acquire(dir.path());
    }

    #[test]
    fn what_a_killed_run_left_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut left = Command::new("sleep")
            .arg("600")
            .env(MARK, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let reaper = std::thread::spawn(move || left.wait().unwrap());
        // Its environment is its own only once it has been executed.
        while super::marked(format!("{MARK}={}", dir.path().display()).as_bytes()).is_empty() {
            std::thread::yield_now();
        }
        acquire(dir.path());
        assert!(!reaper.join().unwrap().success());
    }
}
