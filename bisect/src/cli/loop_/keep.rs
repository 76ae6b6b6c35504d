//! The consoles of runs that showed something, as files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use vmbisect::lock::Locked;

use super::own;
use crate::cli::WithHint;

/// Longest part of a title in a file's name.
const LONGEST: usize = 80;

/// Keeps consoles in a directory.
pub(super) struct Keep {
    directory: PathBuf,
    used: bool,
    own: Option<Own>,
}

/// What is to be known of a directory that nobody named.
struct Own {
    /// Bytes that there is room for.
    room: u64,
    lock: Option<Locked>,
}

impl Keep {
    /// In the directory that the user names, which is made if it is not there.
    pub(super) fn new(directory: &Path) -> anyhow::Result<Keep> {
        make(directory)?;
        Ok(Keep { directory: directory.to_owned(), used: false, own: None })
    }

    /// In a directory of its own for this loop, below `parent`, which holds so many bytes. It is made
    /// when there is something to keep.
    pub(super) fn below(parent: &Path, room: u64) -> Keep {
        let own = Own { room, lock: None };
        Keep { directory: own::below(parent), used: false, own: Some(own) }
    }

    /// Keeps the console of a run; one of the same name, which an earlier loop left, is replaced.
    pub(super) fn console(&mut self, run: u64, title: &str, console: &str) -> anyhow::Result<()> {
        let bytes = console.len() as u64;
        if self.own.as_ref().is_some_and(|own| own.room < bytes) {
            return Err(anyhow!("those of this loop take {} MiB already", own::LIMIT >> 20))
                .hint("name a directory with --keep, where there is no limit");
        }
        if !self.used {
            make(&self.directory)?;
        }
        if let Some(own) = &mut self.own {
            own.lock = own.lock.take().or_else(|| own::hold(&self.directory));
            own.room -= bytes;
        }
        let path = self.directory.join(file_name(run, title));
        fs::write(&path, console)
            .with_context(|| format!("can't write {}", path.display()))
            .hint("make room there, or name another directory with --keep")?;
        self.used = true;
        Ok(())
    }

    /// The directory, if anything was kept.
    pub(super) fn used(&self) -> Option<&Path> {
        self.used.then_some(&self.directory)
    }
}

fn make(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("can't make {}", directory.display()))
        .hint("name a directory that you can write to with --keep")
}

/// Sorts by run, says what is in it, and is no trouble to a shell.
fn file_name(run: u64, title: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let title: String = title.chars().take(LONGEST).map(plain).collect();
    format!("{run:06}-{title}.log")
}

#[cfg(test)]
mod tests {
    use super::{Keep, file_name, own};

    #[test]
    fn a_title_can_not_lead_elsewhere() {
        assert_eq!(file_name(7, "WARNING in kvm_wait"), "000007-WARNING-in-kvm_wait.log");
        assert_eq!(file_name(1, "../x\0y é"), "000001-..-x-y--.log");
        assert!(file_name(1, &"x".repeat(1000)).len() < 100);
    }

    #[test]
    fn consoles_are_kept_and_a_full_disk_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let mut keep = Keep::new(&path).unwrap();
        assert_eq!(keep.used(), None);
        keep.console(3, "BUG: x", "one\ntwo\n").unwrap();
        let kept = std::fs::read_to_string(path.join("000003-BUG--x.log")).unwrap();
        assert_eq!(kept, "one\ntwo\n");
        assert_eq!(keep.used(), Some(&*path));
        std::fs::remove_dir_all(&path).unwrap();
        assert!(keep.console(4, "BUG: x", "").is_err());
        assert!(Keep::new(std::path::Path::new("/proc/nothing")).is_err());
    }

    #[test]
    fn a_loop_in_which_nothing_shows_leaves_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        let mut keep = Keep::below(parent.path(), 6);
        assert_eq!((parent.path().read_dir().unwrap().count(), keep.used()), (0, None));
        keep.console(1, "BUG: x", "one\n").unwrap();
        let own = keep.used().unwrap();
        assert_eq!(own.parent(), Some(parent.path()));
        assert!(own.join("000001-BUG--x.log").is_file());
        // It is known that a loop runs in it, and it does not grow without end.
        assert!(own::hold(own).is_none());
        assert!(keep.console(2, "BUG: x", "one\n").is_err());
        keep.console(3, "BUG: x", "1\n").unwrap();
    }
}
