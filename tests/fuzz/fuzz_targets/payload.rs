//! The compressed kernel inside of an image: damaged, lying about its size, or a bomb.

#![no_main]

use libfuzzer_sys::fuzz_target;

const MAGICS: [&[u8]; 7] = [
    &[0x1f, 0x8b, 8],
    b"BZh9",
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    b"\x89LZO\x00\r\n\x1a\n",
    &[0x02, 0x21, 0x4c, 0x18],
    &[0x28, 0xb5, 0x2f, 0xfd],
    &[0x5d, 0, 0, 0x80, 0],
];

/// What an image's header would allow.
const INIT_SIZE: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    let magic = MAGICS[usize::from(*which) % MAGICS.len()];
    let payload = [magic, rest].concat();
    if let Some(size) = vmm::fuzzing::decompress(&payload, INIT_SIZE) {
        assert!(size <= INIT_SIZE, "{size} bytes came out");
    }
});
