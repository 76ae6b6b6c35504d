//! Writes a history with a bug in it on top of a kernel.

mod edits;
mod kvm_wait;
mod plan;
mod rng;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::build::TreeUpdateBuilder;
use git2::{Commit, FileMode, Oid, Repository, Signature, Time, Tree};
use serde::Serialize;
use thiserror::Error;

use edits::Edit;
use plan::{Action, Slot};
use rng::Rng;

pub use plan::Shape;

/// Seconds since the epoch of the first commit, and between commits.
const FIRST_COMMIT: i64 = 1_700_000_000;
const INTERVAL: i64 = 5 * 3600;

/// Why a history can't be written.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The repository refused.
    #[error("can't write to the repository {path}")]
    Git {
        /// Which repository.
        path: PathBuf,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
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

/// Writes a history on top of `base` in the repository at `repo`, on a branch of its own for each
/// seed. The same base, seed and shape give the same commits.
///
/// # Errors
/// Fails if the repository can't be written, or if its tree is not a Linux of version 5.12 or later
/// (where the bug is fixed).
pub fn write(repo: &Path, base: &str, seed: u64, shape: Shape) -> Result<Planted, HistoryError> {
    let git = |source| HistoryError::Git { path: repo.to_owned(), source };
    let repository = Repository::open(repo).map_err(git)?;
    let base =
        repository.revparse_single(base).and_then(|object| object.peel_to_commit()).map_err(git)?;
    let base_tree = base.tree().map_err(git)?;
    let has = |path: &str| base_tree.get_path(Path::new(path)).is_ok();
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
    let writer = Writer { repository: &repository, base: &base, base_tree, edits: &edits };
    let mut written: Vec<Written> = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let next = writer.commit(index, slot, &written).map_err(|error| match error {
            WriteError::Git(source) => git(source),
            WriteError::NotFixed => HistoryError::NotFixed,
        })?;
        written.push(next);
    }

    let branch = format!("demo/seed-{seed}-{}", shape.commits);
    let tip = written.last().ok_or(HistoryError::Shape)?;
    repository
        .reference(&format!("refs/heads/{branch}"), tip.id, true, "planted history")
        .map_err(git)?;
    let id_of = |index: Option<usize>| {
        index.and_then(|it| written.get(it)).map_or(base.id(), |it| it.id).to_string()
    };
    let with = |on: Action, off: Action| -> Vec<String> {
        let is_on = |commit: &&Written| commit.is_on(&slots, on, off);
        written.iter().filter(is_on).map(|commit| commit.id.to_string()).collect()
    };
    let culprit = slots.iter().position(|slot| slot.action == Action::Culprit);
    let subject = culprit
        .and_then(|index| edits.get(index)?.as_ref())
        .and_then(|edit| edit.message.lines().next())
        .unwrap_or_default();
    Ok(Planted {
        good: base.id().to_string(),
        bad: tip.id.to_string(),
        branch,
        culprit: id_of(culprit),
        subject: subject.to_owned(),
        commits: written.iter().map(|commit| commit.id.to_string()).collect(),
        broken: with(Action::Break, Action::Repair),
        noisy: with(Action::NoiseOn, Action::NoiseOff),
        equal: slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.action == Action::Comment)
            .map(|(index, slot)| {
                (id_of(Some(index)), id_of(slot.parents.first().copied().flatten()))
            })
            .collect(),
    })
}

/// A commit that was written.
struct Written {
    id: Oid,
    /// The slots that it has the edits of.
    has: BTreeSet<usize>,
}

impl Written {
    /// Whether more of its edits do `on` than `off`.
    fn is_on(&self, slots: &[Slot], on: Action, off: Action) -> bool {
        let count = |action: Action| {
            self.has
                .iter()
                .filter(|it| slots.get(**it).is_some_and(|it| it.action == action))
                .count()
        };
        count(on) > count(off)
    }
}

enum WriteError {
    Git(git2::Error),
    NotFixed,
}

impl From<git2::Error> for WriteError {
    fn from(error: git2::Error) -> WriteError {
        WriteError::Git(error)
    }
}

struct Writer<'a> {
    repository: &'a Repository,
    base: &'a Commit<'a>,
    base_tree: Tree<'a>,
    edits: &'a [Option<Edit>],
}

