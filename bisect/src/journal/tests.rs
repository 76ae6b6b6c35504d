use std::io::Write;
use std::path::Path;

use super::Journal;
use crate::history::{CommitId, Find};
use crate::journal::{Event, Header, JournalError, Record, Resumption};
use crate::trial::{Outcome, Target};

fn header() -> Header {
    Header {
        format: Header::FORMAT,
        vmbisect: "0.1.0".into(),
        at_ms: 1,
        repo: "/linux".into(),
        find: Find::Cause,
        good: vec![id()],
        bad: id(),
        titles: Default::default(),
        target: Target::Crash(vec!["WARNING in kvm_wait".into()]),
        confidence: 0.95,
        arguments: vec!["vmbisect".into(), "bisect".into()],
        directory: "/".into(),
        config: String::new(),
    }
}

fn id() -> CommitId {
    "997acaf6b4b59c6a9c259740312a69ea549cc684".parse().unwrap()
}

fn trial(n: usize) -> Event {
    Event::Trial {
        commit: id(),
        outcome: Outcome::Foreign { title: format!("WARNING in foo{n}") },
        crashes: vec!["a \"quoted\"\ntitle".into()],
        boot: true,
        seconds: 1.5,
        console: None,
        report: Some("trials/x.report".into()),
    }
}

fn events(records: &[Record]) -> Vec<Event> {
    records.iter().map(|record| record.event.clone()).collect()
}

#[test]
fn cut_at_every_byte_it_holds_the_whole_records_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path(), &header()).unwrap();
    let mut ends = vec![journal.length as usize];
    let inert = [Event::Inert { commits: vec![id()] }, Event::NotInert { commits: vec![id()] }];
    let max_trials = std::num::NonZeroU64::new(7);
    let anew = Resumption { max_trials, revert: true, repo: Some("/moved".into()) };
    let resumed = [Event::Resumed(Resumption::default()), Event::Resumed(anew)];
    let all: Vec<Event> = (0..3).map(trial).chain(inert).chain(resumed).collect();
    for event in &all {
        journal.append(event.clone()).unwrap();
        ends.push(journal.length as usize);
    }
    drop(journal);
    let whole = std::fs::read(dir.path().join(Journal::NAME)).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(dir.path().join(Journal::NAME), &whole[..cut]).unwrap();
        let opened = Journal::open(dir.path());
        let Some(complete) = ends.iter().rposition(|&end| end <= cut) else {
            assert!(matches!(opened, Err(JournalError::Missing { .. })));
            continue;
        };
        let (mut journal, read, records) = opened.unwrap();
        assert_eq!(read, header());
        assert_eq!(events(&records), all[..complete]);
        journal.append(trial(7)).unwrap();
        drop(journal);
        let (_, _, records) = Journal::open(dir.path()).unwrap();
        assert_eq!(events(&records), [&all[..complete], &[trial(7)]].concat());
    }
}

#[test]
fn where_nothing_happened_yet_another_may_begin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(Journal::NAME), b"{\"format\":1,\"vm").unwrap();
    drop(Journal::create(dir.path(), &header()).unwrap());
    drop(Journal::create(dir.path(), &header()).unwrap());
    let (_, read, records) = Journal::open(dir.path()).unwrap();
    assert_eq!((read, records.len()), (header(), 0));
}

#[test]
fn one_at_a_time_and_never_over_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path(), &header()).unwrap();
    journal.append(trial(0)).unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::InUse { .. })));
    assert!(matches!(Journal::create(dir.path(), &header()), Err(JournalError::InUse { .. })));
    drop(journal);
    assert!(matches!(Journal::create(dir.path(), &header()), Err(JournalError::Exists { .. })));
    assert!(Journal::open(dir.path()).is_ok());
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Journal::open(empty.path()), Err(JournalError::Missing { .. })));
}

#[test]
fn damage_in_the_midst_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path(), &header()).unwrap();
    journal.append(trial(0)).unwrap();
    drop(journal);
    let path = dir.path().join(Journal::NAME);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"\0\0\0\0\n").unwrap();
    // At the end it is what a crash of the host can leave.
    let (mut journal, _, records) = Journal::open(dir.path()).unwrap();
    assert_eq!(records.len(), 1);
    journal.append(trial(1)).unwrap();
    drop(journal);
    let text = std::fs::read_to_string(&path).unwrap().replace("foreign", "forein");
    std::fs::write(&path, text).unwrap();
    let error = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { line: 2, .. }), "{error}");
}

#[test]
fn another_form_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(Journal::NAME), b"{\"format\":7}\n").unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Format { found: 7, .. })));
}

/// A tmpfs of 64 KiB, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, c"size=64k") {
            Ok(()) => Some(SmallDisk(dir)),
            Err(errno) => {
                eprintln!("skipped: can't mount a tmpfs to fill: {errno}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

fn fill(dir: &Path) {
    let mut file = std::fs::File::create(dir.join("ballast")).unwrap();
    while file.write_all(&[b'x'; 1024]).is_ok() {}
    while file.write_all(b"x").is_ok() {}
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let state = disk.0.path().join("state");
    let mut journal = Journal::create(&state, &header()).unwrap();
    journal.append(trial(0)).unwrap();
    fill(disk.0.path());
    // What is left of the last page can still be written.
    let mut written = 1;
    let error = loop {
        match journal.append(trial(0)) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(error.hint().contains("--resume"), "{}", error.hint());
    assert!(matches!(&error, JournalError::Write { source, .. }
        if source.kind() == std::io::ErrorKind::StorageFull));
    assert!(journal.keep("console.log", &"x".repeat(8192)).is_err());
    drop(journal);
    let (mut journal, _, records) = Journal::open(&state).unwrap();
    assert_eq!(events(&records), vec![trial(0); written]);
    std::fs::remove_file(disk.0.path().join("ballast")).unwrap();
    journal.append(trial(1)).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&state).unwrap().2.len(), written + 1);
}
