//! Every ending, by a guest that does it.

mod support {
    pub mod guest;
    pub mod image;
}

use std::time::Duration;

use guest_init::protocol::{AGENT_PORT, AGENT_PORT_MAGIC};
use support::guest::{Guest, NONCE, SERIAL, listen, run, start};
use vmm::{Ending, HangKind, MachineConfig, MachineEvent, Milestone, MpState};

/// The ending of a guest, or nothing where there is no KVM.
macro_rules! ending {
    ($guest:expr) => {
        match $guest.run() {
            Some(run) => run.summary.ending,
            None => return,
        }
    };
}

fn short(guest: Guest) -> MachineConfig {
    MachineConfig { deadline: Duration::from_millis(1500), ..guest.config() }
}

#[test]
fn agent_reports_its_status() {
    for status in [0, 1, 137, 255] {
        let report = format!("exit {status}");
        assert_eq!(ending!(Guest::new().report(NONCE, &report).spin()), Ending::Exit { status });
    }
}

#[test]
fn agent_that_failed_says_why() {
    let ending = ending!(Guest::new().report(NONCE, "fail no /workload").spin());
    assert_eq!(ending, Ending::AgentFailed { reason: "no /workload".into() });
}

#[test]
fn report_without_the_nonce_is_nobodys() {
    let guest = Guest::new()
        .report("decaf", "exit 0")
        .print("vmbisect-agent: decaf exit 0\n")
        .report(NONCE, "exit 300")
        .report(NONCE, "exit 3");
    assert_eq!(ending!(guest.spin()), Ending::Exit { status: 3 });
}

#[test]
fn without_a_nonce_there_are_no_reports() {
    let guest = Guest::new().report("", "exit 0").out(0x64, 0xfe).spin();
    let Some(run) = run(MachineConfig { nonce: String::new(), ..guest.config() }) else { return };
    assert_eq!(run.summary.ending, Ending::Reset);
}

#[test]
fn reports_on_port_and_console_count_once() {
    let guest = Guest::new()
        .input(AGENT_PORT)
        .expect_al(AGENT_PORT_MAGIC)
        .report(NONCE, "init")
        .report(NONCE, "fact cpus 4")
        .print("[    0.5] vmbisect-agent: c0ffee init\r\n")
        .print("vmbisect-agent: c0ffee fact cpus 5\r\n")
        .print("vmbisect-agent: c0ffee start\r\n")
        .report(NONCE, "start")
        .print("vmbisect-agent: c0ffee exit 7\r\n");
    let Some(run) = guest.spin().run() else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 7 });
    assert_eq!(
        run.milestones,
        [
            Milestone::KernelEntered,
            Milestone::InitReached,
            Milestone::FirstByte,
            Milestone::WorkloadStarted,
        ]
    );
    assert_eq!(run.lines.len(), 4);
    assert_eq!(run.summary.facts.get("cpus").map(String::as_str), Some("4"), "the first counts");
}

#[test]
fn keyboard_controller_resets() {
    assert_eq!(ending!(Guest::new().out(0x64, 0xfe).spin()), Ending::Reset);
}

#[test]
fn reset_control_port_resets() {
    // As Linux does it, with PCI's address register written before, which must not reset.
    let guest = Guest::new()
        .out32(0xcf8, 0x8000_0600)
        .out(0xcf9, 0x02)
        .print("still here\n")
        .out(0xcf9, 0x06);
    let Some(run) = guest.spin().run() else { return };
    assert_eq!(run.summary.ending, Ending::Reset);
    assert_eq!(run.lines, ["still here"]);
}

#[test]
fn exception_without_an_idt_is_a_triple_fault() {
    assert_eq!(ending!(Guest::new().ud2()), Ending::TripleFault);
}

#[test]
fn endless_loop_is_a_hang_when_its_time_is_up_and_shows_where() {
    let guest = Guest::new().print("spinning").spin();
    let end = guest.here();
    let config = MachineConfig { deadline: Duration::from_secs(3), ..guest.config() };
    let Some(run) = run(config) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind: HangKind::SpinningInterruptsOff });
    assert_eq!(run.lines, ["spinning"], "a last line without its end is delivered");
    let [vcpu] = run.summary.vcpus.as_slice() else { panic!("{:?}", run.summary.vcpus) };
    assert_eq!(vcpu.mp_state, MpState::Running);
    assert_eq!((vcpu.registers.rip, vcpu.registers.interrupts_on()), (end - 2, false));
    assert_eq!(vcpu.backtrace.first().map(|frame| frame.address), Some(end - 2));
}

#[test]
fn halt_with_interrupts_off_is_a_certain_hang() {
    let guest = Guest::new().halt();
    let Some(run) = run(MachineConfig { vcpus: 2, ..short(guest) }) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind: HangKind::HaltedInterruptsOff });
    let states: Vec<_> = run.summary.vcpus.iter().map(|vcpu| vcpu.mp_state).collect();
    assert_eq!(states, [MpState::Halted, MpState::NotStarted]);
}

