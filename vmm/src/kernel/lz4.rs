//! The legacy LZ4 frame, which `lz4 -l` writes and the kernel's build uses: a magic number, then
//! blocks of 8 MiB, each with its compressed size before it. lz4_flex reads it too, but refuses a
//! block that compression made larger, as an embedded initramfs may.

use std::io::{self, Read};

use lz4_flex::block;

const MAGIC: u32 = 0x184c_2102;
const BLOCK: usize = 8 << 20;
/// LZ4_compressBound of a block.
const MAX_COMPRESSED: usize = BLOCK + BLOCK / 255 + 16;

/// Decompresses a legacy LZ4 frame.
pub(super) struct Lz4Legacy<'a> {
    input: &'a [u8],
    block: Vec<u8>,
    /// Bytes of `block` that are filled, and of those the ones already handed out.
    filled: usize,
    taken: usize,
}

impl<'a> Lz4Legacy<'a> {
    pub(super) fn new(input: &'a [u8]) -> Lz4Legacy<'a> {
        Lz4Legacy { input, block: Vec::new(), filled: 0, taken: 0 }
    }

    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.input.split_first_chunk()?;
        self.input = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// Decompresses the next block; whether there was one.
    fn next(&mut self) -> io::Result<bool> {
        let size = loop {
            if self.input.is_empty() {
                return Ok(false);
            }
            match self.word().ok_or(io::ErrorKind::UnexpectedEof)? {
                // The first one, or that of a frame appended to this one.
                MAGIC => {}
                size => break size as usize,
            }
        };
        if size > MAX_COMPRESSED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "LZ4 block too large"));
        }
        let (compressed, rest) =
            self.input.split_at_checked(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.input = rest;
        if self.block.is_empty() {
            // The allocator's zeroes: what of it is not filled is not touched either.
            self.block = vec![0; BLOCK];
        }
        self.filled = block::decompress_into(compressed, &mut self.block)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.taken = 0;
        Ok(true)
    }
}

impl Read for Lz4Legacy<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.filled {
            if !self.next()? {
                return Ok(0);
            }
        }
        let mut left = self.block.get(self.taken..self.filled).unwrap_or_default();
        let count = left.read(buf)?;
        self.taken += count;
        Ok(count)
    }
}
