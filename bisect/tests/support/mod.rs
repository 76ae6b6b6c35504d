//! What the tests of the program share.

#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../vmm/tests/support/image.rs"]
mod image;

use image::{Segment, elf};

/// An ELF "kernel" at 1 MiB that prints one line on the serial port and resets the machine.
pub(crate) fn tiny_kernel() -> Vec<u8> {
    let mut code = print(b"hello\n");
    code.extend(RESET);
    kernel(&code)
}

/// One that prints a crash and goes on without a word.
pub(crate) fn crashing_kernel() -> Vec<u8> {
    let mut code = print(b"hello\nVFS: Close: file count is 0\n");
    code.extend([0xeb, 0xfe]); // jmp $
    kernel(&code)
}

/// One that prints so many crashes of one title and one of another, and resets the machine.
pub(crate) fn kernel_of_many_crashes(count: u8) -> Vec<u8> {
    let many = print(b"VFS: Close: file count is 0\n");
    // mov ecx, count; the crash; dec ecx; jnz to it
    let mut code = vec![0xb9, count, 0, 0, 0];
    code.extend(&many);
    let back = -(many.len() as i32 + 8);
    code.extend([0xff, 0xc9, 0x0f, 0x85]);
    code.extend(back.to_le_bytes());
    code.extend(print(b"kernel BUG at lib/x.c:1!\nRIP: 0010:f+0x1/0x2\n"));
    code.extend(RESET);
    kernel(&code)
}

/// One that says its command line and `$ `, sends back what it receives on the serial port, and resets the machine when
/// it has received a `q`.
pub(crate) fn echo_kernel() -> Vec<u8> {
    // mov ebx, [rsi + 0x228] (cmd_line_ptr of the boot parameters)
    let mut code = vec![0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00];
    // 1: mov al, [rbx]; test al, al; jz 2f; mov dx, 0x3f8; out dx, al; inc ebx; jmp 1b; 2:
    code.extend([0x8a, 0x03, 0x84, 0xc0, 0x74, 0x09, 0x66, 0xba, 0xf8, 0x03, 0xee]);
    code.extend([0xff, 0xc3, 0xeb, 0xf1]);
    code.extend(print(b"\n$ "));
    // 1: mov dx, 0x3fd; in al, dx; test al, 1; jz 1b
    code.extend([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7]);
    // mov dx, 0x3f8; in al, dx; out dx, al; cmp al, 'q'; jne 1b
    code.extend([0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0x3c, b'q', 0x75, 0xed]);
    code.extend(RESET);
    kernel(&code)
}

/// mov al, 0xfe; out 0x64, al; jmp $
const RESET: [u8; 6] = [0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe];

/// Code that prints `text`: mov al, byte; mov dx, 0x3f8; out dx, al
fn print(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| [0xb0, *byte, 0x66, 0xba, 0xf8, 0x03, 0xee]).collect()
}

/// An ELF executable at 1 MiB.
fn kernel(code: &[u8]) -> Vec<u8> {
    const CODE: u64 = 0x10_0000;
    let segment = Segment { address: CODE, data: code.to_vec(), size: code.len() as u64 };
    elf(CODE, &[segment])
}
