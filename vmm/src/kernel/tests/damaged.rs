//! Damaged images: never a panic, and never a kernel that is not the one that was built.

use proptest::prelude::*;

use super::*;
use crate::kernel::HeaderError;

/// Goes all the way, whatever the image is.
fn try_all(image: Vec<u8>) {
    if let Ok(kernel) = Kernel::from_bytes(image) {
        let memory = memory();
        let _ = (kernel.version(), kernel.compression());
        for boot in [Direct, Native] {
            if let Ok(loaded) = kernel.load(&memory, boot) {
                let requirements = kernel.requirements(boot).unwrap();
                assert!(requirements.start >= 1 << 20);
                assert!((requirements.start..requirements.end).contains(&loaded.entry.address));
                assert!(loaded.setup_header.len() <= 0x290 - 0x1f1);
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let image = bzimage();
    for length in 0..image.len() {
        assert!(Kernel::from_bytes(image[..length].to_vec()).is_err(), "{length}");
    }
    let error = Kernel::from_bytes(image[..image.len() - 1].to_vec()).unwrap_err();
    assert!(matches!(error, KernelError::Header(HeaderError::Truncated { .. })));
}

#[test]
fn every_truncation_of_a_vmlinux_is_refused() {
    for bytes in [kernel_elf(), kernel_elf_32()] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        for length in (0..bytes.len()).rev() {
            assert!(Kernel::from_bytes(bytes[..length].to_vec()).is_err(), "{length}");
            file.as_file().set_len(length as u64).unwrap();
            assert!(Kernel::open(file.path()).is_err(), "{length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// LZ4 has no checksum of its own; the image's catches what it doesn't. Where a flip hides the
    /// checksum, as one of the release does, it has not changed the kernel.
    #[test]
    fn a_flipped_bit_is_noticed_or_does_no_harm(at in 0..bzimage().len() * 8) {
        let mut image = bzimage();
        image[at / 8] ^= 1 << (at % 8);
        if let Ok(kernel) = Kernel::from_bytes(image)
            && let Ok(loaded) = kernel.load(&memory(), Direct)
        {
            prop_assert_eq!(loaded.entry.address, BASE);
            let original = Kernel::from_bytes(bzimage()).unwrap();
            prop_assert!(super::loaded(&kernel, 0x20_2400) == super::loaded(&original, 0x20_2400));
        }
    }

    #[test]
    fn any_bytes(image in proptest::collection::vec(any::<u8>(), 0..4096)) {
        try_all(image);
    }

    #[test]
    fn any_setup_header(
        header in proptest::collection::vec(any::<u8>(), 0x26c - 0x206),
        sectors in 0_u8..6,
    ) {
        let mut image = bzimage();
        image[0x1f1] = sectors;
        image[0x206..0x26c].copy_from_slice(&header);
        // Let it past the flag that half of these would stop at, and its checksum be right.
        image[0x211] |= 1;
        image::seal(&mut image);
        try_all(image);
    }

    #[test]
    fn any_field_of_the_header(
        at in 0x1f1_usize..0x26c,
        value in any::<u32>(),
        width in 1_usize..5,
    ) {
        let mut image = bzimage();
        image[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        image::seal(&mut image);
        try_all(image);
    }

    #[test]
    fn any_elf_headers(
        changes in proptest::collection::vec((6_usize..64 + 56 * 2, any::<u8>()), 1..8),
        wrapped in any::<bool>(),
        wide in any::<bool>(),
    ) {
        let mut file = if wide { kernel_elf() } else { kernel_elf_32() };
        for (at, value) in changes {
            file[at] = value;
        }
        try_all(if wrapped { BzImage::new(stored(&file)).build() } else { file });
    }
}
