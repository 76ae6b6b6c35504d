//! Ctrl-A, the key that is for this program and not for the guest.

const CTRL_A: u8 = 1;

/// What a key means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// These go to the guest.
    Bytes(Vec<u8>),
    /// Leave.
    Leave,
}

/// What was typed so far: whether the last key was Ctrl-A.
#[derive(Debug, Default)]
pub(super) struct Escape {
    escaped: bool,
}

impl Escape {
    /// Takes the next byte. After Ctrl-A, x leaves and Ctrl-A is itself; anything else means nothing
    /// special, and both keys go to the guest.
    pub(super) fn next(&mut self, byte: u8) -> Key {
        match (std::mem::take(&mut self.escaped), byte) {
            (true, b'x' | b'X') => Key::Leave,
            (true, CTRL_A) => Key::Bytes(vec![CTRL_A]),
            (true, other) => Key::Bytes(vec![CTRL_A, other]),
            (false, CTRL_A) => {
                self.escaped = true;
                Key::Bytes(Vec::new())
            }
            (false, other) => Key::Bytes(vec![other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Escape, Key};

    fn typed(text: &[u8]) -> (Vec<u8>, bool) {
        let (mut escape, mut sent) = (Escape::default(), Vec::new());
        for byte in text {
            match escape.next(*byte) {
                Key::Bytes(bytes) => sent.extend(bytes),
                Key::Leave => return (sent, true),
            }
        }
        (sent, false)
    }

    #[test]
    fn keys() {
        assert_eq!(typed(b"ls\r\x03x"), (b"ls\r\x03x".to_vec(), false));
        assert_eq!(typed(b"a\x01x never"), (b"a".to_vec(), true));
        assert_eq!(typed(b"\x01\x01x"), (b"\x01x".to_vec(), false));
        assert_eq!(typed(b"\x01q\x01"), (b"\x01q".to_vec(), false));
    }
}
