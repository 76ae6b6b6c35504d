//! What is kept of a console.

use std::collections::VecDeque;

/// Of a console this much is kept, the end of it: enough for any report and what led to it.
const CONSOLE_BYTES: usize = 256 << 10;

/// The last lines of a console.
#[derive(Debug, Default)]
pub struct ConsoleTail {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl ConsoleTail {
    /// Takes a line; the oldest ones give way when there are more than 256 KiB of them.
    pub fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > CONSOLE_BYTES
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len() + 1;
            self.dropped += 1;
        }
    }

    /// The lines, after one that says how many were dropped, if any were.
    pub fn text(self) -> String {
        let mut text = match self.dropped {
            0 => String::new(),
            dropped => format!("[{dropped} lines before this were not kept]\n"),
        };
        for line in self.lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{CONSOLE_BYTES, ConsoleTail};

    #[test]
    fn a_console_keeps_its_end() {
        let mut console = ConsoleTail::default();
        for i in 0..100_000 {
            console.push(&format!("line {i}"));
        }
        let text = console.text();
        assert!(text.len() <= CONSOLE_BYTES + 100);
        assert!(text.starts_with('[') && text.ends_with("line 99999\n"));
        let mut console = ConsoleTail::default();
        console.push(&"x".repeat(2 * CONSOLE_BYTES));
        assert!(console.text().len() < 100);
    }
}
