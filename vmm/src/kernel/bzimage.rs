//! The bzImage: a setup header, the real-mode code, and the protected-mode code with the compressed
//! kernel in it. Field names and rules are those of boot.rst.

use std::ops::Range;

use flate2::Crc;
use linux_loader::loader::bootparam::setup_header;
use thiserror::Error;
use vm_memory::ByteValued;

use super::{Entry, EntryMode, Requirements};

/// Offset of the setup header in the image and in boot_params.
const HEADER: usize = 0x1f1;
/// Where boot_params' room for the setup header ends (`edd_mbr_sig_buffer`).
const HEADER_ROOM_END: usize = 0x290;
const SECTOR: usize = 512;

/// loadflags bit 0: the protected-mode code belongs to 1 MiB and above.
const LOADED_HIGH: u8 = 1 << 0;
/// xloadflags bit 0: there is a 64-bit entry point 0x200 after the start.
const XLF_KERNEL_64: u16 = 1 << 0;
const ENTRY_64: u64 = 0x200;

/// code32_start, which a loader changes if it puts the code elsewhere than the image says.
const CODE32_START: usize = 0x214;

/// The memory that a kernel older than init_size (2.10, Linux 2.6.31) is given to start in: so many
/// times the size of its image, which is more than any compression of the time and its bss made of
/// it, and at least this.
const ROOM_FACTOR: u64 = 8;
const LEAST_ROOM: u64 = 32 << 20;

/// The optional header's magic in PE32.
const PE32: [u8; 2] = [0x0b, 0x01];

/// More than any protected-mode code: nothing is read from a file beyond it.
const MAX_SYSSIZE: u64 = 512 << 20;

/// The oldest version of the protocol that is read: the first that says cmdline_size.
const OLDEST: u16 = 0x0206;

/// Why a bzImage's header can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// The file ends before the header says it does.
    #[error("the bzImage is truncated: {have} of {need} bytes")]
    Truncated {
        /// Bytes the header asks for.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// Too old.
    #[error(
        "the bzImage has boot protocol {}.{:02}, older than 2.06 (Linux 2.6.22)",
        .0 >> 8, .0 & 0xff
    )]
    Version(u16),
    /// A field that can't be true.
    #[error("the bzImage's setup header is damaged: {field} is {value:#x}")]
    Field {
        /// The field's name in boot.rst.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// A zImage.
    #[error("it is a zImage (loaded below 1 MiB), not a bzImage")]
    ZImage,
    /// The checksum at its end is wrong.
    #[error("the bzImage is damaged: its CRC-32 does not match")]
    Checksum,
    /// Direct boot asked of an image that does not say where its payload is.
    #[error("the bzImage has no payload: boot it natively")]
    NoPayload,
}

/// Where and how the image's own decompressor is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native {
    /// Where the protected-mode code is put.
    pub(super) start: u64,
    /// Where the memory ends that it works in.
    pub(super) end: u64,
    /// Its entry point.
    pub(super) entry: Entry,
}

/// A checked bzImage.
pub(super) struct BzImage {
    /// The file, to where `syssize` says that it ends.
    image: Vec<u8>,
    header: setup_header,
    header_end: usize,
    protected_mode: usize,
}

/// How many bytes of the file are the image, judged by its first ones.
pub(super) fn extent(head: &[u8]) -> Result<u64, HeaderError> {
    let (header, _) = read_header(head)?;
    let setup = setup_bytes(&header) as u64;
    let size = u64::from(header.syssize) * 16;
    if size > MAX_SYSSIZE {
        return Err(HeaderError::Field { field: "syssize", value: { header.syssize }.into() });
    }
    Ok(setup + size)
}

