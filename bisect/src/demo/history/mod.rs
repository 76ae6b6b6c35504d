//! Writes a history with a bug in it on top of a kernel.

mod edits;
mod plan;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

use crate::rng::Rng;
use edits::Edit;
use plan::{Action, Slot};

use super::source::{Author, Change, SourceError, commit_as, read, set_branch};

pub use plan::Shape;

/// Seconds since the epoch of the first commit, and between commits.
const FIRST_COMMIT: i64 = 1_700_000_000;
const INTERVAL: i64 = 5 * 3600;

/// Why a history can't be written.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The repository can't be read or written.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The tree lacks a file.
    #[error("the tree has no {path} to plant a bug in")]
    NoFile {
        /// Which file.
        path: &'static str,
    },
    /// `kvm_wait()` is not the function that the bug was fixed in.
    #[error(
        "kvm_wait() in arch/x86/kernel/kvm.c is not as commit f4e61f0c9add left it, so the bug \
         can't be put back"
    )]
    NotFixed,
    /// The shape has no room for what it asks for, or the tree for the edits.
    #[error("a history of this shape can't be written on this tree")]
    Shape,
}

impl HistoryError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            HistoryError::Source(_) => "see that there is room in the directory (--dir)",
            HistoryError::NoFile { .. } | HistoryError::NotFixed | HistoryError::Shape => {
                "give a Linux source of version 5.12 or later with --linux"
            }
        }
    }
}

/// What was planted: the answer that a bisection is to find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planted {
    /// The good tip: the base.
    pub good: String,
    /// The bad tip: the last commit.
    pub bad: String,
    /// The branch that ends in it.
    pub branch: String,
    /// The commit that brings the bug in.
    pub culprit: String,
    /// Its subject.
    pub subject: String,
    /// All commits, in the order they were written.
    pub commits: Vec<String>,
    /// Those that do not build.
    pub broken: Vec<String>,
    /// Those that warn now and then about something else.
    pub noisy: Vec<String>,
    /// Those that differ from their parent in comments alone, with that parent.
    pub equal: Vec<(String, String)>,
}

/// Writes a history on top of the commit `base`, named in full, in `repo`, on a branch of its own
/// for each seed. The same base, seed and shape give the same commits.
///
/// # Errors
/// Fails if the repository can't be written, or if its tree is not a Linux of version 5.12 or later
/// (where the bug is fixed).
pub fn write(repo: &Path, base: &str, seed: u64, shape: Shape) -> Result<Planted, HistoryError> {
    let has = |path: &str| read(repo, base, path).is_ok();
    if let Some(path) = edits::REQUIRED.into_iter().find(|path| !has(path)) {
        return Err(HistoryError::NoFile { path });
    }
    if !(6..=200).contains(&shape.commits) {
        return Err(HistoryError::Shape);
    }
    let mut rng = Rng::new(seed);
    let slots = plan::draw(shape, &mut rng).ok_or(HistoryError::Shape)?;
    let lanes = shape.merges.saturating_add(1);
    let edits = edits::write(&slots, &has, lanes, &mut rng).ok_or(HistoryError::Shape)?;

    let mut written: Vec<Written> = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let edit = edits.get(index).and_then(Option::as_ref);
        let next = write_commit(repo, base, index, slot, edit, &edits, &written)?;
        written.push(next);
    }
    let tip = written.last().map(|it| it.id.clone()).ok_or(HistoryError::Shape)?;
    let branch = format!("demo/seed-{seed}-{}", shape.commits);
    set_branch(repo, &branch, &tip)?;

    let id_of = |index: Option<usize>| {
        index.and_then(|it| written.get(it)).map_or(base, |it| it.id.as_str()).to_owned()
    };
    let with = |on: Action, off: Action| -> Vec<String> {
        let is_on = |commit: &&Written| commit.is_on(&slots, on, off);
        written.iter().filter(is_on).map(|commit| commit.id.clone()).collect()
    };
    let culprit = slots.iter().position(|slot| slot.action == Action::Culprit);
    let subject = culprit
        .and_then(|index| edits.get(index)?.as_ref())
        .and_then(|edit| edit.message.lines().next())
        .unwrap_or_default();
    let comments = slots.iter().enumerate().filter(|(_, slot)| slot.action == Action::Comment);
    Ok(Planted {
        good: base.to_owned(),
        bad: tip,
        branch,
        culprit: id_of(culprit),
        subject: subject.to_owned(),
        commits: written.iter().map(|commit| commit.id.clone()).collect(),
        broken: with(Action::Break, Action::Repair),
        noisy: with(Action::NoiseOn, Action::NoiseOff),
        equal: comments
            .map(|(index, slot)| {
                (id_of(Some(index)), id_of(slot.parents.first().copied().flatten()))
            })
            .collect(),
    })
}

/// A commit that was written.
struct Written {
    id: String,
    subject: String,
    /// The slots that it has the edits of.
    has: BTreeSet<usize>,
}

impl Written {
    /// Whether more of its edits do `on` than `off`.
    fn is_on(&self, slots: &[Slot], on: Action, off: Action) -> bool {
        let count = |action: Action| {
            let is = |slot: &&usize| slots.get(**slot).is_some_and(|it| it.action == action);
            self.has.iter().filter(is).count()
        };
        count(on) > count(off)
    }
}

