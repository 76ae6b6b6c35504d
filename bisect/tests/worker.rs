//! The worker as its launcher meets it: a real process, on whatever KVM there is.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use vmbisect::cancel::Cancel;
use vmbisect::trial::launcher::Command as CommandLauncher;
use vmbisect::trial::{Job, LaunchError, Launcher, Outcome, Target, TrialEvent};

use support::tiny_kernel;

const VMBISECT: &str = env!("CARGO_BIN_EXE_vmbisect");

fn worker() -> CommandLauncher {
    CommandLauncher::new(format!("exec '{VMBISECT}' worker"), Some(PathBuf::from(VMBISECT)))
}

fn job(kernel: &Path, initramfs: &Path) -> Job {
    Job {
        id: 7,
        memory_mib: 64,
        timeout_s: 30,
        ..Job::new(kernel.to_owned(), initramfs.to_owned(), Target::AnyCrash)
    }
}

#[test]
fn what_is_no_kernel_is_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("not-a-kernel");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let result = worker().run(&job(&file, &file), &mut drop, &Cancel::new());
    let Err(LaunchError::Refused { reason, hint }) = result else { panic!("{result:?}") };
    assert!(reason.contains("not a kernel"), "{reason}");
    assert!(hint.contains("bzImage"), "{hint}");
    let missing = directory.path().join("missing");
    let result = worker().run(&job(&missing, &file), &mut drop, &Cancel::new());
    assert!(matches!(result, Err(LaunchError::File { .. })), "{result:?}");
}

#[test]
fn a_command_that_fails_is_heard() {
    let launcher = CommandLauncher::new("no-such-program-here", Some(PathBuf::from(VMBISECT)));
    let file = Path::new(VMBISECT);
    let result = launcher.run(&job(file, file), &mut drop, &Cancel::new());
    let Err(LaunchError::Remote { reason, .. }) = result else { panic!("{result:?}") };
    assert!(reason.contains("127") && reason.contains("no-such-program-here"), "{reason}");
}

#[test]
fn trials_run_at_the_same_time_in_one_worker() {
    if File::open("/dev/kvm").is_err() {
        eprintln!("skipped: there is no /dev/kvm that could run the tiny kernel");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (kernel, initramfs) = (directory.path().join("kernel"), directory.path().join("initramfs"));
    std::fs::write(&kernel, tiny_kernel()).unwrap();
    std::fs::write(&initramfs, "").unwrap();
    let launcher = worker();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut lines = Vec::new();
                let mut on_event = |event| {
                    if let TrialEvent::Line(line) = event {
                        lines.push(line.text);
                    }
                };
                let job = job(&kernel, &initramfs);
                let report = launcher.run(&job, &mut on_event, &Cancel::new()).unwrap();
                assert_eq!(report.outcome, Outcome::NoBoot { reason: "guest reset".into() });
                assert_eq!(lines, ["hello"]);
            });
        }
    });
}

#[test]
fn what_is_tethered_does_not_outlive_kill_9() {
    // The tethered program says its number itself, so that it is known to run. It reads what never
    // comes: this test's end of the pipe stays open.
    let tethered = "sh -c 'echo $$; exec cat'";
    let script =
        format!("exec 3<&0; '{VMBISECT}' worker tether --parent $$ -- {tethered} <&3 & wait");
    let mut parent = Command::new("sh");
    parent.arg("-c").arg(script);
    let mut parent =
        parent.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    let child = pidfd_open(child, PidfdFlags::empty()).unwrap();
    let gone = |timeout: Duration| {
        let timeout = Timespec::try_from(timeout).unwrap();
        poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    };
    assert!(!gone(Duration::ZERO));
    let parent_id = Pid::from_raw(i32::try_from(parent.id()).unwrap()).unwrap();
    kill_process(parent_id, Signal::KILL).unwrap();
    parent.wait().unwrap();
    assert!(gone(Duration::from_secs(30)), "it still runs");
}
