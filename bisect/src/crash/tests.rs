//! The scanner as a whole: what must hold for any log.

use proptest::prelude::*;

use super::{Crash, Event, Scanner, classify};

/// Lines that reports consist of, whole and broken.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        3 => prop::sample::select(vec![
            "WARNING: CPU: 0 PID: 1 at lib/f.c:1 warn_it+0x1/0x2",
            "BUG: KASAN: use-after-free in f+0x1/0x2",
            "Read of size 4 at addr ffff888000000000 by task a/1",
            "WARNING: possible circular locking dependency detected",
            "a/1 is trying to acquire lock:",
            "general protection fault: 0000 [#1] SMP",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "INFO: task a:1 blocked for more than 120 seconds.",
            "BUG: memory leak",
            "VFS: Close: file count is 0",
            "Booting the kernel.",
            "Kernel panic - not syncing: Fatal exception",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        6 => prop::sample::select(vec![
            "Call Trace:",
            " f+0x1/0x2",
            " ? g+0x1/0x2",
            " dump_stack+0x1/0x2",
            " h net/core/dev.c:12 [inline]",
            "RIP: 0010:h+0x1/0x2",
            "CPU: 0 PID: 1 Comm: a Not tainted 6.1.0 #1",
            " apic_timer_interrupt+0x1/0x2",
            "Allocated by task 1:",
            "Sending NMI from CPU 1 to CPUs 0:",
            "---[ end trace 0000000000000000 ]---",
            " </TASK>",
            "",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (15_000usize..40_000).prop_map(|length| vec![b'x'; length]),
    ];
    let prefix = prop::sample::select(vec![
        "",
        "[    1.000000] ",
        "[    1.000000][    T1] ",
        "[    1.000000][    C0] ",
        "<4>",
        "login: [    1.000000][    T2] ",
    ]);
    let end = prop::sample::select(vec!["\n", "\r\n", ""]);
    (prefix, text, end)
        .prop_map(|(prefix, text, end)| [prefix.as_bytes(), &text, end.as_bytes()].concat())
}

fn log() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(line(), 0..60).prop_map(|lines| lines.concat())
}

fn events(pieces: &[&[u8]]) -> Vec<Event> {
    let mut scanner = Scanner::new();
    let mut events: Vec<Event> = pieces.iter().flat_map(|piece| scanner.push(piece)).collect();
    events.extend(scanner.finish());
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_cuts_do_not_matter(log in log(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(log.len() + 1)).collect();
        cuts.extend([0, log.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &log[cut[0]..cut[1]]).collect();
        prop_assert_eq!(events(&pieces), events(&[&log]));
    }

    #[test]
    fn any_bytes_do(log in prop::collection::vec(any::<u8>(), 0..2000)) {
        classify(&log);
    }

    #[test]
    fn boots_do_not_mix(one in log(), two in log()) {
        // The decompressor speaks before the kernel does, so that a second one is another boot.
        let two = String::from_utf8_lossy(&two).replace("Booting", "Shooting").into_bytes();
        let boot = |log: &[u8]| [b"[    0.000000] Linux version 6.1.0\n", log, b"\n"].concat();
        let (one, two) = (boot(&one), boot(&two));
        let shift = |mut crash: Crash| {
            crash.start += one.len() as u64;
            crash.end += one.len() as u64;
            crash
        };
        let whole = classify(&[&one[..], &two].concat());
        let parts: Vec<Crash> =
            classify(&one).into_iter().chain(classify(&two).into_iter().map(shift)).collect();
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn crashes_lie_in_the_log_and_in_order(log in log()) {
        let crashes = classify(&log);
        prop_assert!(crashes.is_sorted_by_key(|crash| crash.start));
        for crash in &crashes {
            prop_assert!(crash.start < crash.end && crash.end <= log.len() as u64);
            prop_assert!(!crash.title.is_empty() && crash.title.is_ascii(), "{:?}", crash);
        }
    }
}

#[test]
fn a_crash_is_told_of_when_its_title_is_certain() {
    let mut scanner = Scanner::new();
    let lines = [
        "kernel BUG at lib/f.c:12!",
        "invalid opcode: 0000 [#1] SMP",
        "RIP: 0010:asserter+0x1/0x2",
        "Call Trace:",
        " <TASK>",
        " caller+0x1/0x2",
    ];
    for line in lines {
        assert_eq!(scanner.push(format!("[    1.000000] {line}\n").as_bytes()), [], "{line}");
    }
    let pending = scanner.pending();
    assert_eq!(pending[0].title, "kernel BUG in asserter");
    let events = scanner.push(b"[    1.000000]  </TASK>\n");
    let [Event::Sighted(crash)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(crash.title, "kernel BUG in asserter");
    let events = scanner.finish();
    let [Event::Crash(crash)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(crash.title, "kernel BUG in asserter");
    assert!(crash.report.ends_with(" </TASK>\n"), "{}", crash.report);
}

#[test]
fn a_panic_reaches_crashes_that_were_told_of_already() {
    let log = b"[    1.0] VFS: Close: file count is 0\n[    2.0] VFS: Close: file count is 0\n\
                [    3.0] Kernel panic - not syncing: Fatal exception\n";
    assert!(classify(log).iter().all(|crash| crash.panicked));
}

#[test]
fn a_line_that_another_breaks_into_is_no_prefix() {
    let log = b"BUG: unable to [   12.345678] usb 1-1: new device\nCall Trace:\n f+0x1/0x2\n";
    let crashes = classify(log);
    assert_eq!(crashes.len(), 1, "{crashes:?}");
    assert!(crashes[0].title.starts_with("BUG: unable to ["), "{crashes:?}");
    assert!(crashes[0].corrupted.is_some(), "{crashes:?}");
}
