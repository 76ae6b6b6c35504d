//! Memory beyond 4 GiB, on both sides of the hole.

mod support {
    pub mod guest;
    pub mod image;
}

use support::guest::{Guest, NONCE, SERIAL};
use vmm::{Ending, Machine, MachineConfig, StartError};

const GIB: u64 = 1 << 30;
const MEMORY: u64 = 6 * GIB;
/// What is beyond 3 GiB lies from 4 GiB on.
const END: u64 = MEMORY + GIB;

/// Where this guest puts page directories of its own, one for each GiB.
const DIRECTORIES: u32 = 0x20_0000;

/// A guest that maps the first 2 MiB and the last of each GiB above 4 GiB, and writes and reads
/// there.
fn guest() -> Guest {
    // mov rax, cr3; mov rsi, [rax]; and si, 0xf000: the table of directories.
    let mut guest =
        Guest::new().bytes(&[0x0f, 0x20, 0xd8, 0x48, 0x8b, 0x30, 0x66, 0x81, 0xe6, 0x00, 0xf0]);
    for (directory, gib) in (DIRECTORIES..).step_by(4096).zip(4..(END / GIB) as u32) {
        // mov dword [rsi + gib * 8], directory | 3
        guest = guest.bytes(&[0xc7, 0x46, gib as u8 * 8]).bytes(&(directory | 3).to_le_bytes());
        for entry in [0, 511] {
            let page = (u64::from(gib) * GIB + u64::from(entry) * (2 << 20)) | 0x83;
            guest = guest
                .store(directory + entry * 8, page as u32)
                .store(directory + entry * 8 + 4, (page >> 32) as u32);
        }
    }
    // mov rax, cr3; mov cr3, rax
    guest = guest.bytes(&[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]);
    let places = [3 * GIB - 4, 4 * GIB, 5 * GIB - 4, 6 * GIB, END - 4];
    for (place, value) in places.into_iter().zip(b'a'..) {
        // mov rbx, place; mov dword [rbx], value
        guest = guest.bytes(&[0x48, 0xbb]).bytes(&place.to_le_bytes());
        guest = guest.bytes(&[0xc7, 0x03, value, 0, 0, 0]);
    }
    let [low, high] = SERIAL.to_le_bytes();
    guest = guest.bytes(&[0x66, 0xba, low, high]);
    for place in places {
        // mov rbx, place; mov al, [rbx]; out dx, al
        guest = guest.bytes(&[0x48, 0xbb]).bytes(&place.to_le_bytes());
        guest = guest.bytes(&[0x8a, 0x03, 0xee]);
    }
    // Nothing is in the hole: mov ebx, 3 GiB; mov al, [rbx].
    guest = guest.bytes(&[0xbb]).bytes(&((3 * GIB) as u32).to_le_bytes()).bytes(&[0x8a, 0x03]);
    guest.expect_al(0xff).print("\n").report(NONCE, "exit 0").spin()
}

#[test]
fn memory_goes_on_behind_the_hole() {
    let machine = match Machine::start(MachineConfig { memory: MEMORY, ..guest().config() }) {
        Ok(machine) => machine,
        Err(error @ (StartError::NoKvm | StartError::MoreThanHost { .. })) => {
            eprintln!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}: {error:?}"),
    };
    let run = support::guest::listen(&machine);
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
    assert_eq!(run.lines, ["abcde"]);
}
