//! `vmbisect classify`.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use vmbisect::crash::{Crash, Event, Scanner, family};
use vmbisect::maintainers::Recipients;
use vmbisect::symbols::KernelOffset;
use vmm::kernel::compression;

use super::args::{Explainer, SymbolsArgs};
use super::output::{called, note_waiting, printable};
use super::{Output, WithHint};

/// Finds the crashes in console logs: title, kind, who is to blame, and the report itself.
///
/// Of several logs it says too which crashes are likely to be one bug, seen in different ways.
///
/// Exit status: 0 no crash was found, 1 at least one was, 2 a log could not be read. With --compare:
/// 0 the titles are taken for one bug, 1 they are not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, one array a file is printed, of objects with the fields title, alt_titles, kind, frame, \
guilty_file, task, cpu, executor (null, or proc and id of a fuzzer's test process), corrupted (null or \
the reason), suppressed, panicked, start, end (offsets in bytes), report and, with --kernel-dir, \
recipients (to and cc, with the reasons). The array of a log without a crash is empty. With --compare, \
one object is printed: related and reason (null if unrelated).

Examples:
  vmbisect classify console.log
  ssh host dmesg | vmbisect classify --report -
  vmbisect classify --vmlinux vmlinux --kernel-dir linux console.log
  vmbisect classify --follow /var/log/guest-console.log
  vmbisect classify --compare 'KASAN: use-after-free Read in f' 'general protection fault in f'")]
pub(crate) struct Args {
    /// Console logs; `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,

    /// Print the report of each crash too
    #[arg(long, short)]
    report: bool,

    /// Go on reading as the file grows, until interrupted
    #[arg(long, short, conflicts_with = "json")]
    follow: bool,

    /// Tell whether two crash titles are likely to be one bug, seen twice, and why
    #[arg(long, num_args = 2, value_names = ["TITLE", "TITLE"],
          conflicts_with_all = ["files", "report", "follow"])]
    compare: Option<Vec<String>>,

    #[command(flatten)]
    symbols: SymbolsArgs,
}

/// A crash, and who to tell of it.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    crash: Crash,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<Recipients>,
}

/// How often a file that is followed is looked at for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// As much of a file's beginning as says how it is compressed.
const BEGINS: usize = 8;

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    if let Some([one, other]) = args.compare.as_deref() {
        return compare(one, other, output);
    }
    let many = args.files.len() > 1;
    if args.follow && many {
        let several = || -> anyhow::Result<()> { bail!("only one log can be followed") };
        several().hint("run one `vmbisect classify --follow` a log")?;
    }
    let explainer = args.symbols.open(output)?;
    let (mut found, mut different) = (0, Different::default());
    for path in &args.files {
        note_waiting(path, output);
        let mut printer = Printer {
            args,
            output,
            path,
            many,
            explainer: &explainer,
            found: 0,
            different: &mut different,
            json: Vec::new(),
        };
        let begins = read(path, args.follow, |event, offset| printer.event(event, offset))
            .with_context(|| format!("can't read the log {}", called(path)))?;
        if output.json {
            output.line(serde_json::to_string_pretty(&printer.json)?);
        }
        match (printer.found, compression(&begins)) {
            // What says nothing to a program would look like a program that did nothing.
            (0, Some(how)) => output.note(format!(
                "{}: no crash was found, but it is compressed with {how}: give it decompressed",
                called(path)
            )),
            (0, None) => output.note(format!("{}: no crash was found", called(path))),
            _ => {}
        }
        found += printer.found;
    }
    if many && !output.json {
        relatives(&different.crashes, output);
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Says which crashes of different titles are likely to be one bug.
fn relatives(different: &[Crash], output: &Output) {
    for (index, one) in different.iter().enumerate() {
        for other in &different[index + 1..] {
            if let Some(kinship) = family::of_crashes(one, other) {
                output.line(format!(
                    "likely one bug: {} and {}: {}",
                    printable(&one.title),
                    printable(&other.title),
                    printable(&kinship.to_string()),
                ));
            }
        }
    }
}

fn compare(one: &str, other: &str, output: &Output) -> anyhow::Result<ExitCode> {
    let reason = family::kinship(&[one], &[other]).map(|kinship| kinship.to_string());
    let related = reason.is_some();
    if output.json {
        output.line(serde_json::json!({ "related": related, "reason": reason }).to_string());
    } else {
        output.line(match reason {
            Some(reason) => format!("likely one bug: {}", printable(&reason)),
            None => "not known to be one bug".to_owned(),
        });
    }
    Ok(if related { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads a log, and gives its first bytes; what comes with each event is where its kernel was loaded,
/// as far as that is known.
fn read(
    path: &Path,
    follow: bool,
    mut on_event: impl FnMut(Event, u64),
) -> anyhow::Result<Vec<u8>> {
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).hint("name a console log, or `-` for standard input")?;
        Box::new(file)
    };
    let mut scanner = Scanner::new();
    let mut offset = KernelOffset::default();
    let mut piece = vec![0; PIECE];
    let mut begins = Vec::new();
    loop {
        let read = match input.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).hint("name a console log, or `-` for standard input"),
        };
        if read == 0 {
            if follow && path != Path::new("-") {
                std::thread::sleep(FOLLOW_EVERY);
                continue;
            }
            break;
        }
        begins.extend(piece[..read].iter().take(BEGINS.saturating_sub(begins.len())));
        offset.push(&piece[..read]);
        let events = scanner.push(&piece[..read]);
        events.into_iter().for_each(|event| on_event(event, offset.get()));
    }
    scanner.finish().into_iter().for_each(|event| on_event(event, offset.get()));
    Ok(begins)
}

