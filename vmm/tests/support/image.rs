//! Kernel images made by hand: a tiny ELF kernel, and a bzImage around whatever payload.
//!
//! The layout is boot.rst's; nothing here is shared with the code that reads it.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses its part")]

/// A segment of [`elf`]: `data`, and zeroes up to `size` bytes.
#[derive(Clone, Debug)]
pub struct Segment {
    pub address: u64,
    pub data: Vec<u8>,
    pub size: u64,
}

/// A 64-bit x86 ELF executable as the kernel's linker makes it: headers first, then the segments,
/// page-aligned in the file, loaded by physical address.
pub fn elf(entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56 * segments.len()];
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&mut file, 16, &2_u16.to_le_bytes()); // ET_EXEC
    put(&mut file, 18, &62_u16.to_le_bytes()); // EM_X86_64
    put(&mut file, 20, &1_u32.to_le_bytes());
    put(&mut file, 24, &entry.to_le_bytes());
    put(&mut file, 32, &64_u64.to_le_bytes()); // e_phoff
    put(&mut file, 52, &64_u16.to_le_bytes()); // e_ehsize
    put(&mut file, 54, &56_u16.to_le_bytes()); // e_phentsize
    put(&mut file, 56, &(segments.len() as u16).to_le_bytes());
    for (index, segment) in segments.iter().enumerate() {
        file.resize(file.len().next_multiple_of(4096), 0);
        let header = 64 + 56 * index;
        put(&mut file, header, &1_u32.to_le_bytes()); // PT_LOAD
        put(&mut file, header + 4, &7_u32.to_le_bytes());
        let offset = file.len() as u64;
        let virtual_address = 0xffff_ffff_8000_0000_u64.wrapping_add(segment.address);
        for (field, value) in [
            (8, offset),
            (16, virtual_address),
            (24, segment.address),
            (32, segment.data.len() as u64),
            (40, segment.size),
            (48, 4096),
        ] {
            put(&mut file, header + field, &value.to_le_bytes());
        }
        file.extend_from_slice(&segment.data);
    }
    file
}

