//! PID 1 on a real kernel, under QEMU's software emulation, without the VMM: QEMU's debug console
//! can be put at the agent port and answers reads as PID 1 expects it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use guest_init::SPINLOCK_C;
use guest_init::protocol::{AGENT_PORT, AGENT_PORT_MAGIC, NONCE_PARAMETER, PREFIX, Report, fact};
use tempfile::TempDir;
use vmbisect::tools::Purpose;
use vmbisect::trial::{Workload, WorkloadError, prepare, prepare_on_top_of};
use vmbisect_tests::fixture;

const NONCE: &str = "c0ffee";

/// Whether something answers at the agent port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Answers,
    Nobody,
}

/// What came of a boot.
struct Boot {
    /// Everything on the serial port.
    console: String,
    /// Everything on the agent port.
    port: String,
}

impl Boot {
    fn reports(&self) -> Vec<Report> {
        let lines = self.port.lines().chain(self.console.lines());
        lines.filter_map(|line| Report::parse(line, NONCE)).collect()
    }

    /// The reports that are not facts.
    fn steps(&self) -> Vec<Report> {
        let mut reports = self.reports();
        reports.retain(|report| !matches!(report, Report::Fact { .. }));
        reports
    }
}

/// Boots the fixture kernel with an archive; `None` is a host that can't.
fn boot(initramfs: &[u8], port: Port) -> Option<Boot> {
    let kernels = fixture::kernels()?;
    if let Err(error) = fixture::ensure(&[Purpose::OuterMachine]) {
        eprintln!("skipped: no emulator: {error}");
        return None;
    }
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name);
    fs::write(path("initramfs"), initramfs).unwrap();
    fs::write(path("port"), "").unwrap();
    let mut qemu = Command::new("timeout");
    qemu.args(["--kill-after=5", "300", "qemu-system-x86_64", "-accel", "tcg", "-m", "256"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", path("console").display()))
        .arg("-kernel")
        .arg(&kernels.good.path)
        .arg("-initrd")
        .arg(path("initramfs"))
        .args(["-append", &format!("console=ttyS0 panic=-1 {NONCE_PARAMETER}={NONCE}")]);
    if port == Port::Answers {
        qemu.arg("-chardev").arg(format!("file,id=agent,path={}", path("port").display()));
        qemu.arg("-device").arg(format!(
            "isa-debugcon,iobase={AGENT_PORT:#x},readback={AGENT_PORT_MAGIC:#x},chardev=agent"
        ));
    }
    let output = qemu.stdin(Stdio::null()).output().unwrap();
    let read = |name| String::from_utf8_lossy(&fs::read(path(name)).unwrap()).into_owned();
    let boot = Boot { console: read("console"), port: read("port") };
    // With -no-reboot a reset ends QEMU with status 0; a guest that hangs meets the deadline.
    assert!(output.status.success(), "{:?}\n{}", output, boot.console);
    Some(boot)
}

/// A directory with a C source in it.
fn source(name: &str, text: &str) -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join(name);
    fs::write(&path, text).unwrap();
    (room, path)
}

fn run_c(text: &str, port: Port) -> Option<Boot> {
    let (_room, path) = source("workload.c", text);
    boot(&prepare(&Workload::CSource { path, args: vec![] }, None).unwrap(), port)
}

/// Runs a command line; `None` is a host without a busybox for the guest.
fn run_shell(line: &str) -> Option<Boot> {
    match prepare(&Workload::Shell(line.into()), None) {
        Ok(archive) => boot(&archive, Port::Answers),
        Err(error @ WorkloadError::NoBusybox { .. }) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"it runs\"); return 77; }\n";

#[test]
fn reports_go_to_the_agent_port_where_it_answers() {
    let Some(boot) = run_c(HELLO, Port::Answers) else { return };
    assert_eq!(boot.steps(), [Report::Init, Report::Start, Report::Exit(77)], "{}", boot.console);
    assert!(boot.console.contains("it runs"), "{}", boot.console);
    assert!(!boot.console.contains(PREFIX), "{}", boot.console);
    let release = boot.reports().into_iter().find_map(|report| match report {
        Report::Fact { key, value } if key == fact::RELEASE => Some(value),
        _ => None,
    });
    assert!(release.is_some_and(|release| release.starts_with("6.1.")), "{}", boot.port);
}

#[test]
fn reports_go_to_the_console_where_nobody_answers() {
    let Some(boot) = run_c(HELLO, Port::Nobody) else { return };
    assert_eq!(boot.steps(), [Report::Init, Report::Start, Report::Exit(77)], "{}", boot.console);
    assert!(boot.console.contains("it runs"), "{}", boot.console);
}

#[test]
fn the_spinlock_workload_runs_on_a_small_kernel() {
    let (_room, path) = source("spinlock.c", SPINLOCK_C);
    let args = vec!["1".into(), "8".into()];
    let archive = prepare(&Workload::CSource { path, args }, None).unwrap();
    let Some(boot) = boot(&archive, Port::Answers) else { return };
    assert_eq!(boot.steps().last(), Some(&Report::Exit(0)), "{}", boot.console);
}

#[test]
fn a_signal_shows_as_in_a_shell() {
    let Some(boot) = run_c("int main(void) { __builtin_trap(); }\n", Port::Answers) else { return };
    assert_eq!(boot.steps().last(), Some(&Report::Exit(128 + 4)), "{}", boot.console);
}

#[test]
fn no_workload_is_over_at_once() {
    let archive = prepare(&Workload::None, None).unwrap();
    let Some(boot) = boot(&archive, Port::Answers) else { return };
    assert_eq!(boot.steps(), [Report::Init, Report::Exit(0)], "{}", boot.console);
}

#[test]
fn a_program_that_is_not_there_is_a_failure() {
    let archive = prepare(&Workload::Guest(vec!["/nothing".into()]), None).unwrap();
    let Some(boot) = boot(&archive, Port::Answers) else { return };
    match boot.steps().last() {
        Some(Report::Fail(reason)) => assert!(reason.contains("no such file"), "{reason}"),
        other => panic!("{other:?} in {}", boot.console),
    }
}

#[test]
fn a_command_line_finds_what_a_workload_expects() {
    let line = "cat /proc/mounts; dmesg | grep -c 'Run /init'; echo x > /tmp/x && cat /tmp/x; \
                ls /sys/kernel /dev/null; cat; exit 5";
    let Some(boot) = run_shell(line) else { return };
    assert_eq!(boot.steps().last(), Some(&Report::Exit(5)), "{}", boot.console);
    for mount in ["devtmpfs /dev ", "proc /proc ", "sysfs /sys ", "tmpfs /tmp ", "tmpfs /dev/shm "]
    {
        assert!(boot.console.contains(mount), "no {mount} in {}", boot.console);
    }
}

#[test]
fn an_initramfs_of_the_users_is_there_as_well() {
    let (room, path) = source("hello.c", HELLO);
    let theirs = room.path().join("theirs");
    let program = Workload::CSource { path, args: vec![] };
    fs::write(&theirs, prepare(&program, None).unwrap()).unwrap();
    assert!(Command::new("gzip").arg(&theirs).status().unwrap().success());
    let theirs: &Path = &theirs.with_extension("gz");

    let guest = Workload::Guest(vec!["/vmbisect/bin/hello".into()]);
    let archive = prepare_on_top_of(theirs, &guest, None).unwrap();
    let Some(boot) = boot(&archive, Port::Answers) else { return };
    assert_eq!(boot.steps().last(), Some(&Report::Exit(77)), "{}", boot.console);
}
