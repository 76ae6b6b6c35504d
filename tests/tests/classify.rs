//! `vmbisect classify` as a user runs it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use rustix::process::{Pid, Signal, kill_process};
use vmbisect_tests::program;

const LOG: &str = "\
[    1.000000] clocksource: Switched to clocksource tsc
[    2.000000] ------------[ cut here ]------------
[    2.000000] raw_local_irq_restore() called with IRQs enabled
[    2.000000] WARNING: CPU: 2 PID: 1 at kernel/locking/irqflag-debug.c:10 warn_bogus_irq_restore+0x1d/0x20
[    2.000000] CPU: 2 PID: 1 Comm: init Not tainted 6.1.0 #1
[    2.000000] RIP: 0010:warn_bogus_irq_restore+0x1d/0x20
[    2.000000] Call Trace:
[    2.000000]  <TASK>
[    2.000000]  ? warn_bogus_irq_restore+0x1d/0x20
[    2.000000]  kvm_wait+0xc3/0xe0
[    2.000000]  pv_wait_head_or_lock+0x1/0x2
[    2.000000]  </TASK>
[    2.000000] ---[ end trace 0000000000000000 ]---
";

/// `vmbisect classify`, which may be given an input.
fn vmbisect() -> Command {
    let mut command = Command::from_std(program::vmbisect());
    command.arg("classify");
    command
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_crash_is_named_and_the_status_says_so() {
    let output = vmbisect().arg(file(LOG).path()).assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("WARNING in kvm_wait\n"), "{text}");
    vmbisect().arg("-").write_stdin("all is well\n").assert().code(0).stdout("");
}

#[test]
fn that_there_is_nothing_is_said_beside_the_result() {
    let error = |assert: assert_cmd::assert::Assert| {
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    };
    let nothing = || vmbisect().arg("-").write_stdin("all is well\n").assert().code(0).stdout("");
    assert_eq!(error(nothing()), "standard input: no crash was found\n");
    let compressed = vmbisect().write_stdin(&b"\x1f\x8b\x08\0\0\0\0\0"[..]).assert().code(0);
    assert!(error(compressed).contains("compressed with gzip"));
    vmbisect().args(["--quiet", "-"]).write_stdin("all is well\n").assert().code(0).stderr("");
}

#[test]
fn a_result_that_can_not_be_written_is_no_success() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program::vmbisect();
    let output = command.arg("classify").arg(file(LOG).path()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("can't write to standard output: No space left"), "{text}");
}

#[test]
fn json_is_one_array_a_file() {
    let log = file(LOG);
    let output = vmbisect().args(["--json", "-"]).write_stdin(LOG).assert().code(1);
    let crashes: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let crash = &crashes[0];
    assert_eq!(crash["title"], "WARNING in kvm_wait");
    assert_eq!(crash["kind"], "WARNING");
    assert_eq!(crash["frame"], "kvm_wait");
    assert_eq!(crash["task"], "init/1");
    assert_eq!(crash["cpu"], 2);
    assert_eq!(crash["alt_titles"], serde_json::json!([]));
    // The file that is named is that of the messenger.
    for absent in ["guilty_file", "corrupted", "executor"] {
        assert!(crash[absent].is_null(), "{crash}");
    }
    for no in ["suppressed", "panicked"] {
        assert_eq!(crash[no], false);
    }
    let (start, end) = (crash["start"].as_u64().unwrap(), crash["end"].as_u64().unwrap());
    assert!(LOG[start as usize..].starts_with("[    2.000000] WARNING: CPU: 2"));
    assert_eq!(end as usize, LOG.len());
    let report = crash["report"].as_str().unwrap();
    assert!(
        report.contains("raw_local_irq_restore() called with IRQs enabled\nWARNING"),
        "{report}"
    );

    let output = vmbisect().arg("--json").arg(log.path()).arg(file("").path()).assert().code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let arrays: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(
        arrays.iter().map(|array| array.as_array().unwrap().len()).collect::<Vec<_>>(),
        [1, 0]
    );
}