#[test]
fn halt_with_interrupts_on_is_no_certain_hang() {
    // sti; 1: hlt; jmp 1b, with every interrupt of the 8259s masked
    let guest = Guest::new().out(0x21, 0xff).out(0xa1, 0xff).bytes(&[0xfb, 0xf4, 0xeb, 0xfd]);
    let Some(run) = run(short(guest)) else { return };
    assert_eq!(run.summary.ending, Ending::Hang { kind: HangKind::Idle });
    assert_eq!(run.summary.vcpus[0].mp_state, MpState::Halted);
    assert!(run.summary.vcpus[0].registers.interrupts_on());
}

#[test]
fn flood_ends_at_the_limit_however_slow_the_listener_is() {
    // mov dx, SERIAL; mov al, 'x'; 1: out dx, al; jmp 1b
    let guest = Guest::new().bytes(&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'x', 0xee, 0xeb, 0xfd]);
    let config = MachineConfig { console_limit: 5000, ..guest.config() };
    let Some(machine) = start(config) else { return };
    let run = listen(&machine);
    assert_eq!(run.summary.ending, Ending::ConsoleLimit { bytes: 5000 });
    assert_eq!(run.summary.console_bytes, 5000);
    assert_eq!(run.lines.iter().map(String::len).sum::<usize>(), 5000);
    // Where KVM puts writes aside, most of them are not exits.
    assert!(run.summary.exits > 0);
}

#[test]
fn stopped_from_another_thread() {
    let Some(machine) = start(Guest::new().print("up\n").spin().config()) else { return };
    let stopper = machine.stopper();
    let mut ending = None;
    for event in machine.events() {
        match event {
            MachineEvent::Line(_) => {
                let stopper = stopper.clone();
                std::thread::spawn(move || stopper.stop()).join().unwrap();
            }
            MachineEvent::Ended(summary) => ending = Some(summary.ending),
            MachineEvent::Output(_) | MachineEvent::Milestone(..) => {}
        }
    }
    assert_eq!(ending, Some(Ending::Stopped));
    stopper.stop();
    drop(machine);
    stopper.stop();
}

#[test]
fn listener_that_never_listens_blocks_nobody() {
    // A line end for each byte: the queue is full soon, and the vCPU waits for room.
    let guest = Guest::new().bytes(&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'\n', 0xee, 0xeb, 0xfd]);
    let config = MachineConfig { deadline: Duration::from_secs(2), ..guest.config() };
    let Some(machine) = start(config) else { return };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let probe = Guest::new().out(0x64, 0xfe).spin().run();
    assert!(probe.is_some(), "another machine is not held up");
    let run = listen(&machine);
    assert!(std::time::Instant::now() < deadline);
    assert_eq!(run.summary.ending, Ending::TimedOut { seconds: 2, stalled: false });
    assert_eq!(run.lines.len() as u64, run.summary.console_bytes, "nothing is lost");
}

#[test]
fn code_outside_of_memory_is_an_internal_error() {
    // mov ebx, HOLE; jmp rbx: KVM can't fetch what it would have to emulate.
    const HOLE: u32 = 0xd000_0000;
    let guest = Guest::new().bytes(&[0xbb]).bytes(&HOLE.to_le_bytes()).bytes(&[0xff, 0xe3]);
    let Some(run) = guest.run() else { return };
    let Ending::KvmInternalError { vcpu, suberror, data, rip } = run.summary.ending else {
        panic!("{}", run.summary.ending)
    };
    assert_eq!((vcpu, suberror, rip), (0, 1, u64::from(HOLE)));
    // Since 5.16 KVM says why it had to emulate.
    let host = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut version = host.split('.').map_while(|part| part.parse::<u32>().ok());
    if (version.next(), version.next()) >= (Some(5), Some(16)) {
        assert!(!data.is_empty(), "of Linux {host}");
    }
    // What it was doing is told of every ending that is not the agent's or the host's.
    assert_eq!(run.summary.vcpus.len(), 1);
}

#[test]
fn unclaimed_ports_float_and_devices_answer() {
    let guest = Guest::new()
        .input(0x1234)
        .expect_al(0xff)
        .input(SERIAL + 5) // line status: transmitter empty
        .expect_al(0x60)
        .out(0x64, 0xaa) // the controller's self test
        .input(0x64)
        .expect_al(0x1d)
        .input(0x60)
        .expect_al(0x55)
        .out(0x70, 0x0d)
        .input(0x71)
        .expect_al(0x80)
        .out(0x1234, 0)
        .store(0xd000_0000, 1) // the hole
        .report(NONCE, "exit 0");
    assert_eq!(ending!(guest.spin()), Ending::Exit { status: 0 });
}
