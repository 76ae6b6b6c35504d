//! Where a kernel was loaded.

/// What a panic says before the offset.
const MARK: &[u8] = b"Kernel Offset: ";

/// How much of the log is kept for what is cut between two pieces.
const KEPT: usize = MARK.len() + 24;

/// Finds in a log how far above its link address a kernel was loaded (KASLR): a panic prints
/// `Kernel Offset: 0x1c00000 from 0xffffffff81000000`. The log may come in pieces.
///
/// ```
/// let mut offset = vmbisect::symbols::KernelOffset::default();
/// offset.push(b"[   12.345678] Kernel Offset: 0x1c0");
/// offset.push(b"0000 from 0xffffffff81000000 (relocation range: ...)\n");
/// assert_eq!(offset.get(), 0x1c00000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KernelOffset {
    tail: Vec<u8>,
    offset: u64,
}

impl KernelOffset {
    /// Reads the next piece of the log.
    pub fn push(&mut self, piece: &[u8]) {
        // What may have begun in the last piece, and is complete in this one.
        let seam = piece.get(..KEPT).unwrap_or(piece);
        self.tail.extend_from_slice(seam);
        let found = find(piece).or_else(|| find(&self.tail));
        self.offset = found.unwrap_or(self.offset);
        if seam.len() < piece.len() {
            self.tail.clear();
            self.tail.extend_from_slice(piece);
        }
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }

    /// The offset in bytes, as the last panic so far has it; 0 where none has told one.
    pub fn get(&self) -> u64 {
        self.offset
    }
}

/// The last offset in a text, if it is complete.
fn find(text: &[u8]) -> Option<u64> {
    memchr::memmem::rfind_iter(text, MARK).find_map(|at| {
        let behind = text.get(at + MARK.len()..)?.strip_prefix(b"0x")?;
        let digits = behind.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        // More digits may follow.
        behind.get(digits)?;
        u64::from_str_radix(std::str::from_utf8(behind.get(..digits)?).ok()?, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::KernelOffset;

    fn offset(pieces: &[&[u8]]) -> u64 {
        let mut offset = KernelOffset::default();
        pieces.iter().for_each(|piece| offset.push(piece));
        offset.get()
    }

    #[test]
    fn no_offset_is_none() {
        assert_eq!(offset(&[b"Kernel Offset: disabled\n"]), 0);
        assert_eq!(offset(&[b""]), 0);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_log_is_cut(
            before in "[a-z\n]{0,80}",
            value in 0x10_0000_u64..0x4000_0000,
            size in 1_usize..60,
        ) {
            let log = format!("{before}Kernel Offset: {value:#x} from 0xffffffff81000000\n{before}");
            let pieces: Vec<&[u8]> = log.as_bytes().chunks(size).collect();
            prop_assert_eq!(offset(&pieces), value);
        }
    }
}
