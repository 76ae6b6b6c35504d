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

/// Whether the command line says that the workload has the console for its terminal.
pub(crate) fn terminal(text: &[u8]) -> bool {
    text.split(u8::is_ascii_whitespace).any(|word| word == TERMINAL_PARAMETER.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{MAX_NONCE, nonce, terminal};

    #[test]
    fn a_terminal_is_a_word_of_its_own() {
        assert!(terminal(b"quiet vmbisect.terminal\n"));
        assert!(!terminal(b"quiet vmbisect.terminals xvmbisect.terminal vmbisect.terminal=0"));
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
