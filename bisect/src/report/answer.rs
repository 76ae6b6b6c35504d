//! The answer and what it rests on.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::ending::{self, Contradiction, MergeReport, RevertReport, TitleReport};
use super::ending_text;
use crate::history::{CommitId, Find, History, HistoryError, Rev};
use crate::maintainers::Recipients;
use crate::search::{Verdict, WhyNot};
use crate::session::{Dropped, Fold, FoldError, Skip, Tried};
use crate::trial::Target;

/// The answer and what it rests on.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Which commit was looked for.
    pub find: Find,
    /// What counts as the bug.
    pub target: Target,
    /// The end of the range that shows the bug.
    pub bad: Suspect,
    /// The ends that do not.
    pub good: Vec<Suspect>,
    /// How many commits lie between them.
    pub candidates: usize,
    /// How many of them can't change the image, as they touch nothing that was built.
    pub inert: usize,
    /// Every revision that was tried, from the newest to the oldest.
    pub revisions: Vec<RevisionReport>,
    /// How often the bug shows in a trial of a kernel that has it: mean, and the bounds of a 95 %
    /// interval.
    pub hit_rate: [f64; 3],
    /// Trials that told nothing, over all revisions, by what was seen instead.
    pub useless: BTreeMap<String, u32>,
    /// Titles that trials ended with, by revision.
    pub titles: Vec<TitleReport>,
    /// What was measured and does not fit the answer.
    pub contradictions: Vec<Contradiction>,
    /// The baseline configuration in use; `None` where it is the one asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The baselines that are not used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped_baselines: Vec<DroppedBaseline>,
    /// Trials of every kind.
    pub trials: u64,
    /// How many of them were of kernels that were built with those.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_trials: u64,
    /// Wall-clock seconds spent on builds.
    pub build_seconds: f64,
    /// Wall-clock seconds spent on trials.
    pub trial_seconds: f64,
    /// Who to tell of the culprit, see [`recipients`](super::recipients).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Recipients>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A baseline configuration that is not used.
#[derive(Clone, Debug, Serialize)]
pub struct DroppedBaseline {
    /// What it is called on the command line.
    pub name: String,
    /// Why, and what was seen with it.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// This commit brought the bug in or, where that was looked for, fixed it.
    Culprit {
        /// The commit, with its probability.
        culprit: Suspect,
        /// The hash of its image, where it could be built.
        signature: Option<String>,
        /// Its parents that could not be shown to be without the bug or, of a fix, to have it.
        unconfirmed: Vec<Suspect>,
        /// Its parents that were not tried themselves, each with the commit whose image is theirs
        /// too and was tried.
        stand_ins: Vec<StandIn>,
        /// If it is a merge: what its sides are, and what was done by hand in it.
        merge: Option<MergeReport>,
        /// What came of reverting it, if that was asked for.
        revert: Option<RevertReport>,
    },
    /// The evidence does not suffice.
    Undecided {
        /// Why no more was gathered.
        why: WhyNot,
        /// Who remains, likeliest first.
        remaining: Vec<Suspect>,
        /// Probability that it is none of the candidates.
        outside: f64,
        /// Where a side branch left that has the bug already, if that is why: it is no candidate.
        #[serde(skip_serializing_if = "Option::is_none")]
        base: Option<Suspect>,
        /// The merge by which that branch came into the bad end's own line.
        #[serde(skip_serializing_if = "Option::is_none")]
        merged_by: Option<Suspect>,
    },
    /// The bug did not show at the bad end.
    NotReproduced {
        /// Clean trials.
        clean: u32,
        /// Above this the hit rate can hardly lie (95 %).
        hit_rate_below: f64,
        /// For a few hit rates: the clean trials after which it can hardly be that high (95 %).
        trials_to_exclude: [(f64, u32); 3],
        /// What showed there instead, and how often.
        instead: BTreeMap<String, u32>,
    },
    /// The bad end can't be built, does not boot or always dies of something else first.
    BadTipUntestable {
        /// Why it does not build, if it does not.
        build_failure: Option<String>,
        /// What showed there instead, and how often.
        instead: BTreeMap<String, u32>,
    },
    /// No good revision was given, and no release without the bug could be found: the oldest one
    /// can't be tested.
    GoodTipUntestable {
        /// Why it does not build, if it does not.
        build_failure: Option<String>,
    },
    /// The bug is in a good end too.
    GoodTipBad {
        /// Posterior probability that the bug is older than the range, or not fixed in it.
        probability: f64,
        /// Whether a good end builds to the same image as the bad one.
        same_image: bool,
        /// Whether it is the oldest release, tried because no good revision was given.
        oldest_release: bool,
        /// The good ends that are believed to have it.
        shows_at: Vec<Suspect>,
    },
}