/// Writes the commit of a slot: the base with the edits of all of its ancestors and its own.
fn write_commit(
    repo: &Path,
    base: &str,
    index: usize,
    slot: &Slot,
    edit: Option<&Edit>,
    edits: &[Option<Edit>],
    written: &[Written],
) -> Result<Written, HistoryError> {
    let parents: Vec<Option<&Written>> =
        slot.parents.iter().map(|parent| parent.and_then(|it| written.get(it))).collect();
    let mut has: BTreeSet<usize> =
        parents.iter().flatten().flat_map(|parent| parent.has.iter().copied()).collect();
    has.insert(index);

    let included = || has.iter().filter_map(|slot| edits.get(*slot)).filter_map(Option::as_ref);
    let paths: BTreeSet<&str> = included().map(Edit::path).collect();
    let mut changes = Vec::new();
    for path in paths {
        let text = edits::apply(&read(repo, base, path)?, path, included());
        let text = Some(text.ok_or(HistoryError::NotFixed)?);
        changes.push(Change { path: path.to_owned(), text });
    }

    let (message, (name, email)) = match edit {
        Some(edit) => (edit.message.clone(), edit.author),
        None => {
            let side = parents.last().copied().flatten().map_or("", |it| it.subject.as_str());
            let topic = side.split_once(':').map_or("cleanups", |(prefix, _)| prefix);
            (format!("Merge branch 'topic/{topic}' into next\n"), edits::MAINTAINER)
        }
    };
    let seconds = FIRST_COMMIT.saturating_add(INTERVAL.saturating_mul(index as i64));
    let parents: Vec<&str> =
        parents.iter().map(|parent| parent.map_or(base, |it| it.id.as_str())).collect();
    let author = Author { name, email, seconds };
    let id = commit_as(repo, &parents, &changes, &message, author)?;
    let subject = message.lines().next().unwrap_or_default().to_owned();
    Ok(Written { id, subject, has })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use git2::{Repository, Signature, Time};

    use super::{HistoryError, Shape, edits, write};

    const FIXED: &str = "// SPDX\nstatic void kvm_wait(u8 *ptr, u8 val)\n{\n\tif (irqs_disabled()) {\n\
                         \t\tsafe_halt();\n\t\tlocal_irq_enable();\n\t}\n}\n";

    /// A repository with just the files that edits go to.
    fn repository(dir: &Path, kvm: &str) -> String {
        let repository = Repository::init_bare(dir).unwrap();
        let empty = repository.treebuilder(None).unwrap().write().unwrap();
        let empty = repository.find_tree(empty).unwrap();
        let mut update = git2::build::TreeUpdateBuilder::new();
        for path in edits::paths() {
            let text = if path.ends_with("kvm.c") { kvm } else { "// SPDX\nint a;\n" };
            update.upsert(path, repository.blob(text.as_bytes()).unwrap(), git2::FileMode::Blob);
        }
        let tree = update.create_updated(&repository, &empty).unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let who = Signature::new("A", "a@b.example", &Time::new(1, 0)).unwrap();
        repository
            .commit(Some("refs/heads/base"), &who, &who, "base", &tree, &[])
            .unwrap()
            .to_string()
    }

    #[test]
    fn the_same_seed_gives_the_same_commits() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let base = repository(one.path(), FIXED);
        repository(other.path(), FIXED);
        let first = write(one.path(), &base, 7, Shape::default()).unwrap();
        assert_eq!(write(other.path(), &base, 7, Shape::default()).unwrap(), first);
        assert_ne!(write(one.path(), &base, 8, Shape::default()).unwrap(), first);
        assert_eq!(write(one.path(), &base, 7, Shape::default()).unwrap(), first);
    }

    #[test]
    fn the_bug_is_in_the_culprit_and_what_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = repository(dir.path(), FIXED);
        let repository = Repository::open(dir.path()).unwrap();
        let text = |commit: &str, path: &str| {
            let tree = repository.revparse_single(commit).unwrap().peel_to_tree().unwrap();
            let entry = tree.get_path(Path::new(path)).unwrap();
            let blob = repository.find_blob(entry.id()).unwrap();
            String::from_utf8(blob.content().to_vec()).unwrap()
        };
        let kvm = "arch/x86/kernel/kvm.c";
        for seed in 0..20 {
            let planted = write(dir.path(), &base, seed, Shape::default()).unwrap();
            assert_eq!(planted.commits.len(), 28);
            let culprit = repository.revparse_single(&planted.culprit).unwrap().id();
            for commit in &planted.commits {
                let id = repository.revparse_single(commit).unwrap().id();
                let bad = id == culprit || repository.graph_descendant_of(id, culprit).unwrap();
                assert_eq!(text(commit, kvm).contains("local_irq_save(flags)"), bad);
                let noisy = text(commit, "init/calibrate.c").contains("WARN_ON");
                assert_eq!(planted.noisy.contains(commit), noisy);
                let hexdump = text(commit, "lib/hexdump.c");
                let broken = hexdump.contains("GROUP_MAX") && !hexdump.contains("#define");
                assert_eq!(planted.broken.contains(commit), broken);
            }
            let tip = planted.commits.last().unwrap();
            assert_eq!((tip, &planted.bad), (&planted.bad, tip));
            assert!(!planted.broken.contains(tip) && !planted.noisy.contains(tip));
            let parents = repository.find_commit(culprit).unwrap();
            for parent in parents.parent_ids() {
                assert!(!planted.broken.contains(&parent.to_string()), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_tree_that_the_bug_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let base = repository(dir.path(), "int nothing;\n");
        let result = write(dir.path(), &base, 1, Shape::straight(6));
        assert!(matches!(result, Err(HistoryError::NotFixed)));
        let result = write(dir.path(), &base, 1, Shape::straight(2));
        assert!(matches!(result, Err(HistoryError::Shape)));
    }
}
