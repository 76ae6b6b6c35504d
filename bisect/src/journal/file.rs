//! The file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Event, Header, JournalError, Record};
use crate::lock::Locked;

/// A journal that this process alone may append to, until it is dropped.
#[derive(Debug)]
pub struct Journal {
    file: Locked,
    dir: PathBuf,
    path: PathBuf,
    length: u64,
}

impl Journal {
    /// The name of the file in the state directory.
    pub const NAME: &'static str = "journal.jsonl";

    /// Begins a journal in `dir`, which is made if need be.
    ///
    /// # Errors
    /// Fails if there is one, if another process is at work there, or if it can't be written.
    pub fn create(dir: &Path, header: &Header) -> Result<Journal, JournalError> {
        let at_dir = |source| JournalError::Write { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(at_dir)?;
        // The file's own entry is synced below.
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_dir(parent).map_err(at_dir)?;
        }
        let mut journal = Journal::lock(dir, true)?;
        // A journal that says of nothing that happened holds nothing that could be lost.
        if journal.contents()?.iter().filter(|&&byte| byte == b'\n').count() > 1 {
            return Err(JournalError::Exists { dir: dir.to_owned() });
        }
        journal.write_line(header)?;
        sync_dir(dir).map_err(at_dir)?;
        Ok(journal)
    }

    /// Opens the journal in `dir` to go on with it: what it is about, and what happened.
    ///
    /// # Errors
    /// Fails if there is none, if another process is at work there, or if it is damaged elsewhere
    /// than at its end.
    pub fn open(dir: &Path) -> Result<(Journal, Header, Vec<Record>), JournalError> {
        let mut journal = Journal::lock(dir, false)?;
        let contents = journal.contents()?;
        let (header, records, length) = parse(&contents, dir)?;
        journal.length = length;
        let cut = journal.file.set_len(length);
        cut.map_err(|source| JournalError::Write { path: journal.path.clone(), source })?;
        Ok((journal, header, records))
    }

    /// Reads the journal in `dir`, also while another process is at work there, and changes
    /// nothing.
    ///
    /// # Errors
    /// Fails if there is none, or if it is damaged elsewhere than at its end.
    pub fn read(dir: &Path) -> Result<(Header, Vec<Record>), JournalError> {
        let path = dir.join(Journal::NAME);
        let contents = std::fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => JournalError::Missing { dir: dir.to_owned() },
            _ => JournalError::Read { path, source },
        })?;
        let (header, records, _) = parse(&contents, dir)?;
        Ok((header, records))
    }

    /// Appends an event; when this returns, it is on disk.
    ///
    /// # Errors
    /// Fails if it can't be written; the journal is then as it was.
    pub fn append(&mut self, event: Event) -> Result<Record, JournalError> {
        let record = Record { at_ms: now_ms(), event };
        self.write_line(&record)?;
        Ok(record)
    }

    /// Writes a file beside the journal, to be named by a later record, and gives its path
    /// relative to the journal.
    ///
    /// # Errors
    /// Fails if it can't be written.
    pub fn keep(&self, name: &str, contents: &str) -> Result<PathBuf, JournalError> {
        let relative = Path::new("trials").join(name);
        let path = self.dir.join(&relative);
        let trials = self.dir.join("trials");
        let write = || -> io::Result<()> {
            if !trials.is_dir() {
                std::fs::create_dir(&trials)?;
                sync_dir(&self.dir)?;
            }
            let mut file = File::create(&path)?;
            file.write_all(contents.as_bytes())?;
            file.sync_data()?;
            sync_dir(&trials)
        };
        write().map_err(|source| {
            // Half of it would only take the room that is lacking.
            let _ = std::fs::remove_file(&path);
            JournalError::Write { path: path.clone(), source }
        })?;
        Ok(relative)
    }

    /// The directory it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn lock(dir: &Path, create: bool) -> Result<Journal, JournalError> {
        let path = dir.join(Journal::NAME);
        let options = OpenOptions::new().read(true).write(true).create(create).clone();
        let file = options.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if !create => JournalError::Missing { dir: dir.to_owned() },
            kind if create || kind == io::ErrorKind::ReadOnlyFilesystem => {
                JournalError::Write { path: path.clone(), source }
            }
            _ => JournalError::Read { path: path.clone(), source },
        })?;
        let file = Locked::attempt(file)
            .map_err(|source| JournalError::Read { path: path.clone(), source })?
            .ok_or_else(|| JournalError::InUse { dir: dir.to_owned() })?;
        Ok(Journal { file, dir: dir.to_owned(), path, length: 0 })
    }

    fn contents(&mut self) -> Result<Vec<u8>, JournalError> {
        let mut contents = Vec::new();
        let read = self.file.read_to_end(&mut contents);
        read.map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
        Ok(contents)
    }

    fn write_line(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        let length = self.length;
        let written = (|| -> io::Result<u64> {
            let mut bytes = serde_json::to_vec(line)?;
            bytes.push(b'\n');
            self.file.set_len(length)?;
            self.file.seek(SeekFrom::Start(length))?;
            self.file.write_all(&bytes)?;
            self.file.sync_data()?;
            Ok(bytes.len() as u64)
        })();
        match written {
            Ok(bytes) => {
                self.length += bytes;
                Ok(())
            }
            Err(source) => {
                // A torn line is dropped when the journal is read, so this is only tidiness.
                let _ = self.file.set_len(length);
                Err(JournalError::Write { path: self.path.clone(), source })
            }
        }
    }
}

/// What a journal is about, what happened, and how many of its bytes say so.
fn parse(contents: &[u8], dir: &Path) -> Result<(Header, Vec<Record>, u64), JournalError> {
    let path = || dir.join(Journal::NAME);
    let corrupt = |line, source| JournalError::Corrupt { path: path(), line, source };
    let whole = contents.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut lines = contents.get(..whole).unwrap_or_default().split_inclusive(|&b| b == b'\n');
    let Some(first) = lines.next() else {
        return Err(JournalError::Missing { dir: dir.to_owned() });
    };
    let value: serde_json::Value =
        serde_json::from_slice(first).map_err(|source| corrupt(1, source))?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found != u64::from(Header::FORMAT) {
        return Err(JournalError::Format { path: path(), found, known: Header::FORMAT });
    }
    let header = serde_json::from_value(value).map_err(|source| corrupt(1, source))?;
    let mut length = first.len() as u64;
    let mut records = Vec::new();
    let mut lines = lines.enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        match serde_json::from_slice(line) {
            Ok(record) => {
                records.push(record);
                length += line.len() as u64;
            }
            // The end of a file may be torn in other ways than by being cut off.
            Err(_) if lines.peek().is_none() => break,
            Err(source) => return Err(corrupt(at + 2, source)),
        }
    }
    Ok((header, records, length))
}

/// Waits until what was made in a directory is still there after a power cut.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
