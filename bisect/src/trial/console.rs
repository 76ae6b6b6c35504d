//! What is kept of a console.

use std::collections::VecDeque;

use super::TrialReport;

/// Of a console this much is kept, the start of it: which kernel it is, on what machine.
const HEAD_BYTES: usize = 64 << 10;

/// And this much, the end of it: enough for any report and what led to it.
const TAIL_BYTES: usize = 256 << 10;

/// The first and the last lines of a console.
#[derive(Debug, Default)]
pub struct KeptConsole {
    head: String,
    /// The head is as long as it can be.
    full: bool,
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl KeptConsole {
    /// Takes a line. When there are more than the first 64 KiB and another 256 KiB of them, those in
    /// between give way.
    pub fn push(&mut self, line: &str) {
        self.full |= self.head.len() + line.len() + 1 > HEAD_BYTES;
        if !self.full {
            self.head.push_str(line);
            self.head.push('\n');
            return;
        }
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > TAIL_BYTES
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len() + 1;
            self.dropped += 1;
        }
    }

    /// Adds what is known of the end beyond what the console showed.
    pub fn end(&mut self, report: &TrialReport) {
        report.beyond_console().lines().for_each(|line| self.push(line));
    }

    /// The lines; where some were dropped, one says how many.
    pub fn text(self) -> String {
        let mut text = self.head;
        if self.dropped > 0 {
            text.push_str(&format!("[{} lines here were not kept]\n", self.dropped));
        }
        for line in self.lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, KeptConsole, TAIL_BYTES};

    #[test]
    fn a_console_keeps_its_start_and_its_end() {
        let mut console = KeptConsole::default();
        for i in 0..100_000 {
            console.push(&format!("line {i}"));
        }
        let text = console.text();
        assert!(text.len() <= HEAD_BYTES + TAIL_BYTES + 100);
        assert!(text.starts_with("line 0\n") && text.ends_with("line 99999\n"));
        let (_, behind) = text.split_once("\n[").unwrap();
        let dropped: usize = behind.split_once(' ').unwrap().0.parse().unwrap();
        assert_eq!(dropped + text.lines().count() - 1, 100_000);
    }

    #[test]
    fn a_short_one_is_kept_as_it_is_and_a_long_line_is_not() {
        let mut console = KeptConsole::default();
        console.push("one");
        console.push("two");
        assert_eq!(console.text(), "one\ntwo\n");
        let mut console = KeptConsole::default();
        console.push(&"x".repeat(2 * TAIL_BYTES));
        console.push("short");
        assert_eq!(console.text(), "[1 lines here were not kept]\nshort\n");
    }
}
