//! One crash, printed in other ways: what the console puts around the lines, how frames are spelled
//! and what functions are called changes nothing about it.

use std::sync::LazyLock;

use vmbisect::crash::{Crash, classify};
use vmbisect_tests::{corpus, logs};

/// A log in which the first crash is known for certain.
struct Known {
    name: String,
    log: String,
    crash: Crash,
}

/// Logs of our own, and those of the corpus where there is one.
fn known() -> &'static [Known] {
    static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(read);
    &KNOWN
}

fn read() -> Vec<Known> {
    let own = logs::all().unwrap().into_iter().map(|log| (log.name, log.text));
    let mut all: Vec<(String, String)> = own.collect();
    match corpus::find() {
        Some(directory) => {
            let cases = corpus::reports(&directory).unwrap();
            all.extend(cases.into_iter().map(|case| (case.name, case.log)));
        }
        None => println!("only our own logs: there is no corpus here"),
    }
    let one = |(name, log): (String, String)| {
        let crash = classify(log.as_bytes()).into_iter().next()?;
        crash.corrupted.is_none().then_some(Known { name, log, crash })
    };
    all.into_iter().filter_map(one).collect()
}

/// The stamp at the start of a line, the caller behind it if there is one, and the rest.
fn stamped(line: &str) -> Option<(&str, Option<&str>, &str)> {
    let is_stamp = |stamp: &str| {
        let stamp = stamp.trim_start_matches('[').trim_start();
        stamp.contains('.') && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    let (stamp, rest) =
        line.split_once(']').filter(|(stamp, _)| stamp.starts_with('[') && is_stamp(stamp))?;
    let stamp = &line[..stamp.len() + 1];
    match rest.strip_prefix('[').and_then(|caller| caller.split_once(']')) {
        Some((caller, text)) if caller.trim_start().starts_with(['T', 'C']) => {
            Some((stamp, Some(&rest[..caller.len() + 2]), text))
        }
        _ => Some((stamp, None, rest)),
    }
}

/// A log with each line changed.
fn lines(log: &str, change: impl Fn(&str) -> String) -> String {
    log.lines().map(|line| change(line) + "\n").collect()
}

/// A frame's line in a stack: blanks, the function with offset and size, the rest.
fn frame(text: &str) -> Option<(&str, &str)> {
    let function = text.strip_prefix(' ')?.trim_start();
    let (word, rest) = function.split_once(' ').unwrap_or((function, ""));
    let (name, offset) = word.split_once("+0x")?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
    (is_name && offset.contains("/0x")).then_some((word, rest))
}

/// Applies a change to what follows the stamp and the caller; it may make several lines of one.
fn texts(log: &str, change: impl Fn(&str) -> String) -> String {
    lines(log, |line| match stamped(line) {
        Some((stamp, caller, text)) => {
            let prefix = format!("{stamp}{} ", caller.unwrap_or_default());
            let text = change(text.strip_prefix(' ').unwrap_or(text));
            prefix.clone() + &text.replace('\n', &format!("\n{prefix}"))
        }
        None => change(line),
    })
}

/// Checks that a change makes of each log one with the title that it gives; it gives none where the
/// log can't be changed so.
#[track_caller]
fn check(what: &str, change: impl Fn(&Known) -> Option<(String, String)>) {
    let mut wrong = String::new();
    let mut checked = 0;
    for known in known() {
        let Some((log, want)) = change(known) else { continue };
        checked += 1;
        let got = classify(log.as_bytes()).into_iter().next().map(|crash| crash.title);
        if got.as_ref() != Some(&want) {
            wrong.push_str(&format!("{}: want {want}, got {got:?}\n", known.name));
        }
    }
    assert!(checked >= 20, "{what}: only {checked} logs");
    assert!(wrong.is_empty(), "{what}, of {checked} logs:\n{wrong}");
}

/// The same for changes that go for every log.
#[track_caller]
fn check_all(what: &str, change: impl Fn(&str) -> String) {
    check(what, |known| Some((change(&known.log), known.crash.title.clone())));
}

#[test]
fn ends_of_lines_do_not_matter() {
    check_all("CRLF", |log| log.replace('\n', "\r\n"));
    check_all("CRCRLF", |log| log.replace('\n', "\r\r\n"));
}

#[test]
fn what_the_console_puts_before_a_stamp_does_not_matter() {
    let before = |prefix: &'static str| {
        move |log: &str| {
            lines(log, |line| match stamped(line) {
                Some(_) => format!("{prefix}{line}"),
                None => line.to_owned(),
            })
        }
    };
    check_all("syslog", before("Jan  2 03:04:05 host kernel: "));
    check_all("level", before("<4>"));
    check_all("colour", before("\x1b[1;31m"));
}

