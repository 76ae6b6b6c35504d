//! What is kept of a console.

use std::collections::VecDeque;

use vmm::ConsoleLine;

use super::TrialReport;

/// Of a console this much is kept, the start of it: which kernel it is, on what machine.
const HEAD_BYTES: usize = 64 << 10;

/// And this much, the end of it: enough for any report and what led to it.
const TAIL_BYTES: usize = 256 << 10;

/// What a line takes beside its own bytes: its end, and the time that stands before it.
const STAMP: usize = 32;

/// The line with the host's time before it, in seconds since the machine was started, as the kernel
/// writes its own: `[    1.234567] [    0.987654] text`. The classifier takes both for stamps.
pub fn stamped(line: &ConsoleLine) -> String {
    let (seconds, us) = (line.at_us / 1_000_000, line.at_us % 1_000_000);
    format!("[{seconds:5}.{us:06}] {}", line.text)
}

/// The first and the last lines of a console, each with its time.
#[derive(Debug, Default)]
pub struct KeptConsole {
    head: Vec<ConsoleLine>,
    head_bytes: usize,
    /// The head is as long as it can be.
    full: bool,
    tail: VecDeque<ConsoleLine>,
    tail_bytes: usize,
    dropped: u64,
    /// What is known beyond.
    beyond: String,
}

impl KeptConsole {
    /// Takes a line. When there are more than the first 64 KiB and another 256 KiB of them, those in
    /// between give way.
    pub fn push(&mut self, line: &ConsoleLine) {
        let bytes = size(line);
        self.full |= self.head_bytes + bytes > HEAD_BYTES;
        if !self.full {
            self.head_bytes += bytes;
            self.head.push(line.clone());
            return;
        }
        self.tail_bytes += bytes;
        self.tail.push_back(line.clone());
        while self.tail_bytes > TAIL_BYTES
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_bytes -= size(&first);
            self.dropped += 1;
        }
    }

    /// Adds what is known of the end beyond what the console showed.
    pub fn end(&mut self, report: &TrialReport) {
        self.beyond = report.beyond_console();
    }

    /// The lines that the console showed.
    pub fn lines(&self) -> impl Iterator<Item = &ConsoleLine> {
        self.head.iter().chain(&self.tail)
    }

    /// How many lines behind the first 64 KiB were not kept.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All of it as text, each line with its time ([`stamped`]); where some were dropped, one line says
    /// how many.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |line: &str| text.extend([line, "\n"]);
        self.head.iter().for_each(|line| add(&stamped(line)));
        if self.dropped > 0 {
            add(&format!("[{} lines here were not kept]", self.dropped));
        }
        self.tail.iter().for_each(|line| add(&stamped(line)));
        self.beyond.lines().for_each(add);
        text
    }
}

/// Bytes that a line counts for: with the time that stands before it.
fn size(line: &ConsoleLine) -> usize {
    line.text.len() + STAMP
}

#[cfg(test)]
mod tests {
    use vmm::ConsoleLine;

    use super::{HEAD_BYTES, KeptConsole, TAIL_BYTES};
    use crate::crash::classify;
    use crate::trial::tests::WARNING;

    fn console(lines: impl IntoIterator<Item = String>) -> KeptConsole {
        let mut console = KeptConsole::default();
        for (text, at_us) in lines.into_iter().zip(1_234_567..) {
            console.push(&ConsoleLine { at_us, text });
        }
        console
    }

    #[test]
    fn a_console_keeps_its_start_and_its_end() {
        let console = console((0..100_000).map(|i| format!("line {i}")));
        let kept: usize = console.lines().map(|line| line.text.len() + 1).sum();
        assert!(kept <= HEAD_BYTES + TAIL_BYTES, "{kept}");
        assert_eq!(console.dropped() as usize + console.lines().count(), 100_000);
        let text = console.text();
        assert!(text.starts_with("[    1.234567] line 0\n") && text.ends_with(" line 99999\n"));
        let note = format!("\n[{} lines here were not kept]\n", console.dropped());
        assert!(text.contains(&note), "{note}");
    }

    #[test]
    fn a_short_one_is_kept_as_it_is_and_a_long_line_is_not() {
        let short = console(["one", "two"].map(String::from));
        assert_eq!(short.text(), "[    1.234567] one\n[    1.234568] two\n");
        let long = console(["x".repeat(2 * TAIL_BYTES), "short".into()]);
        assert_eq!(long.text(), "[1 lines here were not kept]\n[    1.234568] short\n");
    }

    #[test]
    fn kept_with_the_hosts_time_it_is_read_as_it_was() {
        for stamp in ["", "[   12.345678] ", "[   12.345678][  T421] "] {
            let kept = console(WARNING.lines().map(|line| format!("{stamp}{line}"))).text();
            let crashes = classify(kept.as_bytes());
            let titles: Vec<&str> = crashes.iter().map(|crash| &*crash.title).collect();
            assert_eq!(titles, ["WARNING in kvm_wait"], "{kept}");
        }
    }
}
