//! Several processors, several machines, and what is left of them.

mod support {
    pub mod guest;
    pub mod image;
}

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use support::guest::{Guest, NONCE, SERIAL, TRAMPOLINE, listen, run, start};
use vmm::{Ending, MachineConfig};

/// What the other processors count up.
const COUNTER: u32 = 0x3000;

/// What another processor does: it says so, counts itself and halts.
fn other() -> Vec<u8> {
    let [low, high] = SERIAL.to_le_bytes();
    let mut code = vec![0xba, low, high, 0xb0, b'A', 0xee]; // mov dx, SERIAL; mov al, 'A'; out
    code.extend([0x31, 0xc0, 0x8e, 0xd8]); // xor ax, ax; mov ds, ax
    code.extend([0xf0, 0x66, 0xff, 0x06, 0x00, 0x30]); // lock inc dword [COUNTER]
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; 1: hlt; jmp 1b
    code
}

/// Starts every other processor, waits until each has counted itself, and says so.
fn smp_guest(vcpus: u8) -> Guest {
    wait_for_others(Guest::new().store(COUNTER, 0).start_others(&other()), vcpus)
}

/// Starts those that ACPI lists.
const START_BY_MADT: &[u8] = &[
    0x8b, 0x34, 0x25, 0x18, 0x00, 0x0e, 0x00, // mov esi, [0xe0018]: the RSDP's XSDT
    0x8b, 0x7e, 0x24, // 1: mov edi, [rsi + 36]: a table
    0x81, 0x3f, b'A', b'P', b'I', b'C', // cmp dword [rdi], "APIC"
    0x74, 0x05, // je 2f
    0x83, 0xc6, 0x08, // add esi, 8
    0xeb, 0xf0, // jmp 1b
    0x8b, 0x4f, 0x04, // 2: mov ecx, [rdi + 4]: its length
    0x01, 0xf9, // add ecx, edi
    0x8d, 0x5f, 0x2c, // lea ebx, [rdi + 44]: its first entry
    0x39, 0xcb, // 3: cmp ebx, ecx
    0x73, 0x33, // jae 5f
    0x80, 0x3b, 0x00, // cmp byte [rbx], 0: a local APIC
    0x75, 0x26, // jne 4f
    0x0f, 0xb6, 0x43, 0x03, // movzx eax, byte [rbx + 3]: its id
    0x85, 0xc0, // test eax, eax
    0x74, 0x1e, // je 4f
    0xc1, 0xe0, 0x18, // shl eax, 24
    0xbd, 0x10, 0x03, 0xe0, 0xfe, // mov ebp, ICR + 0x10
    0x89, 0x45, 0x00, // mov [rbp], eax
    0xbd, 0x00, 0x03, 0xe0, 0xfe, // mov ebp, ICR
    0xc7, 0x45, 0x00, 0x00, 0x45, 0x00, 0x00, // mov dword [rbp], INIT
    0xc7, 0x45, 0x00, 0x02, 0x46, 0x00, 0x00, // mov dword [rbp], SIPI | TRAMPOLINE >> 12
    0x0f, 0xb6, 0x43, 0x01, // 4: movzx eax, byte [rbx + 1]: the entry's length
    0x01, 0xc3, // add ebx, eax
    0xeb, 0xc9, // jmp 3b
]; // 5:

fn wait_for_others(guest: Guest, vcpus: u8) -> Guest {
    guest.wait_for(COUNTER, u32::from(vcpus) - 1).print("\n").report(NONCE, "exit 0").spin()
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
fn other_processors_start_that_acpi_lists() {
    for vcpus in [1, 5] {
        let guest = Guest::new().store(COUNTER, 0).store_code(TRAMPOLINE, &other());
        let guest = wait_for_others(guest.bytes(START_BY_MADT), vcpus);
        let Some(run) = run(MachineConfig { vcpus, ..guest.config() }) else { return };
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

/// A child process, such as a compiler, gets none of a machine's descriptors: one of them would keep
/// the VM alive after its end.
#[test]
fn child_processes_inherit_nothing() {
    let Some(machine) = start(Guest::new().print("up\n").spin().config()) else { return };
    machine.events().find(|event| matches!(event, vmm::MachineEvent::Line(_))).unwrap();
    let output = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    assert!(output.status.success());
    let open = String::from_utf8(output.stdout).unwrap();
    for kind in ["eventfd", "timerfd", "eventpoll", "kvm"] {
        assert!(!open.contains(kind), "{open}");
    }
}

/// Machines leave no thread, mapping of /dev/kvm or file descriptor. Other tests of this file have
/// machines of their own, so this looks from a process of its own.
#[test]
fn nothing_is_left_of_a_machine() {
    const CHILD: &str = "VMM_TEST_LEFTOVERS";
    // The test harness' main thread, and the test's.
    const OWN_THREADS: usize = 2;
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
    // The kernel wakes who joins a thread, or reads the end of its channel, before it takes the thread
    // off the list, and tells nobody when it does.
    let wait_while = |is_left: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        while is_left() && Instant::now() < end {
            thread::yield_now();
        }
    };
    let guest = || MachineConfig { vcpus: 4, ..Guest::new().print("up\n").spin().config() };
    // The first machine installs what stays: the signal handler, the allocator's arenas.
    let Some(machine) = start(guest()) else { return };
    drop(machine);
    wait_while(&|| count("/proc/self/task") > OWN_THREADS);
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
        wait_while(&|| (look().0, look().2) != (before.0, before.2));
        let (tasks, _, kvm, _) = look();
        assert_eq!((tasks, kvm), (before.0, before.2));
    }
    wait_while(&|| look() != before);
    assert_eq!(look(), before);
}
