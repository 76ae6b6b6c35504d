//! Tiny guests, written byte by byte, and a machine to run them on.
//!
//! A guest is entered at [`CODE`], as a kernel would be, with interrupts off and no IDT. Its code
//! means the same in 64-bit and in 32-bit mode unless a test adds other bytes. What it may do is bounded by what every KVM can run, software ones included: plain moves,
//! port accesses, HLT.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses its part")]

use std::sync::Arc;
use std::time::Duration;

use guest_init::protocol::AGENT_PORT;
use vmm::{Kernel, Machine, MachineConfig, MachineEvent, Milestone, StartError, Summary};

use super::image::{Segment, elf, elf32};

/// Where guests are loaded and entered.
pub const CODE: u64 = 0x10_0000;
/// The nonce that the machines expect.
pub const NONCE: &str = "c0ffee";
/// The serial port's data register.
pub const SERIAL: u16 = 0x3f8;

/// Where other processors start: SIPI vector 2, in real mode.
pub const TRAMPOLINE: u32 = 0x2000;
/// The low half of the local APIC's interrupt command register.
pub const ICR: u32 = 0xfee0_0300;

/// A guest's code.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    code: Vec<u8>,
    data: Vec<Segment>,
}

impl Guest {
    pub fn new() -> Guest {
        Guest::default()
    }

    /// Raw instructions.
    pub fn bytes(mut self, bytes: &[u8]) -> Guest {
        self.code.extend_from_slice(bytes);
        self
    }

    /// Data at `address`, above the code.
    pub fn data(mut self, address: u64, data: Vec<u8>) -> Guest {
        self.data.push(Segment { address, size: data.len() as u64, data });
        self
    }

    /// The code so far.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// The address of the next instruction.
    pub fn here(&self) -> u64 {
        CODE + self.code.len() as u64
    }

    /// `mov dx, port; mov al, value; out dx, al`
    pub fn out(self, port: u16, value: u8) -> Guest {
        let [low, high] = port.to_le_bytes();
        self.bytes(&[0x66, 0xba, low, high, 0xb0, value, 0xee])
    }

    /// `mov dx, port; mov eax, value; out dx, eax`
    pub fn out32(self, port: u16, value: u32) -> Guest {
        let [low, high] = port.to_le_bytes();
        self.bytes(&[0x66, 0xba, low, high, 0xb8]).bytes(&value.to_le_bytes()).bytes(&[0xef])
    }

    /// `mov dx, port; in al, dx`
    pub fn input(self, port: u16) -> Guest {
        let [low, high] = port.to_le_bytes();
        self.bytes(&[0x66, 0xba, low, high, 0xec])
    }

    /// A triple fault unless AL is `value`.
    pub fn expect_al(self, value: u8) -> Guest {
        // cmp al, value; je +2; ud2
        self.bytes(&[0x3c, value, 0x74, 0x02]).ud2()
    }

    /// Each byte of `text` to `port`.
    pub fn text(mut self, port: u16, text: &str) -> Guest {
        let [low, high] = port.to_le_bytes();
        self = self.bytes(&[0x66, 0xba, low, high]);
        for byte in text.bytes() {
            self = self.bytes(&[0xb0, byte, 0xee]);
        }
        self
    }

    /// `text` to the console.
    pub fn print(self, text: &str) -> Guest {
        self.text(SERIAL, text)
    }

    /// A report to the agent port.
    pub fn report(self, nonce: &str, report: &str) -> Guest {
        self.text(AGENT_PORT, &format!("vmbisect-agent: {nonce} {report}\n"))
    }

    /// `jmp .`
    pub fn spin(self) -> Guest {
        self.bytes(&[0xeb, 0xfe])
    }

    /// `cli; 1: hlt; jmp 1b`
    pub fn halt(self) -> Guest {
        self.bytes(&[0xfa, 0xf4, 0xeb, 0xfd])
    }

    /// `ud2`: without an IDT, a triple fault.
    pub fn ud2(self) -> Guest {
        self.bytes(&[0x0f, 0x0b])
    }

    /// `mov ebx, address; mov dword [rbx], value`
    pub fn store(self, address: u32, value: u32) -> Guest {
        self.bytes(&[0xbb])
            .bytes(&address.to_le_bytes())
            .bytes(&[0xc7, 0x03])
            .bytes(&value.to_le_bytes())
    }

