//! What the answer rests on besides the search: the merge that it is, the revert of it, and what
//! speaks against it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answer::suspect;
use super::{ReportError, Standing, Suspect};
use crate::history::{ByHand, CommitId, History, Rev};
use crate::session::{Fold, Tried};
use crate::trial::Outcome;

/// A merge that is the answer, though neither side of it is.
#[derive(Clone, Debug, Serialize)]
pub struct MergeReport {
    /// Its parents.
    pub sides: Vec<Side>,
    /// What somebody did by hand in it, where it has two parents.
    pub by_hand: Option<ByHand>,
}

/// One side of a merge.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// The parent.
    #[serde(flatten)]
    pub parent: Suspect,
    /// Trials of it that hit.
    pub hits: u32,
    /// Trials of it that did not.
    pub clean: u32,
    /// Whether it was seen to be what the answer makes it: without the bug or, where the merge is a
    /// fix, with it.
    pub confirmed: bool,
}

impl MergeReport {
    /// Nothing for what is no merge.
    pub(super) fn new(
        fold: &Fold,
        history: &History,
        rev: Rev,
        unconfirmed: &[Rev],
    ) -> Result<Option<MergeReport>, ReportError> {
        let parents = fold.candidates().graph().parents(rev);
        if parents.len() < 2 {
            return Ok(None);
        }
        let side = |&parent: &Rev| {
            let told = fold.belief().tally(parent);
            Ok(Side {
                parent: suspect(fold, history, parent)?,
                hits: told.hits,
                clean: told.clean,
                confirmed: !unconfirmed.contains(&parent),
            })
        };
        let sides = parents.iter().map(side).collect::<Result<_, ReportError>>()?;
        // Without the files, which a partial clone may lack, there is still an answer.
        let by_hand = history.by_hand(fold.commit(rev)?).unwrap_or_default();
        Ok(Some(MergeReport { sides, by_hand }))
    }
}

/// What came of reverting the answer at the newer end of the range.
#[derive(Clone, Debug, Serialize)]
pub struct RevertReport {
    /// What came of it.
    pub result: RevertResult,
    /// The commit that has the revert.
    pub commit: Option<CommitId>,
    /// Trials of it that hit.
    pub hits: u32,
    /// Trials of it that did not.
    pub clean: u32,
    /// Why it can't be made, built or run.
    pub reason: Option<String>,
}

/// What came of reverting the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevertResult {
    /// The bug does not show with the revert.
    Gone,
    /// The bug shows with the revert.
    Shows,
    /// The revert does not apply.
    DoesNotApply,
    /// The bug shows more rarely than without the revert, and more often than where it is not, or
    /// there were too few trials.
    Unclear,
    /// The revert can't be built or run.
    Untestable,
}

impl RevertReport {
    /// Nothing where none was asked for.
    pub(super) fn new(fold: &Fold, culprit: Rev) -> Option<RevertReport> {
        let reverted = fold.reverted().filter(|reverted| reverted.culprit == culprit)?;
        let Some(tried) = &reverted.tried else {
            return Some(RevertReport {
                result: RevertResult::DoesNotApply,
                commit: None,
                hits: 0,
                clean: 0,
                reason: reverted.failure.clone(),
            });
        };
        let told = tried.tally();
        let result = match () {
            () if told.trials() == 0 => RevertResult::Untestable,
            () => match fold.shows_reverted() {
                Some(true) => RevertResult::Shows,
                Some(false) => RevertResult::Gone,
                None => RevertResult::Unclear,
            },
        };
        let seen = tried.useless().into_iter().next_back().map(|(what, _)| what);
        Some(RevertReport {
            result,
            commit: Some(tried.commit),
            hits: told.hits,
            clean: told.clean,
            reason: tried.build_failure.clone().or(seen),
        })
    }
}

/// How often a title was seen, by revision.
#[derive(Clone, Debug, Serialize)]
pub struct TitleReport {
    /// The title.
    pub title: String,
    /// Whether it is what is looked for.
    pub target: bool,
    /// Where it was seen, in the order the revisions were first tried.
    pub seen: Vec<Seen>,
}

/// How often a title was seen in trials of one revision.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// The revision.
    pub commit: CommitId,
    /// Trials that ended with it.
    pub trials: u32,
    /// Out of so many.
    pub of: u32,
}

/// Every title that trials ended with, the most frequent one first.
pub fn titles(fold: &Fold) -> Vec<TitleReport> {
    let mut titles: BTreeMap<(&str, bool), Vec<Seen>> = BTreeMap::new();
    for tried in fold.tried_revisions() {
        let of = u32::try_from(tried.trials.len()).unwrap_or(u32::MAX);
        let mut counts: BTreeMap<(&str, bool), u32> = BTreeMap::new();
        for trial in &tried.trials {
            let title = match &trial.outcome {
                Outcome::Hit { title } => (title.as_str(), true),
                Outcome::Foreign { title } | Outcome::Hang { title } => (title.as_str(), false),
                _ => continue,
            };
            *counts.entry(title).or_insert(0) += 1;
        }
        for (title, trials) in counts {
            titles.entry(title).or_default().push(Seen { commit: tried.commit, trials, of });
        }
    }
    let mut titles: Vec<TitleReport> = titles
        .into_iter()
        .map(|((title, target), seen)| TitleReport { title: title.to_owned(), target, seen })
        .collect();
    let total = |title: &TitleReport| title.seen.iter().map(|seen| seen.trials).sum::<u32>();
    titles.sort_by_key(|title| std::cmp::Reverse(total(title)));
    titles
}

/// Something that was measured and does not fit what is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "contradiction", rename_all = "snake_case")]
pub enum Contradiction {
    /// A revision shows the target, and is believed to be without the bug.
    HitOfGood {
        /// The revision.
        commit: CommitId,
        /// Trials that hit.
        hits: u32,
        /// Out of so many.
        trials: u32,
    },
    /// A revision never showed the target in as many trials as suffice elsewhere, and is believed
    /// to have the bug.
    CleanOfBad {
        /// The revision.
        commit: CommitId,
        /// Trials, none of which hit.
        trials: u32,
    },
    /// Two revisions have the same image, and one showed the target where the other did not.
    SameImage {
        /// The one that showed it.
        shows: CommitId,
        /// The one that did not.
        lacks: CommitId,
    },
}

/// What was measured and does not fit.
pub fn contradictions(fold: &Fold) -> Vec<Contradiction> {
    let enough = fold.clean_trials_needed();
    let mut found = Vec::new();
    for tried in fold.tried_revisions() {
        let (told, commit) = (tried.tally(), tried.commit);
        let trials = told.trials();
        match super::answer::standing(fold, tried) {
            Standing::Good if told.hits > 0 => {
                found.push(Contradiction::HitOfGood { commit, hits: told.hits, trials });
            }
            Standing::Bad if told.hits == 0 && told.clean >= enough => {
                found.push(Contradiction::CleanOfBad { commit, trials });
            }
            _ => {}
        }
        let lacks = |other: &&Tried| other.tally().hits == 0 && other.tally().clean >= enough;
        if told.hits > 0
            && let Some(other) = fold.same_image(tried.rev).into_iter().find(lacks)
        {
            found.push(Contradiction::SameImage { shows: commit, lacks: other.commit });
        }
    }
    found
}
