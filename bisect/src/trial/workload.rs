//! What the guest runs after boot, and how it becomes an initramfs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use guest_init::initramfs::{Initramfs, InitramfsError};
use object::elf::{EM_386, EM_X86_64, ET_DYN, ET_EXEC, FileHeader32, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tools::on_path;

/// What the guest runs after boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Nothing: the boot itself is the test.
    #[default]
    None,
    /// A static program of the host's.
    Program {
        /// Where it is on the host.
        path: PathBuf,
        /// Its arguments, without its name.
        #[serde(default)]
        args: Vec<String>,
    },
    /// A command line for the shell of a static busybox.
    Shell(String),
    /// A C file, which is compiled on the host.
    CSource {
        /// Where it is on the host.
        path: PathBuf,
        /// Arguments of the program, without its name.
        #[serde(default)]
        args: Vec<String>,
    },
    /// A program that the user's own initramfs holds: its path in the guest, and its arguments.
    Guest(Vec<String>),
}

/// Why a workload can't be made into an initramfs.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program is not one that an x86 Linux executes.
    #[error("{path} is not an x86 ELF executable ({reason}); a script runs with --run")]
    NotExecutable {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The program wants a dynamic linker, and the guest has none.
    #[error(
        "{path} is linked dynamically: it wants {interpreter}, which the guest does not have; \
         link it with -static, or give an initramfs that holds it with --initramfs"
    )]
    Dynamic {
        /// Which file.
        path: PathBuf,
        /// What its PT_INTERP names.
        interpreter: String,
    },
    /// There is no busybox that could be the guest's shell.
    #[error(
        "a command line needs a statically linked busybox on the host, and {found}; \
         on Debian and Ubuntu: apt-get install busybox-static"
    )]
    NoBusybox {
        /// What there is instead.
        found: String,
    },
    /// The compiler can't be run.
    #[error("can't run the C compiler `{cc}`; on Debian and Ubuntu: apt-get install gcc libc6-dev")]
    NoCompiler {
        /// What was run.
        cc: String,
        /// Why that failed.
        #[source]
        source: io::Error,
    },
    /// The compiler does not like the source.
    #[error("`{cc}` can't compile {path}:\n{messages}")]
    Compile {
        /// What was run.
        cc: String,
        /// The source.
        path: PathBuf,
        /// What the compiler said.
        messages: String,
    },
    /// The source compiles, but there is no C library to link it with statically.
    #[error(
        "`{cc}` finds no static C library to link {path} with; \
         Debian and Ubuntu have it in libc6-dev, Fedora in glibc-static:\n{messages}"
    )]
    NoStaticLibc {
        /// What was run.
        cc: String,
        /// The source.
        path: PathBuf,
        /// What the linker said.
        messages: String,
    },
    /// There is no room for temporary files.
    #[error("can't make a temporary directory")]
    Temporary(#[source] io::Error),
    /// The archive can't be made.
    #[error("can't make the initramfs")]
    Initramfs(#[from] InitramfsError),
}

/// The initramfs with PID 1 and the workload in it. Equal input gives equal bytes, as far as the
/// compiler keeps to that.
///
/// `cc` is the C compiler with its first arguments (`ccache gcc`); `cc` if not given.
///
/// # Errors
/// Any [`WorkloadError`].
pub fn prepare(workload: &Workload, cc: Option<&str>) -> Result<Vec<u8>, WorkloadError> {
    Ok(add(Initramfs::new(), workload, cc)?.build()?)
}

/// As [`prepare`], on top of an initramfs of the user's, which may be compressed.
///
/// # Errors
/// Any [`WorkloadError`].
pub fn prepare_on_top_of(
    initramfs: &Path,
    workload: &Workload,
    cc: Option<&str>,
) -> Result<Vec<u8>, WorkloadError> {
    let base = Initramfs::new().on_top_of(read(initramfs)?)?;
    Ok(add(base, workload, cc)?.build()?)
}

fn add(
    initramfs: Initramfs,
    workload: &Workload,
    cc: Option<&str>,
) -> Result<Initramfs, WorkloadError> {
    match workload {
        Workload::None => Ok(initramfs),
        Workload::Program { path, args } => {
            let program = read(path)?;
            check_executable(path, &program)?;
            Ok(add_program(initramfs, path.file_name(), program, args))
        }
        Workload::CSource { path, args } => {
            let program = compile(path, cc.unwrap_or("cc"))?;
            Ok(add_program(initramfs, path.file_stem(), program, args))
        }
        Workload::Shell(line) => add_shell(initramfs, line),
        Workload::Guest(argv) => Ok(initramfs.run(argv)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WorkloadError> {
    fs::read(path).map_err(|source| WorkloadError::Read { path: path.to_owned(), source })
}

/// Puts a program where it keeps its name, and has it run.
fn add_program(
    initramfs: Initramfs,
    name: Option<&OsStr>,
    program: Vec<u8>,
    args: &[String],
) -> Initramfs {
    let name = name.map_or("workload".into(), OsStr::to_string_lossy);
    let path = format!("/vmbisect/bin/{name}");
    let argv = std::iter::once(path.as_str()).chain(args.iter().map(String::as_str));
    initramfs.file(&path, 0o755, program).run(argv)
}

/// Refuses what the guest's kernel could not execute or what could not start there.
fn check_executable(path: &Path, program: &[u8]) -> Result<(), WorkloadError> {
    match interpreter(program) {
        Ok(None) => Ok(()),
        Ok(Some(interpreter)) => Err(WorkloadError::Dynamic { path: path.to_owned(), interpreter }),
        Err(reason) => Err(WorkloadError::NotExecutable { path: path.to_owned(), reason }),
    }
}

/// The dynamic linker that an executable wants, if any; else why it is none. An i386 one is for 32-bit
/// kernels, and for 64-bit ones that run it (CONFIG_IA32_EMULATION).
fn interpreter(program: &[u8]) -> Result<Option<String>, String> {
    match FileKind::parse(program) {
        Ok(FileKind::Elf32) => interpreter_of::<FileHeader32<Endianness>>(program),
        _ => interpreter_of::<FileHeader64<Endianness>>(program),
    }
}

fn interpreter_of<H: FileHeader<Endian = Endianness>>(
    program: &[u8],
) -> Result<Option<String>, String> {
    let header = H::parse(program).map_err(|error| error.to_string())?;
    let endian = header.endian().map_err(|error| error.to_string())?;
    let machine = header.e_machine(endian);
    if machine != EM_X86_64 && machine != EM_386 {
        return Err(format!("its ELF machine number is {machine}"));
    }
    let kind = header.e_type(endian);
    if kind != ET_EXEC && kind != ET_DYN {
        return Err(format!("its ELF type is {kind}"));
    }
    let segments = header.program_headers(endian, program).map_err(|error| error.to_string())?;
    let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == PT_INTERP) else {
        return Ok(None);
    };
    let name = segment.data(endian, program).map_err(|()| "its PT_INTERP is cut off".to_owned())?;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

/// Puts a busybox with all of its applets into the guest, and has its shell run a command line.
fn add_shell(mut initramfs: Initramfs, line: &str) -> Result<Initramfs, WorkloadError> {
    let path = find_busybox()?;
    let unusable =
        |reason: String| WorkloadError::NoBusybox { found: format!("{} {reason}", path.display()) };
    let listed = Command::new(&path)
        .arg("--list")
        .output()
        .map_err(|error| unusable(format!("can't be run: {error}")))?;
    let applets = String::from_utf8_lossy(&listed.stdout);
    if !applets.lines().any(|applet| applet == "sh") {
        return Err(unusable("has no shell".to_owned()));
    }
    initramfs = initramfs.file("/bin/busybox", 0o755, read(&path)?);
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        initramfs = initramfs.symlink(&format!("/bin/{applet}"), "busybox");
    }
    Ok(initramfs.run(["/bin/sh", "-c", line]))
}

/// The host's busybox, if it would run in the guest.
fn find_busybox() -> Result<PathBuf, WorkloadError> {
    let unusable = |found| Err(WorkloadError::NoBusybox { found });
    let Some(path) = on_path("busybox") else {
        return unusable("there is none on the PATH".to_owned());
    };
    match check_executable(&path, &read(&path)?) {
        Ok(()) => Ok(path),
        Err(WorkloadError::Dynamic { interpreter, .. }) => {
            unusable(format!("{} is linked dynamically ({interpreter})", path.display()))
        }
        Err(error) => unusable(error.to_string()),
    }
}

/// Compiles a C file to a static program.
fn compile(path: &Path, cc: &str) -> Result<Vec<u8>, WorkloadError> {
    // A source that is not there is the user's mistake, not the compiler's.
    fs::File::open(path).map_err(|source| WorkloadError::Read { path: path.to_owned(), source })?;
    let room = tempfile::tempdir().map_err(WorkloadError::Temporary)?;
    let program = room.path().join("program");
    let mut words = cc.split_whitespace();
    let Output { status, stderr, .. } = Command::new(words.next().unwrap_or("cc"))
        .args(words)
        .args(["-O2", "-static", "-pthread", "-o"])
        .arg(&program)
        .arg(path)
        // Messages are looked at below, in English.
        .env("LC_ALL", "C")
        .output()
        .map_err(|source| WorkloadError::NoCompiler { cc: cc.to_owned(), source })?;
    if status.success() {
        return read(&program);
    }
    let (cc, path) = (cc.to_owned(), path.to_owned());
    let mut messages = String::from_utf8_lossy(&stderr).trim_end().to_owned();
    if messages.is_empty() {
        messages = status.to_string();
    }
    // GNU ld: "cannot find -lc", lld: "unable to find library -lc".
    let no_libc = messages.lines().any(|line| {
        line.contains(" find ")
            && line.split([' ', ':']).any(|word| matches!(word, "-lc" | "-lpthread"))
    });
    if no_libc {
        Err(WorkloadError::NoStaticLibc { cc, path, messages })
    } else {
        Err(WorkloadError::Compile { cc, path, messages })
    }
}

#[cfg(test)]
mod tests;
