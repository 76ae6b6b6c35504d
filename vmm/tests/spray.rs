//! A guest that writes to whatever port and address there is ends as an outcome.

mod support {
    pub mod guest;
    pub mod image;
}

use guest_init::protocol::AGENT_PORT;
use support::guest::{Guest, NONCE, SERIAL};
use vmm::{Ending, MachineConfig};

/// Ports below this are sprayed: beyond it nobody is.
const PORTS: u32 = 0x1000;

/// Writes bytes, words and doublewords of `value` to every port, and reads each back.
fn spray(guest: Guest, value: u8) -> Guest {
    // xor edx, edx; mov ebx, value in each byte
    let guest = guest.bytes(&[0x31, 0xd2, 0xbb, value, value, value, value]);
    // 1: mov eax, ebx; out dx, al; out dx, ax; out dx, eax; in eax, dx
    let guest = guest.bytes(&[0x89, 0xd8, 0xee, 0x66, 0xef, 0xef, 0xed]);
    // inc edx; cmp edx, PORTS; jb 1b
    let guest = guest.bytes(&[0xff, 0xc2, 0x81, 0xfa]).bytes(&PORTS.to_le_bytes());
    guest.bytes(&[0x72, 0xef])
}

#[test]
fn every_port_takes_any_write_of_any_width() {
    // None of these resets the machine, which others do.
    for value in [0x00, 0x5a] {
        // Whatever the agent port and the serial port were told is over with a line end.
        let guest = spray(Guest::new(), value).out(SERIAL + 3, 3).out(AGENT_PORT, b'\n');
        let guest = guest.report(NONCE, "exit 7").spin();
        let Some(run) = guest.run() else { return };
        assert_eq!(run.summary.ending, Ending::Exit { status: 7 }, "{value:#x}");
        assert!(run.summary.exits > u64::from(PORTS), "{}", run.summary.exits);
    }
}

#[test]
fn a_write_that_pulls_the_reset_line_is_a_reset() {
    let Some(run) = spray(Guest::new(), 0xfe).spin().run() else { return };
    assert_eq!(run.summary.ending, Ending::Reset);
}

#[test]
fn addresses_with_nothing_behind_them_take_writes_and_float() {
    let mut guest = Guest::new();
    // Behind the memory, in the hole for devices, around the interrupt controllers, at its end.
    for address in [64 << 20, 0xc000_0000_u32, 0xd000_0000, 0xfec0_1000, 0xfed0_0000, 0xffff_fff0] {
        // ...; mov al, [rbx]
        guest = guest.store(address, 0x5a5a_5a5a).bytes(&[0x8a, 0x03]).expect_al(0xff);
    }
    let guest = guest.report(NONCE, "exit 0").spin();
    let Some(run) = guest.run() else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
}

#[test]
fn a_console_that_is_flooded_ends_at_its_limit() {
    // mov dx, SERIAL; mov al, 'x'; 1: out dx, al; jmp 1b
    let guest = Guest::new().bytes(&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfd]);
    let config = MachineConfig { console_limit: 10_000, ..guest.config() };
    let Some(run) = support::guest::run(config) else { return };
    assert_eq!(run.summary.ending, Ending::ConsoleLimit { bytes: 10_000 });
    assert!(run.lines.len() <= 3, "a line without an end is cut: {}", run.lines.len());
}
