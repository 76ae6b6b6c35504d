//! The consoles of runs that showed something, as files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::WithHint;

/// Longest part of a title in a file's name.
const LONGEST: usize = 80;

/// Keeps consoles in a directory.
pub(super) struct Keep(PathBuf);

impl Keep {
    /// Makes the directory if it is not there.
    pub(super) fn new(directory: &Path) -> anyhow::Result<Keep> {
        fs::create_dir_all(directory)
            .with_context(|| format!("can't make {}", directory.display()))
            .hint("name a directory that you can write to")?;
        Ok(Keep(directory.to_owned()))
    }

    /// Keeps the console of a run; one of the same name, which an earlier loop left, is replaced.
    pub(super) fn console(&self, run: u64, title: &str, console: &str) -> anyhow::Result<()> {
        let path = self.0.join(file_name(run, title));
        fs::write(&path, console)
            .with_context(|| format!("can't write {}", path.display()))
            .hint("make room there, or name another directory")
    }
}

/// Sorts by run, says what is in it, and is no trouble to a shell.
fn file_name(run: u64, title: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let title: String = title.chars().take(LONGEST).map(plain).collect();
    format!("{run:06}-{title}.log")
}

#[cfg(test)]
mod tests {
    use super::{Keep, file_name};

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
        let keep = Keep::new(&path).unwrap();
        keep.console(3, "BUG: x", "one\ntwo\n").unwrap();
        let kept = std::fs::read_to_string(path.join("000003-BUG--x.log")).unwrap();
        assert_eq!(kept, "one\ntwo\n");
        std::fs::remove_dir_all(&path).unwrap();
        assert!(keep.console(4, "BUG: x", "").is_err());
        assert!(Keep::new(std::path::Path::new("/proc/nothing")).is_err());
    }
}