/// A program that is laid out as a kernel is, with a BUG in a function that is inlined.
fn vmlinux(tree: &Path) -> Option<PathBuf> {
    let source = "\
static inline __attribute__((always_inline)) void inner(void) { __asm__ volatile (\"ud2\"); }
void start_kernel(void)
{
    inner();
}
";
    std::fs::create_dir_all(tree.join("init")).unwrap();
    std::fs::write(tree.join("init/main.c"), source).unwrap();
    std::fs::write(
        tree.join("MAINTAINERS"),
        "STARTING\nM:\tA Person <person@lists.test>\nL:\tstart@lists.test\nF:\tinit/\n",
    )
    .unwrap();
    let compiled = std::process::Command::new("gcc")
        .args(["-g", "-O2", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-fno-pie"])
        .args(["-Wl,-Ttext=0xffffffff81000000", "-Wl,-e,start_kernel", "-mcmodel=kernel"])
        .args(["-Wl,--build-id=none", "-o", "vmlinux", "init/main.c"])
        .current_dir(tree)
        .output();
    match compiled {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(tree.join("vmlinux"))
        }
        Err(error) => {
            println!("skipped: no compiler: {error}");
            None
        }
    }
}

#[test]
fn a_raw_log_and_its_kernel_say_what_a_symbolized_log_says() {
    let tree = tempfile::tempdir().unwrap();
    let Some(vmlinux) = vmlinux(tree.path()) else { return };
    let size = {
        let symbols = vmbisect::symbols::Symbols::open(&vmlinux).unwrap();
        symbols.lookup(symbols.address_of("start_kernel").unwrap()).unwrap().size
    };
    let raw = file(&format!(
        "[    1.000000] kernel BUG at init/main.c:1!\n\
         [    1.000000] RIP: 0010:start_kernel+0x0/{size:#x}\n"
    ));
    let symbolized = file(&format!(
        "[    1.000000] kernel BUG at init/main.c:1!\n\
         [    1.000000] RIP: 0010:inner init/main.c:1 [inline]\n\
         [    1.000000] RIP: 0010:start_kernel+0x0/{size:#x} init/main.c:4\n"
    ));
    let crash = |arguments: &[&std::ffi::OsStr]| -> serde_json::Value {
        let output = vmbisect().arg("--json").args(arguments).assert().code(1);
        let mut crashes: serde_json::Value =
            serde_json::from_slice(&output.get_output().stdout).unwrap();
        crashes[0].take()
    };
    let wanted = crash(&[symbolized.path().as_os_str()]);
    let got = crash(&["--vmlinux".as_ref(), vmlinux.as_os_str(), raw.path().as_os_str()]);
    for same in ["title", "alt_titles", "kind", "frame", "guilty_file", "report"] {
        assert_eq!(got[same], wanted[same], "{same}");
    }
    assert_eq!(got["frame"], "start_kernel");
    assert_eq!(got["guilty_file"], "init/main.c");
    assert!(got["report"].as_str().unwrap().contains("inner init/main.c:1 [inline]"));
    assert!(got["recipients"].is_null(), "nobody said where the tree is");

    // The tree brings its vmlinux, and says who to tell.
    let got = crash(&["--kernel-dir".as_ref(), tree.path().as_os_str(), raw.path().as_os_str()]);
    assert_eq!(got["frame"], "start_kernel");
    assert_eq!(got["recipients"]["to"][0]["address"], "A Person <person@lists.test>");
    assert_eq!(got["recipients"]["to"][1]["address"], "start@lists.test");
    assert_eq!(got["recipients"]["cc"], serde_json::json!([]));
}

#[test]
fn a_file_without_symbols_is_refused() {
    let (log, other) = (file(LOG), file("no symbols\n"));
    let output = vmbisect().arg("--vmlinux").arg(other.path()).arg(log.path()).assert().code(2);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains("System.map") && text.contains("hint:"), "{text}");
    let tree = tempfile::tempdir().unwrap();
    let output = vmbisect().arg("--kernel-dir").arg(tree.path()).arg(log.path()).assert().code(2);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains("MAINTAINERS") && text.contains("hint:"), "{text}");
}

#[test]
fn titles_are_compared() {
    let compare = |one: &str, other: &str| {
        let mut command = vmbisect();
        command.args(["--compare", one, other]);
        command
    };
    let output = compare("INFO: task hung in f", "INFO: rcu detected stall in f").assert().code(0);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text, "likely one bug: both are failures to go on in f\n");
    let output = compare("WARNING in f", "WARNING in g").arg("--json").assert().code(1);
    let answer: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(answer, serde_json::json!({ "related": false, "reason": null }));
}

#[test]
fn relatives_among_several_logs_are_pointed_out() {
    let log = |line: &str| {
        file(&format!(
            "{line}\nCPU: 0 PID: 1 Comm: a\nRIP: 0010:f+0x1/0x2\nCall Trace:\n g+0x1/0x2\n"
        ))
    };
    let warning = log("WARNING: CPU: 0 PID: 1 at net/x.c:1 f+0x1/0x2");
    let bug = log("kernel BUG at net/x.c:1!");
    let other = log("divide error: 0000 [#1] SMP");
    let output = vmbisect().args([warning.path(), bug.path(), other.path()]).assert().code(1);
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let wanted =
        "likely one bug: WARNING in f and kernel BUG in f: both are assertions that fail in f\n";
    assert!(text.ends_with(wanted), "{text}");
    assert_eq!(text.matches("likely").count(), 1, "{text}");
}

/// Each crash is told of when its title is certain, while the log is still being written.
#[test]
fn a_log_that_grows_is_followed() {
    let mut log = file("");
    let mut command = program::vmbisect();
    command.args(["classify", "--follow"]).arg(log.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for function in ["kvm_wait", "smp_wait"] {
        let text = LOG.replace("kvm_wait", function);
        let (half, rest) = text.split_at(text.len() / 2);
        log.write_all(half.as_bytes()).unwrap();
        log.write_all(rest.as_bytes()).unwrap();
        let title = format!("WARNING in {function}");
        assert!(said.any(|line| line == title), "{title}");
    }
    // Whoever started the tests in the background of a script has them, and the child, ignore SIGINT.
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    assert!(said.all(|line| !line.starts_with("WARNING")), "each is told of once");
}

#[test]
fn what_can_not_be_read_is_said() {
    let output = vmbisect().arg("/nowhere/console.log").assert().code(2);
    let text = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(text.contains("/nowhere/console.log") && text.contains("hint:"), "{text}");
    vmbisect().arg("/").assert().code(2);
}
