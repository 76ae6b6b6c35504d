//! Where built and fetched things are kept between runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "VMBISECT_CACHE";

/// `$VMBISECT_CACHE`, else `$XDG_CACHE_HOME/vmbisect`, else `~/.cache/vmbisect`, else a directory
/// of that name in the current one.
pub fn dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    resolve(set(CACHE_VARIABLE), set("XDG_CACHE_HOME"), set("HOME"))
}

fn resolve(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> PathBuf {
    if let Some(own) = own {
        return own.into();
    }
    let base =
        xdg.map(PathBuf::from).or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    base.unwrap_or_default().join("vmbisect")
}

/// A directory that makes room when room is needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evictable {
    /// When it was used last.
    pub used: SystemTime,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that its files take.
    pub bytes: u64,
}

/// Removes directories, those used longest ago first, until the `total` bytes that they and others
/// take are within `limit`. `remove` tells whether it removed one; what can't be removed now will be
/// next time. Gives how many went.
pub fn evict(
    mut from: Vec<Evictable>,
    mut total: u64,
    limit: u64,
    mut remove: impl FnMut(&Path) -> bool,
) -> usize {
    from.sort();
    let mut removed = 0;
    for Evictable { path, bytes, .. } in from {
        if total <= limit {
            break;
        }
        if remove(&path) {
            total = total.saturating_sub(bytes);
            removed += 1;
        }
    }
    removed
}

/// Bytes that the files of a directory take, as far as they can be read.
pub fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = dir.read_dir() else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::{Evictable, evict, resolve};

    #[test]
    fn what_was_used_longest_ago_goes_and_no_more_than_is_needed() {
        let from: Vec<Evictable> = [("b", 2), ("a", 1), ("d", 4), ("c", 3)]
            .map(|(path, used)| Evictable {
                used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
                path: path.into(),
                bytes: 10,
            })
            .into();
        let removed = |total, limit| {
            let mut removed = Vec::new();
            // The one that can't be removed makes no room.
            let count = evict(from.clone(), total, limit, |path| {
                removed.push(path.to_str().unwrap().to_owned());
                path != Path::new("b")
            });
            (count, removed.concat())
        };
        assert_eq!(removed(40, 40), (0, String::new()));
        assert_eq!(removed(41, 40), (1, "a".into()));
        assert_eq!(removed(41, 30), (2, "abc".into()));
        assert_eq!(removed(100, 0), (3, "abcd".into()));
    }

    #[test]
    fn own_variable_then_xdg_then_home() {
        let some = |value: &str| Some(value.into());
        assert_eq!(resolve(some("/a"), some("/b"), some("/c")), Path::new("/a"));
        assert_eq!(resolve(None, some("/b"), some("/c")), Path::new("/b/vmbisect"));
        assert_eq!(resolve(None, None, some("/c")), Path::new("/c/.cache/vmbisect"));
        assert_eq!(resolve(None, None, None), Path::new("vmbisect"));
    }
}