    /// `mov ebx, register; lidt [rbx]`
    pub fn load_idt(self, register: u64) -> Guest {
        self.bytes(&[0xbb]).bytes(&(register as u32).to_le_bytes()).bytes(&[0x0f, 0x01, 0x1b])
    }

    /// Spins until the dword at `address` is `value`.
    pub fn wait_for(self, address: u32, value: u32) -> Guest {
        // mov ebx, address; 1: mov eax, [rbx]; cmp eax, value; jne 1b
        self.bytes(&[0xbb])
            .bytes(&address.to_le_bytes())
            .bytes(&[0x8b, 0x03, 0x3d])
            .bytes(&value.to_le_bytes())
            .bytes(&[0x75, 0xf7])
    }

    /// Writes `code` to `address`, which may lie below the kernel.
    pub fn store_code(self, address: u32, code: &[u8]) -> Guest {
        let mut code = code.to_vec();
        code.resize(code.len().next_multiple_of(4), 0x90);
        let words = code.as_chunks().0.iter().zip((address..).step_by(4));
        words.fold(self, |guest, (word, at)| guest.store(at, u32::from_le_bytes(*word)))
    }

    /// Starts every other processor in `code`, in real mode.
    pub fn start_others(self, code: &[u8]) -> Guest {
        // To all but itself: INIT, then SIPI.
        self.store_code(TRAMPOLINE, code)
            .store(ICR, 0x000c_4500)
            .store(ICR, 0x000c_4600 | TRAMPOLINE >> 12)
    }

    /// The guest as a 32-bit kernel.
    pub fn kernel_32(self) -> Arc<Kernel> {
        let size = self.code.len() as u64;
        let segment = Segment { address: CODE, size, data: self.code };
        match Kernel::from_bytes(elf32(CODE as u32, &[segment])) {
            Ok(kernel) => Arc::new(kernel),
            Err(error) => panic!("a guest is no kernel: {error}"),
        }
    }

    /// The guest as a kernel.
    pub fn kernel(self) -> Arc<Kernel> {
        let size = self.code.len() as u64;
        let mut segments = vec![Segment { address: CODE, size, data: self.code }];
        segments.extend(self.data);
        match Kernel::from_bytes(elf(CODE, &segments)) {
            Ok(kernel) => Arc::new(kernel),
            Err(error) => panic!("a guest is no kernel: {error}"),
        }
    }

    /// A machine of 64 MiB for it.
    pub fn config(self) -> MachineConfig {
        MachineConfig {
            memory: 64 << 20,
            nonce: NONCE.to_owned(),
            deadline: Duration::from_secs(30),
            ..MachineConfig::new(self.kernel())
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Option<Run> {
        run(self.config())
    }
}

/// What a machine said.
#[derive(Debug)]
pub struct Run {
    pub lines: Vec<String>,
    /// Of a machine with a raw console.
    pub output: Vec<u8>,
    pub milestones: Vec<Milestone>,
    pub summary: Summary,
}

/// Starts a machine. None, with the reason printed, where there is no KVM at all.
pub fn start(config: MachineConfig) -> Option<Machine> {
    match Machine::start(config) {
        Ok(machine) => Some(machine),
        Err(StartError::NoKvm) => {
            eprintln!("skipped: there is no /dev/kvm");
            None
        }
        Err(error) => panic!("{error}: {error:?}"),
    }
}

/// Runs a machine to its end.
pub fn run(config: MachineConfig) -> Option<Run> {
    Some(listen(&start(config)?))
}

/// Takes a machine's events to the last.
pub fn listen(machine: &Machine) -> Run {
    let (mut lines, mut output) = (Vec::new(), Vec::new());
    let (mut milestones, mut ended) = (Vec::new(), None);
    for event in machine.events() {
        assert!(ended.is_none(), "an event after the end");
        match event {
            MachineEvent::Line(line) => lines.push(line.text),
            MachineEvent::Output(bytes) => output.extend(bytes),
            MachineEvent::Milestone(milestone, _) => milestones.push(milestone),
            MachineEvent::Ended(summary) => ended = Some(*summary),
        }
    }
    let Some(summary) = ended else { panic!("the machine did not end") };
    Run { lines, output, milestones, summary }
}
