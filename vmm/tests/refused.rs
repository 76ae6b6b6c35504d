//! What can't be started, and what it is told.

mod support {
    pub mod guest;
    pub mod image;
}

use std::os::unix::process::CommandExt;
use std::process::Command;

use support::guest::{CODE, Guest};
use support::image::{Segment, elf};
use vmm::{Kernel, Machine, MachineConfig, StartError};

fn config() -> MachineConfig {
    Guest::new().out(0x64, 0xfe).spin().config()
}

fn refused(config: MachineConfig) -> StartError {
    match Machine::start(config) {
        Ok(_) => panic!("it was started"),
        Err(error) => error,
    }
}

#[test]
fn what_can_not_be_configured_is_said_by_who_configures() {
    #[derive(Debug)]
    enum Failed {
        Configuring,
        Starting,
    }
    impl From<StartError> for Failed {
        fn from(_: StartError) -> Failed {
            Failed::Starting
        }
    }
    let started = Machine::start_with(|| Err(Failed::Configuring));
    assert!(matches!(started, Err(Failed::Configuring)));
    let nothing = || MachineConfig { memory: 0, ..config() };
    assert!(matches!(Machine::start_with(|| Ok(nothing())), Err(Failed::Starting)));
}

#[test]
fn memory_out_of_range() {
    for memory in [0, 63 << 20, (64 << 20) + 4096, (1 << 40) + (1 << 20), u64::MAX] {
        let error = refused(MachineConfig { memory, ..config() });
        assert!(matches!(error, StartError::MemorySize { asked, .. } if asked == memory));
        assert!(error.to_string().contains("between 64 and 1048576 MiB"), "{error}");
    }
}

#[test]
fn more_memory_than_the_host_has() {
    let (most, error) = match Machine::start(MachineConfig { memory: 1 << 40, ..config() }) {
        Ok(_) => return eprintln!("skipped: this host has more than a machine can have"),
        Err(error @ StartError::MoreThanHost { most, .. }) => (most, error),
        Err(error) => panic!("{error}"),
    };
    let text = error.to_string();
    assert!(text.contains(&format!("{} MiB", most >> 20)), "{text}");
}

#[test]
fn vcpus_out_of_range() {
    for vcpus in [0, 65, 255] {
        let error = refused(MachineConfig { vcpus, ..config() });
        assert!(matches!(error, StartError::Vcpus { asked, .. } if asked == vcpus), "{error}");
    }
}

/// A machine whose kernel takes `size` bytes of memory, nearly all of them zero.
fn large(size: u64) -> MachineConfig {
    let code = Segment { address: CODE, data: vec![0xf4], size };
    match Kernel::from_bytes(elf(CODE, &[code])) {
        Ok(kernel) => MachineConfig { kernel: kernel.into(), ..config() },
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn kernel_that_needs_more_memory_says_how_much() {
    let error = refused(large(100 << 20));
    assert!(matches!(error, StartError::TooLittleMemory { .. }));
    assert_eq!(
        error.to_string(),
        "the kernel needs at least 101 MiB of memory to start, the machine has 64 MiB"
    );
}

#[test]
fn initramfs_that_does_not_fit_is_told_the_room() {
    let initramfs = Some(vec![0; 33 << 20].into());
    let error = refused(MachineConfig { initramfs, ..large(31 << 20) });
    let StartError::InitramfsTooLarge { size, room } = error else { panic!("{error}") };
    assert_eq!((size, room), (33 << 20, 32 << 20));
}

#[test]
fn command_line_too_long_or_with_a_nul() {
    let error = refused(MachineConfig { command_line: "x".repeat(2048), ..config() });
    assert_eq!(error.to_string(), "the command line has 2048 bytes, this kernel takes 2047");
    let error = refused(MachineConfig { command_line: "a\0b".into(), ..config() });
    assert!(matches!(error, StartError::CommandLineNul(1)));
}

/// /dev/kvm as a user who may not open it, in a process of its own.
#[test]
fn permission_is_told_with_what_to_do() {
    const CHILD: &str = "VMM_TEST_PERMISSION";
    const NOBODY: u32 = 65534;
    if std::env::var_os(CHILD).is_some() {
        let error = refused(config());
        assert!(matches!(error, StartError::KvmPermission), "{error}");
        assert!(error.to_string().contains("usermod -aG kvm"));
        return;
    }
    let mode = std::fs::metadata("/dev/kvm").map(|kvm| std::os::unix::fs::MetadataExt::mode(&kvm));
    let Ok(mode) = mode else {
        eprintln!("skipped: there is no /dev/kvm");
        return;
    };
    if mode & 0o002 != 0 {
        eprintln!("skipped: everybody may open this host's /dev/kvm");
        return;
    }
    // Only root can become somebody else; the program is copied to where nobody can read it.
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("refused");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    let output = Command::new(program)
        .args(["--exact", "permission_is_told_with_what_to_do"])
        .env(CHILD, "1")
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
            assert!(said.contains("1 passed"), "{said}");
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: only root can become a user without permission");
        }
        Err(error) => panic!("{error}"),
    }
}
