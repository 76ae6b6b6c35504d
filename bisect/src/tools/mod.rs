//! The programs and headers of the host that building and emulating need: which, whether they are
//! there, and which package brings them.

mod apt;
mod install;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

pub(crate) use apt::{AptError, download};
pub use install::{ToolError, ensure, install_line};

/// What tools are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Reading a history and checking out its revisions.
    History,
    /// Building a kernel.
    Kernel,
    /// Building a kernel whose configuration asks for it; see [`Tool::options`].
    KernelOption,
    /// Compiling a workload written in C.
    Workload,
    /// Running trials in an outer machine that QEMU emulates.
    OuterMachine,
    /// The kernel source that the demonstration and the tests are made from.
    LinuxSource,
}

/// One program, header or file that vmbisect may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Tool {
    /// What people call it.
    pub name: &'static str,
    /// Why it is needed.
    pub why: &'static str,
    /// What it is needed for.
    pub purposes: &'static [Purpose],
    /// For [`Purpose::KernelOption`], the options of the kernel's configuration that ask for it, without
    /// the `CONFIG_`.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub options: &'static [&'static str],
    /// The package on Debian and Ubuntu.
    pub debian: &'static str,
    /// The package on Fedora and its relatives, where it has one.
    pub fedora: Option<&'static str>,
    /// How to tell whether it is there.
    #[serde(skip)]
    probe: Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Probe {
    /// A program on `PATH`, and the argument that makes it print its version.
    Program(&'static str, &'static str),
    /// A header that the C compiler finds.
    Header(&'static str),
    /// A file.
    File(&'static str),
}

/// Where Debian's package puts the source of Linux 6.1.
pub const LINUX_SOURCE: &str = "/usr/src/linux-source-6.1.tar.xz";

use Purpose::{History, Kernel, KernelOption, LinuxSource, OuterMachine, Workload};

/// Everything that vmbisect may need of a host.
pub const ALL: &[Tool] = &[
    Tool {
        name: "git",
        why: "checks revisions out",
        purposes: &[History, Kernel, LinuxSource],
        options: &[],
        debian: "git",
        fedora: Some("git-core"),
        probe: Probe::Program("git", "--version"),
    },
    Tool {
        name: "gcc",
        why: "compiles kernels and workloads",
        purposes: &[Kernel, Workload],
        options: &[],
        debian: "gcc",
        fedora: Some("gcc"),
        probe: Probe::Program("gcc", "--version"),
    },
    Tool {
        name: "C library headers",
        why: "the kernel's host programs and static workloads are built with them",
        purposes: &[Kernel, Workload],
        options: &[],
        debian: "libc6-dev",
        fedora: Some("glibc-static"),
        probe: Probe::Header("stdio.h"),
    },
    Tool {
        name: "make",
        why: "runs the kernel's build",
        purposes: &[Kernel],
        options: &[],
        debian: "make",
        fedora: Some("make"),
        probe: Probe::Program("make", "--version"),
    },
    Tool {
        name: "ld",
        why: "links kernels",
        purposes: &[Kernel],
        options: &[],
        debian: "binutils",
        fedora: Some("binutils"),
        probe: Probe::Program("ld", "--version"),
    },
    Tool {
        name: "flex",
        why: "the kernel's configuration parser is made with it",
        purposes: &[Kernel],
        options: &[],
        debian: "flex",
        fedora: Some("flex"),
        probe: Probe::Program("flex", "--version"),
    },
    Tool {
        name: "bison",
        why: "the kernel's configuration parser is made with it",
        purposes: &[Kernel],
        options: &[],
        debian: "bison",
        fedora: Some("bison"),
        probe: Probe::Program("bison", "--version"),
    },
    Tool {
        name: "bc",
        why: "the kernel's time constants are computed with it",
        purposes: &[Kernel],
        options: &[],
        debian: "bc",
        fedora: Some("bc"),
        probe: Probe::Program("bc", "--version"),
    },
    Tool {
        name: "perl",
        why: "some kernel sources are generated with it",
        purposes: &[Kernel],
        options: &[],
        debian: "perl-base",
        fedora: Some("perl-interpreter"),
        probe: Probe::Program("perl", "--version"),
    },
    Tool {
        name: "libelf headers",
        why: "objtool is built with them",
        purposes: &[Kernel],
        options: &[],
        debian: "libelf-dev",
        fedora: Some("elfutils-libelf-devel"),
        probe: Probe::Header("gelf.h"),
    },
    Tool {
        name: "OpenSSL headers",
        why: "kernels that verify signatures are built with them",
        purposes: &[Kernel],
        options: &[],
        debian: "libssl-dev",
        fedora: Some("openssl-devel"),
        probe: Probe::Header("openssl/opensslv.h"),
    },
    Tool {
        name: "lz4",
        why: "compresses kernels that are configured for it, as the demonstration's are",
        purposes: &[Kernel],
        options: &[],
        debian: "lz4",
        fedora: Some("lz4"),
        probe: Probe::Program("lz4", "--version"),
    },
    Tool {
        name: "xz",
        why: "compresses kernels that are configured for it, as tinyconfig's are",
        purposes: &[Kernel],
        options: &[],
        debian: "xz-utils",
        fedora: Some("xz"),
        probe: Probe::Program("xz", "--version"),
    },
    Tool {
        name: "gzip",
        why: "compresses kernels that are configured for it, as most are",
        purposes: &[KernelOption],
        options: &["KERNEL_GZIP", "IKCONFIG"],
        debian: "gzip",
        fedora: Some("gzip"),
        probe: Probe::Program("gzip", "--version"),
    },
    Tool {
        name: "bzip2",
        why: "compresses kernels that are configured for it",
        purposes: &[KernelOption],
        options: &["KERNEL_BZIP2"],
        debian: "bzip2",
        fedora: Some("bzip2"),
        probe: Probe::Program("bzip2", "--help"),
    },
    Tool {
        name: "lzma",
        why: "compresses kernels that are configured for it",
        purposes: &[KernelOption],
        options: &["KERNEL_LZMA"],
        debian: "xz-utils",
        fedora: Some("xz-lzma-compat"),
        probe: Probe::Program("lzma", "--version"),
    },
    Tool {
        name: "lzop",
        why: "compresses kernels that are configured for it",
        purposes: &[KernelOption],
        options: &["KERNEL_LZO"],
        debian: "lzop",
        fedora: Some("lzop"),
        probe: Probe::Program("lzop", "--version"),
    },
    Tool {
        name: "zstd",
        why: "compresses kernels that are configured for it, as distributions' are",
        purposes: &[KernelOption],
        options: &["KERNEL_ZSTD"],
        debian: "zstd",
        fedora: Some("zstd"),
        probe: Probe::Program("zstd", "--version"),
    },
    Tool {
        name: "pahole",
        why: "makes the BTF that BPF programs are loaded with",
        purposes: &[KernelOption],
        options: &["DEBUG_INFO_BTF"],
        debian: "dwarves",
        fedora: Some("dwarves"),
        probe: Probe::Program("pahole", "--version"),
    },
    Tool {
        name: "cpio",
        why: "packs the headers that a kernel carries",
        purposes: &[KernelOption],
        options: &["IKHEADERS"],
        debian: "cpio",
        fedora: Some("cpio"),
        probe: Probe::Program("cpio", "--version"),
    },
    Tool {
        name: "busybox",
        why: "is the shell of a guest that runs a command line (--run)",
        purposes: &[Workload],
        options: &[],
        debian: "busybox-static",
        fedora: Some("busybox"),
        probe: Probe::Program("busybox", "--help"),
    },
    Tool {
        name: "qemu-system-x86_64",
        why: "emulates a machine with KVM where the host has none that runs Linux",
        purposes: &[OuterMachine],
        options: &[],
        debian: "qemu-system-x86",
        fedora: Some("qemu-system-x86-core"),
        probe: Probe::Program("qemu-system-x86_64", "--version"),
    },
    Tool {
        name: "Linux 6.1 source",
        why: "the demonstration and the tests build kernels from it",
        purposes: &[LinuxSource],
        options: &[],
        debian: "linux-source-6.1",
        fedora: None,
        probe: Probe::File(LINUX_SOURCE),
    },
];

/// The tools that one of `purposes` needs.
pub fn needed_for(purposes: &[Purpose]) -> Vec<&'static Tool> {
    ALL.iter().filter(|tool| tool.purposes.iter().any(|it| purposes.contains(it))).collect()
}

/// The tools that kernels with this configuration need beside those that every kernel needs. `config` is
/// a kernel's `.config`.
pub fn needed_by_config(config: &str) -> Vec<&'static Tool> {
    let is_set = |option: &&str| {
        config.lines().any(|line| {
            let value = line.strip_prefix("CONFIG_").and_then(|line| line.strip_prefix(option));
            value.is_some_and(|value| matches!(value.trim_end(), "=y" | "=m"))
        })
    };
    ALL.iter().filter(|tool| tool.options.iter().any(is_set)).collect()
}

