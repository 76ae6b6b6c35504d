//! Typing on a machine's console: what is sent arrives in order, however much the receiver holds.

mod support {
    pub mod guest;
    pub mod image;
}

use std::thread;

use support::guest::{Guest, NONCE, SERIAL, listen, start};
use vmm::{Ending, MachineConfig, MachineEvent};

const LINE_STATUS: u16 = SERIAL + 5;

/// A guest that says `$ `, sends back what it receives, and exits when it has received a `q`.
fn echo() -> Guest {
    let guest = Guest::new().print("$ ");
    let again = guest.here();
    // 1: mov dx, LINE_STATUS; in al, dx; test al, 1; jz 1b
    let guest = guest.input(LINE_STATUS).bytes(&[0xa8, 0x01, 0x74, 0xf7]);
    // in al, dx; out dx, al; cmp al, 'q'; jne 1b
    let guest = guest.input(SERIAL).bytes(&[0xee, 0x3c, b'q', 0x75]);
    let back = again.wrapping_sub(guest.here() + 1) as u8;
    guest.bytes(&[back]).report(NONCE, "exit 0").spin()
}

#[test]
fn an_echo_sends_back_more_than_the_receiver_holds() {
    let config = MachineConfig { raw_console: true, ..echo().config() };
    let Some(machine) = start(config) else { return };
    let input = machine.input();
    // The prompt has no line end and is there all the same.
    let mut prompt = Vec::new();
    while prompt != b"$ " {
        match machine.events().next() {
            Some(MachineEvent::Output(bytes)) => prompt.extend(bytes),
            Some(MachineEvent::Milestone(..)) => {}
            other => panic!("{other:?} after {prompt:?}"),
        }
    }
    let text: Vec<u8> = (0..500).map(|i| b'a' + (i % 16) as u8).chain(*b"q").collect();
    let sent = text.clone();
    let sender = thread::spawn(move || sent.chunks(100).for_each(|part| input.send(part)));
    let run = listen(&machine);
    sender.join().unwrap();
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
    assert_eq!(String::from_utf8_lossy(&run.output), String::from_utf8_lossy(&text));
}

#[test]
fn what_comes_too_late_is_lost_and_does_no_harm() {
    let Some(machine) = start(Guest::new().report(NONCE, "exit 0").spin().config()) else { return };
    let input = machine.input();
    assert_eq!(listen(&machine).summary.ending, Ending::Exit { status: 0 });
    input.send(b"too late");
    drop(machine);
    input.send(b"still");
}
