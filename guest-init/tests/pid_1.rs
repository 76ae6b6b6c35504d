//! PID 1 as a real process on this host: in a PID, mount and user namespace of its own, where it
//! can't reach the host's devices or kernel log and reports over its standard error.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use guest_init::protocol::{Report, fact};
use guest_init::{INIT, INIT_I386};
use tempfile::TempDir;

const NONCE: &str = "c0ffee";

/// What came of a run.
struct Run {
    output: String,
    reports: Vec<Report>,
    status: ExitStatus,
}

impl Run {
    /// The reports that are not facts.
    fn steps(&self) -> Vec<&Report> {
        self.reports.iter().filter(|report| !matches!(report, Report::Fact { .. })).collect()
    }

    fn failure(&self) -> &str {
        match self.reports.last() {
            Some(Report::Fail(reason)) => reason,
            _ => panic!("no failure in {}", self.output),
        }
    }
}

/// The program that makes namespaces, with a deadline, or why there can't be any.
fn unshare() -> Result<Command, String> {
    let command = || {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "60", "unshare", "--user", "--map-root-user", "--pid"])
            .args(["--mount", "--fork", "--kill-child"]);
        command
    };
    let tried = command().arg("true").output().map_err(|error| error.to_string())?;
    if tried.status.success() {
        Ok(command())
    } else {
        Err(String::from_utf8_lossy(&tried.stderr).into_owned())
    }
}

/// A root directory with PID 1, a shell and an argument block in it.
fn root(init: &[u8], block: Option<&[u8]>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    put("init", init);
    put("dev/null", b"");
    put("not-a-program", b"\x7fELX");
    if let Some(block) = block {
        put("vmbisect/workload", block);
    }
    for directory in ["proc", "sys", "tmp", "bin", "lib", "lib64", "usr"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    root
}

/// Runs PID 1 in `root` with this command line, after `preparation` in the shell.
fn run_in(root: &Path, command_line: &str, preparation: &str) -> Option<Run> {
    start_in(root, command_line, preparation, false)
}

/// The same command on a terminal that script(1) makes, of a session that has no terminal itself.
fn on_a_terminal(command: &Command) -> Command {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &format!("exec setsid --wait {}", words.join(" "))]);
    script.arg("/dev/null").env("SHELL", "/bin/sh");
    script
}

fn start_in(root: &Path, command_line: &str, preparation: &str, on_terminal: bool) -> Option<Run> {
    let mut unshare = match unshare() {
        Ok(unshare) => unshare,
        Err(reason) => {
            eprintln!("skipped: no user namespaces here: {reason}");
            return None;
        }
    };
    fs::write(root.join("cmdline"), command_line).unwrap();
    // The host's programs serve as workloads. PID 1 may not mount, so that it uses the /proc that
    // is there, with a command line of ours.
    let script = format!(
        "exec 2>&1; set -e; cd {}
         mount -t proc proc proc; mount --bind cmdline proc/cmdline
         mount --bind /dev/null dev/null
         for shared in bin lib lib64 usr; do
             if [ -d /$shared ]; then mount --rbind /$shared $shared; fi
         done
         {preparation}
         exec setpriv --bounding-set=-sys_admin chroot . /init",
        root.display()
    );
    fs::write(root.join("run.sh"), script).unwrap();
    unshare.arg("sh").arg(root.join("run.sh"));
    let mut command = if on_terminal { on_a_terminal(&unshare) } else { unshare };
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    Some(Run {
        reports: text.lines().filter_map(|line| Report::parse(line, NONCE)).collect(),
        output: text.into_owned(),
        status: output.status,
    })
}

/// Runs PID 1 with this argument block.
fn run(block: &[u8]) -> Option<Run> {
    let root = root(INIT, Some(block));
    run_in(root.path(), "quiet vmbisect.nonce=c0ffee", "")
}

fn shell(line: &str) -> Option<Run> {
    run(&shell_block(line))
}

fn shell_block(line: &str) -> Vec<u8> {
    format!("/bin/sh\0-c\0{line}\0").into_bytes()
}

/// Runs the PID 1 of 32-bit kernels with this argument block.
fn run_i386(block: &[u8]) -> Option<Run> {
    if INIT_I386.is_empty() {
        eprintln!("skipped: the C compiler made no i386 program");
        return None;
    }
    let root = root(INIT_I386, Some(block));
    let run = run_in(root.path(), "vmbisect.nonce=no quiet vmbisect.nonce=c0ffee", "")?;
    if run.output.contains("Exec format error") {
        eprintln!("skipped: this host's kernel runs no i386 programs");
        return None;
    }
    Some(run)
}

