//! The serial port's interrupt, from the port through the 8259 to a handler in the guest.

mod support {
    pub mod guest;
    pub mod image;
}

use support::guest::{CODE, Guest, NONCE, SERIAL};
use vmm::Ending;

/// Where the guest's interrupt descriptor table lies.
const IDT: u64 = 0x20_0000;
/// Where the table's register image lies, and the handler.
const IDT_REGISTER: u64 = 0x20_2000;
const HANDLER: u64 = 0x20_3000;
/// `__BOOT_CS`, which the machine starts with.
const CODE_SEGMENT: u16 = 0x10;
/// The first of the master 8259's vectors, and the serial port's among them.
const VECTORS: u8 = 0x20;
const SERIAL_VECTOR: usize = 0x24;

/// A table with one 64-bit interrupt gate.
fn idt() -> Vec<u8> {
    let mut table = vec![0; 256 * 16];
    let gate = &mut table[SERIAL_VECTOR * 16..][..16];
    gate[0..2].copy_from_slice(&(HANDLER as u16).to_le_bytes());
    gate[2..4].copy_from_slice(&CODE_SEGMENT.to_le_bytes());
    gate[5] = 0x8e;
    gate[6..8].copy_from_slice(&((HANDLER >> 16) as u16).to_le_bytes());
    table
}

#[test]
fn empty_transmitter_interrupts() {
    let mut register = 0x0fff_u16.to_le_bytes().to_vec();
    register.extend(IDT.to_le_bytes());
    // The handler's code has no addresses of its own, so it may lie anywhere.
    let handler = Guest::new()
        .input(SERIAL + 2)
        .expect_al(0xc2) // transmitter empty, FIFOs on
        .print("interrupted\n")
        .report(NONCE, "exit 0")
        .spin();
    let guest = Guest::new()
        .data(IDT, idt())
        .data(IDT_REGISTER, register)
        .data(HANDLER, handler.code().to_vec())
        // mov ebx, IDT_REGISTER; lidt [rbx]
        .bytes(&[0xbb])
        .bytes(&(IDT_REGISTER as u32).to_le_bytes())
        .bytes(&[0x0f, 0x01, 0x1b])
        // The master 8259: edge triggered, cascaded, its vectors, 8086 mode; all masked but IRQ 4.
        .out(0x20, 0x11)
        .out(0x21, VECTORS)
        .out(0x21, 0x04)
        .out(0x21, 0x01)
        .out(0x21, 0xef)
        .out(SERIAL + 1, 0x02)
        .bytes(&[0xfb, 0xf4, 0xeb, 0xfd]); // sti; 1: hlt; jmp 1b (KVM may wake it for nothing)
    assert!(guest.here() < CODE + 4096);
    let Some(run) = guest.run() else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
    assert_eq!(run.lines, ["interrupted"]);
}
