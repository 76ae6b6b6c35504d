//! Stack frames in all the shapes in which kernels print them.

/// One frame of a stack trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The function's name, without what the compiler put behind it (`.isra.0`, `.cold`).
    pub(super) function: &'a str,
    /// The source file, where the report was symbolized.
    pub(super) file: Option<&'a str>,
    /// Whether the function was inlined into that of the next frame.
    pub(super) inlined: bool,
}

/// Whether a line is a frame that the unwinder is not sure of: ` ? f+0x1/0x2`, maybe behind an address
/// or the name of a stack.
pub(super) fn is_questionable(text: &str) -> bool {
    let mut text = text.as_bytes().trim_ascii_start();
    if text.ends_with(b"(unreliable)") {
        return true;
    }
    // `<EOI>`, `[<ffffffff81000000>]`
    while let [open @ (b'<' | b'['), ..] = text {
        let close = if *open == b'<' { b'>' } else { b']' };
        let Some(at) = memchr::memchr(close, text.get(..LONGEST_MARK).unwrap_or(text)) else {
            return false;
        };
        text = text.get(at + 1..).unwrap_or_default().trim_ascii_start();
    }
    text.starts_with(b"? ")
}

/// The longest address or name of a stack before a frame.
const LONGEST_MARK: usize = 24;

/// Whether a line stands behind the stack that a title is taken from.
pub(super) fn ends_stack(text: &str) -> bool {
    const ENDS: &[&str] =
        &["---[ end trace", "</TASK>", "RIP: 0033:", "Kernel panic", "Kernel Offset:", "====="];
    let text = text.trim_ascii_start();
    if !matches!(text.as_bytes().first(), Some(b'-' | b'<' | b'R' | b'K' | b'=')) {
        return false;
    }
    ENDS.iter().any(|end| text.starts_with(end))
}

/// Reads a line of a stack trace; `None` for what is no frame.
pub(super) fn parse(line: &str) -> Option<Frame<'_>> {
    let mut text = line.trim_ascii_start();
    // `<IRQ>`, `<TASK>`, `#DF` stand on lines of their own today, and before a frame in old kernels.
    while let Some(rest) = text.strip_prefix('<') {
        let (tag, rest) = rest.split_once('>')?;
        if tag.is_empty() || tag.len() > 8 {
            return None;
        }
        text = rest.trim_ascii_start();
    }
    // An address before the name: `[<c0100000>] `, `[c000000012345678] [c0000000000abcde] `.
    while let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address = address.trim_matches(['<', '>']);
        if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b'x') {
            return None;
        }
        text = rest.trim_ascii_start();
    }
    text = text.strip_prefix("? ").unwrap_or(text).trim_ascii_start();
    let in_parentheses = text.strip_prefix('(');
    let text = in_parentheses.unwrap_or(text);
    let (function, rest) = function(text)?;
    if let Some(offset) = rest.strip_prefix("+0x") {
        let digits = offset.bytes().take_while(u8::is_ascii_hexdigit).count();
        let rest = offset.get(digits..)?;
        let rest = match rest.strip_prefix("/0x") {
            Some(size) => {
                size.get(size.bytes().take_while(u8::is_ascii_hexdigit).count()..).unwrap_or("")
            }
            None => rest,
        };
        return Some(Frame { function, file: source(rest), inlined: rest.ends_with(" [inline])") });
    }
    // Arm: a function and its caller, which may differ from the next line's function where the
    // caller was inlined.
    if in_parentheses.is_some()
        && let Some(caller) = rest.strip_prefix(") from ")
    {
        // It does not return: what follows the call is another function.
        if function == "panic" {
            return Some(Frame { function, file: None, inlined: false });
        }
        let (_, caller) = caller.split_once('(')?;
        return self::function(caller).map(|(function, rest)| Frame {
            function,
            file: source(rest),
            inlined: rest.ends_with(" [inline])"),
        });
    }
    if let Some(caller) = rest.strip_prefix(" from ")
        && line.starts_with(' ')
    {
        return self::function(caller).map(|(function, rest)| Frame {
            function,
            file: source(rest),
            inlined: rest.ends_with(" [inline])"),
        });
    }
    // ` f mm/slab.c:12 [inline]`
    if !rest.starts_with(' ') {
        return None;
    }
    let (place, inlined) = match rest.strip_suffix(" [inline]") {
        Some(place) => (place, true),
        None => (rest, false),
    };
    if !inlined && !line.starts_with(' ') {
        return None;
    }
    let file = source(place)?;
    (place.split_ascii_whitespace().count() == 1).then_some(Frame {
        function,
        file: Some(file),
        inlined,
    })
}