/// A commit, its title, and how likely it is the culprit.
#[derive(Clone, Debug, Serialize)]
pub struct Suspect {
    /// Its name.
    pub commit: CommitId,
    /// First line of its message.
    pub title: String,
    /// Posterior probability that it is the culprit.
    pub probability: f64,
}

/// A commit that was tried for another, which has the same image.
#[derive(Clone, Debug, Serialize)]
pub struct StandIn {
    /// The parent of the answer.
    pub parent: Suspect,
    /// Who was tried.
    pub tried: Suspect,
}

/// What is believed of a revision that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It has the bug.
    Bad,
    /// It does not have the bug.
    Good,
    /// Its trials told nothing.
    Untestable,
    /// It does not build.
    Broken,
    /// Its own trials do not say, nor does what else is known.
    Unclear,
}

/// A revision that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct RevisionReport {
    /// The commit, with its probability of being the culprit.
    #[serde(flatten)]
    pub commit: Suspect,
    /// What is believed of it.
    pub standing: Standing,
    /// Probability that it has the bug.
    pub probability_bad: f64,
    /// Trials that hit.
    pub hits: u32,
    /// Trials that finished without a hit.
    pub clean: u32,
    /// Trials that told nothing, by what was seen instead.
    pub useless: BTreeMap<String, u32>,
    /// The hash of its image.
    pub signature: Option<String>,
    /// Another revision with the same image, under which the trials are counted.
    pub same_image_as: Option<CommitId>,
    /// Why it does not build, if it does not.
    pub build_failure: Option<String>,
    /// Where a fix is looked for: why it says nothing, if it does not, and on which merge base that
    /// rests.
    pub skipped: Option<(CommitId, Skip)>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A commit can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The session speaks of a revision outside the range.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A file of the journal can't be read.
    #[error("can't read {path}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Report {
    /// What a session came to.
    ///
    /// # Errors
    /// Fails if a commit can't be read.
    pub fn new(
        fold: &Fold,
        verdict: &Verdict,
        history: &History,
        target: &Target,
    ) -> Result<Report, ReportError> {
        let suspect = |rev| suspect(fold, history, rev);
        let graph = fold.candidates().graph();
        let bad = fold.bad_end().unwrap_or_default();
        let mut tried: Vec<&Tried> = fold.tried_revisions().iter().collect();
        // Revisions outside the range are numbered behind the candidates, but are older.
        tried.sort_by_key(|tried| (!graph.is_candidate(tried.rev), std::cmp::Reverse(tried.rev)));
        let revisions: Vec<RevisionReport> =
            tried.iter().map(|tried| revision(fold, history, tried)).collect::<Result<_, _>>()?;
        let mut useless = BTreeMap::new();
        for revision in &revisions {
            for (what, count) in &revision.useless {
                *useless.entry(what.clone()).or_insert(0) += count;
            }
        }
        let rate = fold.belief().hit_rate();
        let (build, trial) = fold.times();
        Ok(Report {
            answer: answer(fold, verdict, history)?,
            find: fold.find(),
            target: target.clone(),
            bad: suspect(bad)?,
            good: fold.good_ends().into_iter().map(suspect).collect::<Result<_, _>>()?,
            candidates: graph.candidates(),
            inert: fold.inert().map_or(0, BTreeSet::len),
            revisions,
            hit_rate: [rate.mean, rate.low, rate.high],
            useless,
            titles: ending::titles(fold),
            contradictions: ending::contradictions(fold),
            baseline: fold.baseline().map(str::to_owned),
            dropped_baselines: fold
                .dropped_baselines()
                .map(|(name, dropped)| DroppedBaseline {
                    name: name.to_owned(),
                    dropped: dropped.clone(),
                })
                .collect(),
            trials: fold.spent(),
            dropped_trials: fold.dropped_trials(),
            build_seconds: build.as_secs_f64(),
            trial_seconds: trial.as_secs_f64(),
            recipients: None,
        })
    }
}

