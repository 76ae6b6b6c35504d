use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use guest_init::SPINLOCK_C;
use tempfile::TempDir;

use crate::tools::on_path;

use super::{Workload, WorkloadError, interpreter, prepare, prepare_on_top_of};

/// A directory with one file in it.
fn with_file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join(name);
    fs::write(&path, content).unwrap();
    (room, path)
}

fn c_source(path: &Path) -> Workload {
    Workload::CSource { path: path.to_owned(), args: vec!["1".into()] }
}

/// Why there is no archive.
fn refusal(workload: &Workload, cc: Option<&str>) -> WorkloadError {
    match prepare(workload, cc) {
        Err(error) => error,
        Ok(archive) => panic!("an archive of {} bytes", archive.len()),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

#[test]
fn the_spinlock_workload_compiles_to_equal_archives() {
    let (_room, path) = with_file("spinlock.c", SPINLOCK_C);
    let once = prepare(&c_source(&path), None).unwrap();
    assert!(once == prepare(&c_source(&path), None).unwrap());
    assert!(contains(&once, b"/vmbisect/bin/spinlock\x001\0"));
}

#[test]
fn the_spinlock_workload_runs_on_the_host_and_checks_its_arguments() {
    let (room, path) = with_file("spinlock.c", SPINLOCK_C);
    let program = room.path().join("spinlock");
    fs::write(&program, super::compile(&path, "cc").unwrap()).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |args: &[&str]| Command::new(&program).args(args).output().unwrap();
    assert!(run(&["1", "4"]).status.success());
    let refused = run(&["1", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(contains(&refused.stderr, b"threads must be 1 to 256, not '0'"));
}

#[test]
fn the_compiler_is_heard() {
    let (_room, path) = with_file("broken.c", "int main(void) { return missing_name; }\n");
    let error = refusal(&c_source(&path), None);
    assert!(matches!(error, WorkloadError::Compile { .. }), "{error:?}");
    assert!(error.to_string().contains("missing_name"), "{error}");
}

#[test]
fn no_compiler_no_source_and_no_libc_are_three_things() {
    let (room, path) = with_file("ok.c", "int main(void) { return 0; }\n");
    let missing = refusal(&c_source(&path), Some("no-such-compiler -x"));
    assert!(matches!(missing, WorkloadError::NoCompiler { .. }), "{missing:?}");

    let missing = refusal(&c_source(&room.path().join("nowhere.c")), None);
    assert!(matches!(missing, WorkloadError::Read { .. }), "{missing:?}");

    // What a compiler says where there is no libc.a, from a linker that looks nowhere.
    let script = room.path().join("cc");
    fs::write(&script, "exec ld -nostdlib -static -lc -o /dev/null\n").unwrap();
    let missing = refusal(&c_source(&path), Some(&format!("sh {}", script.display())));
    assert!(matches!(missing, WorkloadError::NoStaticLibc { .. }), "{missing:?}");
}

#[test]
fn a_static_program_is_taken_as_it_is() {
    let (_room, path) = with_file("init", guest_init::INIT);
    let program = Workload::Program { path, args: vec!["-v".into(), String::new()] };
    let archive = prepare(&program, None).unwrap();
    assert!(contains(&archive, b"/vmbisect/bin/init\0-v\0\0"));
}

#[test]
fn a_dynamic_program_is_refused_by_the_name_of_its_linker() {
    let (room, source) = with_file("dynamic.c", "int main(void) { return 0; }\n");
    let path = room.path().join("dynamic");
    assert!(Command::new("cc").arg("-o").args([&path, &source]).status().unwrap().success());
    let error = refusal(&Workload::Program { path, args: vec![] }, None);
    assert!(matches!(error, WorkloadError::Dynamic { .. }), "{error:?}");
    assert!(error.to_string().contains("it wants /lib64/ld-linux-x86-64.so.2"), "{error}");
}

#[test]
fn what_is_no_program_is_refused() {
    let refuse = |content: &[u8]| {
        let (_room, path) = with_file("program", content);
        let refused = refusal(&Workload::Program { path, args: vec![] }, None);
        assert!(matches!(refused, WorkloadError::NotExecutable { .. }), "{refused:?}");
    };
    refuse(b"");
    refuse(b"#!/bin/sh\n");
    refuse(b"\x7fELF\x01\x01\x01");
    let mut arm = guest_init::INIT.to_vec();
    arm[18] = 183;
    refuse(&arm);
    let mut object = guest_init::INIT.to_vec();
    object[16] = 1;
    refuse(&object);
}

#[test]
fn no_cut_off_program_makes_the_check_panic() {
    for length in 0..1024 {
        let _ = interpreter(&guest_init::INIT[..length]);
    }
}

#[test]
fn a_command_line_gets_busybox_with_its_applets() {
    let has_busybox = on_path("busybox").is_some();
    match prepare(&Workload::Shell("dmesg | tail -1".into()), None) {
        Ok(archive) => {
            assert!(contains(&archive, b"/bin/sh\0-c\0dmesg | tail -1\0"));
            assert!(contains(&archive, b"bin/dmesg\0"));
        }
        Err(error @ WorkloadError::NoBusybox { .. }) => {
            let text = error.to_string();
            assert!(text.contains("busybox-static"), "{text}");
            assert!(text.contains(if has_busybox { "busybox is" } else { "none" }), "{text}");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_workload_can_be_one_that_the_users_initramfs_holds() {
    let theirs = prepare(&Workload::None, None).unwrap();
    let (_room, path) = with_file("initramfs", &theirs);
    let guest = Workload::Guest(vec!["/opt/test".into(), "--all".into()]);
    let archive = prepare_on_top_of(&path, &guest, None).unwrap();
    assert!(archive.starts_with(&theirs));
    assert!(contains(&archive, b"/opt/test\0--all\0"));

    let (_room, path) = with_file("image", "MZ");
    let refused = prepare_on_top_of(&path, &guest, None);
    assert!(matches!(refused, Err(WorkloadError::Initramfs(_))), "{refused:?}");
}

#[test]
fn a_workload_survives_json() {
    for workload in [
        Workload::None,
        Workload::Shell("true".into()),
        Workload::Program { path: "/bin/x".into(), args: vec!["1".into()] },
        Workload::CSource { path: "x.c".into(), args: vec![] },
        Workload::Guest(vec!["/x".into()]),
    ] {
        let text = serde_json::to_string(&workload).unwrap();
        assert_eq!(serde_json::from_str::<Workload>(&text).unwrap(), workload, "{text}");
    }
}
