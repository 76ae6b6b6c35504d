//! What is measured: which VMMs, booting with which command lines, and what that shows.

use serde::{Deserialize, Serialize};

use super::peers::Peer;
use super::plan::{INITRAMFS, KERNEL, LOGGING_INITRAMFS, NONCE, VMLINUX};

/// A VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Vmm {
    /// vmbisect's machine, which decompresses the kernel itself.
    Direct,
    /// The same from the vmlinux, which nobody has to decompress.
    Elf,
    /// As the first, with 2 vCPUs, on the one CPU that the outer machine has.
    Direct2,
    /// The same with 4.
    Direct4,
    /// vmbisect's machine, in which the image's own decompressor runs.
    Native,
    /// Somebody else's.
    Peer(Peer),
}

/// How the guest is told to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Boot {
    /// The whole log on the serial port.
    Full,
    /// Next to nothing on the serial port.
    Quiet,
    /// The same without the probing of the keyboard controller.
    Tuned,
    /// The whole log, and then what the kernel logs when a program has opened its console.
    Logging,
}

/// A VMM and a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) vmm: Vmm,
    pub(crate) boot: Boot,
}

impl Vmm {
    const OURS: [Vmm; 5] = [Vmm::Direct, Vmm::Elf, Vmm::Direct2, Vmm::Direct4, Vmm::Native];

    /// Every one, in the order in which they are measured.
    pub(crate) fn all() -> impl Iterator<Item = Vmm> {
        Vmm::OURS.into_iter().chain(Peer::ALL.map(Vmm::Peer))
    }

    /// The image that it boots, as the outer machine has it.
    pub(crate) fn kernel(self) -> &'static str {
        match self {
            Vmm::Direct | Vmm::Direct2 | Vmm::Direct4 | Vmm::Native => KERNEL,
            Vmm::Elf => VMLINUX,
            Vmm::Peer(peer) => peer.kernel(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Vmm::Direct => "vmbisect direct",
            Vmm::Elf => "vmbisect vmlinux",
            Vmm::Direct2 => "vmbisect 2 vCPUs",
            Vmm::Direct4 => "vmbisect 4 vCPUs",
            Vmm::Native => "vmbisect native",
            Vmm::Peer(peer) => peer.name(),
        }
    }
}

impl Boot {
    const ALL: [Boot; 4] = [Boot::Full, Boot::Quiet, Boot::Tuned, Boot::Logging];

    /// The guest's command line. Nothing on it makes up for what a VMM lacks.
    pub(crate) fn command_line(self) -> String {
        let more = match self {
            Boot::Full => "",
            // Else a program may log ten lines in five seconds.
            Boot::Logging => " printk.devkmsg=on",
            Boot::Quiet => " quiet",
            Boot::Tuned => " quiet initcall_blacklist=i8042_init",
        };
        format!(
            "console=ttyS0 earlyprintk=ttyS0 panic=-1 reboot=k {}={}{more}",
            guest_init::protocol::NONCE_PARAMETER,
            NONCE
        )
    }

    /// The initramfs, as the outer machine has it.
    pub(crate) fn initramfs(self) -> &'static str {
        match self {
            Boot::Full | Boot::Quiet | Boot::Tuned => INITRAMFS,
            Boot::Logging => LOGGING_INITRAMFS,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Boot::Full => "full",
            Boot::Quiet => "quiet",
            Boot::Tuned => "tuned",
            Boot::Logging => "logging",
        }
    }
}

impl Cell {
    /// Every cell, in the order in which they are measured.
    pub(crate) fn all() -> impl Iterator<Item = Cell> {
        let cells = Vmm::all().flat_map(|vmm| Boot::ALL.map(|boot| Cell { vmm, boot }));
        // What a byte costs is the same however the kernel was loaded.
        cells.filter(|cell| cell.boot != Boot::Logging || cell.vmm == Vmm::Direct)
    }

    /// What it is called on a command line: `direct/full`.
    pub(crate) fn key(self) -> String {
        let vmm = match self.vmm {
            Vmm::Direct => "direct",
            Vmm::Elf => "vmlinux",
            Vmm::Direct2 => "direct2",
            Vmm::Direct4 => "direct4",
            Vmm::Native => "native",
            Vmm::Peer(peer) => peer.key(),
        };
        format!("{vmm}/{}", self.boot.name())
    }
}

/// What one launch showed. What was not looked at is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Launch to the first byte on the serial port, in nanoseconds.
    pub(crate) first_byte_ns: Option<u64>,
    /// Launch to the guest's PID 1, in nanoseconds.
    pub(crate) init_ns: Option<u64>,
    /// Resident memory of the VMM but for the guest's, in KiB.
    pub(crate) beyond_kib: Option<u64>,
    /// The part of it that no file backs, in KiB.
    pub(crate) anonymous_kib: Option<u64>,
    /// Exits of KVM_RUN to the VMM.
    pub(crate) exits: Option<u64>,
    /// Bytes on the serial port.
    pub(crate) console_bytes: Option<u64>,
    /// Where vmbisect's launch goes.
    pub(crate) launch_us: Option<LaunchTimes>,
}

/// Microseconds from the start of the program's own code until each of these was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchTimes {
    /// The kernel's image and the initramfs were read.
    pub(crate) read: u64,
    /// The machine was made: the kernel decompressed and in its memory.
    pub(crate) made: u64,
    /// The guest was entered.
    pub(crate) entered: u64,
    /// The guest had written its first byte.
    pub(crate) first_byte: u64,
}

/// What the outer machine says, a line of JSON each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// One launch.
    Sample(Cell, Sample),
    /// A launch that came to nothing.
    Failed(Cell, String),
    /// Boots one after the other, each to its workload's end.
    Loop {
        /// Machines at a time.
        jobs: u32,
        /// How many boots that made.
        boots_per_minute: f64,
    },
    /// All that was asked for is done.
    Done,
}