fn answer(fold: &Fold, verdict: &Verdict, history: &History) -> Result<Answer, ReportError> {
    let suspect = |rev| suspect(fold, history, rev);
    let instead = |tried: Option<&Tried>| tried.map(Tried::useless).unwrap_or_default();
    let at_bad = fold.bad_end().and_then(|end| fold.of(end));
    Ok(match verdict {
        Verdict::Culprit { rev, unconfirmed, .. } => Answer::Culprit {
            culprit: suspect(*rev)?,
            signature: fold
                .of(*rev)
                .and_then(|tried| tried.image.as_ref())
                .map(|image| image.signature.clone()),
            unconfirmed: unconfirmed.iter().map(|&rev| suspect(rev)).collect::<Result<_, _>>()?,
            stand_ins: stand_ins(fold, history, *rev)?,
            merge: MergeReport::new(fold, history, *rev, unconfirmed)?,
            revert: RevertReport::new(fold, *rev),
        },
        Verdict::Undecided { why, remaining } => {
            let base = fold.belief().bad_base().filter(|_| *why == WhyNot::BaseIsBad);
            let merge = base.and_then(|(base, _)| fold.candidates().graph().merged_by(base));
            let of_base = |(base, probability)| {
                Ok::<_, ReportError>(Suspect { probability, ..suspect(base)? })
            };
            Answer::Undecided {
                why: *why,
                remaining: remaining
                    .iter()
                    .map(|&(rev, _)| suspect(rev))
                    .collect::<Result<_, _>>()?,
                outside: fold.belief().outside(),
                base: base.map(of_base).transpose()?,
                merged_by: merge.map(suspect).transpose()?,
            }
        }
        Verdict::NotReproduced => {
            let clean = at_bad.map_or(0, |tried| tried.tally().clean);
            // The rate at which as many clean trials in a row would be a chance of 5 %.
            let hit_rate_below = 1.0 - 0.05_f64.powf(1.0 / f64::from(clean.max(1)));
            Answer::NotReproduced {
                clean,
                hit_rate_below,
                trials_to_exclude: ending_text::rates_to_exclude(),
                instead: instead(at_bad),
            }
        }
        Verdict::BadTipUntestable => Answer::BadTipUntestable {
            build_failure: at_bad.and_then(|tried| tried.build_failure.clone()),
            instead: instead(at_bad),
        },
        Verdict::GoodTipUntestable => Answer::GoodTipUntestable {
            build_failure: fold
                .good_ends()
                .first()
                .and_then(|&end| fold.of(end)?.build_failure.clone()),
        },
        Verdict::GoodTipBad { probability } => {
            let same = fold.bad_end().map(|end| fold.same_image(end)).unwrap_or_default();
            let good = fold.good_ends();
            let has_it = |&&end: &&Rev| fold.belief().probability_bad(end) >= 0.5;
            let shows_at = good.iter().filter(has_it).map(|&end| {
                let probability = fold.belief().probability_bad(end);
                Ok(Suspect { probability, ..suspect(end)? })
            });
            Answer::GoodTipBad {
                probability: *probability,
                shows_at: shows_at.collect::<Result<_, ReportError>>()?,
                oldest_release: fold.picked_good(),
                same_image: same.iter().any(|tried| good.contains(&tried.rev)),
            }
        }
    })
}

pub(super) fn suspect(fold: &Fold, history: &History, rev: Rev) -> Result<Suspect, ReportError> {
    let commit = fold.commit(rev)?;
    let title = history.title(commit)?;
    Ok(Suspect { commit, title, probability: fold.belief().probability(rev) })
}

/// The parents of the answer that others were tried for.
fn stand_ins(fold: &Fold, history: &History, rev: Rev) -> Result<Vec<StandIn>, ReportError> {
    let of = |&parent: &Rev| {
        let tried = fold.belief().representative(parent);
        let is_other = tried != parent && fold.belief().tally(tried).trials() > 0;
        let suspect = |rev| suspect(fold, history, rev);
        is_other.then(|| Ok(StandIn { parent: suspect(parent)?, tried: suspect(tried)? }))
    };
    fold.candidates().graph().parents(rev).iter().filter_map(of).collect()
}

fn revision(fold: &Fold, history: &History, tried: &Tried) -> Result<RevisionReport, ReportError> {
    let tally = tried.tally();
    let same_image = fold.same_image(tried.rev);
    let shares = tried.trials.is_empty().then(|| {
        same_image.iter().find(|other| !other.trials.is_empty()).map(|other| other.commit)
    });
    Ok(RevisionReport {
        commit: suspect(fold, history, tried.rev)?,
        standing: standing(fold, tried),
        probability_bad: fold.belief().probability_bad(tried.rev),
        hits: tally.hits,
        clean: tally.clean,
        useless: tried.useless(),
        signature: tried.image.as_ref().map(|image| image.signature.clone()),
        same_image_as: shares.flatten(),
        build_failure: tried.build_failure.clone(),
        skipped: tried.skipped,
    })
}

/// What is believed of a revision that was tried.
pub(super) fn standing(fold: &Fold, tried: &Tried) -> Standing {
    let bad = fold.belief().probability_bad(tried.rev);
    if tried.build_failure.is_some() {
        Standing::Broken
    } else if fold.lacks_bug(tried.rev) {
        Standing::Good
    } else if fold.belief().tally(tried.rev).trials() == 0 {
        match tried.trials.is_empty() {
            true => Standing::Unclear,
            false => Standing::Untestable,
        }
    } else if bad >= 0.5 {
        Standing::Bad
    } else {
        Standing::Good
    }
}
