//! Files that many trials read: kept while they stay the same.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many files are kept. A bisection tries one or two revisions at a time, and a kernel is kept
/// decompressed, in an outer machine whose memory is short.
const KEPT: usize = 2;

/// What a file's content is known again by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Identity {
    /// That of the file at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<Identity> {
        let meta = std::fs::metadata(path)?;
        Ok(Identity {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// What was made of the files that were used last.
#[derive(Debug)]
pub(super) struct FileCache<T: ?Sized>(Mutex<Vec<(PathBuf, Identity, Arc<T>)>>);

impl<T: ?Sized> Default for FileCache<T> {
    fn default() -> Self {
        FileCache(Mutex::default())
    }
}

impl<T: ?Sized> FileCache<T> {
    /// What `make` makes of the file, or made of it the last time.
    pub(super) fn get<E>(
        &self,
        path: &Path,
        unreadable: impl FnOnce(io::Error) -> E,
        make: impl FnOnce(&Path) -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, E> {
        let identity = Identity::of(path).map_err(unreadable)?;
        // Held while the file is read, so that trials that start together read it once.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(p, i, _): &(PathBuf, Identity, Arc<T>)| p == path && *i == identity;
        let entry = match entries.iter().position(known) {
            Some(at) => entries.remove(at),
            None => (path.to_owned(), identity, make(path)?),
        };
        let made = entry.2.clone();
        entries.retain(|(p, _, _)| p != path);
        entries.push(entry);
        let surplus = entries.len().saturating_sub(KEPT);
        entries.drain(..surplus);
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FileCache, KEPT};

    #[test]
    fn a_file_is_read_again_when_it_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kernel");
        let cache: FileCache<str> = FileCache::default();
        let mut reads = 0;
        let mut get = |content: Option<&str>| {
            content.iter().for_each(|content| std::fs::write(&path, content).unwrap());
            let made = cache.get(&path, drop, |path| {
                reads += 1;
                Ok(Arc::from(std::fs::read_to_string(path).unwrap()))
            });
            (made.unwrap().to_string(), reads)
        };
        assert_eq!(get(Some("a")), ("a".into(), 1));
        assert_eq!(get(None), ("a".into(), 1));
        assert_eq!(get(Some("longer")), ("longer".into(), 2));
        let missing: Result<Arc<str>, ()> = cache.get(&path.join("x"), drop, |_| unreachable!());
        assert_eq!(missing, Err(()));
    }

    #[test]
    fn it_keeps_a_few() {
        let directory = tempfile::tempdir().unwrap();
        let cache: FileCache<str> = FileCache::default();
        for name in 0..3 * KEPT {
            let path = directory.path().join(name.to_string());
            std::fs::write(&path, "x").unwrap();
            cache.get(&path, drop, |_| Ok(Arc::from("x"))).unwrap();
        }
        assert_eq!(cache.0.lock().unwrap().len(), KEPT);
    }
}
