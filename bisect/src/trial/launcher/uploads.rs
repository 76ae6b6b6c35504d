//! Which files a worker has: each content is sent once, and forgotten when it makes room.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::hex;
use crate::trial::files::Identity;

/// Bytes of files that a worker is left with when no job uses them. An outer machine keeps them in
/// its memory, of which the smallest have some hundred MiB beside what guests may take.
const IDLE_LIMIT: u64 = 96 << 20;

/// The files of one worker.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    known: HashMap<PathBuf, (Identity, String)>,
    held: HashMap<String, Held>,
    clock: u64,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    users: usize,
    last_used: u64,
}

impl Uploads {
    /// Notes that a job uses this file. Gives its name at the worker, and its content if it is not
    /// there yet.
    pub(super) fn acquire(&mut self, path: &Path) -> io::Result<(String, Option<Vec<u8>>)> {
        let identity = Identity::of(path)?;
        let known = self.known.get(path).filter(|(as_it_was, _)| *as_it_was == identity);
        let known = known.map(|(_, name)| name.clone()).filter(|name| self.held.contains_key(name));
        self.clock += 1;
        let (name, content) = match known {
            Some(name) => (name, None),
            None => {
                let content = std::fs::read(path)?;
                let name = name_of(&content);
                self.known.insert(path.to_owned(), (identity, name.clone()));
                (name, Some(content))
            }
        };
        let bytes = content.as_ref().map_or(0, |content| content.len() as u64);
        let new = !self.held.contains_key(&name);
        let held = self.held.entry(name.clone()).or_insert(Held { bytes, users: 0, last_used: 0 });
        held.users += 1;
        held.last_used = self.clock;
        Ok((name, content.filter(|_| new)))
    }

    /// Notes that a job does not use the file any more. Gives the files that have to go for room,
    /// the ones unused for longest first.
    pub(super) fn release(&mut self, name: &str) -> Vec<String> {
        if let Some(held) = self.held.get_mut(name) {
            held.users = held.users.saturating_sub(1);
        }
        let mut idle: Vec<(u64, u64, String)> = self
            .held
            .iter()
            .filter(|(_, held)| held.users == 0)
            .map(|(name, held)| (held.last_used, held.bytes, name.clone()))
            .collect();
        idle.sort();
        let mut bytes: u64 = idle.iter().map(|(_, bytes, _)| bytes).sum();
        let mut forgotten = Vec::new();
        for (_, size, name) in idle {
            if bytes <= IDLE_LIMIT {
                break;
            }
            bytes -= size;
            self.held.remove(&name);
            forgotten.push(name);
        }
        forgotten
    }
}

fn name_of(content: &[u8]) -> String {
    hex::encode(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::{IDLE_LIMIT, Uploads};

    #[test]
    fn a_content_is_sent_once_whatever_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&a, "kernel").unwrap();
        std::fs::write(&b, "kernel").unwrap();
        let mut uploads = Uploads::default();
        let (name, content) = uploads.acquire(&a).unwrap();
        assert_eq!(content.as_deref(), Some(&b"kernel"[..]));
        assert_eq!(uploads.acquire(&a).unwrap(), (name.clone(), None));
        assert_eq!(uploads.acquire(&b).unwrap(), (name.clone(), None));
        std::fs::write(&a, "another").unwrap();
        let (other, content) = uploads.acquire(&a).unwrap();
        assert_ne!(other, name);
        assert!(content.is_some());
        assert!(uploads.acquire(&directory.path().join("c")).is_err());
    }

    #[test]
    fn what_is_in_use_stays_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let mut uploads = Uploads::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| uploads.acquire(&file(name)).unwrap().0);
        uploads.held.values_mut().for_each(|held| held.bytes = IDLE_LIMIT / 2 + 1);
        assert!(uploads.release(&b).is_empty());
        assert_eq!(uploads.release(&a), std::slice::from_ref(&a));
        assert_eq!(uploads.release(&c), [b]);
        let (again, content) = uploads.acquire(&directory.path().join("a")).unwrap();
        assert_eq!((again, content.is_some()), (a, true));
    }
}
