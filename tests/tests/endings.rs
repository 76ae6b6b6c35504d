//! Real kernels that end in every way that there is, one after the other on one outer machine: what
//! is told of each, and of those that hang, where.

#[path = "../../vmm/tests/support/image.rs"]
mod image;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use vmbisect::cancel::Cancel;
use vmbisect::crash::Kind;
use vmbisect::tools::Purpose;
use vmbisect::trial::launcher::{Choice, Launcher, TcgConfig, select};
use vmbisect::trial::{Job, Outcome, Target, TrialReport, Workload, prepare};
use vmbisect_tests::fixture::{self, DIE, Kernels, LOCK_BYTE, TAKE_A_LOCK};
use vmbisect_tests::program::vmbisect;
use vmm::{Ending, HangKind};

/// What the workloads begin with.
const HEAD: &str = "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <sched.h>\n\
    #include <string.h>\n#include <sys/prctl.h>\n#include <sys/reboot.h>\n#include <unistd.h>\n";

/// What the body of a program begins with that becomes two processes, a CPU each. The child says when it
/// is ready; the parent goes on when it has heard that.
const PAIR: &str = "
    int ready[2], child;
    char byte = 0;
    cpu_set_t cpu;
    prctl(DIE, TAKE_A_LOCK, 0, 0, 0);
    if (pipe(ready))
        return 2;
    child = fork() == 0;
    CPU_ZERO(&cpu);
    CPU_SET(child, &cpu);
    if (sched_setaffinity(0, sizeof cpu, &cpu))
        return 3;
    if (child)
        prctl(DIE, TAKE_A_LOCK, 1, 0, 0);
    if ((child ? write(ready[1], &byte, 1) : read(ready[0], &byte, 1)) != 1)
        return 4;
";

struct Place {
    room: TempDir,
    launcher: Box<dyn Launcher>,
}

impl Place {
    fn new() -> Place {
        let config = TcgConfig {
            program: Some(PathBuf::from(vmbisect().get_program())),
            cache: fixture::directory().unwrap().join("cache"),
            machines: 1,
            ..TcgConfig::default()
        };
        let selected = select(&Choice::Auto, config, vmm::host::inspect);
        let launcher = selected.unwrap_or_else(|error| panic!("{error}")).launcher;
        Place { room: tempfile::tempdir().unwrap(), launcher }
    }

    /// The initramfs that runs a C program.
    fn workload(&self, name: &str, body: &str) -> PathBuf {
        let path = self.room.path().join(name).with_extension("c");
        std::fs::write(&path, format!("{HEAD}int main(void) {{ {body} }}\n")).unwrap();
        self.archive(name, &prepare(&Workload::CSource { path, args: vec![] }, None).unwrap())
    }

    /// An initramfs whose PID 1 ends at once.
    fn init_that_dies(&self) -> PathBuf {
        let path = |name: &str| self.room.path().join(name);
        std::fs::write(path("dies.c"), "int main(void) { return 3; }\n").unwrap();
        let mut cc = Command::new("cc");
        let made = cc.arg("-static").arg("-o").args([path("dies"), path("dies.c")]).status();
        assert!(made.unwrap().success());
        let mut archive = guest_init::cpio::Writer::new(Vec::new());
        archive.file("init", 0o755, &std::fs::read(path("dies")).unwrap()).unwrap();
        self.archive("dies", &archive.finish().unwrap())
    }

    fn archive(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.room.path().join(name).with_extension("cpio");
        std::fs::write(&path, content).unwrap();
        path
    }

    fn run(&self, job: &Job) -> TrialReport {
        let started = std::time::Instant::now();
        let report = self.launcher.run(job, &mut |_| {}, &Cancel::new());
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        println!("{:?} after {:?}: {:?}", job.initramfs, started.elapsed(), report.outcome);
        for seen in &report.crashes {
            println!("{}", seen.crash.report);
        }
        report
    }
}

fn job(kernel: &Path, initramfs: PathBuf) -> Job {
    let job = Job {
        id: 1,
        vcpus: 2,
        timeout_s: 300,
        ..Job::new(PathBuf::new(), initramfs, Target::Hang)
    };
    job.of_image(kernel)
}

#[track_caller]
fn ending(report: &TrialReport) -> &Ending {
    &report.machine.as_ref().unwrap_or_else(|| panic!("{report:?}")).ending
}

