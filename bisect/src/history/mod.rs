//! The commits that may be the culprit: reachable from the bad tip and from no good one.
//!
//! [`History`] is the repository, read through libgit2; [`Candidates`] is what a bisection takes
//! from it, once; [`Graph`] is its shape alone, which is all that the search needs.

mod candidates;
mod changes;
mod error;
mod find;
mod git;
mod graph;
mod id;
mod overlaid;
mod range;
mod releases;
mod repository;
mod revert;
mod rewritten;
mod walk;

pub use candidates::Candidates;
pub use changes::Changes;
pub use error::HistoryError;
pub use find::Find;
pub use graph::{AncestorSet, Children, Graph, Rev};
pub use id::CommitId;
pub use range::Range;
pub use releases::Release;
pub use repository::{CommitText, History};
pub use revert::{ByHand, Revert};
