//! What `lzop -9` writes: a container of blocks of at most 256 KiB (`lib/decompress_unlzo.c` reads
//! it in the kernel), each compressed with LZO1X (`Documentation/staging/lzo.rst`).
//!
//! Own code: the crates that decompress LZO1X either panic on damaged input or are under the GPL.

use std::io::{self, ErrorKind, Read};

const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
const BLOCK: usize = 256 << 10;

/// Flags of the container: which checksums follow a block's sizes, over the decompressed (D) and
/// the compressed bytes (C), and whether the header names a filter.
const ADLER32_D: u32 = 0x1;
const ADLER32_C: u32 = 0x2;
const CRC32_D: u32 = 0x100;
const CRC32_C: u32 = 0x200;
const FILTER: u32 = 0x800;

/// Decompresses an lzop file.
pub(super) struct Lzop<'a> {
    input: Input<'a>,
    flags: u32,
    block: Vec<u8>,
    /// Bytes of `block` that were already handed out.
    taken: usize,
}

impl<'a> Lzop<'a> {
    pub(super) fn new(input: &'a [u8]) -> io::Result<Lzop<'a>> {
        let mut input = Input(input);
        if input.bytes(MAGIC.len())? != MAGIC {
            return Err(invalid("no lzop header"));
        }
        let version = input.be16()?;
        input.bytes(2 + 2 + 1)?; // library version, version needed, method
        if version >= 0x0940 {
            input.byte()?; // level
        }
        let flags = input.be32()?;
        if flags & FILTER != 0 {
            return Err(invalid("an lzop filter"));
        }
        input.bytes(4 + 4)?; // mode, mtime
        if version >= 0x0940 {
            input.bytes(4)?; // high half of mtime
        }
        let name = input.byte()?;
        input.bytes(usize::from(name) + 4)?; // name, header checksum
        Ok(Lzop { input, flags, block: Vec::new(), taken: 0 })
    }

    /// Decompresses the next block; whether there was one.
    fn next(&mut self) -> io::Result<bool> {
        let size = self.input.be32()? as usize;
        if size == 0 {
            return Ok(false);
        }
        let compressed = self.input.be32()? as usize;
        if size > BLOCK || compressed == 0 || compressed > size {
            return Err(invalid("impossible block size"));
        }
        let adler = if self.flags & ADLER32_D != 0 { Some(self.input.be32()?) } else { None };
        // With the check above, one checksum of what comes out is enough.
        for (flag, present) in
            [(CRC32_D, true), (ADLER32_C, compressed < size), (CRC32_C, compressed < size)]
        {
            if self.flags & flag != 0 && present {
                self.input.be32()?;
            }
        }
        let data = self.input.bytes(compressed)?;
        self.block.clear();
        self.taken = 0;
        if compressed == size {
            self.block.extend_from_slice(data);
        } else {
            lzo1x(data, size, &mut self.block)?;
        }
        if self.block.len() != size {
            return Err(invalid("a block of another size than it says"));
        }
        if adler.is_some_and(|adler| adler != adler32(&self.block)) {
            return Err(invalid("checksum of a block"));
        }
        Ok(true)
    }
}

impl Read for Lzop<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() && !self.next()? {
            return Ok(0);
        }
        let mut left = self.block.get(self.taken..).unwrap_or_default();
        let count = left.read(buf)?;
        self.taken += count;
        Ok(count)
    }
}

/// Decompresses one LZO1X stream of at most `limit` bytes into the empty `out`.
pub(super) fn lzo1x(input: &[u8], limit: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut input = Input(input);
    // Literals that the last instruction copied: 0 to 3, or 4 for "4 or more".
    let mut literals = 0;
    let first = input.clone().byte()?;
    if first >= 18 {
        let count = usize::from(input.byte()?) - 17;
        append(out, input.bytes(count)?, limit)?;
        literals = count.min(4);
    }
    loop {
        let inst = usize::from(input.byte()?);
        let (distance, length, next) = match inst {
            64.. => {
                let high = usize::from(input.byte()?);
                ((high << 3) + ((inst >> 2) & 7) + 1, (inst >> 5) + 1, inst & 3)
            }
            32.. => {
                let length = input.length(inst & 31, 31)? + 2;
                let operand = usize::from(input.le16()?);
                ((operand >> 2) + 1, length, operand & 3)
            }
            16.. => {
                let length = input.length(inst & 7, 7)? + 2;
                let operand = usize::from(input.le16()?);
                let distance = 16384 + ((inst & 8) << 11) + (operand >> 2);
                if distance == 16384 {
                    return if input.0.is_empty() && length == 3 {
                        Ok(())
                    } else {
                        Err(invalid("the end of a block in its middle"))
                    };
                }
                (distance, length, operand & 3)
            }
            _ if literals == 0 => {
                let count = input.length(inst, 15)? + 3;
                append(out, input.bytes(count)?, limit)?;
                literals = 4;
                continue;
            }
            _ => {
                let high = usize::from(input.byte()?);
                let near = (high << 2) + (inst >> 2) + 1;
                if literals == 4 { (near + 2048, 3, inst & 3) } else { (near, 2, inst & 3) }
            }
        };
        copy(out, distance, length, limit)?;
        append(out, input.bytes(next)?, limit)?;
        literals = next;
    }
}

fn append(out: &mut Vec<u8>, bytes: &[u8], limit: usize) -> io::Result<()> {
    if bytes.len() > limit - out.len() {
        return Err(invalid("a block larger than it says"));
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// Repeats `length` bytes from `distance` back, which may overlap what is being written.
fn copy(out: &mut Vec<u8>, distance: usize, length: usize, limit: usize) -> io::Result<()> {
    if length > limit - out.len() {
        return Err(invalid("a block larger than it says"));
    }
    let start =
        out.len().checked_sub(distance).ok_or_else(|| invalid("a copy from before a block"))?;
    if distance >= length {
        out.extend_from_within(start..start + length);
    } else {
        for from in start..start + length {
            let byte = out.get(from).copied().unwrap_or_default();
            out.push(byte);
        }
    }
    Ok(())
}

fn adler32(data: &[u8]) -> u32 {
    // 5552 is how many bytes can be summed before the second sum could overflow 32 bits (RFC 1950).
    let (mut a, mut b) = (1_u32, 0_u32);
    for chunk in data.chunks(5552) {
        for &byte in chunk {
            a += u32::from(byte);
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    b << 16 | a
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// What is left to read.
#[derive(Clone)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn le16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn be16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn be32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A length whose bits in the instruction are `bits`: if they are zero, `base` plus a count
    /// that goes on over zero bytes.
    fn length(&mut self, bits: usize, base: usize) -> io::Result<usize> {
        if bits != 0 {
            return Ok(bits);
        }
        let mut length = base;
        loop {
            match self.byte()? {
                0 => length += 255,
                last => return Ok(length + usize::from(last)),
            }
        }
    }
}
