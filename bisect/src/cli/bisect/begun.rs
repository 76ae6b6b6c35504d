//! A bisection that is set up: begun, or gone on with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use vmbisect::cancel::Cancel;
use vmbisect::history::{Candidates, CommitId, Find, History, HistoryError, Release};
use vmbisect::journal::{Event, Header, Journal, JournalError, Record, Resumption, now_ms};
use vmbisect::report::{self, Report};
use vmbisect::session::{Build, Releases, Rewritten, Session, SessionError};
use vmbisect::trial::launcher::Selected;

use super::asked::{good_ends, picked_good};
use super::configurations::{Builders, Configurations};
use super::progress::Progress;
use super::{Args, told};
use crate::cli::{Output, WithHint};

/// The file in the state directory that the guest starts from.
const INITRAMFS: &str = "initramfs.cpio";

/// A bisection that is set up.
pub(super) struct Begun {
    args: Args,
    history: History,
    candidates: Candidates,
    builders: Builders,
    selected: Selected,
    header: Header,
    journal: Journal,
    records: Vec<Record>,
    initramfs: PathBuf,
}

impl Begun {
    /// Begins one. The journal is made last: what fails before has begun nothing.
    pub(super) fn begin(
        state: &Path,
        args: &Args,
        arguments: Vec<String>,
        history: History,
        cancel: &Cancel,
        output: &Output,
    ) -> anyhow::Result<Begun> {
        let find = args.find.into();
        let (older, newer) = ends(find, args, &history)?;
        let picked = match older.is_empty() {
            true => Some(first_release(&history, newer.1)?),
            false => None,
        };
        let from = older.iter().map(|end| end.1).chain(picked.iter().map(|it| it.commit));
        let range = history.range(find, &from.collect::<Vec<_>>(), newer.1);
        let range = told(range, HistoryError::hint)?;
        for (end, base) in &range.parted {
            let name = older.iter().find(|(_, tip)| tip == end).map_or("", |(name, _)| name);
            output.note(format!(
                "{name} is not an ancestor of {}: the commit where they parted stands for it, {} \
                 {:?}",
                newer.0,
                base.short(),
                history.title(*base)?
            ));
        }
        let (good, bad) = match find {
            Find::Cause if picked.is_some() => (Vec::new(), newer.1),
            _ => find.ends(range.older, newer.1),
        };
        let configurations = Configurations::read(&args.kernel, &args.baselines)?;
        let config = configurations.key();
        let builders = configurations.builders(&args.kernel)?;
        let archive = args.workload.prepare()?;
        let selected = args.launcher.select(output, cancel)?;
        let header = Header {
            format: Header::FORMAT,
            vmbisect: env!("CARGO_PKG_VERSION").into(),
            at_ms: now_ms(),
            repo: history.path(),
            find,
            titles: ends_titles(&history, good.iter().chain([&bad]))?,
            good,
            bad,
            target: args.target.target(),
            confidence: args.confidence,
            arguments,
            directory: std::env::current_dir().context("can't find the current directory")?,
            config,
        };
        let mut journal = told(Journal::create(state, &header), JournalError::hint)?;
        let mut records = Vec::new();
        if let Some(Release { commit, name, .. }) = picked {
            output.note(format!(
                "no good revision was given: taking {name} for one, until it shows the bug"
            ));
            records.push(told(journal.append(Event::Good { commit, name }), JournalError::hint)?);
        }
        let begun = Begun {
            args: args.clone(),
            history,
            candidates: range.candidates,
            builders,
            selected,
            header,
            journal,
            records,
            initramfs: state.join(INITRAMFS),
        };
        begun.keep_initramfs(&archive)?;
        Ok(begun)
    }

    /// Goes on with the one in `state`, as it was begun but for what `args` may say anew.
    pub(super) fn resume(
        state: &Path,
        args: &Args,
        cancel: &Cancel,
        output: &Output,
    ) -> anyhow::Result<Begun> {
        let opened = told(Journal::open(state), JournalError::hint)?;
        let (mut journal, mut header, mut records) = opened;
        let moved = args.kernel.repo.as_deref().map(std::path::absolute).transpose()?;
        let anew = Resumption { max_trials: args.max_trials, revert: args.revert, repo: moved };
        let held = Resumption::held(&records).then(&anew);
        std::env::set_current_dir(&header.directory)
            .with_context(|| format!("can't enter {}", header.directory.display()))
            .hint("paths on the command line that began this bisection start from there")?;
        let Some(args) = Args::held(&header, &held) else {
            let (dir, version) = (state.display(), &header.vmbisect);
            return Err(anyhow!("this program does not know the command that began {dir}")).hint(
                format!(
                    "go on with vmbisect {version}, which began it, or begin anew with --state DIR"
                ),
            );
        };
        let configurations = Configurations::read(&args.kernel, &args.baselines)?;
        if configurations.key() != header.config {
            return Err(anyhow!("the kernel configuration is not what it was at the start"))
                .hint("what was measured does not hold for it: begin anew with --state DIR");
        }
        header.repo = held.repo.unwrap_or(header.repo);
        let history = told(History::open(&header.repo), HistoryError::hint)?.with_cancel(cancel);
        let rewritten = Rewritten::follow(&history, &mut header, &mut records);
        told(rewritten, HistoryError::hint)?.notes().iter().for_each(|note| output.note(note));
        let (older, newer) = header.find.range(&good_ends(&header, &records), header.bad);
        let candidates = told(history.candidates(&older, newer), HistoryError::hint)?;
        let initramfs = state.join(INITRAMFS);
        let archive = if initramfs.exists() { None } else { Some(args.workload.prepare()?) };
        let builders = configurations.builders(&args.kernel)?;
        let selected = args.launcher.select(output, cancel)?;
        let resumed = told(journal.append(Event::Resumed(anew)), JournalError::hint)?;
        output.note(format!("going on after {} recorded events", records.len()));
        let records = records.into_iter().chain([resumed]).collect();
        let begun = Begun {
            args,
            history,
            candidates,
            builders,
            selected,
            header,
            journal,
            records,
            initramfs,
        };
        archive.map_or(Ok(()), |archive| begun.keep_initramfs(&archive))?;
        Ok(begun)
    }

