//! One commit on its way into a repository.

use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

use super::{BASE, ImportError, no_git};
use crate::cancel::Cancel;
use crate::git;

/// How often progress is reported, in files.
const PROGRESS: usize = 2000;

/// `git fast-import`, reading one commit.
pub(super) struct Stream<'a> {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    on_line: &'a mut dyn FnMut(&str),
    cancel: &'a Cancel,
    files: usize,
    /// Files that Linux has and that have not come yet.
    landmarks: Vec<&'static str>,
}

impl<'a> Stream<'a> {
    /// Begins the commit, in this repository.
    pub(super) fn start(
        repo: &Path,
        on_line: &'a mut dyn FnMut(&str),
        cancel: &'a Cancel,
    ) -> Result<Stream<'a>, ImportError> {
        let mut child = git::command()
            .current_dir(repo)
            // Compressing harder saves a third of the space and costs a minute.
            .args(["-c", "core.compression=1", "-c", "pack.compression=1"])
            .args(["fast-import", "--quiet", "--depth=0"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_git)?;
        let input = child.stdin.take().map(|pipe| BufWriter::with_capacity(1 << 20, pipe));
        let landmarks = vec!["Makefile", "Kconfig", "arch/x86/Makefile", "scripts/Makefile.build"];
        let mut stream = Stream { child, input, on_line, cancel, files: 0, landmarks };
        let message = "Import the source of Linux\n";
        stream.put(
            format!(
                "commit {BASE}\ncommitter Linux <linux@localhost> 1690000000 +0000\ndata {}\n{message}",
                message.len()
            )
            .as_bytes(),
        )?;
        Ok(stream)
    }

    /// Puts a file into the commit.
    pub(super) fn file(
        &mut self,
        name: &Path,
        mode: &str,
        content: &[u8],
    ) -> Result<(), ImportError> {
        if self.cancel.is_cancelled() {
            return Err(ImportError::Cancelled);
        }
        self.landmarks.retain(|landmark| Path::new(landmark) != name);
        let mut header = format!("M {mode} inline \"").into_bytes();
        for &byte in name.as_os_str().as_bytes() {
            match byte {
                b'"' | b'\\' => header.extend([b'\\', byte]),
                b'\n' => header.extend(b"\\n"),
                _ => header.push(byte),
            }
        }
        header.extend(format!("\"\ndata {}\n", content.len()).as_bytes());
        self.put(&header)?;
        self.put(content)?;
        self.put(b"\n")?;
        self.files = self.files.saturating_add(1);
        if self.files.is_multiple_of(PROGRESS) {
            (self.on_line)(&format!("{} files imported", self.files));
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        let written = match &mut self.input {
            Some(input) => input.write_all(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // git has ended early and has said why.
        if written.is_err() {
            return Err(self.failure());
        }
        Ok(())
    }

    /// A file that Linux has and that has not come.
    pub(super) fn missing(&self) -> Option<&'static str> {
        self.landmarks.first().copied()
    }

    /// Ends the commit.
    pub(super) fn finish(mut self) -> Result<(), ImportError> {
        let flushed = self.input.take().map_or(Ok(()), |mut input| input.flush());
        let status = self.child.wait().map_err(no_git)?;
        if flushed.is_err() || !status.success() {
            return Err(self.failure());
        }
        Ok(())
    }

    fn failure(&mut self) -> ImportError {
        self.input = None;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What can't be read is not shown.
            let _ = stderr.read_to_string(&mut said);
        }
        ImportError::Git { command: "fast-import", reason: said.trim().to_owned() }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        // After `finish` it has ended already, and neither call does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
