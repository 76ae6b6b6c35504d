//! What is believed about who the culprit is, and what to try next.
//!
//! # The model
//!
//! A hypothesis names a culprit `c`: a candidate, or *outside*, a bug older than the good tips.
//! Under it revision `r` is bad if `c` is `r` or an ancestor of `r`. Where branches left below the
//! good tips, or there are several, each revision just outside the range is such a `c` as well: a
//! branch may have the bug from where it left, though the good tip has a fix of it. Every informative trial of a
//! bad revision hits with probability `p`, of a good one with `q`. Neither is known: both run over
//! a grid, `q` small but never zero, so that no single crash is proof. A small share of revisions
//! follows no rate at all (a rate of its own, evenly likely), which keeps one odd revision from
//! outvoting the rest. Trials that say nothing about the target (another crash came first, no
//! boot) do not enter.
//!
//! Two revisions of one signature are one binary: they share their trials, and a culprit between
//! them is nearly ruled out.
//!
//! The likelihood of a hypothesis depends only on which *tried* revisions it makes bad, so
//! hypotheses fall into few classes, and everything is exact.
//!
//! # The next action
//!
//! Both tips first. Then whichever batch has the most expected information about the culprit per
//! second (mutual information of "any hit in k trials", looked ahead over k, so that a build is
//! paid for by as many trials as it deserves). When one candidate holds the asked confidence it is
//! confirmed: it shows the bug and none of its parents does.

mod ancestry;
mod belief;
mod chains;
mod class;
mod evidence;
mod forecast;
mod gain;
mod model;
mod next;
mod partition;
mod prior;
mod rates;
mod shortlist;
mod testability;
#[cfg(test)]
mod tests;
mod yields;

pub(crate) use ancestry::ancestor_sums;
pub use belief::{Belief, HitRate};
pub(crate) use chains::Chains;
pub use model::{Limits, Model};
pub use next::{Action, Costs, Purpose, Verdict, WhyNot, next};
pub use prior::Prior;
pub(crate) use prior::SUSPECTED;
pub use rates::Tally;
pub use yields::Useless;