    /// Keeps what the guest starts from, so that every trial of the bisection starts from the same.
    fn keep_initramfs(&self, archive: &[u8]) -> anyhow::Result<()> {
        let written = self.initramfs.with_extension("new");
        // Synced, since an empty one after a power cut would make every kernel look bad.
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&written)?;
            file.write_all(archive)?;
            file.sync_all()?;
            std::fs::rename(&written, &self.initramfs)?;
            File::open(self.journal.dir())?.sync_all()
        };
        write()
            .with_context(|| format!("can't write {}", self.initramfs.display()))
            .hint("make room, or say another directory: --state DIR")
    }

    /// Works until there is an answer, and gives it with the log; `None` if it was interrupted.
    pub(super) fn work(
        self,
        cancel: &Cancel,
        output: &Output,
    ) -> anyhow::Result<Option<(Report, String)>> {
        output.note(format!("state: {}", self.journal.dir().display()));
        let machine = &self.args.machine;
        let machines = self.selected.launcher.capacity(machine.memory, NonZeroUsize::MIN, cancel);
        let asked = self.args.asked();
        let hints = asked.hints(&self.history)?;
        let machines = u32::try_from(machines).unwrap_or(u32::MAX);
        let prior = told(hints.prior(&self.history, &self.candidates), HistoryError::hint)?;
        let unheeded = hints.unheeded(&self.candidates, prior.as_ref());
        unheeded.iter().for_each(|note| output.note(note));
        let mut fold = asked.fold(&self.header, prior.as_ref(), self.candidates, machines);
        let mut releases = None;
        if self.header.good.is_empty() {
            let (bad, tried) = (self.header.bad, picked_good(&self.records));
            let left = Releases::before(&self.history, bad, tried);
            releases = Some(told(left, HistoryError::hint)?);
        }
        for record in &self.records {
            told(
                fold.apply(record),
                |_| "the journal was begun with other revisions: begin anew with --state DIR",
            )?;
        }
        let mut progress = Progress::new(output, &self.history, &fold);
        let mut session = Session {
            fold,
            records: self.records,
            history: &self.history,
            hints,
            releases,
            job: machine.job(PathBuf::new(), self.initramfs, self.header.target.clone()),
            journal: self.journal,
            builder: &self.builders.asked,
            baselines: self.builders.baselines.iter().map(|it| it as &dyn Build).collect(),
            launcher: self.selected.launcher.as_ref(),
            cancel: cancel.clone(),
        };
        let ended = session.run(&mut |fold, what| progress.show(fold, &what));
        progress.finish();
        let verdict = match ended {
            Err(SessionError::Cancelled) => return Ok(None),
            other => told(other, SessionError::hint)?,
        };
        let (fold, history) = (&session.fold, &self.history);
        let (target, dir) = (&self.header.target, session.journal.dir());
        let mut report = Report::new(fold, &verdict, history, target)?;
        let mut log = report::log(fold, &verdict, history, target, dir)?;
        report.recipients = report::recipients(fold, &verdict, history, dir);
        if let Some(told) = &report.recipients {
            log.push_str(&told.log_lines());
        }
        Ok(Some((report, log)))
    }
}

/// A name on the command line, and its commit.
type Named<'a> = (&'a str, CommitId);

/// The older ends of the range and the newer one.
fn ends<'a>(
    find: Find,
    args: &'a Args,
    history: &History,
) -> anyhow::Result<(Vec<Named<'a>>, Named<'a>)> {
    let resolve = |name: &'a str| Ok((name, told(history.resolve(name), HistoryError::hint)?));
    let good = args.good.iter().map(String::as_str);
    let (old, new): (Vec<&str>, &str) = match find {
        Find::Cause => (good.collect(), args.bad.as_deref().unwrap_or("HEAD")),
        Find::Fix => {
            let bad = args.bad.as_deref().context("no bad revision was given");
            let bad = bad.hint("say which older revision has the bug: --bad REV")?;
            let mut good = good;
            let new = good.next().unwrap_or("HEAD");
            if good.next().is_some() {
                return Err(anyhow!("more than one good revision was given"))
                    .hint("with --find fix there is one, the newer end of the range");
            }
            (vec![bad], new)
        }
    };
    let newer = resolve(new)?;
    Ok((old.into_iter().map(resolve).collect::<anyhow::Result<_>>()?, newer))
}

/// The release to take for good where none was given.
fn first_release(history: &History, bad: CommitId) -> anyhow::Result<Release> {
    let mut releases = told(Releases::before(history, bad, None), HistoryError::hint)?;
    told(releases.next().ok_or(HistoryError::NoRelease { bad }), HistoryError::hint)
}

fn ends_titles<'a>(
    history: &History,
    ends: impl Iterator<Item = &'a CommitId>,
) -> anyhow::Result<BTreeMap<CommitId, String>> {
    ends.map(|&end| Ok((end, told(history.title(end), HistoryError::hint)?))).collect()
}
