//! Several processors, several machines, and what is left of them.

mod support {
    pub mod guest;
    pub mod image;
}

use std::fs;

use support::guest::{Guest, NONCE, SERIAL, listen, run, start};
use vmm::{Ending, MachineConfig};

/// What the other processors count up.
const COUNTER: u32 = 0x3000;

/// Starts every other processor, waits until each has counted itself, and says so.
fn smp_guest(vcpus: u8) -> Guest {
    let [low, high] = SERIAL.to_le_bytes();
    let mut code = vec![0xba, low, high, 0xb0, b'A', 0xee]; // mov dx, SERIAL; mov al, 'A'; out
    code.extend([0x31, 0xc0, 0x8e, 0xd8]); // xor ax, ax; mov ds, ax
    code.extend([0xf0, 0x66, 0xff, 0x06, 0x00, 0x30]); // lock inc dword [COUNTER]
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; 1: hlt; jmp 1b
    Guest::new()
        .store(COUNTER, 0)
        .start_others(&code)
        .wait_for(COUNTER, u32::from(vcpus) - 1)
        .print("\n")
        .report(NONCE, "exit 0")
        .spin()
}

#[test]
fn other_processors_start() {
    for vcpus in [1, 2, 4, 8] {
        let config = MachineConfig { vcpus, ..smp_guest(vcpus).config() };
        let Some(run) = run(config) else { return };
        assert_eq!(run.summary.ending, Ending::Exit { status: 0 }, "{vcpus} vCPUs");
        assert_eq!(run.lines, ["A".repeat(usize::from(vcpus) - 1)]);
    }
}

#[test]
fn most_vcpus_that_a_machine_can_have() {
    let Some(run) = run(MachineConfig { vcpus: 64, ..smp_guest(64).config() }) else { return };
    assert_eq!(run.summary.ending, Ending::Exit { status: 0 });
}

#[test]
fn machines_run_beside_each_other() {
    let machines: Vec<_> = (0..6u8)
        .map(|status| {
            let guest = Guest::new()
                .print(&format!("machine {status}\n"))
                .report(NONCE, &format!("exit {status}"));
            start(guest.spin().config())
        })
        .collect();
    for (status, machine) in (0..).zip(machines) {
        let Some(machine) = machine else { return };
        let run = listen(&machine);
        assert_eq!(run.summary.ending, Ending::Exit { status });
        assert_eq!(run.lines, [format!("machine {status}")]);
    }
}

/// Machines leave no thread, mapping of /dev/kvm or file descriptor. Other tests of this file have
/// machines of their own, so this looks from a process of its own.
#[test]
fn nothing_is_left_of_a_machine() {
    const CHILD: &str = "VMM_TEST_LEFTOVERS";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_is_left_of_a_machine", "--nocapture"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let count = |dir: &str| fs::read_dir(dir).unwrap().count();
    let look = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let size: u64 = maps
            .lines()
            .filter_map(|line| line.split_once(' ')?.0.split_once('-'))
            .map(|(start, end)| {
                u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(start, 16).unwrap()
            })
            .filter(|size| *size >= 64 << 20 && *size < 80 << 20)
            .sum();
        (count("/proc/self/task"), count("/proc/self/fd"), maps.matches("kvm").count(), size)
    };
    let guest = || MachineConfig { vcpus: 4, ..Guest::new().print("up\n").spin().config() };
    // The first machine installs what stays: the signal handler, the allocator's arenas.
    let Some(machine) = start(guest()) else { return };
    drop(machine);
    let before = look();
    for _ in 0..3 {
        // Dropped while it runs, before and after its first line.
        drop(start(guest()));
        let Some(machine) = start(guest()) else { return };
        machine.events().find(|event| matches!(event, vmm::MachineEvent::Line(_))).unwrap();
        drop(machine);
        // Gone when the last event is out, not only when dropped.
        let Some(machine) = start(Guest::new().out(0x64, 0xfe).config()) else { return };
        listen(&machine);
        let (tasks, _, kvm, _) = look();
        assert_eq!((tasks, kvm), (before.0, before.2));
    }
    assert_eq!(look(), before);
}
