//! Kernels that are entered in 32-bit protected mode.

mod support {
    pub mod guest;
    pub mod image;
}

use std::sync::Arc;

use support::guest::{CODE, Guest, NONCE, run};
use support::image::{BzImage, Segment, elf, stored};
use vmm::{BootMode, Ending, Kernel, MachineConfig};

/// A guest that ends well if it finds the state that boot.rst promises at the 32-bit entry.
fn guest() -> Guest {
    Guest::new()
        // mov eax, ebp; or eax, edi; or eax, ebx: all zero.
        .bytes(&[0x89, 0xe8, 0x09, 0xf8, 0x09, 0xd8, 0x0f, 0x95, 0xc0])
        .expect_al(0)
        // mov eax, esi; shr eax, 12: the zero page, of which the header's magic is a part.
        .bytes(&[0x89, 0xf0, 0xc1, 0xe8, 0x0c])
        .expect_al(7)
        .bytes(&[0x8a, 0x86, 0x02, 0x02, 0, 0]) // mov al, [esi + 0x202]
        .expect_al(b'H')
        .bytes(&[0x8c, 0xc8]) // mov eax, cs
        .expect_al(0x10)
        .bytes(&[0x8c, 0xd8]) // mov eax, ds
        .expect_al(0x18)
        .bytes(&[0x8c, 0xd0]) // mov eax, ss
        .expect_al(0x18)
        // mov eax, cr0; shr eax, 31: no paging.
        .bytes(&[0x0f, 0x20, 0xc0, 0xc1, 0xe8, 0x1f])
        .expect_al(0)
        // xor eax, eax; dec eax; inc eax. In 64-bit mode the latter two are one instruction, inc rax.
        .bytes(&[0x31, 0xc0, 0x48, 0xff, 0xc0])
        .expect_al(0)
        .print("32 bits\n")
        .report(NONCE, "exit 0")
        .spin()
}

fn check(kernel: Arc<Kernel>, boot: BootMode) {
    let config = MachineConfig { kernel, boot, ..Guest::new().halt().config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
    assert_eq!(run.lines, ["32 bits"]);
}

#[test]
fn a_32_bit_vmlinux() {
    check(guest().kernel_32(), BootMode::Direct);
}

#[test]
fn an_image_without_a_64_bit_entry() {
    // Native boot runs the image's own code, whatever its payload is.
    let nothing = elf(CODE, &[Segment { address: CODE, data: vec![0xf4], size: 1 }]);
    let mut image = BzImage::new(stored(&nothing));
    image.native_32 = guest().code().to_vec();
    image.xloadflags = 0;
    match Kernel::from_bytes(image.build()) {
        Ok(kernel) => check(Arc::new(kernel), BootMode::Native),
        Err(error) => panic!("{error}"),
    }
}