impl BzImage {
    /// Checks an image that has the boot flag and the magic "HdrS".
    pub(super) fn parse(mut image: Vec<u8>) -> Result<BzImage, HeaderError> {
        let (header, header_end) = read_header(&image)?;
        if header.loadflags & LOADED_HIGH == 0 {
            return Err(HeaderError::ZImage);
        }
        let need = extent(&image)?;
        let have = image.len() as u64;
        if have < need {
            return Err(HeaderError::Truncated { need, have });
        }
        // What follows is not the kernel's: a signature, or padding of a boot medium.
        image.truncate(usize::try_from(need).unwrap_or(usize::MAX));
        image.shrink_to_fit();
        let protected_mode = setup_bytes(&header);
        let image = BzImage { image, header, header_end, protected_mode };
        image.check_fields()?;
        if image.has_checksum() && !image.checksum_matches() {
            return Err(HeaderError::Checksum);
        }
        Ok(image)
    }

    fn check_fields(&self) -> Result<(), HeaderError> {
        let field = |field, value| Err(HeaderError::Field { field, value });
        let alignment = self.header.kernel_alignment;
        if self.header.relocatable_kernel != 0 && !alignment.is_power_of_two() {
            return field("kernel_alignment", alignment.into());
        }
        if self.header.version >= 0x020a {
            // A kernel's own limits: it is linked into the first GiB, and its memory ends there.
            let address = self.header.pref_address;
            if !(1 << 20..1 << 32).contains(&address) {
                return field("pref_address", address);
            }
            let size = u64::from(self.header.init_size);
            if size == 0 || size > 1 << 31 {
                return field("init_size", size);
            }
        } else if !(1 << 20..1 << 30).contains(&{ self.header.code32_start }) {
            return field("code32_start", { self.header.code32_start }.into());
        }
        Ok(())
    }

    /// Whether the image should carry a valid CRC-32. Kernels since 6.16 have none, which leaves
    /// zeroes in its place; where the release isn't known, nothing is expected.
    fn has_checksum(&self) -> bool {
        let zero = self.image.last_chunk() == Some(&[0; 4]);
        let old = self.release().is_some_and(|release| release < (6, 13));
        self.header.version >= 0x0208 && old && !zero
    }

    /// "The CRC of the file up to the limit specified in the syssize field is always 0": it is kept
    /// without the final inversion.
    fn checksum_matches(&self) -> bool {
        let crc_without = |blank: &[Range<usize>]| {
            let mut crc = Crc::new();
            let mut at = 0;
            for Range { start, end } in blank {
                crc.update(self.image.get(at..*start).unwrap_or_default());
                crc.update([0; 8].get(..end - start).unwrap_or_default());
                at = *end;
            }
            crc.update(self.image.get(at..).unwrap_or_default());
            crc.sum()
        };
        crc_without(&[]) == u32::MAX || crc_without(&self.signature_fields()) == u32::MAX
    }

    /// What a signature for secure boot changes in an image that is finished: in the header of the
    /// EFI stub, PE32+ of a 64-bit kernel and PE32 of a 32-bit one, the checksum and the entry of the
    /// certificate table.
    fn signature_fields(&self) -> [Range<usize>; 2] {
        let pe = self.image.get(0x3c..).and_then(<[u8]>::first_chunk);
        let pe = pe.map_or(0, |offset| u32::from_le_bytes(*offset) as usize);
        let optional_header = pe.saturating_add(24);
        let magic = self.image.get(optional_header..).and_then(<[u8]>::first_chunk);
        let certificates = if magic == Some(&PE32) { 128 } else { 144 };
        [64..68, certificates..certificates + 8].map(|Range { start, end }| {
            optional_header.saturating_add(start)..optional_header.saturating_add(end)
        })
    }