/// The same as a 32-bit executable, as an i386 kernel's linker makes it.
pub fn elf32(entry: u32, segments: &[Segment]) -> Vec<u8> {
    let mut file = vec![0; 52 + 32 * segments.len()];
    file[..16].copy_from_slice(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    put(&mut file, 16, &2_u16.to_le_bytes()); // ET_EXEC
    put(&mut file, 18, &3_u16.to_le_bytes()); // EM_386
    put(&mut file, 20, &1_u32.to_le_bytes());
    put(&mut file, 24, &entry.to_le_bytes());
    put(&mut file, 28, &52_u32.to_le_bytes()); // e_phoff
    put(&mut file, 40, &52_u16.to_le_bytes()); // e_ehsize
    put(&mut file, 42, &32_u16.to_le_bytes()); // e_phentsize
    put(&mut file, 44, &(segments.len() as u16).to_le_bytes());
    for (index, segment) in segments.iter().enumerate() {
        file.resize(file.len().next_multiple_of(4096), 0);
        let header = 52 + 32 * index;
        let address = segment.address as u32;
        for (field, value) in [
            (0, 1), // PT_LOAD
            (4, file.len() as u32),
            (8, 0xc000_0000_u32.wrapping_add(address)),
            (12, address),
            (16, segment.data.len() as u32),
            (20, segment.size as u32),
            (24, 7),
            (28, 4096),
        ] {
            put(&mut file, header + field, &value.to_le_bytes());
        }
        file.extend_from_slice(&segment.data);
    }
    file
}

/// A bzImage. [`BzImage::new`] gives what a kernel of today says; [`BzImage::build`] makes the file.
#[derive(Clone, Debug)]
pub struct BzImage {
    /// The compressed kernel, with its size behind it.
    pub payload: Vec<u8>,
    /// Code at the 32-bit entry point, which is the first of the protected-mode code; at most 512
    /// bytes.
    pub native_32: Vec<u8>,
    /// Code at the 64-bit entry point; at most 512 bytes.
    pub native: Vec<u8>,
    /// What `uname -r` would say, and more.
    pub release: String,
    pub version: u16,
    pub setup_sects: u8,
    pub loadflags: u8,
    pub xloadflags: u16,
    pub relocatable: u8,
    pub alignment: u32,
    pub pref_address: u64,
    pub init_size: u32,
    pub initrd_addr_max: u32,
    pub cmdline_size: u32,
    /// The end of the setup header in the image.
    pub header_end: usize,
}

impl BzImage {
    pub fn new(payload: Vec<u8>) -> BzImage {
        BzImage {
            payload,
            native_32: vec![],
            native: vec![0xfa, 0xf4, 0xeb, 0xfd], // cli; 1: hlt; jmp 1b
            release: "6.1.0 (tests@vmm) #1".to_owned(),
            version: 0x020f,
            setup_sects: 3,
            loadflags: 1,
            xloadflags: 1,
            relocatable: 1,
            alignment: 0x20_0000,
            pref_address: 0x100_0000,
            init_size: 32 << 20,
            initrd_addr_max: 0x7fff_ffff,
            cmdline_size: 2047,
            header_end: 0x26c,
        }
    }

    /// The file, with a valid CRC-32.
    pub fn build(&self) -> Vec<u8> {
        const PAYLOAD: usize = 0x400;
        let sectors = if self.setup_sects == 0 { 4 } else { usize::from(self.setup_sects) };
        let setup = (sectors + 1) * 512;
        let mut file = vec![0; setup + PAYLOAD];
        put(&mut file, setup, &self.native_32);
        put(&mut file, setup + 0x200, &self.native);
        file.extend_from_slice(&self.payload);
        // Room for the checksum, then whole paragraphs.
        file.resize((file.len() + 4 - setup).next_multiple_of(16) + setup, 0);
        let paragraphs = ((file.len() - setup) / 16) as u32;
        let release_at = 0x300;
        put(&mut file, 0x1f1, &[self.setup_sects]);
        put(&mut file, 0x1f4, &paragraphs.to_le_bytes());
        put(&mut file, 0x1fe, &[0x55, 0xaa, 0xeb, (self.header_end - 0x202) as u8]);
        put(&mut file, 0x202, b"HdrS");
        put(&mut file, 0x206, &self.version.to_le_bytes());
        put(&mut file, 0x20e, &(release_at as u16 - 0x200).to_le_bytes());
        put(&mut file, 0x211, &[self.loadflags]);
        put(&mut file, 0x214, &0x10_0000_u32.to_le_bytes()); // code32_start
        put(&mut file, 0x22c, &self.initrd_addr_max.to_le_bytes());
        put(&mut file, 0x230, &self.alignment.to_le_bytes());
        put(&mut file, 0x234, &[self.relocatable, 21]);
        put(&mut file, 0x236, &self.xloadflags.to_le_bytes());
        put(&mut file, 0x238, &self.cmdline_size.to_le_bytes());
        put(&mut file, 0x248, &(PAYLOAD as u32).to_le_bytes());
        put(&mut file, 0x24c, &(self.payload.len() as u32).to_le_bytes());
        put(&mut file, 0x258, &self.pref_address.to_le_bytes());
        put(&mut file, 0x260, &self.init_size.to_le_bytes());
        put(&mut file, release_at, self.release.as_bytes());
        seal(&mut file);
        file
    }
}

/// Makes the CRC-32 of `file` right, whose last four bytes hold it.
pub fn seal(file: &mut [u8]) {
    let end = file.len() - 4;
    let mut crc = u32::MAX;
    for &byte in &file[..end] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    put(file, end, &crc.to_le_bytes());
}

/// `elf` as a payload in the legacy LZ4 format, stored rather than compressed: literals only.
pub fn stored(elf: &[u8]) -> Vec<u8> {
    let mut payload = 0x184c_2102_u32.to_le_bytes().to_vec();
    for block in elf.chunks(8 << 20) {
        let mut compressed = vec![];
        if block.len() < 15 {
            compressed.push((block.len() as u8) << 4);
        } else {
            compressed.push(0xf0);
            let mut more = block.len() - 15;
            while more >= 255 {
                compressed.push(255);
                more -= 255;
            }
            compressed.push(more as u8);
        }
        compressed.extend_from_slice(block);
        payload.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
        payload.extend_from_slice(&compressed);
    }
    payload.extend_from_slice(&(elf.len() as u32).to_le_bytes());
    payload
}

fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}