#[test]
fn colours_do_not_matter() {
    check_all("colours", |log| {
        texts(
            log,
            |text| if text.is_empty() { String::new() } else { format!("\x1b[1m{text}\x1b[0m") },
        )
    });
}

/// The same for changes to the report by itself, as far as it has all that its title needs: what a
/// CPU does may be said by another one.
#[track_caller]
fn check_report(what: &str, change: impl Fn(&str) -> String) {
    check(what, |known| {
        let by_itself = classify(known.crash.report.as_bytes()).into_iter().next()?;
        let is_complete = by_itself.title == known.crash.title;
        is_complete.then(|| (change(&known.crash.report), by_itself.title))
    });
}

#[test]
fn stamps_do_not_matter_where_one_task_prints() {
    check_report("stamps", |report| lines(report, |line| format!("[   12.345678] {line}")));
    check_report("callers", |report| {
        lines(report, |line| format!("[   12.345678][ T1234] {line}"))
    });
}

#[test]
fn lines_of_others_do_not_matter_where_callers_are_known() {
    check_report("others", |report| {
        let lines = report.lines().enumerate().map(|(number, line)| {
            let own = format!("[   12.345678][ T1234] {line}\n");
            match number % 3 {
                0 => format!("{own}[   12.345679][ T4321] usb 1-1: new device\n"),
                1 => format!("{own}[   12.345679][ T4322]  stranger+0x1/0x2\n"),
                _ => own,
            }
        });
        lines.collect()
    });
}

#[test]
fn what_came_before_and_after_does_not_matter() {
    let noise = "[    1.000000] usb 1-1: New USB device found, idVendor=0b95, idProduct=7720\n";
    check_all("noise", |log| format!("{}{log}{}", noise.repeat(200), noise.repeat(10)));
}

#[test]
fn the_spelling_of_frames_does_not_matter() {
    check_all("addresses", |log| {
        texts(log, |text| match frame(text) {
            Some((function, rest)) => format!(" [<ffffffff81234567>] {function} {rest}"),
            None => text.to_owned(),
        })
    });
    check_all("modules", |log| {
        texts(log, |text| match frame(text) {
            Some((function, "")) => format!(" {function} [vmwgfx]"),
            _ => text.to_owned(),
        })
    });
    check_all("inlined functions", |log| {
        texts(log, |text| match frame(text) {
            Some((function, "")) => {
                format!(" inlined drivers/a/b.h:12 [inline]\n {function} drivers/a/b.c:34")
            }
            _ => text.to_owned(),
        })
    });
    check_all("compilers' suffixes", |log| {
        texts(log, |text| match frame(text) {
            Some((function, rest)) if !function.contains('.') => {
                let (name, offset) = function.split_once('+').unwrap();
                format!(" {name}.isra.0.constprop.1+{offset} {rest}").trim_end().to_owned()
            }
            _ => text.to_owned(),
        })
    });
}

#[test]
fn the_name_of_the_guilty_does_not_matter() {
    check("other name", |known| {
        let frame = known.crash.frame.as_deref()?;
        let title = known.crash.title.strip_suffix(frame)?;
        // Not where the name is one for many functions, or two are named.
        let has_one = known.log.contains(&format!("{frame}+0x")) && !title.ends_with(" / ");
        let is_general = frame.starts_with("sys_") || frame == "smp_call_function";
        let log = ["+0x", ".", ")"].iter().fold(known.log.clone(), |log, behind| {
            log.replace(&format!("{frame}{behind}"), &format!("frob_widgets{behind}"))
        });
        (has_one && !is_general).then(|| (log, format!("{title}frob_widgets")))
    });
}
