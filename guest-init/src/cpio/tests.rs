use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::reader::{Entry, read};
use super::{CpioError, Writer};

#[test]
fn every_kind_of_entry_reads_back() {
    let mut archive = Writer::new(Vec::new());
    archive.directory("/tmp", 0o1777).unwrap();
    archive.file("/etc/a/b", 0o4755, b"12345").unwrap();
    archive.symlink("/etc/c", "a/b").unwrap();
    archive.character_device("/dev/null", 0o666, 1, 3).unwrap();
    let entries = read(&archive.finish().unwrap());
    let expected = [
        ("tmp", 0o041_777, (0, 0), &b""[..]),
        ("etc", 0o040_755, (0, 0), b""),
        ("etc/a", 0o040_755, (0, 0), b""),
        ("etc/a/b", 0o104_755, (0, 0), b"12345"),
        ("etc/c", 0o120_777, (0, 0), b"a/b"),
        ("dev", 0o040_755, (0, 0), b""),
        ("dev/null", 0o020_666, (1, 3), b""),
    ];
    let expected: Vec<Entry> = (1..)
        .zip(expected)
        .map(|(inode, (name, mode, device, content))| Entry {
            name: name.into(),
            mode,
            inode,
            device,
            content: content.to_vec(),
        })
        .collect();
    assert_eq!(entries, expected);
}

#[test]
fn paths_that_the_kernel_would_not_unpack_are_refused() {
    for path in ["", "/", "a//b", "../a", "a/./b", "a/", "a\0b", "TRAILER!!!", &"a".repeat(4096)] {
        let refused = Writer::new(Vec::new()).file(path, 0o644, b"");
        assert!(matches!(refused, Err(CpioError::Path { .. })), "{path:?}");
    }
    assert!(Writer::new(Vec::new()).symlink("a", "").is_err());
}

/// The reader of another author: `cpio` or, where that is missing, busybox's.
#[test]
fn another_program_unpacks_it() {
    let program = ["cpio", "busybox"].into_iter().find(|program| {
        Command::new(program)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    });
    let Some(program) = program else {
        eprintln!("skipped: neither cpio nor busybox is installed");
        return;
    };
    let mut archive = Writer::new(Vec::new());
    archive.file("/dir/file", 0o640, b"content\n").unwrap();
    archive.symlink("/dir/link", "file").unwrap();
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("archive");
    fs::write(&path, archive.finish().unwrap()).unwrap();
    let target = room.path().join("target");
    fs::create_dir(&target).unwrap();
    let mut unpack = Command::new(program);
    if program == "busybox" {
        unpack.arg("cpio");
    }
    let status = unpack
        .arg("-id")
        .current_dir(&target)
        .stdin(fs::File::open(&path).unwrap())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read(target.join("dir/link")).unwrap(), b"content\n");
    let mode = fs::metadata(target.join("dir/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert!(!fs::metadata(target.join("dir/file")).unwrap().file_type().is_char_device());
}

proptest! {
    #[test]
    fn files_read_back_in_order_behind_their_directories(
        files in proptest::collection::btree_map(
            "[a-z]{1,9}/[a-z]{1,9}(/[a-zé ]{1,9})?X", proptest::collection::vec(any::<u8>(), 0..70), 0..9,
        ),
    ) {
        let files: BTreeMap<String, Vec<u8>> = files;
        let mut archive = Writer::new(Vec::new());
        for (path, content) in &files {
            archive.file(path, 0o644, content).unwrap();
        }
        let bytes = archive.finish().unwrap();
        prop_assert_eq!(bytes.len() % 4, 0);
        let entries = read(&bytes);
        for (at, entry) in entries.iter().enumerate() {
            prop_assert_eq!(entry.inode as usize, at + 1);
            if let Some((parent, _)) = entry.name.rsplit_once('/') {
                prop_assert!(entries[..at].iter().any(|earlier| earlier.name == parent));
            }
        }
        let found: BTreeMap<_, _> = entries
            .into_iter()
            .filter(|entry| entry.mode == 0o100_644)
            .map(|entry| (entry.name, entry.content))
            .collect();
        prop_assert_eq!(found, files);
    }
}
