//! What a file is that is not a kernel for this machine, so that the error can say it.

use std::fmt;

use super::payload::Compression;

/// What a file that is not a kernel for this machine looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// A file of no bytes.
    Empty,
    /// A directory.
    Directory,
    /// A device, a pipe or a socket.
    NotARegularFile,
    /// A compressed file; its name.
    Compressed(&'static str),
    /// A kernel for another architecture; its name.
    OtherKernel(&'static str),
    /// A PE executable without a setup header: an EFI program that is no kernel for this machine.
    Pe,
    /// ELF for another machine; its number in the ELF specification (`e_machine`).
    OtherMachine(u16),
    /// 32-bit ELF for x86-64 (x32).
    Elf32,
    /// Big-endian ELF.
    ElfBigEndian,
    /// A relocatable object, such as vmlinux.o or a module.
    ElfRelocatable,
    /// A shared object or position-independent program.
    ElfShared,
    /// A core dump.
    ElfCore,
    /// ELF that is too short or damaged in its first bytes.
    ElfDamaged,
    /// A cpio archive, such as an initramfs.
    Cpio,
    /// A bootable disk: a boot sector without a setup header.
    BootSector,
    /// Text.
    Text,
    /// Nothing known.
    Unknown,
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Looks::Compressed(name) => {
                return write!(f, "it is a {name} file; decompress it first");
            }
            Looks::OtherKernel(name) => return write!(f, "it is a kernel for {name}"),
            Looks::OtherMachine(machine) => {
                return match machine_name(*machine) {
                    Some(name) => write!(f, "it is an ELF file for {name}"),
                    None => write!(f, "it is an ELF file for machine {machine}"),
                };
            }
            Looks::Empty => "the file is empty",
            Looks::Directory => {
                "it is a directory (a build directory has the image in arch/x86/boot/bzImage)"
            }
            Looks::NotARegularFile => "it is not a regular file",
            Looks::Pe => "it is an EFI program without an x86 setup header",
            Looks::Elf32 => "it is a program for x32, not a kernel",
            Looks::ElfBigEndian => "it is a big-endian ELF file",
            Looks::ElfRelocatable => {
                "it is a relocatable object (vmlinux.o or a module), not the linked vmlinux"
            }
            Looks::ElfShared => {
                "it is a shared object or a position-independent program, not a vmlinux"
            }
            Looks::ElfCore => "it is a core dump",
            Looks::ElfDamaged => "its ELF header is damaged or cut off",
            Looks::Cpio => "it is a cpio archive (an initramfs?)",
            Looks::BootSector => {
                "it has a boot sector but no setup header: a disk image, or a very old kernel"
            }
            Looks::Text => "it is a text file",
            Looks::Unknown => "it is neither a bzImage nor an ELF vmlinux",
        })
    }
}

/// Whether `head` begins an ELF file.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
}

/// What an image is if it can't be a bzImage, judged by its first bytes.
pub(super) fn not_a_bzimage(head: &[u8]) -> Option<Looks> {
    if at(head, 0x202, b"HdrS") && at(head, 0x1fe, &[0x55, 0xaa]) {
        return None;
    }
    Some(other(head))
}

/// What an ELF file is if it is not a vmlinux for this machine.
pub(super) fn foreign_elf(head: &[u8]) -> Option<Looks> {
    let (Some(&class), Some(&data)) = (head.get(4), head.get(5)) else {
        return Some(Looks::ElfDamaged);
    };
    let (Some(kind), Some(machine)) = (half(head, 16), half(head, 18)) else {
        return Some(Looks::ElfDamaged);
    };
    match (data, machine, class, kind) {
        (2, ..) => Some(Looks::ElfBigEndian),
        (1, 62, 1, _) => Some(Looks::Elf32),
        (1, 3, 1, 2) | (1, 62, 2, 2) => None,
        (1, 3, 1, 1) | (1, 62, 2, 1) => Some(Looks::ElfRelocatable),
        (1, 3, 1, 3) | (1, 62, 2, 3) => Some(Looks::ElfShared),
        (1, 3, 1, 4) | (1, 62, 2, 4) => Some(Looks::ElfCore),
        (1, 3 | 62, ..) => Some(Looks::ElfDamaged),
        (1, ..) => Some(Looks::OtherMachine(machine)),
        _ => Some(Looks::ElfDamaged),
    }
}

fn other(head: &[u8]) -> Looks {
    if head.is_empty() {
        return Looks::Empty;
    }
    // A kernel for arm64 or RISC-V may carry an MZ header of its EFI stub: look for it first.
    for (offset, magic, name) in [
        (0x38, b"ARM\x64".as_slice(), "arm64"),
        (0x38, b"RSC\x05", "RISC-V"),
        (0x24, &[0x18, 0x28, 0x6f, 0x01], "32-bit Arm (zImage)"),
        (0, &[0x27, 0x05, 0x19, 0x56], "U-Boot (uImage)"),
    ] {
        if at(head, offset, magic) {
            return Looks::OtherKernel(name);
        }
    }
    if let Some(name) = compression(head) {
        return Looks::Compressed(name);
    }
    if head.starts_with(b"070701") || head.starts_with(b"070702") || head.starts_with(b"070707") {
        return Looks::Cpio;
    }
    if head.starts_with(b"MZ") {
        return Looks::Pe;
    }
    if at(head, 0x1fe, &[0x55, 0xaa]) {
        return Looks::BootSector;
    }
    let text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    if head.iter().take(512).all(text) { Looks::Text } else { Looks::Unknown }
}

/// The program that compressed a file which begins with these bytes, of which six are enough.
pub fn compression(head: &[u8]) -> Option<&'static str> {
    // The lz4 program writes another form than the kernel's build, which has it write the older one.
    if head.starts_with(b"\x04\x22\x4d\x18") {
        return Some("lz4");
    }
    Some(match Compression::of(head).ok()? {
        Compression::Lzo => "lzop",
        other => other.name(),
    })
}

fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        8 => "MIPS",
        20 => "PowerPC",
        21 => "64-bit PowerPC",
        22 => "S/390",
        40 => "32-bit Arm",
        183 => "arm64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => return None,
    })
}

fn at(head: &[u8], offset: usize, magic: &[u8]) -> bool {
    head.get(offset..).is_some_and(|rest| rest.starts_with(magic))
}

fn half(head: &[u8], offset: usize) -> Option<u16> {
    head.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}
