//! The host's part: what the outer machine needs, starting it, and reading what it says.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use vmbisect::cancel::Cancel;
use vmbisect::tools::{Purpose, on_path};
use vmbisect::trial::launcher::{Clock, OuterImage, OuterKernel, OuterMachine};
use vmbisect::trial::{Workload, prepare};
use vmbisect_tests::fixture;

use super::cells::{Cell, Message, Vmm};
use super::peers::Peer;
use super::plan::{EMPTY_INITRAMFS, INITRAMFS, KERNEL, LOGGING_INITRAMFS, VMLINUX};
use super::program;
use super::table::{self, Samples};

/// Memory of the outer machine in MiB: the guest, the VMM, and an initramfs with QEMU in it twice.
const OUTER_MIB: u64 = 2048;

/// Outer machines that are started before those that hang are taken for the rule.
const ATTEMPTS: usize = 3;

/// Where distributions put QEMU's firmware.
const FIRMWARE_DIRECTORIES: [&str; 3] =
    ["/usr/share/qemu", "/usr/share/seabios", "/usr/share/qemu-firmware"];

/// What PID 1 of the guest runs, so that the machine is there to be looked at: pause(2), without a C
/// library around it, which the guest would take longer to unpack than all the rest.
const WORKLOAD: &str = r#"
    void _start(void)
    {
        for (;;) {
            long number = 34;
            __asm__ volatile("syscall" : "+a"(number) : : "rcx", "r11", "memory");
        }
    }
"#;
/// One that has the kernel log 64 KiB before that, by way of /dev/kmsg.
const LOGGER: &str = r#"
    static long call(long number, long first, const void *second, long third)
    {
        long result;
        __asm__ volatile("syscall" : "=a"(result)
            : "a"(number), "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
        return result;
    }

    void _start(void)
    {
        static const char line[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\n";
        long kmsg = call(2, (long)"/dev/kmsg", (void *)1, 0);
        for (int lines = 0; lines < 1024; lines++)
            call(1, kmsg, line, sizeof(line) - 1);
        call(1, 1, "written\n", 8);
        for (;;)
            call(34, 0, 0, 0);
    }
"#;
/// What compiles them.
const COMPILER: &str = "cc -nostdlib";

/// What is measured, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Boot this bzImage instead of the tests' own kernel
    #[arg(long, value_name = "IMAGE")]
    kernel: Option<PathBuf>,

    /// The vmlinux of that kernel; without it, it is booted from its bzImage alone
    #[arg(long, value_name = "FILE", requires = "kernel")]
    vmlinux: Option<PathBuf>,

    /// Launches of each kind; the first of them does not count if there are more
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Measure only those whose name has one of these in it: `direct`, `full`, `microvm/quiet`, `loop`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,

    /// Print a line of JSON for each launch
    #[arg(long)]
    json: bool,

    /// Seconds of silence after which an outer machine counts as hung
    #[arg(long, default_value_t = 240)]
    patience: u64,
}

/// Measures and prints, or says why it can't.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut left: Vec<Cell> = Cell::all().filter(|cell| options.wants(*cell)).collect();
    if let Err(error) = fixture::ensure(&[Purpose::OuterMachine, Purpose::Workload]) {
        println!("skipped: there is no emulator to measure in: {error}");
        return Ok(ExitCode::SUCCESS);
    }
    let (kernel, vmlinux) = match &options.kernel {
        Some(kernel) => (kernel.clone(), options.vmlinux.clone()),
        None => match fixture::kernels() {
            Some(kernels) => (kernels.good.path.clone(), kernels.good.vmlinux.clone()),
            // It has said why.
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    left.retain(|cell| cell.vmm.kernel() != VMLINUX || vmlinux.is_some());
    let wanted = |peer: &Peer| left.iter().any(|cell| cell.vmm == Vmm::Peer(*peer));
    let mut peers = Vec::new();
    for peer in Peer::ALL.into_iter().filter(wanted) {
        match on_path(peer.program()) {
            Some(program) => peers.push((peer, program)),
            None => println!("skipped: {}: `{}` is not on PATH", peer.name(), peer.program()),
        }
    }
    left.retain(|cell| match cell.vmm {
        Vmm::Peer(peer) => peers.iter().any(|(there, _)| *there == peer),
        _ => true,
    });
    let outer = Outer::new(&kernel, vmlinux.as_deref(), peers)?;
    let mut samples = Samples::new();
    let mut loops = Vec::new();
    let mut failed = false;
    for _ in 0..ATTEMPTS {
        let mut broken = Vec::new();
        let done = outer.run(options, &left, &mut |message| match message {
            Message::Sample(cell, sample) => {
                if options.json {
                    println!("{}", serde_json::json!({ "cell": cell.key(), "sample": sample }));
                } else {
                    eprintln!("{}: {sample:?}", cell.key());
                }
                samples.entry(cell).or_default().push(sample);
            }
            Message::Failed(cell, reason) => {
                samples.remove(&cell);
                eprintln!("{reason}");
                broken.push(cell);
            }
            Message::Loop { jobs, boots_per_minute } => {
                if options.json {
                    println!(
                        "{}",
                        serde_json::json!({ "jobs": jobs, "boots_per_minute": boots_per_minute })
                    );
                }
                loops.push((jobs, boots_per_minute));
            }
            Message::Done => {}
        })?;
        failed |= !broken.is_empty();
        left.retain(|cell| !broken.contains(cell));
        if done {
            break;
        }
        // The cell that it hung in is begun again.
        let complete = usize::try_from(options.rounds.saturating_sub(1).max(1))?;
        samples.retain(|_, samples| samples.len() >= complete);
        left.retain(|cell| !samples.contains_key(cell));
        eprintln!("the outer machine was silent for {} s and was killed", options.patience);
    }
    table::print(&samples);
    for (jobs, boots_per_minute) in loops {
        println!(
            "loop, full log, {jobs} at a time on one CPU: {boots_per_minute:.0} boots a minute"
        );
    }
    let missing = left.iter().any(|cell| !samples.contains_key(cell));
    Ok(if failed || missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Options {
    fn wants_loops(&self) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| part == "loop")
    }

    fn wants(&self, cell: Cell) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| cell.key().contains(part))
    }
}

