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
    pub(super) text: &'a str,
}

/// Takes a line apart. `raw` is without its newline.
pub(super) fn parse(raw: &str) -> Line<'_> {
    let raw = raw.trim_end_matches(ENDS);
    let mut line = Line { context: Context::Bare, text: raw };
    let mut rest = raw.as_bytes();
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
        rest = text.strip_prefix(b" ").unwrap_or(text);
        // What was passed over ends with a bracket or a blank, and with no part of a character.
        line = Line { context, text: raw.get(raw.len() - rest.len()..).unwrap_or_default() };
        // Two stamps in a row: the console was logged with a stamp of its own.
        if rest.first() != Some(&b'[') {
            break;
        }
    }
    if context == Context::Bare {
        line.text = level(line.text);
    }
    line
}

/// A line that was printed without a stamp, whatever follows in it.
pub(super) fn unstamped(raw: &str) -> Line<'_> {
    Line { context: Context::Bare, text: level(raw.trim_end_matches(ENDS)) }
}

/// Whether there may be something in a text that only terminals understand.
pub(super) fn is_coloured(text: &[u8]) -> bool {
    memchr::memchr(ESCAPE, text).is_some()
}

/// A line without what only terminals understand: colours (`ESC [ 1 ; 31 m`), the cursor's moves.
pub(super) fn plain(raw: &str) -> Cow<'_, str> {
    let Some(mut at) = memchr::memchr(ESCAPE, raw.as_bytes()) else { return Cow::Borrowed(raw) };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (before, behind) = rest.split_at(at);
        text.push_str(before);
        let skipped = match behind.as_bytes() {
            // Parameters, and the letter that says what they are for.
            [_, b'[', sequence @ ..] => {
                3 + sequence.iter().take_while(|byte| !(b'@'..=b'~').contains(*byte)).count()
            }
            _ => 1 + behind.chars().nth(1).map_or(0, char::len_utf8),
        };
        rest = behind.get(skipped..).unwrap_or_default();
        let Some(next) = memchr::memchr(ESCAPE, rest.as_bytes()) else { break };
        at = next;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

const ESCAPE: u8 = 0x1b;

/// Whether a printk timestamp stands somewhere in a text: another line broke in there.
pub(super) fn holds_stamp(text: &[u8]) -> bool {
    memchr::memchr_iter(b'[', text).any(|open| text.get(open + 1..).and_then(timestamp).is_some())
}

/// What lines end with.
const ENDS: [char; 2] = ['\r', '\n'];

/// `<4>`: a level as the raw log buffer has it.
fn level(text: &str) -> &str {
    let length = match text.as_bytes() {
        [b'<', b'0'..=b'9', b'>', ..] => 3,
        [b'<', b'0'..=b'9', b'0'..=b'9', b'>', ..] => 4,
        _ => 0,
    };
    text.get(length..).unwrap_or_default()
}

/// `   12.345678]`: what follows the inside of a printk timestamp and its bracket.
fn timestamp(inside: &[u8]) -> Option<&[u8]> {
    let fraction = number(inside.trim_ascii_start(), 8, b'.')?.1;
    Some(number(fraction, 9, b']')?.1)
}

/// `[ T123]` or `[    C1]`, with or without a space before it.
fn caller(text: &[u8]) -> Option<(Context, &[u8])> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (&letter, rest) = text.strip_prefix(b"[")?.trim_ascii_start().split_first()?;
    let (digits, rest) = number(rest, 9, b']')?;
    let number = digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    match letter {
        b'T' => Some((Context::Task(number), rest)),
        b'C' => Some((Context::Cpu(number), rest)),
        _ => None,
    }
}

/// At least one and at most `most` digits, and what follows behind the byte that ends them.
fn number(text: &[u8], most: usize, end: u8) -> Option<(&[u8], &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(length)?;
    let (&byte, rest) = rest.split_first()?;
    ((1..=most).contains(&length) && byte == end).then_some((digits, rest))
}

#[cfg(test)]
mod tests {
    use super::{Context, holds_stamp, parse, plain};

    #[track_caller]
    fn check(raw: &str, context: Context, text: &str) {
        let line = parse(raw);
        assert_eq!((line.context, line.text), (context, text));
    }

    #[test]
    fn colours_go() {
        let check = |raw: &str, text: &str| assert_eq!(plain(raw), text);
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
