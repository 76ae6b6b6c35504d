//! The argument block: what PID 1 is to run, as a file in the archive.
//!
//! The block is `argv` as execve(2) takes it, one string after the other, each ending in NUL. The
//! first one is also the path of the program. An empty block says that there is nothing to run.

/// Path of the block in the guest.
pub(crate) const PATH: &core::ffi::CStr = c"/vmbisect/workload";

/// Most bytes that a block may have.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// Most arguments that a block may have, the program included.
pub(crate) const MAX_ARGUMENTS: usize = 256;

/// Why a block can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBlock {
    /// The last argument does not end in NUL: the file is cut off.
    CutOff,
    /// More than [`MAX_ARGUMENTS`] arguments.
    TooMany,
    /// The first argument is empty.
    NoProgram,
}

/// The arguments of a block, each without its NUL.
///
/// # Errors
/// Fails where the block is not what the host writes.
pub(crate) fn parse(block: &[u8]) -> Result<impl Iterator<Item = &core::ffi::CStr>, BadBlock> {
    if block.last().is_some_and(|&byte| byte != 0) {
        return Err(BadBlock::CutOff);
    }
    if block.first() == Some(&0) {
        return Err(BadBlock::NoProgram);
    }
    if block.iter().filter(|&&byte| byte == 0).count() > MAX_ARGUMENTS {
        return Err(BadBlock::TooMany);
    }
    Ok(block
        .split_inclusive(|&byte| byte == 0)
        .filter_map(|argument| core::ffi::CStr::from_bytes_with_nul(argument).ok()))
}

#[cfg(test)]
mod tests {
    use super::{BadBlock, MAX_ARGUMENTS, parse};

    #[test]
    fn an_empty_block_has_no_arguments() {
        assert_eq!(parse(b"").unwrap().count(), 0);
    }

    #[test]
    fn arguments_may_be_empty_but_for_the_first() {
        let arguments: Vec<_> = parse(b"/bin/sh\0\0-c\0").unwrap().collect();
        assert_eq!(arguments, [c"/bin/sh", c"", c"-c"]);
        assert_eq!(parse(b"\0a\0").err(), Some(BadBlock::NoProgram));
    }

    #[test]
    fn a_damaged_block_is_refused() {
        assert_eq!(parse(b"/bin/sh\0-c").err(), Some(BadBlock::CutOff));
        assert!(parse(&b"a\0".repeat(MAX_ARGUMENTS)).is_ok());
        assert_eq!(parse(&b"a\0".repeat(MAX_ARGUMENTS + 1)).err(), Some(BadBlock::TooMany));
    }
}
