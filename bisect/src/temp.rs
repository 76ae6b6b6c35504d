//! Temporary directories that do not pile up: one whose owner was killed goes when the next is made.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::lock::Locked;

/// The file by which a directory is known to be one of these. Its owner holds it locked (flock(2)).
const LOCK: &str = ".vmbisect-lock";

/// A directory that is younger may be about to be locked.
const SETTLED: Duration = Duration::from_secs(60);

/// A directory for files that nobody needs once its owner is gone.
#[derive(Debug)]
pub struct TempRoom {
    dir: TempDir,
    /// Dropped after the directory.
    _lock: Locked,
}

impl TempRoom {
    /// Makes a directory `vmbisect-WHAT-…` where temporary files go, and removes those that killed
    /// processes of this user left there.
    ///
    /// # Errors
    /// Fails if the directory can't be made.
    pub fn new(what: &str) -> io::Result<TempRoom> {
        let parent = std::env::temp_dir();
        sweep(&parent, SETTLED);
        TempRoom::new_in(&parent, what)
    }

    fn new_in(parent: &Path, what: &str) -> io::Result<TempRoom> {
        let dir =
            tempfile::Builder::new().prefix(&format!("vmbisect-{what}-")).tempdir_in(parent)?;
        let lock = File::create_new(dir.path().join(LOCK))?;
        let lock = Locked::attempt(lock)?.ok_or(io::ErrorKind::WouldBlock)?;
        Ok(TempRoom { dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes directories without an owner. What can't be looked at or removed is left alone.
fn sweep(parent: &Path, settled: Duration) {
    let Ok(entries) = parent.read_dir() else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("vmbisect-")
            && let Some(lock) = abandoned(&entry.path(), settled)
        {
            let _ = fs::remove_dir_all(entry.path());
            drop(lock);
        }
    }
}

/// The lock of a directory that nobody owns any more, taken.
fn abandoned(dir: &Path, settled: Duration) -> Option<Locked> {
    let path = dir.join(LOCK);
    let user = rustix::process::geteuid().as_raw();
    // Everybody can write there: what looks like a directory of ours may be a link elsewhere.
    let ours = |data: &fs::Metadata| data.uid() == user;
    dir.symlink_metadata().ok().filter(|data| data.is_dir() && ours(data))?;
    let data = path.symlink_metadata().ok().filter(|data| data.is_file() && ours(data))?;
    let age = data.modified().ok()?.elapsed().ok()?;
    let lock = File::open(&path).ok().filter(|_| age >= settled)?;
    Locked::attempt(lock).ok()?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LOCK, TempRoom, sweep};

    #[test]
    fn only_what_nobody_owns_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let owned = TempRoom::new_in(parent.path(), "test").unwrap();
        // What is left when a process is killed: the directory, and a lock that nobody holds.
        let killed = parent.path().join("vmbisect-outer-killed");
        let somebodys = parent.path().join("vmbisect-linux");
        for dir in [&killed, &somebodys] {
            std::fs::create_dir(dir).unwrap();
            std::fs::write(dir.join("file"), "x").unwrap();
        }
        std::fs::write(killed.join(LOCK), "").unwrap();
        let link = parent.path().join("vmbisect-link");
        std::os::unix::fs::symlink(&somebodys, &link).unwrap();
        sweep(parent.path(), Duration::from_secs(3600));
        assert!(killed.exists(), "it is too young to tell");
        sweep(parent.path(), Duration::ZERO);
        assert!(!killed.exists());
        assert!(owned.path().exists() && somebodys.exists() && link.is_symlink());
        let path = owned.path().to_owned();
        drop(owned);
        assert!(!path.exists());
    }
}
