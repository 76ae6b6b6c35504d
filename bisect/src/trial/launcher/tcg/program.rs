//! This program, as small as it still runs, with the libraries that it needs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use thiserror::Error;

/// Why a program can't be taken along.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// A file can't be read.
    #[error("can't read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not an ELF program.
    #[error("{path} is not an x86-64 program")]
    NotAProgram {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: object::Error,
    },
    /// The dynamic linker did not name its libraries.
    #[error("{linker} can't name the libraries of {path}: {reason}")]
    Libraries {
        /// The dynamic linker.
        linker: PathBuf,
        /// The program.
        path: PathBuf,
        /// What it said instead.
        reason: String,
    },
}

/// A program and everything that has to be there for it to run.
#[derive(Debug)]
pub(super) struct Program {
    /// The program without what is not loaded.
    pub(super) content: Vec<u8>,
    /// Its dynamic linker and its libraries, with the paths that they are looked for at.
    pub(super) libraries: Vec<(PathBuf, Vec<u8>)>,
}

/// Reads a program and finds its libraries.
pub(super) fn read(path: &Path) -> Result<Program, ProgramError> {
    let content = read_file(path)?;
    let not_a_program = |source| ProgramError::NotAProgram { path: path.to_owned(), source };
    let (content, linker) = cut(content).map_err(not_a_program)?;
    let libraries = match linker {
        Some(linker) => libraries(path, &linker)?,
        None => Vec::new(),
    };
    Ok(Program { content, libraries })
}

fn read_file(path: &Path) -> Result<Vec<u8>, ProgramError> {
    std::fs::read(path).map_err(|source| ProgramError::Io { path: path.to_owned(), source })
}

/// Cuts off what no program header maps, debug information above all, and takes out the section
/// headers that tell of it. Gives the dynamic linker's path, if there is one.
fn cut(mut content: Vec<u8>) -> Result<(Vec<u8>, Option<PathBuf>), object::Error> {
    let header = FileHeader64::<Endianness>::parse(&content[..])?;
    let endian = header.endian()?;
    let mut end = size_of::<FileHeader64<Endianness>>() as u64;
    end =
        end.max(header.e_phoff(endian).saturating_add(
            u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian)),
        ));
    let mut linker = None;
    for segment in header.program_headers(endian, &content[..])? {
        let (offset, size) = segment.file_range(endian);
        end = end.max(offset.saturating_add(size));
        if segment.p_type(endian) == PT_INTERP
            && let Some(name) = segment.interpreter(endian, &content[..])?
        {
            linker = Some(PathBuf::from(String::from_utf8_lossy(name).into_owned()));
        }
    }
    content.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    // e_shoff; e_shnum and e_shstrndx.
    for range in [0x28..0x30, 0x3c..0x40] {
        if let Some(bytes) = content.get_mut(range) {
            bytes.fill(0);
        }
    }
    Ok((content, linker))
}

/// Asks the dynamic linker itself, as ldd does.
fn libraries(program: &Path, linker: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ProgramError> {
    let failed = |reason: String| ProgramError::Libraries {
        linker: linker.to_owned(),
        path: program.to_owned(),
        reason,
    };
    let output = Command::new(linker).arg("--list").arg(program).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let list = String::from_utf8_lossy(&output.stdout);
    let mut paths = vec![linker.to_owned()];
    for line in list.lines() {
        match parse_library(line) {
            Some(path) if !paths.contains(&path) => paths.push(path),
            Some(_) => {}
            None if line.contains("not found") => return Err(failed(line.trim().to_owned())),
            None => {}
        }
    }
    paths.into_iter().map(|path| read_file(&path).map(|content| (path, content))).collect()
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f…)`, or just the path for the linker.
fn parse_library(line: &str) -> Option<PathBuf> {
    let (left, _) = line.trim().rsplit_once(" (0x")?;
    let path = left.rsplit_once(" => ").map_or(left, |(_, path)| path);
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{ProgramError, cut, parse_library, read};

    #[test]
    fn lines_of_the_dynamic_linker() {
        let line = "\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f0b44f2c000)";
        assert_eq!(parse_library(line), Some(PathBuf::from("/lib/x86_64-linux-gnu/libz.so.1")));
        let linker = "\t/lib64/ld-linux-x86-64.so.2 (0x00007f0b45000000)";
        assert_eq!(parse_library(linker), Some(PathBuf::from("/lib64/ld-linux-x86-64.so.2")));
        assert_eq!(parse_library("\tlinux-vdso.so.1 (0x00007ffd3b5f2000)"), None);
        assert_eq!(parse_library("\tstatically linked"), None);
    }

    #[test]
    fn this_very_test_still_runs_when_it_is_cut() {
        let path = std::env::current_exe().unwrap();
        let program = read(&path).unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        assert!((program.content.len() as u64) < whole, "nothing was cut");
        assert!(program.libraries.iter().any(|(path, _)| path.ends_with("libc.so.6")));
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("copy");
        std::fs::write(&copy, &program.content).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        let output = Command::new(&copy).arg("--list").output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("this_very_test"));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(read(Path::new("/nowhere")), Err(ProgramError::Io { .. })));
        assert!(cut(b"#!/bin/sh\n".to_vec()).is_err());
        assert!(cut(b"\x7fELF".to_vec()).is_err());
    }
}
