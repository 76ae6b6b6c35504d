//! The logs of real kernels with bugs put in on purpose: each is classified as a person would.

use vmbisect::crash::{Crash, classify};
use vmbisect_tests::logs::{self, Log};

/// What a log says, in the words of the lines before it.
fn said(crashes: &[Crash], symbolized: &[Crash]) -> Vec<(String, String)> {
    let mut said = Vec::new();
    let mut say = |key: &str, value: Option<&str>| {
        said.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    };
    let Some(crash) = crashes.first() else { return said };
    say("TITLE", Some(&crash.title));
    crash.alt_titles.iter().for_each(|alt| say("ALT", Some(alt)));
    say("KIND", Some(crash.kind.name()));
    say("FRAME", crash.frame.as_deref());
    // The raw log names no files, but where a warning says where it stands.
    say("FILE", symbolized.first().and_then(|crash| crash.guilty_file.as_deref()));
    say("CORRUPTED", crash.corrupted.is_some().then_some("Y"));
    say("SUPPRESSED", crash.suppressed.then_some("Y"));
    say("PANICKED", crash.panicked.then_some("Y"));
    said
}

#[test]
fn real_logs_are_classified_as_a_person_would() {
    let logs = logs::all().unwrap();
    assert!(logs.len() >= 76, "{} logs", logs.len());
    let mut wrong = String::new();
    for Log { name, expected, text, symbolized } in &logs {
        let said = said(&classify(text.as_bytes()), &classify(symbolized.as_bytes()));
        if said != *expected {
            wrong.push_str(&format!("{name}:\n  want {expected:?}\n  got  {said:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Source lines change neither what a crash is called nor what kind it is; only functions that were
/// inlined can be named then.
#[test]
fn source_lines_make_no_other_crash_of_it() {
    for log in logs::all().unwrap() {
        let raw = classify(log.text.as_bytes());
        let symbolized = classify(log.symbolized.as_bytes());
        let first = raw.first().zip(symbolized.first());
        let Some((raw, symbolized)) = first else {
            assert_eq!(raw.len(), symbolized.len(), "{}", log.name);
            continue;
        };
        assert_eq!((&raw.title, raw.kind), (&symbolized.title, symbolized.kind), "{}", log.name);
    }
}
