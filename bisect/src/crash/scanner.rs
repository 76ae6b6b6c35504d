//! Bytes in, crashes out, while the log still arrives.

use std::borrow::Cow;

use memchr::{memchr, memrchr};

use super::{
    Crash,
    rules::RuleSet,
    tracker::{Place, Tracker},
};

/// Longer lines are cut.
const LONGEST_LINE: usize = 16 << 10;

/// How much is looked at at once.
const PIECE: usize = 64 << 10;

/// How much of the log behind the current line is kept, for the lines before a report.
const PAST: usize = 16 << 10;

/// What the scanner has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A crash as far as it has been printed: its title is certain, its report may still grow. The
    /// same crash follows as [`Event::Crash`].
    Sighted(Crash),
    /// A crash, complete.
    Crash(Crash),
    /// The kernel panicked. Crashes of the same boot that have been reported already led to a panic
    /// after all.
    Panic {
        /// Offset of where this boot begins in the log.
        since: u64,
        /// Offset of the line that says so.
        at: u64,
    },
}

/// Finds the crashes in a console log that arrives in pieces.
///
/// The result does not depend on how the log was cut up. A crash is told of twice: as
/// [`Event::Sighted`] as soon as its title is certain, and as [`Event::Crash`] when its report is
/// complete, which is when the next one or another boot begins, when the log has gone on for long without it, or at
/// [`Scanner::finish`]. A kernel that has died prints nothing more, so who waits for a crash should
/// look at [`Scanner::pending`] when the log has been silent for a moment.
///
/// Memory is bounded by the longest report, which is cut at 1 MiB, whatever the length of the log.
///
/// ```
/// use vmbisect::crash::{Event, Scanner};
///
/// let mut scanner = Scanner::new();
/// let mut events = scanner.push(b"VFS: Close: file cou");
/// events.extend(scanner.push(b"nt is 0\n"));
/// events.extend(scanner.finish());
/// let Some(Event::Crash(crash)) = events.last() else { panic!("{events:?}") };
/// assert_eq!(crash.title, "VFS: Close: file count is zero (use-after-free)");
/// assert_eq!((crash.start, crash.end), (0, 28));
/// ```
#[derive(Clone, Debug)]
pub struct Scanner {
    set: &'static RuleSet,
    tracker: Tracker,
    /// The last of the log: lines that were looked at, and at the end one that is not complete.
    buffer: Vec<u8>,
    /// Offset in the log of the buffer's first byte.
    base: u64,
    /// Where in the buffer the line begins that is not complete.
    next: usize,
    /// How much of that line was thrown away because it is too long.
    dropped: usize,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// A scanner at the start of a log.
    pub fn new() -> Scanner {
        Scanner::with(RuleSet::standard())
    }

    /// A scanner with so many times the rules: for measuring what rules cost. The additional ones
    /// never match.
    #[doc(hidden)]
    pub fn with_many_rules(times: usize) -> Scanner {
        Scanner::with(RuleSet::enlarged(times))
    }

    fn with(set: &'static RuleSet) -> Scanner {
        let tracker = Tracker::new(set);
        Scanner { set, tracker, buffer: Vec::new(), base: 0, next: 0, dropped: 0 }
    }

    /// Reads the next piece of the log and gives what has become certain by it.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        for piece in bytes.chunks(PIECE) {
            let rest = self.long_line(piece);
            self.buffer.extend_from_slice(rest);
            let tail = self.buffer.get(self.next..).unwrap_or_default();
            if let Some(end) = memrchr(b'\n', tail) {
                self.lines(self.next + end + 1);
            }
            let longest = self.next + LONGEST_LINE;
            self.dropped += self.buffer.len().saturating_sub(longest);
            self.buffer.truncate(longest);
            self.forget();
        }
        self.tracker.take_events()
    }

    /// The log has ended: gives what was still open.
    pub fn finish(&mut self) -> Vec<Event> {
        let end = self.buffer.len();
        self.lines(end);
        self.base += self.dropped as u64;
        self.dropped = 0;
        self.tracker.close_all();
        self.tracker.take_events()
    }

    /// The crashes whose reports have begun and not ended, as they would be if the log ended here.
    pub fn pending(&self) -> Vec<Crash> {
        self.tracker.pending()
    }

    /// Takes from the piece what would make the current line too long, and gives the rest.
    fn long_line<'a>(&mut self, piece: &'a [u8]) -> &'a [u8] {
        let partial = self.buffer.len() - self.next;
        let head = memchr(b'\n', piece);
        let length = head.unwrap_or(piece.len());
        if self.dropped == 0 && (partial == 0 || partial + length <= LONGEST_LINE) {
            return piece;
        }
        let (line, rest) = piece.split_at(length);
        let room = LONGEST_LINE.saturating_sub(partial);
        self.buffer.extend_from_slice(line.get(..room).unwrap_or(line));
        self.dropped += line.len().saturating_sub(room);
        if head.is_none() {
            return rest;
        }
        // The line is complete. What was dropped of it is missing in the buffer, which therefore
        // begins anew behind it.
        let end = self.buffer.len();
        let (past, line) = self.buffer.split_at_checked(self.next).unwrap_or_default();
        self.tracker.lines_of(line);
        let start = self.base + self.next as u64;
        self.base += (end + std::mem::take(&mut self.dropped) + 1) as u64;
        let place = Place { past, start, end: self.base };
        self.tracker.line(&String::from_utf8_lossy(line), place, true);
        self.buffer.clear();
        self.next = 0;
        rest.get(1..).unwrap_or_default()
    }

    /// Looks at the whole lines of the buffer up to `end`, of which most begin nothing.
    fn lines(&mut self, end: usize) {
        let from = self.next;
        let Some(text) = self.buffer.get(from..end) else { return };
        // Most logs are UTF-8; where one is not, only the lines count that are not.
        let valid = std::str::from_utf8(text).ok();
        self.tracker.lines_of(text);
        let mut candidates = self.set.candidates(text).peekable();
        let mut at = 0;
        while at < text.len() {
            if self.tracker.is_idle() {
                // No report is open: on to the line of the next candidate.
                let Some(&candidate) = candidates.peek() else { break };
                let between = text.get(at..candidate).unwrap_or_default();
                at = memrchr(b'\n', between).map_or(at, |newline| at + newline + 1);
            }
            let rest = text.get(at..).unwrap_or_default();
            let next = memchr(b'\n', rest).map_or(text.len(), |newline| at + newline + 1);
            let mut may_begin = false;
            while candidates.next_if(|&candidate| candidate < next).is_some() {
                may_begin = true;
            }
            let line = at..next.min(at + LONGEST_LINE);
            let line = valid.and_then(|valid| valid.get(line.clone())).map_or_else(
                || String::from_utf8_lossy(text.get(line).unwrap_or_default()),
                Cow::Borrowed,
            );
            let past = self.buffer.get(..from + at).unwrap_or_default();
            let [start, end] = [at, next].map(|at| self.base + (from + at) as u64);
            self.tracker.line(&line, Place { past, start, end }, may_begin);
            at = next;
        }
        self.next = end;
    }

    /// Lets go of what is too far back to be of use.
    fn forget(&mut self) {
        if self.next > 4 * PAST {
            let gone = self.next - PAST;
            self.buffer.drain(..gone);
            self.base += gone as u64;
            self.next = PAST;
        }
    }
}
