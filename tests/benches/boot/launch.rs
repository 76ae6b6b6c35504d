//! One launch: start the VMM, take the times, stop it.
//!
//! A VMM's console is a pipe, as it is to whoever reads a guest's log, so a VMM that writes it byte by
//! byte pays for each wake-up of the reader. PID 1 reports on the agent port where there is one, else
//! on the console.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use guest_init::protocol::Report;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cells::{Boot, Cell, Sample, Vmm};
use super::memory;
use super::plan::{FIRST_BYTE, MachineArguments, NONCE, WRITTEN};

/// How long a launch may take on the outer machine's clock.
const DEADLINE: Duration = Duration::from_secs(10);

/// Launches what `cell` says once; `machine` is the program that stands for vmbisect.
///
/// # Errors
/// Says what the VMM said if it does not get where it should.
pub(crate) fn launch(cell: Cell, machine: &Path, peers: &[PathBuf]) -> anyhow::Result<Sample> {
    let mut command = command(cell, machine, peers)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
    let mut launched = Launched { child, start, console: Vec::new(), said: Vec::new() };
    launched.measure(cell).with_context(|| {
        let console: Vec<String> = lines(&launched.console).collect();
        let end = console.get(console.len().saturating_sub(5)..).unwrap_or_default().join("\n");
        let said = String::from_utf8_lossy(&launched.said);
        format!("{}: it said: {said}\nits console ends with:\n{end}\n", cell.key())
    })
}

/// How a VMM is started.
fn command(cell: Cell, machine: &Path, peers: &[PathBuf]) -> io::Result<Command> {
    let append = cell.boot.command_line();
    let own = |native, vcpus| {
        let (image, command_line) = (cell.vmm.kernel().to_owned(), append.clone());
        let initramfs = cell.boot.initramfs().to_owned();
        let arguments = MachineArguments { image, native, vcpus, initramfs, command_line };
        let mut command = Command::new(machine);
        command.args(arguments.words());
        command
    };
    Ok(match cell.vmm {
        Vmm::Direct | Vmm::Elf => own(false, 1),
        Vmm::Direct2 => own(false, 2),
        Vmm::Direct4 => own(false, 4),
        Vmm::Native => own(true, 1),
        Vmm::Peer(peer) => peer.command(peers, &append)?,
    })
}

/// A VMM that runs; killed when dropped.
struct Launched {
    child: Child,
    start: Instant,
    /// What the guest printed.
    console: Vec<u8>,
    /// What the VMM said.
    said: Vec<u8>,
}

impl Drop for Launched {
    fn drop(&mut self) {
        // It fails if the process is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Launched {
    fn measure(&mut self, cell: Cell) -> anyhow::Result<Sample> {
        let mut stdout = self.child.stdout.take().context("no standard output")?;
        let mut stderr = self.child.stderr.take().context("no standard error")?;
        rustix::io::ioctl_fionbio(&stdout, true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let mut sample = Sample::default();
        let mut running = true;
        while sample.init_ns.is_none() {
            if !running {
                bail!("it ended");
            }
            self.wait(&stdout, &stderr)?;
            let at = Some(nanos(self.start.elapsed()));
            let seen = self.console.len();
            // In this order: what it said is complete when its console is.
            running = take(&mut stderr, &mut self.said)? & take(&mut stdout, &mut self.console)?;
            if !self.console.is_empty() || lines(&self.said).any(|line| line == FIRST_BYTE) {
                sample.first_byte_ns = sample.first_byte_ns.or(at);
            }
            // Only what is new is searched: a line ends in it, or did before.
            let new = self.console.get(line_start(&self.console, seen)..).unwrap_or_default();
            let mut new = lines(new).chain(lines(&self.said));
            if new.any(|line| Report::parse(&line, NONCE) == Some(Report::Init)) {
                sample.init_ns = at;
            }
        }
        let (beyond, anonymous) = memory::beyond_guest(self.child.id())?;
        (sample.beyond_kib, sample.anonymous_kib) = (Some(beyond), Some(anonymous));
        if matches!(cell.vmm, Vmm::Peer(_)) {
            return Ok(sample);
        }
        while cell.boot == Boot::Logging && !ends_with_line(&self.console, WRITTEN) {
            self.wait(&stdout, &stderr)?;
            if !take(&mut stdout, &mut self.console)? {
                bail!("it ended before all was written");
            }
        }
        // It counts its exits itself and says so in the end.
        drop(self.child.stdin.take());
        while take(&mut stderr, &mut self.said)? {
            self.wait(&stdout, &stderr)?;
            take(&mut stdout, &mut self.console)?;
        }
        let counts = lines(&self.said).last().unwrap_or_default();
        let counts: serde_json::Value = serde_json::from_str(&counts).context("no counts")?;
        let count = |name: &str| counts.get(name).and_then(serde_json::Value::as_u64);
        (sample.exits, sample.console_bytes) = (count("exits"), count("console_bytes"));
        let times = counts.get("launch_us").cloned().context("no times")?;
        sample.launch_us = Some(serde_json::from_value(times)?);
        Ok(sample)
    }

    /// Waits until one of the two can be read.
    fn wait(&self, stdout: &ChildStdout, stderr: &ChildStderr) -> anyhow::Result<()> {
        let left = Timespec::try_from(DEADLINE.saturating_sub(self.start.elapsed()))?;
        let mut polled = [PollFd::new(stdout, PollFlags::IN), PollFd::new(stderr, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| poll(&mut polled, Some(&left)))? {
            0 => bail!("it is not there after {} s", DEADLINE.as_secs()),
            _ => Ok(()),
        }
    }
}

/// Takes what is there; false at the end of the file.
fn take(from: &mut impl Read, into: &mut Vec<u8>) -> anyhow::Result<bool> {
    match from.read_to_end(into) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether the last complete line is `line`.
fn ends_with_line(bytes: &[u8], line: &str) -> bool {
    let end = bytes.trim_ascii_end();
    end.len() < bytes.len() && end.get(line_start(end, end.len())..) == Some(line.as_bytes())
}

/// Where the line begins that the byte at `index` is in.
fn line_start(bytes: &[u8], index: usize) -> usize {
    let before = bytes.get(..index).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The complete lines.
fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    // With its end, so that a carriage return before it goes too.
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