#[test]
fn a_workload_is_announced_run_and_reported() {
    let Some(run) = shell("echo it runs") else { return };
    assert_eq!(run.steps(), [&Report::Init, &Report::Start, &Report::Exit(0)], "{}", run.output);
    assert!(run.output.contains("it runs\n"), "{}", run.output);
}

#[test]
fn the_last_thing_is_a_request_for_a_reset() {
    let Some(run) = shell("exit 0") else { return };
    // reboot(2), RB_AUTOBOOT: "Cause the init process of the namespace to be killed by SIGHUP".
    assert_eq!(run.status.signal(), Some(1), "{:?}", run.status);
    assert_eq!(run.reports.last(), Some(&Report::Exit(0)));
}

#[test]
fn the_status_is_that_of_the_workload() {
    for (line, status) in [("exit 77", 77), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)] {
        let Some(run) = shell(line) else { return };
        assert_eq!(run.reports.last(), Some(&Report::Exit(status)), "{}", run.output);
    }
}

#[test]
fn without_a_workload_it_is_over_at_once() {
    let Some(run) = run(b"") else { return };
    assert_eq!(run.steps(), [&Report::Init, &Report::Exit(0)], "{}", run.output);
}

#[test]
fn the_workload_finds_an_environment_of_its_own() {
    let Some(run) = shell("pwd; echo $HOME $TERM; cat; echo $PATH") else {
        return;
    };
    assert!(run.output.contains("/tmp\n/root linux\n"), "{}", run.output);
    assert!(run.output.contains(":/usr/bin:"), "{}", run.output);
    assert_eq!(run.reports.last(), Some(&Report::Exit(0)), "{}", run.output);
}

#[test]
fn orphans_are_reaped_and_do_not_end_the_workload() {
    // `wait` is for the children alone; their children outlive them and fall to PID 1.
    let line = "for i in 1 2 3 4 5; do (sh -c 'sleep 0.2; exit 9' & exit 8) & done; wait; \
                sleep 0.5; exit 4";
    let Some(run) = shell(line) else { return };
    assert_eq!(run.reports.last(), Some(&Report::Exit(4)), "{}", run.output);
}

#[test]
fn no_signal_of_the_workloads_ends_pid_1() {
    let Some(run) = shell("kill -KILL 1; kill -SEGV 1; kill -TERM 1; kill -ILL 1; exit 3") else {
        return;
    };
    assert_eq!(run.reports.last(), Some(&Report::Exit(3)), "{}", run.output);
}

#[test]
fn what_can_not_be_run_is_a_failure_with_its_reason() {
    for (block, reason) in [
        (&b"/bin/no-such-program\0"[..], "no such file or directory"),
        (b"/tmp\0", "permission denied"),
        (b"/not-a-program\0", "not an executable format"),
        (b"/bin/sh\0-c", "/vmbisect/workload is cut off"),
        (b"\0", "/vmbisect/workload names no program"),
        (&[b'a'; 70_000], "/vmbisect/workload is too long"),
        (&b"a\0".repeat(300), "/vmbisect/workload has too many arguments"),
    ] {
        let Some(run) = run(block) else { return };
        assert!(run.failure().contains(reason), "{}", run.output);
    }
    let root = root(INIT, None);
    let Some(run) = run_in(root.path(), "vmbisect.nonce=c0ffee", "") else { return };
    assert!(
        run.failure().contains("can't read /vmbisect/workload: no such file"),
        "{}",
        run.output
    );
}

#[test]
fn without_a_nonce_nothing_runs() {
    let root = root(INIT, Some(b"/bin/sh\0-c\0echo it runs\0"));
    let Some(run) = run_in(root.path(), "quiet", "") else { return };
    assert_eq!(run.reports, []);
    assert!(run.output.contains("vmbisect-agent: - fail no vmbisect.nonce"), "{}", run.output);
    assert!(!run.output.contains("it runs"), "{}", run.output);
}