/// An outer machine that can be started.
struct Outer {
    qemu: PathBuf,
    /// The program that stands for vmbisect, in its initramfs where the host has it.
    machine: PathBuf,
    /// Programs of other VMMs, in its initramfs.
    peers: Vec<PathBuf>,
    kernel: OuterKernel,
    directory: tempfile::TempDir,
}

impl Outer {
    fn new(
        kernel: &Path,
        vmlinux: Option<&Path>,
        peers: Vec<(Peer, PathBuf)>,
    ) -> anyhow::Result<Outer> {
        let qemu = on_path("qemu-system-x86_64").context("qemu-system-x86_64 is not on PATH")?;
        let outer_kernel = OuterKernel::fetch(
            &vmbisect::cache::dir(),
            &mut |line| eprintln!("{line}"),
            &Cancel::new(),
        )?;
        let mut image = OuterImage::new(&outer_kernel, &std::env::current_exe()?)?;
        for (at, path) in [(KERNEL, Some(kernel)), (VMLINUX, vmlinux)] {
            if let Some(path) = path {
                image.file(at, fs::read(path).with_context(|| format!("{}", path.display()))?);
            }
        }
        let machine = program::build()?;
        image.program(&machine)?;
        let directory = tempfile::tempdir()?;
        for (at, text) in [(INITRAMFS, WORKLOAD), (LOGGING_INITRAMFS, LOGGER)] {
            let source = directory.path().join("workload.c");
            fs::write(&source, text)?;
            let workload = Workload::CSource { path: source, args: Vec::new() };
            image.file(at, prepare(&workload, Some(COMPILER))?);
        }
        image.file(EMPTY_INITRAMFS, prepare(&Workload::None, None)?);
        for (peer, program) in &peers {
            image.program(program)?;
            for name in peer.firmware() {
                let found = FIRMWARE_DIRECTORIES.iter().map(|it| Path::new(it).join(name));
                for path in found.filter(|path| path.is_file()) {
                    image.host_file(&path)?;
                }
            }
        }
        fs::write(directory.path().join("initramfs"), image.build()?)?;
        let peers = peers.into_iter().map(|(_, program)| program).collect();
        Ok(Outer { qemu, machine, peers, kernel: outer_kernel, directory })
    }

    /// Runs it once; false if it hung.
    fn run(
        &self,
        options: &Options,
        cells: &[Cell],
        on_message: &mut dyn FnMut(Message),
    ) -> anyhow::Result<bool> {
        let mut arguments =
            format!("inside --rounds {} --machine {}", options.rounds, self.machine.display());
        if !self.peers.is_empty() {
            let peers: Vec<_> = self.peers.iter().map(|path| path.display().to_string()).collect();
            arguments.push_str(&format!(" --peers {}", peers.join(",")));
        }
        if !cells.is_empty() {
            let cells: Vec<String> = cells.iter().map(|cell| cell.key()).collect();
            arguments.push_str(&format!(" --cells {}", cells.join(",")));
        }
        if options.wants_loops() {
            arguments.push_str(" --loops");
        }
        let console = self.directory.path().join("console.log");
        let machine = OuterMachine {
            qemu: &self.qemu,
            kernel: &self.kernel.image,
            initrd: &self.directory.path().join("initramfs"),
            console: &console,
            clock: Clock::Instructions,
            memory_mib: OUTER_MIB,
            arguments: &arguments,
        };
        let errors = self.directory.path().join("qemu.log");
        let mut command = machine.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let mut qemu = Killed(command.spawn().context("can't start QEMU")?);
        let stdout = qemu.0.stdout.take().context("no standard output")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        let patience = Duration::from_secs(options.patience);
        let done = loop {
            match next_line(&lines, &console, patience) {
                Next::Line(line) => match serde_json::from_str(&line)? {
                    Message::Done => break true,
                    message => on_message(message),
                },
                Next::Silence => break false,
                Next::End => {
                    let read = |path| fs::read_to_string(path).unwrap_or_default();
                    bail!("the outer machine ended:\n{}{}", read(&console), read(&errors));
                }
            }
        };
        drop(qemu);
        // Its input has ended with QEMU.
        let _ = reader.join();
        Ok(done)
    }
}

/// QEMU, killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It fails if the process is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

enum Next {
    Line(String),
    Silence,
    End,
}

/// The next line; an outer machine whose console goes on while it boots is not silent.
fn next_line(lines: &Receiver<String>, console: &Path, patience: Duration) -> Next {
    let length = || fs::metadata(console).map_or(0, |file| file.len());
    let (mut seen, mut since) = (length(), Instant::now());
    loop {
        match lines.recv_timeout(patience.saturating_sub(since.elapsed())) {
            Ok(line) => return Next::Line(line),
            Err(RecvTimeoutError::Disconnected) => return Next::End,
            Err(RecvTimeoutError::Timeout) if length() == seen => return Next::Silence,
            Err(RecvTimeoutError::Timeout) => (seen, since) = (length(), Instant::now()),
        }
    }
}
