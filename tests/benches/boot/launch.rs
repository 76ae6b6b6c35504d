//! One launch: start the VMM, take the times, stop it.
//!
//! Where the time to the first byte is wanted, the console is a pipe, and the VMM is killed when a
//! byte has come through. Else it is a file, so that nobody is woken for every byte that a VMM
//! writes: the times to init would have the listener's part in them.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use guest_init::protocol::{AGENT_PORT, AGENT_PORT_MAGIC, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::machine::FIRST_BYTE;
use super::plan::{Boot, Cell, Sample, Vmm};
use super::{GUEST_MIB, INITRAMFS, KERNEL, NONCE, memory};

/// How long a launch may take on the outer machine's clock.
const DEADLINE: Duration = Duration::from_secs(30);

/// The console, where it is a file.
const CONSOLE: &str = "/tmp/console";

/// Launches what `cell` says once.
///
/// # Errors
/// Says what the VMM said if it does not get where it should.
pub(crate) fn launch(cell: Cell, qemu: &Path) -> anyhow::Result<Sample> {
    let mut command = command(cell, qemu);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let to_first_byte = cell.boot == Boot::Launch;
    command.stdout(match to_first_byte {
        true => Stdio::piped(),
        false => File::create(CONSOLE)?.into(),
    });
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("{:?}", command.get_program()))?;
    let mut launched = Launched { child, start };
    let sample = match to_first_byte {
        true => launched.first_byte(),
        false => launched.init(cell.vmm),
    };
    sample.with_context(|| cell.key())
}

/// How a VMM is started, as its users would, with nothing that the guest does not need.
fn command(cell: Cell, qemu: &Path) -> Command {
    let append = cell.boot.command_line();
    let own = || {
        let mut command = Command::new("/proc/self/exe");
        command.args(["machine", "--append", &append]);
        command
    };
    match cell.vmm {
        Vmm::Direct => own(),
        Vmm::Native => {
            let mut command = own();
            command.arg("--native");
            command
        }
        Vmm::Microvm => {
            let mut command = Command::new(qemu);
            command
                // Without ACPI, of which the kernel has none, it describes its CPUs by an MP table.
                .args(["-machine", "microvm,accel=kvm,acpi=off"])
                // As the machine does under an emulator, whose XSAVE is not complete.
                .args(["-cpu", "host,-xsave", "-smp", "1"])
                .args(["-m", &GUEST_MIB.to_string()])
                .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
                .args(["-kernel", KERNEL, "-initrd", INITRAMFS, "-append", &append])
                .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
                // The agent's port, so that PID 1 does the same in every guest.
                .args(["-chardev", "file,id=agent,path=/proc/self/fd/2", "-device"])
                .arg(format!(
                    "isa-debugcon,iobase={AGENT_PORT:#x},readback={AGENT_PORT_MAGIC:#x},chardev=agent"
                ));
            command
        }
    }
}

/// A VMM that runs; killed when dropped.
struct Launched {
    child: Child,
    start: Instant,
}

impl Drop for Launched {
    fn drop(&mut self) {
        // It fails if the process is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Launched {
    fn first_byte(&mut self) -> anyhow::Result<Sample> {
        let mut stdout = self.child.stdout.take().context("no console")?;
        let mut stderr = self.stderr()?;
        let mut said = Vec::new();
        let mut byte = [0];
        loop {
            let (out, err) = self.wait(Some(&stdout), &stderr)?;
            let at = self.start.elapsed();
            if err && !take(&mut stderr, &mut said)? {
                bail!("it ended: {}", String::from_utf8_lossy(&said));
            }
            if lines(&said).any(|line| line == FIRST_BYTE) || out && stdout.read(&mut byte)? == 1 {
                return Ok(Sample { first_byte_ns: Some(nanos(at)), ..Sample::default() });
            }
        }
    }

    fn init(&mut self, vmm: Vmm) -> anyhow::Result<Sample> {
        let mut stderr = self.stderr()?;
        let mut said = Vec::new();
        let ended = |said: &[u8]| {
            let console = std::fs::read(CONSOLE).unwrap_or_default();
            let last = lines(&console).last().unwrap_or_default();
            anyhow::anyhow!("it ended: {} (console: {last})", String::from_utf8_lossy(said))
        };
        let at = loop {
            self.wait(None, &stderr)?;
            let at = self.start.elapsed();
            if !take(&mut stderr, &mut said)? {
                return Err(ended(&said));
            }
            if lines(&said).any(|line| Report::parse(&line, NONCE) == Some(Report::Init)) {
                break at;
            }
        };
        let (beyond, anonymous) = memory::beyond_guest(self.child.id())?;
        let mut sample = Sample {
            init_ns: Some(nanos(at)),
            beyond_kib: Some(beyond),
            anonymous_kib: Some(anonymous),
            ..Sample::default()
        };
        if vmm == Vmm::Microvm {
            sample.console_bytes = Some(std::fs::metadata(CONSOLE)?.len());
        } else {
            // It counts its exits itself and says so in the end.
            drop(self.child.stdin.take());
            while take(&mut stderr, &mut said)? {
                self.wait(None, &stderr)?;
            }
            let counts = lines(&said).last().unwrap_or_default();
            let counts: serde_json::Value =
                serde_json::from_str(&counts).with_context(|| ended(&said))?;
            sample.exits = counts.get("exits").and_then(serde_json::Value::as_u64);
            sample.console_bytes = counts.get("console_bytes").and_then(serde_json::Value::as_u64);
        }
        Ok(sample)
    }

    fn stderr(&mut self) -> anyhow::Result<ChildStderr> {
        let stderr = self.child.stderr.take().context("no standard error")?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        Ok(stderr)
    }

    /// Waits until one of the two can be read; says which.
    fn wait(
        &self,
        stdout: Option<&ChildStdout>,
        stderr: &ChildStderr,
    ) -> anyhow::Result<(bool, bool)> {
        let left = DEADLINE.saturating_sub(self.start.elapsed());
        let mut polled = vec![PollFd::new(stderr, PollFlags::IN)];
        polled.extend(stdout.map(|stdout| PollFd::new(stdout, PollFlags::IN)));
        if rustix::io::retry_on_intr(|| {
            poll(&mut polled, Some(&Timespec::try_from(left).unwrap_or_default()))
        })? == 0
        {
            bail!("nothing for {} s", DEADLINE.as_secs());
        }
        let ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok((ready(1), ready(0)))
    }
}

/// Takes what is there; false at the end of the file.
fn take(from: &mut ChildStderr, into: &mut Vec<u8>) -> anyhow::Result<bool> {
    match from.read_to_end(into) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The complete lines.
fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
