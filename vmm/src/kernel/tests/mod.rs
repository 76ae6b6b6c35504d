//! Images made by hand, whole and damaged.

mod damaged;
mod formats;
#[path = "../../../tests/support/image.rs"]
mod image;
mod refused;

use std::io::Write;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use self::image::{BzImage, Segment, elf, elf32, stored};
use super::{Entry, EntryMode, Kernel, KernelError, Requirements};
use crate::BootMode::{Direct, Native};

/// Where images made here are loaded.
const BASE: u64 = 0x100_0000;

/// A kernel of two segments with a hole between them and a bss.
fn kernel_elf() -> Vec<u8> {
    let text = Segment { address: BASE, data: b"\xfa\xf4\xeb\xfd".repeat(600), size: 2400 };
    let data = Segment { address: BASE + 0x20_0000, data: vec![7; 5000], size: 9000 };
    elf(BASE, &[text, data])
}

/// A 32-bit kernel.
fn kernel_elf_32() -> Vec<u8> {
    let text = Segment { address: BASE, data: b"\xfa\xf4\xeb\xfd".repeat(600), size: 2400 };
    elf32(BASE as u32, &[text])
}

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap()
}

/// Guest memory from [`BASE`] on after booting `kernel` directly.
fn loaded(kernel: &Kernel, length: usize) -> Vec<u8> {
    let memory = memory();
    kernel.load(&memory, Direct).unwrap();
    let mut bytes = vec![0; length];
    memory.read_slice(&mut bytes, GuestAddress(BASE)).unwrap();
    bytes
}

fn bzimage() -> Vec<u8> {
    BzImage::new(stored(&kernel_elf())).build()
}

#[test]
fn direct_boot_loads_segments_and_keeps_the_header() {
    let image = bzimage();
    let kernel = Kernel::from_bytes(image.clone()).unwrap();
    let memory = memory();
    let loaded = kernel.load(&memory, Direct).unwrap();
    assert_eq!(loaded.entry, Entry { address: BASE, mode: EntryMode::Long });
    assert_eq!(loaded.end, BASE + (32 << 20));
    assert_eq!(loaded.setup_header, image[0x1f1..0x26c]);
    let mut data = vec![1; 9001];
    memory.read_slice(&mut data, GuestAddress(BASE + 0x20_0000)).unwrap();
    assert!(data[..5000].iter().all(|&byte| byte == 7));
    assert!(data[5000..].iter().all(|&byte| byte == 0));
    assert_eq!(
        format!("{kernel:?}"),
        r#"Kernel { format: "bzImage", version: Some("6.1.0 (tests@vmm) #1"), .. }"#
    );
}

#[test]
fn native_boot_loads_the_protected_mode_code_where_it_prefers_to_be() {
    let mut template = BzImage::new(stored(&kernel_elf()));
    template.pref_address = BASE + 0x1000;
    let image = template.build();
    let kernel = Kernel::from_bytes(image.clone()).unwrap();
    let memory = memory();
    let loaded = kernel.load(&memory, Native).unwrap();
    // Aligned up, since it is relocatable.
    let entry = Entry { address: BASE + 0x20_0000 + 0x200, mode: EntryMode::Long };
    assert_eq!(loaded.entry, entry);
    // The header says where the code is.
    assert_eq!(loaded.setup_header[0x214 - 0x1f1..][..4], [0, 0, 0x20, 0x01]);
    let mut code = vec![0; image.len() - 2048];
    memory.read_slice(&mut code, GuestAddress(BASE + 0x20_0000)).unwrap();
    assert_eq!(code, image[2048..]);

    template.relocatable = 0;
    let kernel = Kernel::from_bytes(template.build()).unwrap();
    assert_eq!(kernel.load(&memory, Native).unwrap().entry.address, BASE + 0x1000 + 0x200);
}

#[test]
fn kernels_without_a_64_bit_entry_are_entered_by_the_32_bit_one() {
    // A 64-bit kernel from before xloadflags, and a 32-bit one.
    for (version, xloadflags) in [(0x020b, 1), (0x020f, 0)] {
        let mut template = BzImage::new(stored(&kernel_elf()));
        (template.version, template.xloadflags) = (version, xloadflags);
        let kernel = Kernel::from_bytes(template.build()).unwrap();
        let loaded = kernel.load(&memory(), Native).unwrap();
        assert_eq!(loaded.entry, Entry { address: BASE, mode: EntryMode::Protected });
        assert_eq!(kernel.is_32_bit().unwrap(), xloadflags == 0);
    }
}

#[test]
fn kernels_from_before_init_size_start_where_the_header_says() {
    let mut template = BzImage::new(stored(&kernel_elf()));
    (template.version, template.pref_address, template.init_size) = (0x0209, 0, 0);
    template.alignment = 0x10_0000;
    let kernel = Kernel::from_bytes(template.build()).unwrap();
    let native = kernel.requirements(Native).unwrap();
    assert_eq!((native.start, native.end), (1 << 20, 33 << 20));
    assert_eq!(kernel.requirements(Direct).unwrap().end, BASE + 0x20_0000 + 9000);
    let mut damaged = template.build();
    damaged[0x214..0x218].copy_from_slice(&0x1000_u32.to_le_bytes());
    image::seal(&mut damaged);
    let error = Kernel::from_bytes(damaged).unwrap_err();
    assert!(error.to_string().contains("code32_start is 0x1000"), "{error}");
}

