//! Other VMMs, each started as its users would, with nothing that the guest does not need. What is not
//! on PATH is left out.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plan::{GUEST_MIB, INITRAMFS, KERNEL, VMLINUX};

/// Where Firecracker finds what it is to run.
const FIRECRACKER_CONFIG: &str = "/tmp/firecracker.json";

/// Another VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// QEMU's microvm.
    Microvm,
    Kvmtool,
    Firecracker,
    CloudHypervisor,
}

impl Peer {
    pub(crate) const ALL: [Peer; 4] =
        [Peer::Microvm, Peer::Kvmtool, Peer::Firecracker, Peer::CloudHypervisor];

    /// What it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Microvm => "QEMU microvm",
            Peer::Kvmtool => "kvmtool",
            Peer::Firecracker => "Firecracker",
            Peer::CloudHypervisor => "Cloud Hypervisor",
        }
    }

    /// What it is called on a command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Peer::Microvm => "microvm",
            Peer::Kvmtool => "kvmtool",
            Peer::Firecracker => "firecracker",
            Peer::CloudHypervisor => "cloud-hypervisor",
        }
    }

    /// Its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Peer::Microvm => "qemu-system-x86_64",
            Peer::Kvmtool => "lkvm",
            Peer::Firecracker => "firecracker",
            Peer::CloudHypervisor => "cloud-hypervisor",
        }
    }

    /// What it looks for beside its program: QEMU's microvm, the firmware that it has without ACPI and the
    /// ROMs by which that loads a kernel.
    pub(crate) fn firmware(self) -> &'static [&'static str] {
        match self {
            Peer::Microvm => &["qboot.rom", "bios-microvm.bin", "linuxboot_dma.bin", "pvh.bin"],
            Peer::Kvmtool | Peer::Firecracker | Peer::CloudHypervisor => &[],
        }
    }

    /// The form in which it takes a kernel.
    pub(crate) fn kernel(self) -> &'static str {
        match self {
            Peer::Microvm | Peer::Kvmtool => KERNEL,
            Peer::Firecracker | Peer::CloudHypervisor => VMLINUX,
        }
    }

    /// Runs its guest with the serial port on standard output; `programs` are those of all peers.
    ///
    /// # Errors
    /// Fails if the program is not there, or where it wants a file, if that can't be written.
    pub(crate) fn command(self, programs: &[PathBuf], append: &str) -> io::Result<Command> {
        let is_it = |path: &&PathBuf| path.file_name().is_some_and(|it| it == self.program());
        let program = programs.iter().find(is_it).ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        match self {
            Peer::Microvm => command
                // Without ACPI, of which the kernel has none, it describes its CPUs by an MP table.
                .args(["-machine", "microvm,accel=kvm,acpi=off"])
                // As the machine does under an emulator, whose XSAVE is not complete.
                .args(["-cpu", "host,-xsave", "-smp", "1"])
                .args(["-m", &GUEST_MIB.to_string()])
                .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
                .args(["-kernel", self.kernel(), "-initrd", INITRAMFS, "-append", append])
                .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]),
            Peer::Kvmtool => command
                .args(["run", "--cpus", "1", "--mem", &GUEST_MIB.to_string()])
                .args(["--kernel", self.kernel(), "--initrd", INITRAMFS, "--params", append])
                .args(["--console", "serial", "--network", "mode=none"]),
            Peer::Firecracker => {
                let config = json!({
                    "boot-source": {
                        "kernel_image_path": self.kernel(),
                        "initrd_path": INITRAMFS,
                        "boot_args": append,
                    },
                    "drives": [],
                    "machine-config": { "vcpu_count": 1, "mem_size_mib": GUEST_MIB },
                });
                fs::write(FIRECRACKER_CONFIG, config.to_string())?;
                command.args(["--no-api", "--config-file", FIRECRACKER_CONFIG])
            }
            Peer::CloudHypervisor => command
                .args(["--cpus", "boot=1", "--memory", &format!("size={GUEST_MIB}M")])
                .args(["--kernel", self.kernel(), "--initramfs", INITRAMFS, "--cmdline", append])
                .args(["--serial", "tty", "--console", "off"]),
        };
        Ok(command)
    }
}