    /// The version string that `kernel_version` points at.
    pub(super) fn version(&self) -> Option<&str> {
        let offset = usize::from(self.header.kernel_version);
        if offset == 0 {
            return None;
        }
        let setup = self.image.get(..self.protected_mode)?;
        let text = setup.get(offset + SECTOR..)?;
        let text = text.split(|&byte| byte == 0).next()?;
        std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Major and minor number of the version.
    fn release(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version()?.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// The setup header as it is in the image.
    pub(super) fn setup_header(&self) -> &[u8] {
        self.image.get(HEADER..self.header_end).unwrap_or_default()
    }

    /// The protected-mode code.
    pub(super) fn protected_mode(&self) -> &[u8] {
        self.image.get(self.protected_mode..).unwrap_or_default()
    }

    /// The compressed kernel.
    pub(super) fn payload(&self) -> Result<&[u8], HeaderError> {
        let (offset, length) = (self.header.payload_offset, self.header.payload_length);
        if self.header.version < 0x0208 || length == 0 {
            return Err(HeaderError::NoPayload);
        }
        let end = u64::from(offset) + u64::from(length);
        usize::try_from(end)
            .ok()
            .and_then(|end| self.protected_mode().get(offset as usize..end))
            .ok_or(HeaderError::Field { field: "payload_offset + payload_length", value: end })
    }

    /// init_size, or zero where the protocol has none.
    pub(super) fn init_size(&self) -> u64 {
        if self.header.version >= 0x020a { u64::from(self.header.init_size) } else { 0 }
    }

    /// Whether it is a 64-bit kernel with a 64-bit entry point; nothing where the header does not say.
    pub(super) fn is_64_bit(&self) -> Option<bool> {
        (self.header.version >= 0x020c).then_some(self.header.xloadflags & XLF_KERNEL_64 != 0)
    }

    /// Where the kernel runs if it is loaded where it prefers to be.
    fn runtime_start(&self) -> u64 {
        let alignment = self.header.kernel_alignment;
        let address = match self.header.version {
            ..0x020a => self.header.code32_start.into(),
            _ => self.header.pref_address,
        };
        if self.header.relocatable_kernel != 0 {
            address.next_multiple_of(u64::from(alignment))
        } else {
            address
        }
    }

    /// Where the memory ends that the kernel needs until it manages memory itself.
    pub(super) fn runtime_end(&self) -> Option<u64> {
        (self.header.version >= 0x020a).then(|| self.runtime_start() + self.init_size())
    }

    /// How the image's own decompressor is started: where there is a 64-bit entry point, by that, else
    /// by the 32-bit one, with which the code begins in every image.
    pub(super) fn native(&self) -> Native {
        let start = self.runtime_start();
        let length = self.protected_mode().len() as u64;
        let size = match self.init_size() {
            0 => LEAST_ROOM.max(length.saturating_mul(ROOM_FACTOR)),
            size => size.max(length),
        };
        let entry = match self.is_64_bit().unwrap_or(false) {
            true => Entry { address: start + ENTRY_64, mode: EntryMode::Long },
            false => Entry { address: start, mode: EntryMode::Protected },
        };
        Native { start, end: start + size, entry }
    }

    /// The setup header for an image whose protected-mode code is put at `start`.
    pub(super) fn setup_header_at(&self, start: u64) -> Vec<u8> {
        let mut header = self.setup_header().to_vec();
        let start = u32::try_from(start).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(field) =
            header.get_mut(CODE32_START - HEADER..).and_then(<[u8]>::first_chunk_mut)
        {
            *field = start;
        }
        header
    }

    pub(super) fn requirements(&self, start: u64, end: u64) -> Requirements {
        Requirements {
            start,
            end,
            initrd_addr_max: { self.header.initrd_addr_max }.into(),
            cmdline_size: self.header.cmdline_size as usize,
        }
    }
}

/// The header, zero beyond where it ends, and that place.
fn read_header(image: &[u8]) -> Result<(setup_header, usize), HeaderError> {
    let truncated =
        |need: usize| HeaderError::Truncated { need: need as u64, have: image.len() as u64 };
    // "The end of the header is 0x202 plus the byte at 0x201", which is the jump's displacement.
    let displacement = image.get(0x201).copied().ok_or(truncated(0x202))?;
    let end = 0x202 + usize::from(displacement);
    if end > HEADER_ROOM_END {
        return Err(HeaderError::Field { field: "jump", value: displacement.into() });
    }
    let bytes = image.get(HEADER..end).ok_or(truncated(end))?;
    let mut header = setup_header::default();
    header.as_mut_slice().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    if header.version < OLDEST {
        return Err(HeaderError::Version(header.version));
    }
    Ok((header, end))
}

/// Size of the boot sector and the real-mode code.
fn setup_bytes(header: &setup_header) -> usize {
    // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
    let sectors = if header.setup_sects == 0 { 4 } else { usize::from(header.setup_sects) };
    (sectors + 1) * SECTOR
}
