//! A guest's accesses to I/O ports, those among them that KVM puts aside, and what is typed meanwhile.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm::fuzzing::Ports;

/// Where something is, so that not every input has to find it.
const CLAIMED: [u16; 14] =
    [0x60, 0x64, 0x70, 0x71, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x7b0, 0xcf8, 0xcf9];

fuzz_target!(|data: &[u8]| {
    let mut ports = Ports::new();
    for access in data.chunks_exact(8) {
        let port = match access[0] & 0x80 {
            0 => CLAIMED[usize::from(access[1]) % CLAIMED.len()],
            _ => u16::from_le_bytes([access[1], access[2]]),
        };
        let width = [1, 2, 4][usize::from(access[3]) % 3];
        let mut value = [access[4], access[5], access[6], access[7]];
        match access[0] & 7 {
            0 | 1 => ports.read(port, &mut value[..width]),
            2 | 3 => ports.write(port, &value[..width]),
            4 => ports.receive(&value),
            5 => ports.kick(),
            _ => value.iter().for_each(|byte| ports.post(*byte)),
        }
    }
    ports.finish();
});
