//! Guests that can't go on end at once; guests that only wait don't, and are not disturbed.

mod support {
    pub mod guest;
    pub mod image;
}

use std::time::Duration;

use support::guest::{Guest, ICR, NONCE, listen, run, start};
use vmm::{Ending, HangKind, MachineConfig, MpState};

/// What the other processors count up.
const COUNTER: u32 = 0x3000;
/// Where real mode looks for its NMI handler, and where that lies.
const NMI_VECTOR: u32 = 2 * 4;
const NMI_HANDLER: u32 = 0x4000;
/// The boot processor's interrupt descriptor table, the register that holds it, and the handler.
const IDT: u64 = 0x20_0000;
const IDT_REGISTER: u64 = 0x20_2000;
const HANDLER: u64 = 0x20_3000;
const TIMER_VECTOR: usize = 0x30;
/// inc dword [COUNTER], in real mode
const COUNT: [u8; 5] = [0x66, 0xff, 0x06, 0x00, 0x30];
/// Long enough for the machine to be looked at while it runs.
const SOME_LOOKS: Duration = Duration::from_millis(2500);
/// So long that a machine which ends before was not ended by it.
const NEVER: Duration = Duration::from_secs(600);

/// Code of another processor: counts itself, then halts with interrupts off or on.
fn counts_and_halts(interrupts: bool) -> Vec<u8> {
    let mut code = vec![0x31, 0xc0, 0x8e, 0xd8]; // xor ax, ax; mov ds, ax
    code.extend(COUNT);
    code.push(if interrupts { 0xfb } else { 0xfa });
    code.extend([0xf4, 0xeb, 0xfd]); // 1: hlt; jmp 1b
    code
}

/// sti; 1: hlt; jmp 1b, with every interrupt of the 8259s masked.
fn idle(guest: Guest) -> Guest {
    guest.out(0x21, 0xff).out(0xa1, 0xff).bytes(&[0xfb, 0xf4, 0xeb, 0xfd])
}

/// Starts the second processor, and waits until it is about to halt.
fn two(second: &[u8]) -> Guest {
    Guest::new().store(COUNTER, 0).start_others(second).wait_for(COUNTER, 1)
}

#[track_caller]
fn hangs(guest: Guest, vcpus: u8, expected: &[MpState]) {
    let config = MachineConfig { vcpus, deadline: NEVER, ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind: HangKind::HaltedInterruptsOff });
    let states: Vec<_> = run.summary.vcpus.iter().map(|vcpu| vcpu.mp_state).collect();
    assert_eq!(states, expected);
}

#[track_caller]
fn does_not_hang(guest: Guest, vcpus: u8) {
    let config = MachineConfig { vcpus, deadline: SOME_LOOKS, ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::TimedOut { seconds: SOME_LOOKS.as_secs() });
    assert_eq!(run.summary.vcpus.len(), usize::from(vcpus));
}

#[test]
fn one_processor_halted_for_good() {
    hangs(Guest::new().print("no way to power off\n").halt(), 1, &[MpState::Halted]);
}

#[test]
fn processors_that_were_never_started_wake_nobody() {
    hangs(Guest::new().halt(), 2, &[MpState::Halted, MpState::NotStarted]);
}

#[test]
fn two_processors_halted_for_good() {
    hangs(two(&counts_and_halts(false)).halt(), 2, &[MpState::Halted; 2]);
}

#[test]
fn one_that_takes_interrupts_is_hope() {
    does_not_hang(idle(Guest::new()), 1);
    does_not_hang(idle(two(&counts_and_halts(false))), 2);
    does_not_hang(two(&counts_and_halts(true)).halt(), 2);
}

#[test]
fn one_that_runs_is_hope() {
    does_not_hang(two(&counts_and_halts(false)).spin(), 2);
}

/// The first processor waits at the serial port for a listener that never comes; the second one
/// can be taken out of its guest and looked at all the same.
#[test]
fn waiting_for_a_listener_is_done_by_one_alone() {
    let flood = two(&counts_and_halts(false));
    // mov dx, SERIAL; mov al, '\n'; 1: out dx, al; jmp 1b
    let flood = flood.bytes(&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'\n', 0xee, 0xeb, 0xfd]);
    let config = MachineConfig { vcpus: 2, deadline: SOME_LOOKS, ..flood.config() };
    let Some(machine) = start(config) else { return };
    // Nobody listens until the machine has ended, which only a listener could be told.
    std::thread::sleep(SOME_LOOKS + Duration::from_secs(1));
    let run = listen(&machine);
    assert_eq!(run.summary.ending, Ending::TimedOut { seconds: SOME_LOOKS.as_secs() });
    let states: Vec<_> = run.summary.vcpus.iter().map(|v| (v.vcpu, v.mp_state)).collect();
    assert!(states.contains(&(1, MpState::Halted)), "{states:?}");
}

/// The timer ticks by NMI: LINT0 of the local APIC is wired so, as old kernels' NMI watchdog has it.
#[test]
fn timer_that_is_wired_to_nmi_is_hope() {
    // The local APIC is on, since pins can't be unmasked while it is off.
    does_not_hang(Guest::new().store(0xfee0_00f0, 0x1ff).store(0xfee0_0350, 0x400).halt(), 1);
}

/// A processor halts with interrupts off, the other one with interrupts on; both are looked at
/// for some seconds. Then the second one's timer interrupts it, and it wakes the first by NMI.
#[test]
fn looking_loses_no_wake_up() {
    let mut table = vec![0; 256 * 16];
    let gate = &mut table[TIMER_VECTOR * 16..][..16];
    gate[0..2].copy_from_slice(&(HANDLER as u16).to_le_bytes());
    gate[2..4].copy_from_slice(&0x10_u16.to_le_bytes()); // __BOOT_CS
    gate[5] = 0x8e;
    gate[6..8].copy_from_slice(&((HANDLER >> 16) as u16).to_le_bytes());
    let mut register = 0x0fff_u16.to_le_bytes().to_vec();
    register.extend(IDT.to_le_bytes());
    let handler = Guest::new()
        .store(ICR, 0x000c_4400) // NMI to all but itself
        .wait_for(COUNTER, 2)
        .report(NONCE, "exit 0")
        .spin();
    let nmi_handler = [COUNT.as_slice(), &[0xcf]].concat(); // iret
    let guest = Guest::new()
        .data(IDT, table)
        .data(IDT_REGISTER, register)
        .data(HANDLER, handler.code().to_vec())
        // mov ebx, IDT_REGISTER; lidt [rbx]
        .bytes(&[0xbb])
        .bytes(&(IDT_REGISTER as u32).to_le_bytes())
        .bytes(&[0x0f, 0x01, 0x1b])
        .store(NMI_VECTOR, NMI_HANDLER)
        .store_code(NMI_HANDLER, &nmi_handler)
        .store(COUNTER, 0)
        .start_others(&counts_and_halts(false))
        .wait_for(COUNTER, 1)
        .store(0xfee0_00f0, 0x1ff) // the local APIC is on
        .store(0xfee0_0320, TIMER_VECTOR as u32) // its timer, once
        .store(0xfee0_03e0, 0b1010) // divided by 128
        .store(0xfee0_0380, 2_500_000_000 / 128); // KVM's counts nanoseconds
    let config = MachineConfig { vcpus: 2, ..idle(guest).config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
}
