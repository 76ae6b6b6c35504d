//! One console line, taken apart: what the console put in front of it, who printed it, what is left.

use std::borrow::Cow;

/// Who printed a line, as far as the line says.
///
/// With `CONFIG_PRINTK_CALLER` the kernel marks each line with the task or the CPU that printed it,
/// which is what tells the lines of two reports printed at once apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Context {
    /// No mark at all: a line of user space, or a kernel without timestamps.
    Bare,
    /// A printk timestamp, but no caller.
    Stamped,
    /// `[ T123]`: task context, with the thread's id.
    Task(u32),
    /// `[ C1]`: interrupt context, with the CPU.
    Cpu(u32),
}

impl Context {
    /// Whether the line says who printed it.
    pub(super) fn is_known(self) -> bool {
        matches!(self, Context::Task(_) | Context::Cpu(_))
    }
}

/// A line without what the console put around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Who printed it.
    pub(super) context: Context,
    /// The text behind the prefix.
    pub(super) text: &'a [u8],
}

/// Takes a line apart. `raw` is without its newline.
pub(super) fn parse(raw: &[u8]) -> Line<'_> {
    let raw = trim_end(raw);
    let mut line = Line { context: Context::Bare, text: raw };
    let mut rest = raw;
    // Whatever comes before the stamp (a syslog date, a login prompt without its newline, the note
    // about dropped messages) goes away with it; but a `[` in the middle of a sentence is no stamp,
    // so only the first few brackets are looked at.
    let mut context = Context::Bare;
    for _ in 0..4 {
        // Most lines begin with their stamp.
        let first = if rest.first() == Some(&b'[') { Some(0) } else { memchr::memchr(b'[', rest) };
        let Some(open) = first else { break };
        let inside = rest.get(open + 1..).unwrap_or_default();
        let Some(after) = timestamp(inside) else {
            if context == Context::Bare && open < 64 {
                rest = inside;
                continue;
            }
            break;
        };
        context = Context::Stamped;
        let mut text = after;
        if let Some((caller, after)) = caller(text) {
            context = caller;
            text = after;
        }
        line = Line { context, text: text.strip_prefix(b" ").unwrap_or(text) };
        // Two stamps in a row: the console was logged with a stamp of its own.
        if !line.text.starts_with(b"[") {
            break;
        }
        rest = line.text;
    }
    if context == Context::Bare {
        line.text = level(line.text);
    }
    line
}

/// A line that was printed without a stamp, whatever follows in it.
pub(super) fn unstamped(raw: &[u8]) -> Line<'_> {
    Line { context: Context::Bare, text: level(trim_end(raw)) }
}

/// Whether there may be something in a text that only terminals understand.
pub(super) fn is_coloured(text: &[u8]) -> bool {
    memchr::memchr(ESCAPE, text).is_some()
}

/// A line without what only terminals understand: colours (`ESC [ 1 ; 31 m`), the cursor's moves.
pub(super) fn plain(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr::memchr(ESCAPE, raw) else { return Cow::Borrowed(raw) };
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (before, behind) = rest.split_at(at);
        text.extend_from_slice(before);
        let skipped = match behind {
            // Parameters, and the letter that says what they are for.
            [_, b'[', sequence @ ..] => {
                3 + sequence.iter().take_while(|byte| !(b'@'..=b'~').contains(*byte)).count()
            }
            _ => 2,
        };
        rest = behind.get(skipped..).unwrap_or_default();
        let Some(next) = memchr::memchr(ESCAPE, rest) else { break };
        at = next;
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

const ESCAPE: u8 = 0x1b;

/// Whether a printk timestamp stands somewhere in a text: another line broke in there.
pub(super) fn holds_stamp(text: &[u8]) -> bool {
    memchr::memchr_iter(b'[', text).any(|open| text.get(open + 1..).and_then(timestamp).is_some())
}

fn trim_end(mut raw: &[u8]) -> &[u8] {
    while let Some((b'\r' | b'\n', rest)) = raw.split_last() {
        raw = rest;
    }
    raw
}

/// `<4>`: a level as the raw log buffer has it.
fn level(text: &[u8]) -> &[u8] {
    match text {
        [b'<', b'0'..=b'9', b'>', rest @ ..] => rest,
        [b'<', b'0'..=b'9', b'0'..=b'9', b'>', rest @ ..] => rest,
        _ => text,
    }
}

/// `   12.345678]`: what follows the inside of a printk timestamp and its bracket.
fn timestamp(inside: &[u8]) -> Option<&[u8]> {
    let inside = inside.trim_ascii_start();
    let (_, rest) = digits(inside, 8)?;
    let (_, rest) = digits(rest.strip_prefix(b".")?, 9)?;
    rest.strip_prefix(b"]")
}

/// `[ T123]` or `[    C1]`, with or without a space before it.
fn caller(text: &[u8]) -> Option<(Context, &[u8])> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (&letter, rest) = text.strip_prefix(b"[")?.trim_ascii_start().split_first()?;
    let (digits, rest) = digits(rest, 9)?;
    let number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let context = match letter {
        b'T' => Context::Task(number),
        b'C' => Context::Cpu(number),
        _ => return None,
    };
    Some((context, rest.strip_prefix(b"]")?))
}

/// At least one and at most `most` digits, and what follows them, which must be something.
fn digits(text: &[u8], most: usize) -> Option<(&[u8], &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit())?;
    if (1..=most).contains(&length) { text.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Context, holds_stamp, parse, plain};

    #[track_caller]
    fn check(raw: &str, context: Context, text: &str) {
        let line = parse(raw.as_bytes());
        assert_eq!((line.context, std::str::from_utf8(line.text).unwrap()), (context, text));
    }

    #[test]
    fn colours_go() {
        let check = |raw: &str, text: &str| assert_eq!(*plain(raw.as_bytes()), *text.as_bytes());
        check("plain [1m", "plain [1m");
        check("\x1b[32m[    1.5] \x1b[0m\x1b[1;31mBUG: x\x1b[0m", "[    1.5] BUG: x");
        check("\x1bcSeaBIOS\x1b[2J", "SeaBIOS");
        check("cut \x1b[1;3", "cut ");
        check("cut \x1b", "cut ");
    }

    #[test]
    fn stamps_in_texts() {
        assert!(holds_stamp(b"unable to [   12.345678] foo"));
        assert!(!holds_stamp(b"array[3] of [1.x]"));
    }

    #[test]
    fn prefixes_go_and_callers_stay() {
        check("plain", Context::Bare, "plain");
        check("[   10.614532] BUG: x\r", Context::Stamped, "BUG: x");
        check("[   44.380268][    C4] ", Context::Cpu(4), "");
        check("[   44.382748][  T123]  f+0x1/0x2", Context::Task(123), " f+0x1/0x2");
        check("[   44.382748][T12345] Call Trace:", Context::Task(12345), "Call Trace:");
        check("host login: [   16.305150] INFO: y", Context::Stamped, "INFO: y");
        check("Jan  2 03:04:05 host kernel: [    1.5] z", Context::Stamped, "z");
        check("<4>[    1.000000] w", Context::Stamped, "w");
        check("<6>w", Context::Bare, "w");
        check(" [<ffffffff81000000>] f+0x1/0x2", Context::Bare, " [<ffffffff81000000>] f+0x1/0x2");
        check("[   1.5] [<ffffffff81000000>] f", Context::Stamped, "[<ffffffff81000000>] f");
        check("array[3.5] = 1", Context::Stamped, "= 1");
    }
}
