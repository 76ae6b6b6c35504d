//! The directories of loops for which the user named none: each loop has one of its own, and the
//! oldest go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vmbisect::cache::{Evictable, bytes_of, evict};
use vmbisect::lock::Locked;

/// Bytes that the consoles of one loop may take, and those of all earlier loops together.
pub(super) const LIMIT: u64 = 1 << 30;

/// The file in each that its loop holds locked (flock(2)) for as long as it runs.
const LOCK: &str = ".vmbisect-lock";

/// A directory that is younger may be about to be locked.
const SETTLED: Duration = Duration::from_secs(60);

/// Where a loop that begins now keeps its consoles.
pub(super) fn below(parent: &Path) -> PathBuf {
    let now = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S");
    parent.join(format!("{now}-{}", std::process::id()))
}

/// Says that the loop whose directory this is runs. Where nothing can be locked it is told by nothing.
pub(super) fn hold(dir: &Path) -> Option<Locked> {
    let file = File::options().create(true).append(true).open(dir.join(LOCK)).ok()?;
    Locked::attempt(file).ok().flatten()
}

/// Removes the directories of the earliest loops until all that are left take `limit` bytes or less,
/// and gives how many went. One of a loop that runs stays, and so does what the user put there.
pub(super) fn tidy(parent: &Path, limit: u64) -> usize {
    let Ok(entries) = parent.read_dir() else { return 0 };
    let (mut total, mut earlier) = (0_u64, Vec::new());
    for entry in entries.flatten() {
        // That of the entry itself, which may be a link.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || !is_own(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let Ok(used) = entry.metadata().and_then(|data| data.modified()) else { continue };
        let bytes = bytes_of(&path);
        total = total.saturating_add(bytes);
        if used.elapsed().is_ok_and(|age| age >= SETTLED) {
            earlier.push(Evictable { used, path, bytes });
        }
    }
    evict(earlier, total, limit, |path| {
        let lock = hold(path);
        lock.is_some() && fs::remove_dir_all(path).is_ok()
    })
}

/// Whether a directory is called as [`below`] calls them.
fn is_own(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.as_slice(), [day, time, _] if day.len() == 8 && time.len() == 6)
        && parts.iter().all(number)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{below, hold, is_own, tidy};

    #[test]
    fn the_oldest_go_and_one_that_runs_stays() {
        let parent = tempfile::tempdir().unwrap();
        let ago = |hours: u64| SystemTime::now() - Duration::from_secs(3600 * hours);
        let make = |name: &str, hours: u64| {
            let dir = parent.path().join(name);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("000001-BUG.log"), [0; 1000]).unwrap();
            let held = hold(&dir);
            File::open(&dir).unwrap().set_modified(ago(hours)).unwrap();
            held
        };
        drop(make("20200101-000000-1", 9));
        let running = make("20200101-000000-2", 8);
        drop(make("20200101-000000-3", 7));
        drop(make("20200101-000000-4", 6));
        drop(make("20200101-000000-5", 0));
        drop(make("what the user keeps there", 10));
        let outside = tempfile::tempdir().unwrap();
        let link = parent.path().join("20200101-000000-6");
        std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        let left = || {
            let names = parent.path().read_dir().unwrap().map(|it| it.unwrap().file_name());
            let numbers = names.filter_map(|name| name.to_str().unwrap().chars().last());
            let mut left: Vec<char> = numbers.filter(char::is_ascii_digit).collect();
            left.sort();
            String::from_iter(left)
        };
        assert_eq!((tidy(parent.path(), 5000), left()), (0, "123456".into()));
        assert_eq!((tidy(parent.path(), 3000), left()), (2, "2456".into()));
        // The youngest may be that of a loop that has just begun.
        assert_eq!((tidy(parent.path(), 0), left()), (1, "256".into()));
        drop(running);
        assert_eq!((tidy(parent.path(), 0), left()), (1, "56".into()));
        assert!(parent.path().join("what the user keeps there").is_dir() && link.is_symlink());
        assert_eq!(tidy(&parent.path().join("nothing"), 0), 0);
    }

    #[test]
    fn they_are_known_by_their_names() {
        let own = below("loops".as_ref());
        assert!(is_own(own.file_name().unwrap().to_str().unwrap()), "{own:?}");
        for other in ["", "mine", "20200101", "20200101-000000", "2020-01-01", "20200101-00000a-1"]
        {
            assert!(!is_own(other), "{other}");
        }
    }
}
