//! A kernel image that anybody may have written: read, checked, loaded both ways.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Offsets of what a setup header begins with (boot.rst), so that not every input has to find it.
const HEADER: [(usize, &[u8]); 6] = [
    (0x1f1, &[4]),                      // setup_sects
    (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]), // boot_flag, jump: the header ends at 0x26c
    (0x202, b"HdrS\x0f\x02"),
    (0x211, &[1]),          // LOADED_HIGH
    (0x236, &[3]),          // XLF_KERNEL_64, XLF_CAN_BE_LOADED_ABOVE_4G
    (0x24c, &[0, 1, 0, 0]), // payload_length
];

fuzz_target!(|data: &[u8]| {
    let Some((how, rest)) = data.split_first() else { return };
    let mut image = rest.to_vec();
    if how & 1 != 0 {
        image.resize(image.len().max(0x1000), 0);
        for (at, bytes) in HEADER {
            if let Some(place) = image.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        }
    } else if how & 2 != 0 && image.len() >= 64 {
        // ELF, of either class.
        image[..4].copy_from_slice(b"\x7fELF");
    }
    vmm::fuzzing::load(image);
});
