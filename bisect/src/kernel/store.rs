//! The store: what was built, by a key of everything that decides the result.
//!
//! An entry is a directory that appears in one rename, complete and synced, so that a reader sees
//! all of it or nothing, whatever kills the writer. Directories without an `entry.json` are left
//! over from such a death and are removed when the next entry is written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::source::Revision;
use super::{BuildError, BuildFailure, Built, Dependencies, Image};
use crate::cache::{Evictable, bytes_of, evict};

const ENTRY: &str = "entry.json";
const IMAGE: &str = "bzImage";
const VMLINUX: &str = "vmlinux";
/// Small, and beside the image it gives the functions in a report of a hang their names.
const SYSTEM_MAP: &str = "System.map";
const CONFIG: &str = "config";
const LOG: &str = "log";
/// Unfinished entries start with this.
const UNFINISHED: &str = "new-";
/// An unfinished entry this old has no writer any more.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// An entry that was used this recently may be in use and is never evicted.
const FRESH: Duration = Duration::from_secs(3600);

/// What `entry.json` holds; the files beside it have fixed names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) tree: String,
    pub(super) compiler: String,
    pub(super) notes: Vec<String>,
    pub(super) build_seconds: f64,
    #[serde(flatten)]
    pub(super) result: EntryResult,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum EntryResult {
    Image { signature: String },
    Failed { errors: Vec<String>, guilty: Option<String> },
}

/// Files that go into an entry.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) image: Option<PathBuf>,
    pub(super) vmlinux: Option<PathBuf>,
    pub(super) system_map: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) dependencies: Option<PathBuf>,
    pub(super) log: PathBuf,
}

/// A directory of entries.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
    limit: u64,
}

impl Store {
    /// `limit` is how many bytes entries may take before the least recently used go.
    pub(super) fn open(dir: PathBuf, limit: u64) -> Result<Store, BuildError> {
        fs::create_dir_all(&dir).map_err(BuildError::io("create", &dir))?;
        let dir = dir.canonicalize().map_err(BuildError::io("open", &dir))?;
        Ok(Store { dir, limit })
    }

    /// An entry's result, as one for `revision`.
    pub(super) fn get(&self, key: &str, revision: &Revision) -> Option<Built> {
        let dir = self.dir.join(key);
        let entry: Entry = serde_json::from_slice(&fs::read(dir.join(ENTRY)).ok()?).ok()?;
        // The time of last use; not being able to note it only makes it look older.
        let _ = File::open(dir.join(ENTRY)).and_then(|file| file.set_modified(SystemTime::now()));
        let (commit, tree) = (revision.commit.clone(), entry.tree);
        let (compiler, notes) = (entry.compiler, entry.notes);
        let (config, log, build_seconds) = (dir.join(CONFIG), dir.join(LOG), entry.build_seconds);
        let existing = |path: PathBuf| path.is_file().then_some(path);
        Some(match entry.result {
            EntryResult::Image { signature } => Built::Image(Image {
                commit,
                tree,
                path: existing(dir.join(IMAGE))?,
                vmlinux: existing(dir.join(VMLINUX)),
                config,
                log,
                signature,
                compiler,
                notes,
                build_seconds,
                cached: true,
            }),
            EntryResult::Failed { errors, guilty } => Built::Failed(BuildFailure {
                commit,
                tree,
                errors,
                guilty,
                config: existing(config),
                log,
                compiler,
                notes,
                build_seconds,
                cached: true,
            }),
        })
    }

    /// Writes an entry and, beyond the limit, removes the least recently used ones.
    pub(super) fn put(&self, key: &str, entry: &Entry, files: &Files) -> Result<(), BuildError> {
        let dir = self.dir.join(key);
        let new = self.dir.join(format!("{UNFINISHED}{}-{key}", std::process::id()));
        let written = self.write(&new, &dir, entry, files);
        if written.is_err() {
            // The reason it failed is what counts.
            let _ = fs::remove_dir_all(&new);
        }
        written.map_err(BuildError::io("write", &dir))?;
        self.tidy(key);
        Ok(())
    }