impl Writer<'_> {
    fn commit(
        &self,
        index: usize,
        slot: &Slot,
        written: &[Written],
    ) -> Result<Written, WriteError> {
        let mut has: BTreeSet<usize> = slot
            .parents
            .iter()
            .flatten()
            .filter_map(|parent| written.get(*parent))
            .flat_map(|parent| parent.has.iter().copied())
            .collect();
        has.insert(index);
        let tree = self.tree(&has)?;

        let mut parents = Vec::new();
        for parent in &slot.parents {
            parents.push(match parent.and_then(|it| written.get(it)) {
                Some(parent) => self.repository.find_commit(parent.id)?,
                None => self.base.clone(),
            });
        }
        let (message, (name, email)) = match self.edits.get(index).and_then(Option::as_ref) {
            Some(edit) => (edit.message.clone(), edit.author),
            None => {
                let side =
                    parents.last().and_then(|it| it.summary().ok().flatten()).unwrap_or_default();
                let topic = side.split_once(':').map_or("cleanups", |(prefix, _)| prefix);
                let message = format!("Merge branch 'topic/{topic}' into next\n");
                (message, ("Ingrid Solheim", "ingrid@maintainers.example"))
            }
        };
        let seconds = FIRST_COMMIT.saturating_add(INTERVAL.saturating_mul(index as i64));
        let signature = Signature::new(name, email, &Time::new(seconds, 0))?;
        let parents: Vec<&Commit<'_>> = parents.iter().collect();
        let id = self.repository.commit(None, &signature, &signature, &message, &tree, &parents)?;
        Ok(Written { id, has })
    }

    /// The base with the edits of the slots in `has`.
    fn tree(&self, has: &BTreeSet<usize>) -> Result<Tree<'_>, WriteError> {
        let edits = self.edits;
        let included =
            || has.iter().filter_map(|index| edits.get(*index)).filter_map(Option::as_ref);
        let paths: BTreeSet<&'static str> = included().map(Edit::path).collect();
        let mut update = TreeUpdateBuilder::new();
        for path in paths {
            let base = self.text(path)?;
            let text = edits::apply(&base, path, included()).ok_or(WriteError::NotFixed)?;
            update.upsert(path, self.repository.blob(text.as_bytes())?, FileMode::Blob);
        }
        let id = update.create_updated(self.repository, &self.base_tree)?;
        Ok(self.repository.find_tree(id)?)
    }

    fn text(&self, path: &str) -> Result<String, WriteError> {
        let entry = self.base_tree.get_path(Path::new(path))?;
        let blob = self.repository.find_blob(entry.id())?;
        Ok(String::from_utf8_lossy(blob.content()).into_owned())
    }
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
        repository(one.path(), FIXED);
        repository(other.path(), FIXED);
        let first = write(one.path(), "base", 7, Shape::default()).unwrap();
        assert_eq!(write(other.path(), "base", 7, Shape::default()).unwrap(), first);
        assert_ne!(write(one.path(), "base", 8, Shape::default()).unwrap(), first);
        assert_eq!(write(one.path(), "base", 7, Shape::default()).unwrap(), first);
    }

    #[test]
    fn the_bug_is_in_the_culprit_and_what_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path(), FIXED);
        let repository = Repository::open(dir.path()).unwrap();
        let text = |commit: &str, path: &str| {
            let tree = repository.revparse_single(commit).unwrap().peel_to_tree().unwrap();
            let entry = tree.get_path(Path::new(path)).unwrap();
            let blob = repository.find_blob(entry.id()).unwrap();
            String::from_utf8(blob.content().to_vec()).unwrap()
        };
        let kvm = "arch/x86/kernel/kvm.c";
        for seed in 0..20 {
            let planted = write(dir.path(), "base", seed, Shape::default()).unwrap();
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
        repository(dir.path(), "int nothing;\n");
        let result = write(dir.path(), "base", 1, Shape::straight(6));
        assert!(matches!(result, Err(HistoryError::NotFixed)));
        let result = write(dir.path(), "base", 1, Shape::straight(2));
        assert!(matches!(result, Err(HistoryError::Shape)));
    }
}
