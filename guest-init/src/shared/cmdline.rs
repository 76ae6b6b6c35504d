//! The kernel command line.

pub(crate) use super::message::{NONCE_PARAMETER, TERMINAL_PARAMETER};

/// Longest nonce that PID 1 takes.
pub const MAX_NONCE: usize = 64;

/// The nonce on a command line: the last one given, as for the kernel's own parameters.
///
/// `text` may also be a line of the kernel log that repeats the command line. `None` is a command
/// line without a nonce or with one that could not stand in a report: 1 to [`MAX_NONCE`] visible
/// ASCII characters.
pub(crate) fn nonce(text: &[u8]) -> Option<&str> {
    let nonce = text
        .split(u8::is_ascii_whitespace)
        .filter_map(|word| word.strip_prefix(NONCE_PARAMETER.as_bytes())?.strip_prefix(b"="))
        .next_back()?;
    let fits = (1..=MAX_NONCE).contains(&nonce.len()) && nonce.iter().all(u8::is_ascii_graphic);
    if fits { core::str::from_utf8(nonce).ok() } else { None }
}

/// A terminal of the workload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Rows and columns, where they are known.
    pub(crate) size: Option<[u16; 2]>,
}

/// The terminal that the command line gives the workload, which is the console; the last one counts.
pub(crate) fn terminal(text: &[u8]) -> Option<Terminal> {
    let words = text.split(u8::is_ascii_whitespace);
    let terminal = |word: &[u8]| match word.strip_prefix(TERMINAL_PARAMETER.as_bytes())? {
        [] => Some(Terminal { size: None }),
        [b'=', size @ ..] => {
            let (rows, columns) = core::str::from_utf8(size).ok()?.split_once('x')?;
            Some(Terminal { size: Some([rows.parse().ok()?, columns.parse().ok()?]) })
        }
        _ => None,
    };
    words.filter_map(terminal).next_back()
}

#[cfg(test)]
mod tests {
    use super::{MAX_NONCE, Terminal, nonce, terminal};

    #[test]
    fn a_terminal_is_a_word_of_its_own() {
        assert_eq!(terminal(b"quiet vmbisect.terminal\n"), Some(Terminal { size: None }));
        let others = b"quiet vmbisect.terminals xvmbisect.terminal vmbisect.terminal=0";
        assert_eq!(terminal(others), None);
    }

    #[test]
    fn a_terminal_may_say_how_large_it_is() {
        let size = |text: &[u8]| terminal(text).and_then(|terminal| terminal.size);
        assert_eq!(size(b"vmbisect.terminal=24x80 vmbisect.terminal=50x160\n"), Some([50, 160]));
        for other in ["50", "50x", "x160", "-1x160", "50x65536", "50x160x", "50 x160"] {
            assert_eq!(terminal(format!("vmbisect.terminal={other}").as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_last_nonce_counts() {
        assert_eq!(nonce(b"quiet vmbisect.nonce=c0ffee panic=-1\n"), Some("c0ffee"));
        assert_eq!(nonce(b"vmbisect.nonce=a vmbisect.nonce=b"), Some("b"));
        assert_eq!(nonce(b"Command line: vmbisect.nonce=x"), Some("x"));
    }

    #[test]
    fn other_words_are_not_a_nonce() {
        assert_eq!(nonce(b"xvmbisect.nonce=a vmbisect.nonces=a vmbisect.nonce"), None);
        assert_eq!(nonce(b"vmbisect.nonce="), None);
        assert_eq!(nonce("vmbisect.nonce=é".as_bytes()), None);
        let mut long = b"vmbisect.nonce=".to_vec();
        long.resize(long.len() + MAX_NONCE, b'a');
        assert!(nonce(&long).is_some());
        long.push(b'a');
        assert_eq!(nonce(&long), None);
    }
}
