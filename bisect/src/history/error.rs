//! What can be wrong with a history, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;

use super::CommitId;

/// Why there are no candidates.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
    /// The directory is in no git repository.
    #[error("{path} is not in a git repository")]
    NotARepository {
        /// The directory.
        path: PathBuf,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
    /// The repository leaves objects to be fetched on demand, which libgit2 does not do.
    #[error("{path} is a partial clone")]
    PartialClone {
        /// The repository.
        path: PathBuf,
    },
    /// The repository's history is cut off within the range.
    #[error(
        "the history is cut off at {at}, between the good and the bad revision: a shallow clone"
    )]
    Shallow {
        /// A commit whose parents are missing.
        at: CommitId,
    },
    /// git shows another commit in the place of one in the range.
    #[error(
        "{at} is between the good and the bad revision, and git replace puts another commit in its place"
    )]
    Replaced {
        /// The commit.
        at: CommitId,
    },
    /// git shows other parents of a commit in the range than it has.
    #[error("the history is not the real one: info/grafts gives {at} other parents than it has")]
    Grafted {
        /// The commit.
        at: CommitId,
    },
    /// A commit that a bisection speaks of is in the repository no more.
    #[error(
        "{commit} {title:?} is not in the repository any more, and no other commit, or more than one, has its title"
    )]
    Lost {
        /// The commit.
        commit: CommitId,
        /// First line of its message.
        title: String,
    },
    /// A name stands for no commit.
    #[error("there is no commit named {name:?} in {repo}{}", if *.shallow { ", a shallow clone" } else { "" })]
    UnknownRevision {
        /// The name.
        name: String,
        /// The repository.
        repo: PathBuf,
        /// Whether its history is cut off somewhere.
        shallow: bool,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
    /// A good revision is the bad one.
    #[error("{name} is given as good and as bad: there is nothing between them")]
    Equal {
        /// The commit.
        name: CommitId,
    },
    /// The bad revision is an ancestor of a good one.
    #[error(
        "good and bad are swapped: the bad revision {bad:?} is an ancestor of the good one {good:?}"
    )]
    Swapped {
        /// The good revision.
        good: CommitId,
        /// The bad revision.
        bad: CommitId,
    },
    /// A fix is looked for, and the revision that has it is older than the one that does not.
    #[error(
        "the good revision {good:?} is an ancestor of the bad one {bad:?}: no fix lies between them"
    )]
    FixedBefore {
        /// The good revision.
        good: CommitId,
        /// The bad revision.
        bad: CommitId,
    },
    /// A good revision is on another branch.
    #[error(
        "the good revision {good:?} is not an ancestor of the bad one {bad:?}; they parted at {merge_base:?}"
    )]
    NotAncestor {
        /// The good revision.
        good: CommitId,
        /// The bad revision.
        bad: CommitId,
        /// The youngest commit that both contain.
        merge_base: CommitId,
    },
    /// The two revisions have no commit in common.
    #[error("the good revision {good:?} and the bad one {bad:?} have no common history")]
    Unrelated {
        /// The good revision.
        good: CommitId,
        /// The bad revision.
        bad: CommitId,
    },
    /// No good revision was given.
    #[error("no good revision was given")]
    NoGood,
    /// No good revision was given, and there is no release to try.
    #[error("no good revision was given, and no release tag (v*) is an ancestor of {bad:?}")]
    NoRelease {
        /// The bad revision.
        bad: CommitId,
    },
    /// The git program could not list the commits.
    #[error("git rev-list failed: {reason}")]
    RevList {
        /// How.
        reason: String,
    },
    /// The git program could not say what commits change.
    #[error("git log failed: {reason}")]
    Log {
        /// How.
        reason: String,
    },
    /// The repository can't be read.
    #[error("can't read the history")]
    Git(#[from] git2::Error),
}

impl HistoryError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            HistoryError::Cancelled => "nothing was changed: ask for it again".into(),
            HistoryError::NotARepository { .. } => {
                "name a checkout of the kernel with --repo DIR".into()
            }
            HistoryError::PartialClone { .. } => {
                "clone it again without --filter; a bisection reads every tree in the range".into()
            }
            HistoryError::Shallow { .. } | HistoryError::UnknownRevision { shallow: true, .. } => {
                "get the rest of the history: git fetch --unshallow --tags".into()
            }
            HistoryError::Replaced { at } => format!(
                "what is built would not be what the name stands for elsewhere: git replace -d {at}, \
                 or bisect in a fresh clone"
            ),
            HistoryError::Grafted { .. } => {
                "what is found would not hold elsewhere: move info/grafts away, or bisect in a fresh \
                 clone"
                    .into()
            }
            HistoryError::Lost { .. } => {
                "fetch the branch that has it; what was measured is kept until then, and `vmbisect \
                 replay` reads it"
                    .into()
            }
            HistoryError::UnknownRevision { .. } => {
                "git log --oneline NAME shows whether git knows it; a tag or branch of a remote \
                 has to be fetched first: git fetch --tags REMOTE"
                    .into()
            }
            HistoryError::Equal { .. } => {
                "--good is a revision before the bug, --bad one that has it".into()
            }
            HistoryError::Swapped { .. } => {
                "exchange --good and --bad; the first is the older one, without the bug".into()
            }
            HistoryError::FixedBefore { .. } => {
                "with --find fix, --bad is the older revision, which has the bug, and --good the \
                 newer one, which does not have it any more; leave out --find fix to find what \
                 broke it"
                    .into()
            }
            HistoryError::NotAncestor { merge_base, .. } => format!(
                "if that commit does not have the bug, bisect from there: --good {}; if it does, \
                 an older good revision is needed",
                merge_base.short()
            ),
            HistoryError::Unrelated { .. } => {
                "both must be of one tree; is one of them from another project or an imported \
                 history?"
                    .into()
            }
            HistoryError::NoGood => "say where the bug was not there yet: --good REV".into(),
            HistoryError::NoRelease { .. } => {
                "say where the bug was not there yet: --good REV; or get the tags: git fetch --tags"
                    .into()
            }
            HistoryError::RevList { .. } | HistoryError::Log { .. } => {
                "the git program has to be on the PATH, and git fsck says whether the repository \
                 is whole"
                    .into()
            }
            HistoryError::Git(_) => "git fsck says whether the repository is whole".into(),
        }
    }
}