/// A function's name at the start of `text`, without the compiler's suffixes, and what follows it.
pub(super) fn function(text: &str) -> Option<(&str, &str)> {
    if !matches!(text.as_bytes().first()?, b'A'..=b'Z' | b'a'..=b'z' | b'_') {
        return None;
    }
    let name = text.bytes().position(|b| !NAME[usize::from(b)]).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(name)?;
    if !matches!(rest.as_bytes().first(), Some(b'.' | b'$')) {
        return Some((name, rest));
    }
    let is_of_suffix = |b: u8| NAME[usize::from(b)] || matches!(b, b'.' | b'$');
    let suffix = rest.bytes().position(|b| !is_of_suffix(b)).unwrap_or(rest.len());
    Some((name, rest.get(suffix..)?))
}

/// The bytes that a function's name is made of.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    table
};

/// The `path.c` of `path.c:12` among the words of `text`.
fn source(text: &str) -> Option<&str> {
    if text.is_empty() {
        return None;
    }
    text.split_ascii_whitespace().find_map(|word| {
        let (path, line) = word.split_once(':')?;
        let known = [".c", ".h", ".S", ".rs"].iter().any(|suffix| path.ends_with(suffix));
        (known && line.bytes().next().is_some_and(|b| b.is_ascii_digit())).then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::{is_questionable, parse};

    #[track_caller]
    fn check(line: &str, want: Option<(&str, Option<&str>)>) {
        assert_eq!(parse(line).map(|frame| (frame.function, frame.file)), want, "{line}");
    }

    #[test]
    fn frames_of_every_shape() {
        check(" dump_stack+0x194/0x257", Some(("dump_stack", None)));
        check(" ops_exit_list.isra.0+0xb0/0x160", Some(("ops_exit_list", None)));
        check(" f+0x1/0x2 [kvm]", Some(("f", None)));
        check(" f+0x1/0x2 net/core/dev.c:12", Some(("f", Some("net/core/dev.c"))));
        check(" f net/core/dev.c:12 [inline]", Some(("f", Some("net/core/dev.c"))));
        check(" [<ffffffff81000000>] f+0x1/0x2", Some(("f", None)));
        check(" [<ffffffff81000000>] ? f+0x1/0x2", Some(("f", None)));
        check(" <IRQ>  [<ffffffff81000000>] f+0x1/0x2", Some(("f", None)));
        check("[<c010>] (f) from [<c020>] (g+0x1/0x2)", Some(("g", None)));
        check("[<c010>] (f) from [<c020>] (g net/x.c:1 [inline])", Some(("g", Some("net/x.c"))));
        check(" f from g+0x1/0x2", Some(("g", None)));
        check("[c0000000012a] [c0000000000b] f+0x1/0x2", Some(("f", None)));
        check("Call Trace:", None);
        check(" <TASK>", None);
        check("Code: 48 8b", None);
        check("RAX: 0000", None);
        check("", None);
    }

    #[test]
    fn questionable_frames() {
        assert!(is_questionable(" ? f+0x1/0x2"));
        assert!(is_questionable(" [<ffffffff81000000>] ? f+0x1/0x2"));
        assert!(is_questionable(" <EOI>  [<ffffffff81000000>] ? f+0x1/0x2"));
        assert!(!is_questionable(" <EOI>  [<ffffffff81000000>] f+0x1/0x2"));
        assert!(!is_questionable(" f+0x1/0x2"));
        assert!(!is_questionable("what? no"));
    }
}