/// A guest that brings itself into a state from which no hardware goes on. Its code segment says of
/// itself that it is both 64-bit and 32-bit (L and D), which a CPU refuses to load; QEMU's loads it, and
/// refuses to enter a guest that has it, when the write to the serial port was seen to.
fn refused_guest() -> Vec<u8> {
    const BASE: u64 = 16 << 20;
    #[rustfmt::skip]
    let mut guest = vec![
        0x0f, 0x01, 0x15, 0xf9, 0, 0, 0, //     lgdt [rip + 0xf9]   # at 0x100
        0x6a, 0x08, //                          push 8
        0x48, 0x8d, 0x05, 0x03, 0, 0, 0, //     lea rax, [rip + 3]
        0x50, //                                push rax
        0x48, 0xcb, //                          retfq               # to what follows
        0x66, 0xba, 0xf8, 0x03, //              mov dx, 0x3f8
        0xb0, b'\n', //                         mov al, 10
        0xee, //                                out dx, al
        0xeb, 0xfe, //                          jmp $
    ];
    guest.resize(0x100, 0);
    guest.extend(23_u16.to_le_bytes());
    guest.extend((BASE + 0x110).to_le_bytes());
    guest.resize(0x110, 0);
    for descriptor in [0, 0x00ef_9b00_0000_ffff, 0x00cf_9300_0000_ffff_u64] {
        guest.extend(descriptor.to_le_bytes());
    }
    let size = guest.len() as u64;
    image::elf(BASE, &[image::Segment { address: BASE, data: guest, size }])
}

/// Where fixtures are, on a host that can run trials.
fn kernels() -> Option<&'static Kernels> {
    static READY: OnceLock<Option<&'static Kernels>> = OnceLock::new();
    *READY.get_or_init(|| {
        if let Err(error) = fixture::ensure(&[Purpose::OuterMachine, Purpose::Workload]) {
            eprintln!("skipped: nowhere to run trials: {error}");
            return None;
        }
        fixture::kernels()
    })
}

#[test]
fn a_kernels_endings_are_told_apart() {
    let Some(kernels) = kernels() else { return };
    let place = Place::new();
    let good = |initramfs| job(&kernels.good.path, initramfs);

    let reboots = place.workload("reboots", "return reboot(RB_AUTOBOOT);");
    assert_eq!(*ending(&place.run(&good(reboots.clone()))), Ending::Reset);
    let report = place.run(&Job { append: "reboot=t".into(), ..good(reboots.clone()) });
    assert_eq!(*ending(&report), Ending::TripleFault);

    if place.launcher.describe().starts_with("tcg") {
        let refused = place.room.path().join("refused");
        std::fs::write(&refused, refused_guest()).unwrap();
        let report = place.run(&Job { vcpus: 1, ..job(&refused, reboots) });
        let refused = ending(&report);
        let reason = 0xffff_ffff; // SVM_EXIT_ERR
        let wanted = |ending| matches!(ending, Ending::EntryFailed { vcpu: 0, reason: it, .. } if it == reason);
        assert!(wanted(refused.clone()), "{refused}");
        assert!(matches!(report.outcome, Outcome::Infra { .. }), "{:?}", report.outcome);
    } else {
        println!("skipped: only an emulator's CPU loads what it refuses to enter");
    }

    // Without ACPI there is nothing that turns the machine off.
    let powers_off = place.workload("powers-off", "return reboot(RB_POWER_OFF);");
    let report = place.run(&good(powers_off));
    assert_eq!(*ending(&report), Ending::Hang { kind: HangKind::HaltedInterruptsOff });
    let title = &report.crashes[0].crash.title;
    assert!(title.starts_with("hang in "), "{title}");

    let dies = Job { target: Target::NoBoot, ..good(place.init_that_dies()) };
    let report = place.run(&dies);
    assert_eq!(*ending(&report), Ending::Reset, "panic=-1 resets");
    let panic = report.crashes[0].crash.title.clone();
    assert!(panic.contains("Attempted to kill init"), "{panic}");
    let stays = Job { append: "panic=0".into(), hang_after_s: Some(3), ..dies };
    let report = place.run(&stays);
    assert!(matches!(ending(&report), Ending::Hang { .. }), "{}", ending(&report));
    assert_eq!(report.outcome, Outcome::Hit { title: panic }, "what was printed comes first");

    // The last words are on no console: they are of a level that `quiet` hides.
    let words = "int log = open(\"/dev/kmsg\", O_WRONLY); const char *words = \"<4>last words\";
        write(log, words, strlen(words)); return reboot(RB_AUTOBOOT);";
    let quiet = Job { append: "quiet".into(), ..good(place.workload("words", words)) };
    let report = place.run(&quiet);
    let log = report.unseen_log.unwrap_or_else(|| panic!("no log: {:?}", report.machine));
    assert!(log.lines.iter().any(|line| line.ends_with("last words")), "{log:?}");
    assert_eq!(log.problem, None);
}