    fn write(&self, new: &Path, dir: &Path, entry: &Entry, files: &Files) -> io::Result<()> {
        remove(new)?;
        fs::create_dir(new)?;
        let sources = [
            (files.image.as_deref(), IMAGE),
            (files.vmlinux.as_deref(), VMLINUX),
            (files.system_map.as_deref(), SYSTEM_MAP),
            (files.config.as_deref(), CONFIG),
            (files.dependencies.as_deref(), Dependencies::FILE),
            (Some(files.log.as_path()), LOG),
        ];
        for (source, name) in sources {
            if let Some(source) = source {
                fs::copy(source, new.join(name))?;
                File::open(new.join(name))?.sync_all()?;
            }
        }
        let file = File::create(new.join(ENTRY))?;
        serde_json::to_writer_pretty(&file, entry)?;
        file.sync_all()?;
        File::open(new)?.sync_all()?;
        remove(dir)?;
        match fs::rename(new, dir) {
            // Another process has just put the same entry.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => remove(new)?,
            renamed => renamed?,
        }
        File::open(&self.dir)?.sync_all()
    }

    /// Removes what a killed writer left and what is over the limit. What can't be removed now will
    /// be next time.
    fn tidy(&self, keep: &str) {
        let Ok(entries) = self.dir.read_dir() else { return };
        let now = SystemTime::now();
        let mut used = Vec::new();
        let mut total = 0_u64;
        for entry in entries.flatten() {
            let path = entry.path();
            let stamp = if path.join(ENTRY).is_file() { path.join(ENTRY) } else { path.clone() };
            let Ok(modified) = stamp.metadata().and_then(|data| data.modified()) else { continue };
            let age = now.duration_since(modified).unwrap_or_default();
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(UNFINISHED) {
                if age > ABANDONED {
                    let _ = fs::remove_dir_all(&path);
                }
                continue;
            }
            let bytes = bytes_of(&path);
            total = total.saturating_add(bytes);
            if name != keep && age > FRESH {
                used.push(Evictable { used: modified, path, bytes });
            }
        }
        evict(used, total, self.limit, |path| fs::remove_dir_all(path).is_ok());
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::{Entry, EntryResult, Files, Store};
    use crate::kernel::Built;
    use crate::kernel::source::Revision;

    fn entry(signature: &str) -> Entry {
        Entry {
            tree: "t".into(),
            compiler: "gcc".into(),
            notes: vec![],
            build_seconds: 1.5,
            result: EntryResult::Image { signature: signature.into() },
        }
    }

    #[test]
    fn what_is_put_can_be_got_and_old_entries_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("input");
        fs::write(&file, vec![7; 1000]).unwrap();
        let files = Files { image: Some(file.clone()), log: file, ..Files::default() };
        let store = Store::open(dir.path().join("store"), 4500).unwrap();
        let revision = Revision { commit: "c".into(), tree: "t".into() };
        assert_eq!(store.get("a", &revision), None);

        store.put("a", &entry("one"), &files).unwrap();
        let Some(Built::Image(image)) = store.get("a", &revision) else { panic!("not there") };
        assert_eq!((image.commit.as_str(), image.signature.as_str()), ("c", "one"));
        assert_eq!(fs::read(&image.path).unwrap().len(), 1000);
        assert_eq!(image.vmlinux, None);
        assert!(image.cached);

        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        let stamp = dir.path().join("store/a/entry.json");
        File::options().write(true).open(&stamp).unwrap().set_modified(long_ago).unwrap();
        store.put("b", &entry("two"), &files).unwrap();
        assert!(store.get("a", &revision).is_some(), "there was room for two");
        File::options().write(true).open(&stamp).unwrap().set_modified(long_ago).unwrap();
        store.put("c", &entry("three"), &files).unwrap();
        assert_eq!(store.get("a", &revision), None);
        assert!(store.get("b", &revision).is_some(), "it was used a moment ago");
    }

    #[test]
    fn an_entry_without_its_image_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("input");
        fs::write(&file, "x").unwrap();
        let files = Files { image: Some(file.clone()), log: file, ..Files::default() };
        let store = Store::open(dir.path().join("store"), u64::MAX).unwrap();
        store.put("a", &entry("one"), &files).unwrap();
        fs::remove_file(dir.path().join("store/a/bzImage")).unwrap();
        let revision = Revision { commit: "c".into(), tree: "t".into() };
        assert_eq!(store.get("a", &revision), None);
    }
}