/// Whether a tool is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Which tool.
    #[serde(flatten)]
    pub tool: &'static Tool,
    /// Where it is; `None` if it is missing.
    pub path: Option<PathBuf>,
    /// The first line of what it says about its version.
    pub version: Option<String>,
}

/// Looks for tools on this host.
pub fn check(tools: &[&'static Tool]) -> Vec<Found> {
    tools.iter().map(|tool| tool.find()).collect()
}

impl Tool {
    /// Looks for it on this host.
    pub fn find(&'static self) -> Found {
        let (path, version) = match self.probe {
            Probe::Program(name, argument) => {
                let path = on_path(name);
                let version = path.as_deref().and_then(|path| version_of(path, argument));
                (path, version)
            }
            Probe::Header(name) => (header(name), None),
            Probe::File(path) => (Path::new(path).is_file().then(|| path.into()), None),
        };
        Found { tool: self, path, version }
    }
}

/// Finds a program as a shell would; root's `PATH` often lacks the sbin directories, so those are
/// looked at last.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| {
            rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
        })
}

fn version_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Asks the compiler, which knows its multiarch directories; without one, looks in `/usr/include`.
fn header(name: &str) -> Option<PathBuf> {
    let plain = Path::new("/usr/include").join(name);
    if plain.is_file() {
        return Some(plain);
    }
    let compiler = on_path("gcc").or_else(|| on_path("cc"))?;
    let output = Command::new(compiler)
        .args(["-E", "-M", "-x", "c", "-include", name, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then_some(())?;
    text.split_ascii_whitespace().find(|file| file.ends_with(name)).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::{ALL, Purpose, check, needed_by_config, needed_for, on_path};

    #[test]
    fn a_shell_is_found_and_nonsense_is_not() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
        assert!(on_path("").is_none());
    }

    #[test]
    fn purposes_select_tools() {
        let names: Vec<_> = needed_for(&[Purpose::Workload]).iter().map(|tool| tool.name).collect();
        assert_eq!(names, ["gcc", "C library headers", "busybox"]);
        assert!(ALL.iter().all(|tool| !tool.purposes.is_empty()));
        let by_option = |tool: &&super::Tool| tool.purposes.contains(&Purpose::KernelOption);
        assert!(ALL.iter().all(|tool| by_option(&tool) != tool.options.is_empty()));
    }

    #[test]
    fn a_configuration_selects_tools() {
        let names = |config: &str| -> Vec<_> {
            needed_by_config(config).iter().map(|tool| tool.name).collect()
        };
        assert_eq!(names("CONFIG_KERNEL_ZSTD=y\r\nCONFIG_DEBUG_INFO_BTF=y\n"), ["zstd", "pahole"]);
        assert_eq!(names("# CONFIG_KERNEL_LZO is not set\nCONFIG_KERNEL_GZIP=n\n"), [""; 0]);
        // Each of the ways that a kernel can be compressed in has its compressor.
        for way in ["GZIP", "BZIP2", "LZMA", "LZO", "ZSTD"] {
            assert_eq!(names(&format!("CONFIG_KERNEL_{way}=y\n")).len(), 1, "{way}");
        }
    }

    #[test]
    fn what_is_found_exists() {
        let all: Vec<_> = ALL.iter().collect();
        for found in check(&all) {
            if let Some(path) = found.path {
                assert!(path.exists(), "{}: {}", found.tool.name, path.display());
            }
        }
    }
}