#[test]
fn a_kernel_that_hangs_is_seen_to_hang_where_it_does() {
    let Some(kernels) = kernels() else { return };
    let image = fixture::mortal(kernels).unwrap();

    let place = Place::new();
    for (how, kind) in [
        (1, HangKind::SpinningInterruptsOff),
        (0, HangKind::SpinningInterruptsOn),
        // One vCPU waits for a wake-up that does not come, the other has nothing to do but ask for it.
        (3, HangKind::Idle),
    ] {
        let workload = place.workload("hangs", &format!("return prctl({DIE}, {how}, 0, 0, 0);"));
        // On a slow host the kernel may see it first: its word would come before ours.
        let append = "rcupdate.rcu_cpu_stall_suppress=1".into();
        let job = Job { hang_after_s: Some(3), append, ..job(&image.path, workload) };
        let report = place.run(&job);
        assert_eq!(*ending(&report), Ending::Hang { kind });
        assert_eq!(report.outcome, Outcome::Hit { title: "hang in lose_the_cpu".into() });
        let crash = &report.crashes[0].crash;
        assert_eq!(crash.kind, Kind::Hang);
        let (registers, trace) = crash.report.split_once("Call Trace:\n").unwrap();
        let (trace, _) = trace.split_once("\n\n").unwrap();
        // It may be met in an interrupt.
        let mut lines = registers.lines().chain(trace.lines());
        let hangs = lines.find(|line| line.contains("lose_the_cpu+0x"));
        let hangs = hangs.unwrap_or_else(|| panic!("{}", crash.report));
        let (_, line) = hangs.split_once(" kernel/sys.c:").unwrap_or_else(|| panic!("{hangs}"));
        assert!(line.parse::<u32>().is_ok(), "{hangs}");
        assert!(trace.contains("sys_prctl+0x"), "{trace}");
        assert!(trace.contains("do_syscall_64+0x"), "{trace}");
        assert!(!trace.contains("? "), "{trace}");
        let machine = report.machine.as_ref().unwrap();
        assert_eq!(machine.symbols_fit, Some(true));
    }

    let pair = |name: &str, body: &str, hang_after_s| {
        let calls = format!(
            "enum {{ DIE = {DIE}, TAKE_A_LOCK = {TAKE_A_LOCK}, LOCK_BYTE = {LOCK_BYTE} }};"
        );
        let workload = place.workload(name, &format!("{calls}{PAIR}{body}"));
        place.run(&Job { hang_after_s, ..job(&image.path, workload) })
    };
    // Each has what the other one waits for.
    let report = pair("deadlock", "return prctl(DIE, TAKE_A_LOCK, !child, 0, 0);", None);
    assert_eq!(*ending(&report), Ending::Hang { kind: HangKind::HaltedInterruptsOff });
    assert_eq!(report.outcome, Outcome::Hit { title: "hang in kvm_wait".into() });
    let text = &report.crashes[0].crash.report;
    assert_eq!(text.matches("\nRIP: 0010:kvm_wait+0x").count(), 2, "{text}");
    assert_eq!(text.matches("\n take_a_lock+0x").count(), 2, "{text}");
    assert!(text.contains(" kernel/sys.c:") && text.contains(" arch/x86/kernel/kvm.c:"), "{text}");

    // Where the first in a lock's queue sleeps, nobody queues behind it: pv_hybrid_queued_unfair_trylock()
    // spins for as long as that lasts. Who comes second is no other bug.
    let second = "while (!child && prctl(DIE, LOCK_BYTE, 0, 0, 0) != 3)
        ;
    return prctl(DIE, TAKE_A_LOCK, 0, 0, 0);";
    let report = pair("second", second, Some(3));
    assert_eq!(*ending(&report), Ending::Hang { kind: HangKind::SpinningInterruptsOff });
    assert_eq!(report.outcome, Outcome::Hit { title: "hang in kvm_wait".into() });
    let text = &report.crashes[0].crash.report;
    let at = |place: &str| {
        text.find(&format!("\nRIP: 0010:{place}+0x")).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(at("kvm_wait") < at("pv_hybrid_queued_unfair_trylock"), "{text}");
}
