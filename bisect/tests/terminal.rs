//! `vmbisect boot` as the guest's terminal: on a pseudo-terminal that script(1) makes, with a tiny
//! guest that echoes.

#![allow(clippy::unwrap_used)] // clippy knows only test functions themselves for tests

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::echo_kernel;
use tempfile::TempDir;

/// A shell on a pseudo-terminal that says its settings, runs the echo guest, and says them again.
struct Session {
    script: Child,
    keys: ChildStdin,
    seen: String,
    _directory: TempDir,
}

impl Session {
    /// None, with the reason printed, where there is no KVM or no script(1).
    fn start() -> Option<Session> {
        if File::open("/dev/kvm").is_err() {
            eprintln!("skipped: there is no /dev/kvm that could run the echo guest");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("kernel");
        std::fs::write(&kernel, echo_kernel()).unwrap();
        let vmbisect = env!("CARGO_BIN_EXE_vmbisect");
        // The number is that of vmbisect itself, once the inner shell has become it.
        let boot = format!(
            "exec {vmbisect} boot --launcher in-process --memory 64 --vcpus 1 {}",
            kernel.display()
        );
        let line = format!(
            "stty rows 33 cols 99; echo before $(stty -g) on $(tty); sh -c 'echo pid $$; {boot}'; \
             echo status $?; echo after $(stty -g); echo bye"
        );
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut script = match script.spawn() {
            Ok(script) => script,
            Err(error) => {
                eprintln!("skipped: there is no script(1) to make a terminal with: {error}");
                return None;
            }
        };
        let keys = script.stdin.take().unwrap();
        Some(Session { script, keys, seen: String::new(), _directory: directory })
    }

    /// Reads until `text` has come, and gives all that came before it since the last time.
    fn until(&mut self, text: &str) -> String {
        let mut byte = [0];
        loop {
            if let Some((before, rest)) = self.seen.clone().split_once(text) {
                self.seen = rest.to_owned();
                return before.to_owned();
            }
            let stdout = self.script.stdout.as_mut().unwrap();
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "no {text:?} in {:?}", self.seen);
            self.seen.push(byte[0].into());
        }
    }

    /// The rest of the line behind `text`.
    fn line(&mut self, text: &str) -> String {
        self.until(text);
        self.until("\r\n").trim().to_owned()
    }

    fn keys(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
        self.keys.flush().unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn keys_go_to_the_guest_and_the_terminal_comes_back() {
    let Some(mut session) = Session::start() else { return };
    let before = session.line("before ");
    session.until("Ctrl-A x leaves");
    session.until(" vmbisect.terminal=33x99");
    session.until("$ ");
    // Keys that a terminal would make signals of, or edit with; Ctrl-A twice is one.
    session.keys(b"a\x03b\x1ac\x04\x01\x01d\x01y.");
    session.until("a\u{3}b\u{1a}c\u{4}\u{1}d\u{1}y.");
    session.keys(b"q");
    session.until("ending: guest reset");
    assert_eq!(session.line("status "), "1");
    let after = session.line("after ");
    assert_eq!(before.split_once(" on ").unwrap().0, after);
    session.until("bye");
}

#[test]
fn ctrl_a_x_leaves() {
    let Some(mut session) = Session::start() else { return };
    let before = session.line("before ");
    session.until("$ ");
    session.keys(b"\x01x");
    assert_eq!(session.line("status "), "130");
    let after = session.line("after ");
    assert_eq!(before.split_once(" on ").unwrap().0, after);
}

#[test]
fn a_stopped_program_has_given_the_terminal_back_and_a_signal_does_too() {
    let Some(mut session) = Session::start() else { return };
    let before = session.line("before ");
    let (before, terminal) = before.split_once(" on ").unwrap();
    let process: i32 = session.line("pid ").parse().unwrap();
    session.until("$ ");
    let settings = || {
        let stty = Command::new("stty").args(["-F", terminal, "-g"]).output().unwrap();
        String::from_utf8(stty.stdout).unwrap().trim().to_owned()
    };
    let raw = settings();
    assert_ne!(raw, before);
    let pid = Pid::from_raw(process).unwrap();
    // The kernel tells only a parent when a process stops; this is not its parent.
    let wait_until = |done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "it does not get there");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    kill_process(pid, Signal::TSTP).unwrap();
    wait_until(&stopped);
    assert_eq!(settings(), before);
    kill_process(pid, Signal::CONT).unwrap();
    wait_until(&|| settings() == raw);
    session.keys(b"on");
    session.until("on");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(session.line("status "), "130");
    assert_eq!(session.line("after "), before);
}
