//! Guests that can't go on end at once; guests that only wait don't, and are not disturbed.

mod support {
    pub mod guest;
    pub mod image;
}

use std::time::Duration;

use support::guest::{CODE, Guest, ICR, NONCE, listen, run, start};
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

/// A 64-bit interrupt gate to `handler`.
fn gate(handler: u64) -> [u8; 16] {
    let mut gate = [0; 16];
    gate[0..2].copy_from_slice(&(handler as u16).to_le_bytes());
    gate[2..4].copy_from_slice(&0x10_u16.to_le_bytes()); // __BOOT_CS
    gate[5] = 0x8e;
    gate[6..8].copy_from_slice(&((handler >> 16) as u16).to_le_bytes());
    gate
}

/// What the IDT's register is loaded with.
fn idt_register() -> Vec<u8> {
    let mut register = 0x0fff_u16.to_le_bytes().to_vec();
    register.extend(IDT.to_le_bytes());
    register
}

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

/// Runs on until its time is up, and is then seen to be of this kind.
#[track_caller]
fn goes_on(guest: Guest, vcpus: u8, kind: HangKind) {
    let config = MachineConfig { vcpus, deadline: SOME_LOOKS, ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind });
    assert!(run.summary.wall_us >= SOME_LOOKS.as_micros() as u64);
    assert_eq!(run.summary.vcpus.len(), usize::from(vcpus));
}

/// Ends long before its time is up, when it has been silent for two seconds.
#[track_caller]
fn ends_when_silent(guest: Guest, kind: HangKind) {
    let hang_after = Some(Duration::from_secs(2));
    let config = MachineConfig { deadline: NEVER, hang_after, ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind });
    assert_eq!(run.lines, ["up"]);
    assert!(run.summary.silent_us >= 2_000_000, "{}", run.summary.silent_us);
}

/// Work in a place of its own: 50,000 turns are some tenths of a second where KVM interprets them.
fn work(guest: Guest, turns: u32) -> Guest {
    // mov ecx, turns; 1: dec ecx; jnz 1b, and a page of nothing to jump over
    let guest = guest.bytes(&[0xb9]).bytes(&turns.to_le_bytes());
    let guest = guest.bytes(&[0xff, 0xc9, 0x75, 0xfc, 0xe9]).bytes(&8192_u32.to_le_bytes());
    guest.bytes(&[0x90; 8192])
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
    goes_on(idle(Guest::new()), 1, HangKind::Idle);
    goes_on(idle(two(&counts_and_halts(false))), 2, HangKind::Idle);
    goes_on(two(&counts_and_halts(true)).halt(), 2, HangKind::Idle);
}

#[test]
fn one_that_runs_is_hope() {
    goes_on(two(&counts_and_halts(false)).spin(), 2, HangKind::SpinningInterruptsOff);
}

#[test]
fn spinning_with_interrupts_off_ends_when_it_has_spun_for_long() {
    ends_when_silent(Guest::new().print("up\n").spin(), HangKind::SpinningInterruptsOff);
}

#[test]
fn spinning_with_interrupts_on_ends_when_it_has_spun_for_long() {
    let guest = Guest::new().print("up\n").out(0x21, 0xff).out(0xa1, 0xff);
    ends_when_silent(guest.bytes(&[0xfb]).spin(), HangKind::SpinningInterruptsOn);
}

#[test]
fn idle_ends_when_the_user_has_said_after_how_long() {
    ends_when_silent(idle(Guest::new().print("up\n")), HangKind::Idle);
}

/// It is somewhere else whenever it is looked at, so it is let go on until its time is up.
#[test]
fn silent_work_is_no_hang() {
    // Short, so that on a busy host too the guest gets on between two looks.
    let places = (0..6).fold(Guest::new().print("up\n"), |guest, _| work(guest, 2000));
    let back = places.here() + 5 - CODE;
    let guest = places.bytes(&[0xe9]).bytes(&(-(back as i32)).to_le_bytes());
    let deadline = Duration::from_secs(5);
    let hang_after = Some(Duration::from_secs(1));
    let Some(run) = run(MachineConfig { deadline, hang_after, ..guest.config() }) else { return };
    let ending = run.summary.ending;
    assert!(matches!(ending, Ending::TimedOut { seconds: 5, .. }), "{ending}");
}

/// A word now and then is progress enough, whatever the guest does between.
#[test]
fn slow_progress_is_no_hang() {
    let words = (0..10).fold(Guest::new(), |guest, _| work(guest.print("up\n"), 50_000));
    let guest = words.report(NONCE, "exit 0").spin();
    let hang_after = Some(Duration::from_secs(2));
    let config = MachineConfig { deadline: NEVER, hang_after, ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
    assert_eq!(run.lines.len(), 10);
}

/// A guest that hangs is asked by NMI, when all is known without. This one has a handler.
#[test]
fn what_a_guest_says_to_an_nmi_is_no_part_of_its_console() {
    let mut table = vec![0; 256 * 16];
    table[2 * 16..3 * 16].copy_from_slice(&gate(HANDLER));
    let handler = Guest::new().print("I was here\n").report(NONCE, "exit 0").halt();
    let guest = Guest::new()
        .data(IDT, table)
        .data(IDT_REGISTER, idt_register())
        .data(HANDLER, handler.code().to_vec())
        .load_idt(IDT_REGISTER)
        .print("up\n")
        .halt();
    let Some(run) = run(MachineConfig { deadline: NEVER, ..guest.config() }) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind: HangKind::HaltedInterruptsOff });
    assert_eq!(run.lines, ["up"]);
    assert_eq!(run.summary.nmi_lines, ["I was here"]);
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
    let seconds = SOME_LOOKS.as_secs();
    assert_eq!(run.summary.ending, Ending::TimedOut { seconds, stalled: false });
    let states: Vec<_> = run.summary.vcpus.iter().map(|v| (v.vcpu, v.mp_state)).collect();
    assert!(states.contains(&(1, MpState::Halted)), "{states:?}");
}

/// The timer ticks by NMI: LINT0 of the local APIC is wired so, as old kernels' NMI watchdog has it.
#[test]
fn timer_that_is_wired_to_nmi_is_hope() {
    // The local APIC is on, since pins can't be unmasked while it is off.
    let guest = Guest::new().store(0xfee0_00f0, 0x1ff).store(0xfee0_0350, 0x400).halt();
    goes_on(guest, 1, HangKind::Idle);
}

/// A processor halts with interrupts off, the other one with interrupts on; both are looked at
/// for some seconds. Then the second one's timer interrupts it, and it wakes the first by NMI.
#[test]
fn looking_loses_no_wake_up() {
    let mut table = vec![0; 256 * 16];
    table[TIMER_VECTOR * 16..][..16].copy_from_slice(&gate(HANDLER));
    let handler = Guest::new()
        .store(ICR, 0x000c_4400) // NMI to all but itself
        .wait_for(COUNTER, 2)
        .report(NONCE, "exit 0")
        .spin();
    let nmi_handler = [COUNT.as_slice(), &[0xcf]].concat(); // iret
    let guest = Guest::new()
        .data(IDT, table)
        .data(IDT_REGISTER, idt_register())
        .data(HANDLER, handler.code().to_vec())
        .load_idt(IDT_REGISTER)
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
