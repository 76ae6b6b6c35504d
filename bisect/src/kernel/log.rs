//! The build log: all that was printed, up to a limit, in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bytes that are kept from the start; behind them only the last [`TAIL`] lines are.
const LIMIT: u64 = 16 << 20;
const TAIL: usize = 1000;

/// Writes a log.
pub(super) struct Log {
    file: BufWriter<File>,
    written: u64,
    tail: VecDeque<String>,
    left_out: u64,
    /// The first thing that went wrong while writing; a build is not stopped for its log.
    error: Option<io::Error>,
}

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Log> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Log { file, written: 0, tail: VecDeque::new(), left_out: 0, error: None })
    }

    pub(super) fn line(&mut self, line: &str) {
        if self.written < LIMIT {
            self.put(line);
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
            self.left_out = self.left_out.saturating_add(1);
        }
        self.tail.push_back(line.to_owned());
    }

    fn put(&mut self, line: &str) {
        self.written = self.written.saturating_add(line.len() as u64).saturating_add(1);
        if let Err(error) = writeln!(self.file, "{line}") {
            self.error.get_or_insert(error);
        }
    }

    /// Writes what is still held back.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.left_out > 0 {
            self.put(&format!("[{} lines left out]", self.left_out));
        }
        for line in std::mem::take(&mut self.tail) {
            self.put(&line);
        }
        match self.error {
            Some(error) => Err(error),
            None => self.file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Log, TAIL};

    #[test]
    fn the_start_and_the_end_of_a_long_log_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::create(&path).unwrap();
        let long = "x".repeat(1 << 16);
        for _ in 0..LIMIT >> 16 {
            log.line(&long);
        }
        for number in 0..TAIL + 5 {
            log.line(&number.to_string());
        }
        log.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\n1003\n1004\n"));
        assert!(text.contains("\n[5 lines left out]\n5\n"));
    }
}
