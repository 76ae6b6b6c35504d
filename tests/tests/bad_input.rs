//! What `vmbisect boot` says to what can't be booted, with a real image that is damaged in every way
//! a user meets: a sentence, a hint, exit status 2; never a panic, never a hang.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vmbisect_tests::fixture;
use vmbisect_tests::program::{run, vmbisect};

/// Boots `image` in process, which is refused before KVM has to run a single instruction of it.
fn refused(image: &Path, arguments: &[&str]) -> String {
    let mut command = vmbisect();
    command.args(["boot", "--json", "--launcher", "in-process"]).args(arguments).arg(image);
    let ran = run(&mut command);
    let case = format!("{} {arguments:?}: {}{}", image.display(), ran.stdout, ran.stderr);
    assert_eq!(ran.status, Some(2), "{case}");
    let error: Value = serde_json::from_str(&ran.stdout).expect(&case);
    assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{case}");
    assert!(!case.contains("panicked"), "{case}");
    let causes = error["causes"].as_array().expect(&case);
    let causes = causes.iter().filter_map(Value::as_str);
    let said: Vec<&str> = error["error"].as_str().into_iter().chain(causes).collect();
    said.join(": ")
}

/// The fixture's image, and a directory for what is made of it.
fn image() -> Option<(Vec<u8>, tempfile::TempDir)> {
    let kernels = fixture::kernels()?;
    Some((fs::read(&kernels.good.path).unwrap(), tempfile::tempdir().unwrap()))
}

#[test]
fn an_image_that_is_none_or_is_damaged() {
    let Some((image, dir)) = image() else { return };
    let file = |name: &str, content: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let changed = |name: &str, at: usize, bits: u8| {
        let mut image = image.clone();
        image[at] ^= bits;
        file(name, &image)
    };
    let cases = [
        (file("text", b"hello, world\n"), "text file"),
        (file("empty", b""), "empty"),
        (file("truncated", &image[..image.len() / 2]), "truncated"),
        (file("header-only", &image[..0x210]), "truncated"),
        (changed("flipped", image.len() / 2, 4), "CRC-32"),
        // xloadflags: XLF_KERNEL_64.
        (changed("32-bit", 0x236, 1), "32-bit"),
        (dir.path().to_owned(), "directory"),
        (dir.path().join("none"), "No such file"),
    ];
    for (path, says) in cases {
        let said = refused(&path, &[]);
        assert!(said.contains(says), "{}: {said}", path.display());
    }
}

#[test]
fn a_machine_that_the_kernel_does_not_fit() {
    let Some(kernels) = fixture::kernels() else { return };
    if !Path::new("/dev/kvm").exists() {
        eprintln!("skipped: no /dev/kvm to make a machine with");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // A cpio archive that is larger than the memory: a header, and a name.
    let mut archive = guest_init::cpio::Writer::new(Vec::new());
    archive.file("/large", 0o644, &vec![0; 80 << 20]).unwrap();
    let large = dir.path().join("large.cpio");
    fs::write(&large, archive.finish().unwrap()).unwrap();
    let large = large.display().to_string();
    let long = "x".repeat(2100);
    let cases: [(&[&str], &str); 2] = [
        (&["--memory", "64", "--initramfs", &large], "initramfs"),
        (&["--append", &long], "command line"),
    ];
    for (arguments, says) in cases {
        let said = refused(&kernels.good.path, arguments);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_machine_that_is_none() {
    let cases = [
        (["--memory", "16"], "64..=1048576"),
        (["--vcpus", "0"], "1..=64"),
        (["--vcpus", "65"], "1..=64"),
    ];
    for (arguments, says) in cases {
        let ran = run(vmbisect().arg("boot").args(arguments).arg("bzImage"));
        assert_eq!(ran.status, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says), "{ran:?}");
    }
}

#[test]
fn a_workload_that_can_not_run() {
    let Some(kernels) = fixture::kernels() else { return };
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken.c");
    fs::write(&broken, "int main(void) { return x; }\n").unwrap();
    let broken = broken.display().to_string();
    let cases: [(&[&str], &str); 3] = [
        (&["--workload", "/none"], "No such file"),
        (&["--workload", "/bin/ls"], "linked dynamically"),
        (&["--workload-c", &broken], "undeclared"),
    ];
    for (arguments, says) in cases {
        let said = refused(&kernels.good.path, arguments);
        assert!(said.contains(says), "{said}");
    }
}
