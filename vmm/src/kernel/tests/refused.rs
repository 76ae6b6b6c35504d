//! What is not booted, and what is said about it.

use std::io::ErrorKind;

use super::*;
use crate::kernel::{Compression, ElfError, HeaderError, Looks, PayloadError};

fn refused(image: Vec<u8>) -> KernelError {
    match Kernel::from_bytes(image) {
        Ok(kernel) => kernel.requirements(Direct).expect_err("a damaged image was taken"),
        Err(error) => error,
    }
}

fn looks(image: &[u8]) -> Looks {
    match refused(image.to_vec()) {
        KernelError::NotAKernel(looks) => looks,
        other => panic!("{other:?}"),
    }
}

fn header(change: impl FnOnce(&mut BzImage)) -> HeaderError {
    let mut template = BzImage::new(stored(&kernel_elf()));
    change(&mut template);
    match refused(template.build()) {
        KernelError::Header(error) => error,
        other => panic!("{other:?}"),
    }
}

fn payload(payload: Vec<u8>) -> PayloadError {
    match refused(BzImage::new(payload).build()) {
        KernelError::Payload(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_that_are_no_kernels_are_named() {
    assert_eq!(looks(b""), Looks::Empty);
    assert_eq!(looks(b"#!/bin/sh\necho no kernel\n"), Looks::Text);
    assert_eq!(looks(&[0; 5000]), Looks::Unknown);
    assert_eq!(looks(b"\x1f\x8b\x08\0\0\0"), Looks::Compressed("gzip"));
    assert_eq!(looks(b"\x28\xb5\x2f\xfd\0\0"), Looks::Compressed("zstd"));
    assert_eq!(looks(b"070701000000"), Looks::Cpio);
    let mut arm64 = vec![0; 4096];
    arm64[..2].copy_from_slice(b"MZ");
    arm64[0x38..0x3c].copy_from_slice(b"ARM\x64");
    assert_eq!(looks(&arm64), Looks::OtherKernel("arm64"));
    arm64[0x38] = 0;
    assert_eq!(looks(&arm64), Looks::Pe);
    let mut disk = vec![0; 4096];
    disk[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(looks(&disk), Looks::BootSector);
}

#[test]
fn other_elf_files_are_named() {
    let changed = |offset: usize, value: u8| {
        let mut file = kernel_elf();
        file[offset] = value;
        looks(&file)
    };
    assert_eq!(changed(18, 183), Looks::OtherMachine(183));
    assert!(Looks::OtherMachine(183).to_string().contains("arm64"));
    assert_eq!(changed(18, 3), Looks::ElfDamaged);
    assert_eq!(changed(4, 1), Looks::Elf32);
    assert_eq!(changed(5, 2), Looks::ElfBigEndian);
    assert_eq!(changed(16, 1), Looks::ElfRelocatable);
    assert_eq!(changed(16, 3), Looks::ElfShared);
    assert_eq!(changed(16, 4), Looks::ElfCore);
    assert_eq!(looks(b"\x7fELF"), Looks::ElfDamaged);
}

#[test]
fn paths_that_are_no_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let of = |path: &std::path::Path| Kernel::open(path).unwrap_err();
    assert!(matches!(of(directory.path()), KernelError::NotAKernel(Looks::Directory)));
    assert!(matches!(of("/dev/zero".as_ref()), KernelError::NotAKernel(Looks::NotARegularFile)));
    let missing = of(&directory.path().join("bzImage"));
    assert!(
        matches!(&missing, KernelError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    );
    assert!(missing.to_string().contains("bzImage"));
}

#[test]
fn headers_that_cannot_be_booted_are_told_apart() {
    assert_eq!(header(|image| image.version = 0x0205), HeaderError::Version(0x0205));
    assert_eq!(header(|image| image.loadflags = 0), HeaderError::ZImage);
    assert_eq!(header(|image| image.version = 0x0207), HeaderError::NoPayload);
    assert_eq!(header(|image| image.payload.clear()), HeaderError::NoPayload);
    for (error, field) in [
        (header(|image| image.alignment = 3), "kernel_alignment"),
        (header(|image| image.pref_address = 1 << 40), "pref_address"),
        (header(|image| image.pref_address = 0), "pref_address"),
        (header(|image| image.init_size = 0), "init_size"),
        (header(|image| image.header_end = 0x2a0), "jump"),
    ] {
        assert!(
            matches!(error, HeaderError::Field { field: named, .. } if named == field),
            "{error}"
        );
    }
}

#[test]
fn a_signature_is_no_damage() {
    // PE32+ and PE32, and where each has the entry of its certificate table.
    for (magic, certificates) in [(0x020b_u16, 144), (0x010b, 128)] {
        let mut image = bzimage();
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image[0x40 + 24..][..2].copy_from_slice(&magic.to_le_bytes());
        image::seal(&mut image);
        // The PE checksum and the certificate table's place and size.
        image[0x40 + 24 + 64..][..4].copy_from_slice(&[1, 2, 3, 4]);
        image[0x40 + 24 + certificates..][..8].copy_from_slice(&[5, 6, 7, 8, 9, 10, 11, 12]);
        assert!(Kernel::from_bytes(image.clone()).is_ok(), "{magic:#x}");
        image[0x40 + 24 + certificates + 8] = 1;
        let error = Kernel::from_bytes(image).unwrap_err();
        assert!(matches!(error, KernelError::Header(HeaderError::Checksum)));
    }
}

#[test]
fn a_kernel_too_new_for_a_checksum_is_taken_without() {
    let mut template = BzImage::new(stored(&kernel_elf()));
    template.release = "6.18.0 (tests@vmm)".to_owned();
    let mut image = template.build();
    *image.last_chunk_mut().unwrap() = [0x5a; 4];
    assert!(Kernel::from_bytes(image).is_ok());
}

#[test]
fn payloads_that_hold_no_kernel_are_told_apart() {
    assert!(
        matches!(payload(b"none".into()), PayloadError::UnknownCompression(it) if &it == b"none")
    );
    let lz4 = Compression::Lz4;
    let truncated = ElfError::Truncated;
    let mut cut = kernel_elf();
    cut.truncate(5000);
    assert!(matches!(
        payload(stored(&cut)),
        PayloadError::NotAKernel { compression, source }
            if compression == lz4 && source.to_string() == truncated.to_string()
    ));
    assert!(matches!(
        payload(stored(b"not ELF")),
        PayloadError::NotAKernel { source: ElfError::NotAKernel, .. }
    ));
    let mut short = stored(&kernel_elf());
    *short.last_chunk_mut().unwrap() = (kernel_elf().len() as u32 + 1).to_le_bytes();
    assert!(matches!(payload(short), PayloadError::WrongSize { .. }));
    let mut huge = stored(&kernel_elf());
    *huge.last_chunk_mut().unwrap() = u32::MAX.to_le_bytes();
    assert!(matches!(payload(huge), PayloadError::TooLarge { limit, .. } if limit == 32 << 20));
}

#[test]
fn a_bomb_is_cut_off_at_the_size_it_names() {
    // One segment of 256 MiB of zeroes, in a payload that claims to be 16 MiB.
    let mut head = elf(BASE, &[Segment { address: BASE, data: vec![0; 1], size: 256 << 20 }]);
    head[64 + 32..64 + 40].copy_from_slice(&(256_u64 << 20).to_le_bytes());
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    bomb.write_all(&head).unwrap();
    for _ in 0..256 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let mut bomb = bomb.finish().unwrap();
    *bomb.last_chunk_mut().unwrap() = (16_u32 << 20).to_le_bytes();
    const CUT: u64 = (16 << 20) + 1;
    assert!(matches!(payload(bomb), PayloadError::WrongSize { got: CUT, .. }));
}

#[test]
fn segments_that_cannot_be_are_refused() {
    let segment = |address, length: usize, size| Segment { address, data: vec![0; length], size };
    let why = |entry, segments: &[Segment]| match refused(elf(entry, segments)) {
        KernelError::Elf(ElfError::Segment { why, .. }) => why.to_owned(),
        KernelError::Elf(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why(BASE, &[segment(0x7000, 16, 16)]).contains("above 1 MiB"));
    assert!(why(BASE, &[segment(BASE, 16, 8)]).contains("larger in the file"));
    assert!(why(BASE, &[segment(BASE, 16, 2 << 30)]).contains("at most 1 GiB"));
    assert!(why(BASE, &[segment(u64::MAX - 8, 16, 16)]).contains("wraps around"));
    let overlapping = [segment(BASE, 16, 8192), segment(BASE + 4096, 16, 16)];
    assert!(why(BASE, &overlapping).contains("overlaps"));
    assert!(why(BASE - 1, &[segment(BASE, 16, 16)]).contains("in no segment"));
    assert!(why(BASE + 16, &[segment(BASE, 16, 4096)]).contains("in no segment"));
    assert!(why(BASE, &[]).contains("no segment"));
}

#[test]
fn too_little_memory_is_said_with_how_much_is_needed() {
    let kernel = Kernel::from_bytes(bzimage()).unwrap();
    let small = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap();
    for boot in [Direct, Native] {
        let error = kernel.load(&small, boot).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the kernel needs guest memory from 16 to 48 MiB, the machine has 32 MiB"
        );
    }
}