#[test]
fn a_fault_in_pid_1_is_reported() {
    let root = root(INIT, Some(b""));
    // Less stack than it needs: a real SIGSEGV, and a handler that has to do without the stack.
    let Some(run) = run_in(root.path(), "vmbisect.nonce=c0ffee", "ulimit -s 100") else { return };
    assert!(run.output.contains("fail PID 1 got SIGSEGV"), "{}", run.output);
}

#[test]
fn what_is_not_there_is_named_and_done_without() {
    let Some(run) = run(b"") else { return };
    let line = run.output.lines().find(|line| line.starts_with("vmbisect-init: not mounted:"));
    assert!(line.is_some_and(|line| line.contains(" sysfs (not permitted)")), "{}", run.output);
}

#[test]
fn facts_are_those_of_this_kernel() {
    let Some(run) = run(b"") else { return };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let find = |wanted: &str| {
        run.reports.iter().find_map(|report| match report {
            Report::Fact { key, value } if key == wanted => Some(value.as_str()),
            _ => None,
        })
    };
    assert_eq!(find(fact::RELEASE), Some(release.trim()));
    let taskset = Command::new("taskset").args(["-p", &std::process::id().to_string()]).output();
    let mask = String::from_utf8(taskset.unwrap().stdout).unwrap();
    let mask = mask.trim().rsplit(' ').next().unwrap();
    let cpus: u32 = mask.chars().map(|digit| digit.to_digit(16).unwrap().count_ones()).sum();
    assert_eq!(find(fact::CPUS), Some(cpus.to_string().as_str()));
}

#[test]
fn on_i386_workloads_are_run_and_their_status_reported() {
    for (line, status) in [("echo it runs; exit 77", 77), ("kill -KILL $$", 137)] {
        let Some(run) = run_i386(&shell_block(line)) else { return };
        let steps = [&Report::Init, &Report::Start, &Report::Exit(status)];
        assert_eq!(run.steps(), steps, "{}", run.output);
        assert_eq!(run.status.signal(), Some(1), "{:?}", run.status);
        assert_eq!(run.output.contains("it runs\n"), status == 77, "{}", run.output);
    }
    let Some(run) = run_i386(b"") else { return };
    assert_eq!(run.steps(), [&Report::Init, &Report::Exit(0)], "{}", run.output);
}

#[test]
fn on_i386_what_can_not_be_run_is_a_failure() {
    for (block, reason) in [
        (&b"/bin/no-such-program\0"[..], "can't execute the workload"),
        (b"/not-a-program\0", "not a program for i386"),
        (b"/bin/sh\0-c", "can't use /vmbisect/workload"),
        (&[b'a'; 70_000], "can't use /vmbisect/workload"),
    ] {
        let Some(run) = run_i386(block) else { return };
        assert!(run.failure().contains(reason), "{}", run.output);
    }
}

#[test]
fn the_workload_has_the_serial_port_for_its_terminal_where_it_is_told_so() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no script(1) to make a terminal with");
        return;
    }
    let (asks, port) =
        (shell_block("tty; stty size"), "touch dev/ttyS0; mount --bind $(tty) dev/ttyS0");
    let said = |init: &[u8], parameter: &str| {
        let root = root(init, Some(&asks));
        let command_line = format!("vmbisect.nonce=c0ffee {parameter}\n");
        let run = start_in(root.path(), &command_line, port, true)?;
        Some(run.output.replace('\r', ""))
    };
    for init in [INIT, INIT_I386] {
        let Some(sized) = said(init, "vmbisect.terminal=33x99") else { return };
        if init.is_empty() || sized.contains("Exec format error") {
            eprintln!("skipped: no i386 program can be made or run here");
            continue;
        }
        assert!(sized.contains("\n33 99\n") && !sized.contains("not a tty"), "{sized}");
        let unsized_ = said(init, "vmbisect.terminal").unwrap();
        assert!(unsized_.contains("\n0 0\n"), "{unsized_}");
        for no_terminal in ["", "vmbisect.terminal=none"] {
            let none = said(init, no_terminal).unwrap();
            assert!(none.contains("not a tty"), "{none}");
        }
    }
}

#[test]
fn on_i386_the_facts_are_the_same() {
    let facts = |run: Run| -> Vec<_> {
        run.reports.into_iter().filter(|report| matches!(report, Report::Fact { .. })).collect()
    };
    let (Some(one), Some(other)) = (run(b""), run_i386(b"")) else { return };
    assert_eq!(facts(one), facts(other));
}