/// Of several logs, the first crash of each title.
#[derive(Default)]
struct Different {
    titles: HashSet<String>,
    crashes: Vec<Crash>,
}

struct Printer<'a> {
    args: &'a Args,
    output: &'a Output,
    path: &'a Path,
    many: bool,
    explainer: &'a Explainer,
    found: u64,
    different: &'a mut Different,
    /// What is printed at the end. Nothing else is kept of a crash: there may be millions.
    json: Vec<Found>,
}

impl Printer<'_> {
    fn event(&mut self, event: Event, offset: u64) {
        match event {
            Event::Sighted(crash) if self.args.follow => self.print(&self.explain(crash, offset)),
            Event::Crash(crash) if !self.args.follow => {
                self.found += 1;
                let found = self.explain(crash, offset);
                if self.output.json {
                    self.json.push(found);
                    return;
                }
                self.print(&found);
                if self.many && self.different.titles.insert(found.crash.title.clone()) {
                    self.different.crashes.push(found.crash);
                }
            }
            Event::Panic { since, at } => {
                self.json.iter_mut().for_each(|found| found.crash.note_panic(since, at));
            }
            _ => {}
        }
    }

    fn explain(&self, mut crash: Crash, offset: u64) -> Found {
        self.explainer.symbolize(&mut crash, offset, self.output);
        Found { recipients: self.explainer.recipients(&crash), crash }
    }

    fn print(&self, found: &Found) {
        let Found { crash, recipients } = found;
        let mut text = String::new();
        if self.many {
            let _ = write!(text, "{}: ", self.path.display());
        }
        let _ = writeln!(text, "{}", printable(&crash.title));
        let _ = write!(text, "  {} at bytes {} to {}", crash.kind, crash.start, crash.end);
        if let Some(why) = &crash.corrupted {
            let _ = write!(text, ", corrupted: {why}");
        }
        if crash.suppressed {
            text.push_str(", not a kernel bug");
        }
        if crash.panicked {
            text.push_str(", the kernel panicked");
        }
        if let Some(file) = &crash.guilty_file {
            let _ = write!(text, "\n  file to blame: {}", printable(file));
        }
        let told = recipients.as_ref().map(ToString::to_string).unwrap_or_default();
        for line in told.lines() {
            let _ = write!(
                text,
                "
  {}",
                printable(line)
            );
        }
        if self.args.report {
            for line in crash.report.lines() {
                let _ = write!(text, "\n    {}", printable(line));
            }
        }
        self.output.line(text);
    }
}
