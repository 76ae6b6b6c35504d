//! The compressed kernel inside of a bzImage (`payload_offset` and `payload_length`, boot.rst).

use std::fmt;
use std::io::{self, Read};

use bzip2::read::BzDecoder;
use flate2::read::GzDecoder;
use liblzma::read::XzDecoder;
use liblzma::stream::Stream;
use ruzstd::decoding::StreamingDecoder;
use thiserror::Error;

use super::elf::{ElfError, KERNEL_IMAGE_SIZE, Program};
use super::lz4;
use super::lzo::Lzop;

/// The most memory that a dictionary may take. `zstd --ultra -22`, with which kernels are built,
/// asks for 128 MiB.
const DICTIONARY: u64 = 256 << 20;

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// CONFIG_KERNEL_GZIP.
    Gzip,
    /// CONFIG_KERNEL_BZIP2.
    Bzip2,
    /// CONFIG_KERNEL_LZMA.
    Lzma,
    /// CONFIG_KERNEL_XZ.
    Xz,
    /// CONFIG_KERNEL_LZO.
    Lzo,
    /// CONFIG_KERNEL_LZ4.
    Lz4,
    /// CONFIG_KERNEL_ZSTD.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the kernel inside of a bzImage can't be had.
#[derive(Debug, Error)]
pub enum PayloadError {
    /// It is compressed in a way that is not known.
    #[error("the payload's compression is not known (it begins with {0:02x?})")]
    UnknownCompression([u8; 4]),
    /// The decompressor gave up.
    #[error("the {compression} payload is damaged")]
    Damaged {
        /// How it is compressed.
        compression: Compression,
        /// What the decompressor said.
        source: io::Error,
    },
    /// It says that it is larger than its own header allows, or than a kernel can be.
    #[error("the payload claims to be {size} bytes, the most that can be true is {limit}")]
    TooLarge {
        /// What it says.
        size: u64,
        /// What init_size, or the memory that a kernel can map, allows.
        limit: u64,
    },
    /// It does not decompress to the size it names.
    #[error("the {compression} payload is damaged: {got} bytes instead of {expected}")]
    WrongSize {
        /// How it is compressed.
        compression: Compression,
        /// What it says.
        expected: u64,
        /// What came out; more may have been to come.
        got: u64,
    },
    /// What comes out is not a kernel.
    #[error("the {compression} payload does not hold a kernel")]
    NotAKernel {
        /// How it is compressed.
        compression: Compression,
        /// What is wrong with it.
        source: ElfError,
    },
}

impl Compression {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Lzma => "lzma",
            Compression::Xz => "xz",
            Compression::Lzo => "lzo",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }

    /// How `payload` is compressed, by its first bytes.
    pub(super) fn of(payload: &[u8]) -> Result<Compression, PayloadError> {
        let is = |magic: &[u8]| payload.starts_with(magic);
        Ok(match payload {
            _ if is(&[0x1f, 0x8b]) => Compression::Gzip,
            _ if is(b"BZh") => Compression::Bzip2,
            _ if is(&[0xfd, b'7', b'z', b'X', b'Z', 0]) => Compression::Xz,
            _ if is(b"\x89LZO") => Compression::Lzo,
            _ if is(&[0x02, 0x21, 0x4c, 0x18]) => Compression::Lz4,
            _ if is(&[0x28, 0xb5, 0x2f, 0xfd]) => Compression::Zstd,
            _ if is(&[0x5d, 0x00, 0x00]) => Compression::Lzma,
            _ => {
                let mut magic = [0; 4];
                magic.iter_mut().zip(payload).for_each(|(to, from)| *to = *from);
                return Err(PayloadError::UnknownCompression(magic));
            }
        })
    }

    /// Decompresses `data` into `output` until one of them ends; gives the bytes that came out.
    fn unpack(self, data: &[u8], output: &mut [u8]) -> io::Result<usize> {
        match self {
            Compression::Gzip => drain(GzDecoder::new(data), output),
            Compression::Bzip2 => drain(BzDecoder::new(data), output),
            Compression::Lzma => {
                drain(XzDecoder::new_stream(data, Stream::new_lzma_decoder(DICTIONARY)?), output)
            }
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(DICTIONARY, 0)?;
                drain(XzDecoder::new_stream(data, stream), output)
            }
            Compression::Lzo => drain(Lzop::new(data)?, output),
            Compression::Lz4 => lz4::decompress(data, output),
            Compression::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(data, DICTIONARY)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                drain(decoder, output)
            }
        }
    }
}

/// Reads until `output` is full or nothing comes any more.
fn drain(mut reader: impl Read, output: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    loop {
        match reader.read(output.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Ok(filled),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Decompresses `payload` and keeps what is to be loaded of the ELF file in it.
///
/// The last four bytes of every payload name the decompressed size: gzip ends so by itself, for the
/// others the build appends it. What comes out must be just that, and no more than `init_size`
/// (zero if the header has none) or than a kernel can map.
pub(super) fn decompress(payload: &[u8], init_size: u64) -> Result<Program, PayloadError> {
    let compression = Compression::of(payload)?;
    let (data, size) = payload.split_last_chunk().unwrap_or((payload, &[0; 4]));
    let expected = u64::from(u32::from_le_bytes(*size));
    let limit = if init_size == 0 { KERNEL_IMAGE_SIZE } else { init_size.min(KERNEL_IMAGE_SIZE) };
    if expected > limit {
        return Err(PayloadError::TooLarge { size: expected, limit });
    }
    let data = if compression == Compression::Gzip { payload } else { data };
    let damaged = |source| PayloadError::Damaged { compression, source };
    // One byte more than there should be, to see that there isn't one, and so that each decompressor
    // comes to its end, where it compares checksums. Zeroes of the allocator's: what isn't filled isn't
    // touched.
    let mut file = vec![0; expected as usize + 1];
    let got = compression.unpack(data, &mut file).map_err(damaged)?;
    if got as u64 != expected {
        return Err(PayloadError::WrongSize { compression, expected, got: got as u64 });
    }
    file.truncate(got);
    Program::parse(file).map_err(|source| PayloadError::NotAKernel { compression, source })
}