#[test]
fn a_32_bit_kernel_is_entered_in_protected_mode() {
    let mut template = BzImage::new(stored(&kernel_elf_32()));
    (template.xloadflags, template.initrd_addr_max) = (0, 0x37ff_ffff);
    for image in [kernel_elf_32(), template.build()] {
        let kernel = Kernel::from_bytes(image).unwrap();
        let entry = Entry { address: BASE, mode: EntryMode::Protected };
        assert_eq!(kernel.load(&memory(), Direct).unwrap().entry, entry);
        assert_eq!(loaded(&kernel, 4), b"\xfa\xf4\xeb\xfd");
        assert_eq!(kernel.requirements(Direct).unwrap().initrd_addr_max, 0x37ff_ffff);
        assert!(kernel.is_32_bit().unwrap());
    }
}

#[test]
fn kernels_that_read_an_mp_table_are_known_by_their_message() {
    let reads = |message: &[u8]| {
        let data = [&[0x90; 100], message].concat();
        let size = data.len() as u64;
        let elf = elf(BASE, &[Segment { address: BASE, data, size }]);
        let kernel = Kernel::from_bytes(BzImage::new(stored(&elf)).build()).unwrap();
        kernel.reads_mp_table().unwrap()
    };
    assert!(reads(b"\x016Intel MultiProcessor Specification v1.%d\n\0"));
    assert!(!reads(b"\x016ACPI: Interpreter enabled\n\0"));
}

#[test]
fn requirements_cover_what_the_header_and_the_segments_ask_for() {
    let mut template = BzImage::new(stored(&kernel_elf()));
    template.cmdline_size = 255;
    template.initrd_addr_max = 0x37ff_ffff;
    let kernel = Kernel::from_bytes(template.build()).unwrap();
    let expected = Requirements {
        start: BASE,
        end: BASE + (32 << 20),
        initrd_addr_max: 0x37ff_ffff,
        cmdline_size: 255,
    };
    assert_eq!(kernel.requirements(Direct).unwrap(), expected);
    assert_eq!(kernel.requirements(Native).unwrap(), expected);

    // Segments that reach beyond init_size.
    let far = Segment { address: BASE + (40 << 20), data: vec![1], size: 8192 };
    let near = Segment { address: BASE, data: vec![1], size: 1 };
    let image = BzImage::new(stored(&elf(BASE, &[near, far]))).build();
    let kernel = Kernel::from_bytes(image).unwrap();
    assert_eq!(kernel.requirements(Direct).unwrap().end, BASE + (40 << 20) + 8192);
}

#[test]
fn vmlinux_is_read_without_what_follows_its_segments() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&kernel_elf()).unwrap();
    // Debug information, of which not a byte is read.
    file.as_file().set_len(1 << 40).unwrap();
    let kernel = Kernel::open(file.path()).unwrap();
    let loaded = kernel.load(&memory(), Direct).unwrap();
    assert_eq!(loaded.entry, Entry { address: BASE, mode: EntryMode::Long });
    assert_eq!(loaded.end, BASE + 0x20_0000 + 9000);
    assert!(loaded.setup_header.is_empty());
    assert!(matches!(kernel.requirements(Native), Err(KernelError::NativeVmlinux)));
}

#[test]
fn a_file_and_its_bytes_are_the_same_kernel() {
    let mut image = bzimage();
    let bytes = loaded(&Kernel::from_bytes(image.clone()).unwrap(), 0x20_2400);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // What a signature appends is not the kernel's.
    image.extend_from_slice(&[0x5a; 1472]);
    file.write_all(&image).unwrap();
    let kernel = Kernel::open(file.path()).unwrap();
    // The file isn't needed any more.
    file.close().unwrap();
    assert!(bytes == loaded(&kernel, 0x20_2400));
}

/// A file with the vmlinux of [`kernel_elf`].
fn vmlinux_file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&kernel_elf()).unwrap();
    file
}

#[test]
fn each_machine_gets_the_same_vmlinux_whatever_it_is_read_for() {
    let expected = loaded(&Kernel::from_bytes(kernel_elf()).unwrap(), 0x20_2400);
    let file = vmlinux_file();
    let kernel = Kernel::open(file.path()).unwrap();
    let asked = Kernel::open(file.path()).unwrap();
    assert!(!asked.reads_mp_table().unwrap());
    // It is gone for others.
    file.close().unwrap();
    for kernel in [&kernel, &kernel, &kernel, &asked, &asked] {
        assert!(expected == loaded(kernel, 0x20_2400));
    }
}

#[test]
fn a_vmlinux_that_changes_under_way_is_no_kernel() {
    let file = vmlinux_file();
    let [first, second] = [(); 2].map(|()| Kernel::open(file.path()).unwrap());
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    file.as_file().set_modified(long_ago).unwrap();
    assert!(matches!(first.load(&memory(), Direct), Err(KernelError::Changed { .. })));
    assert!(matches!(second.reads_mp_table(), Err(KernelError::Changed { .. })));
    let kernel = Kernel::open(file.path()).unwrap();
    file.as_file().set_len(0x3000).unwrap();
    let error = kernel.load(&memory(), Direct).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the kernel image {} was changed while it was in use", file.path().display())
    );
}

#[test]
fn one_kernel_is_shared_by_many_threads() {
    let file = vmlinux_file();
    for kernel in [Kernel::from_bytes(bzimage()).unwrap(), Kernel::open(file.path()).unwrap()] {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(loaded(&kernel, 4), b"\xfa\xf4\xeb\xfd"));
            }
        });
    }
}
