//! The legacy LZ4 frame, which `lz4 -l` writes and the kernel's build uses: a magic number, then
//! blocks of 8 MiB, each with its compressed size before it.

use std::io;

use lz4::block;

const MAGIC: u32 = 0x184c_2102;
const BLOCK: usize = 8 << 20;
/// LZ4_compressBound of a block.
const MAX_COMPRESSED: usize = BLOCK + BLOCK / 255 + 16;

/// Decompresses a legacy LZ4 frame into `output`, which has room for it; gives its size.
pub(super) fn decompress(mut input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while !input.is_empty() {
        let (word, rest) = input.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
        input = rest;
        let size = match u32::from_le_bytes(*word) {
            // The first one, or that of a frame appended to this one.
            MAGIC => continue,
            size => size as usize,
        };
        if size > MAX_COMPRESSED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "LZ4 block too large"));
        }
        let (compressed, rest) =
            input.split_at_checked(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        input = rest;
        let room = output.get_mut(filled..).unwrap_or_default();
        let length = room.len().min(BLOCK);
        let room = room.get_mut(..length).unwrap_or_default();
        filled += block::decompress_to_buffer(compressed, Some(length as i32), room)?;
    }
    Ok(filled)
}
