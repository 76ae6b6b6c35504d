//! What a session knows: a fold over the records of its journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::mean::Mean;
use super::presence::{Found, Presence, Present};
use super::{Image, Skip, Trial, Tried};
use crate::history::{Candidates, CommitId, Find, Rev};
use crate::journal::{Event, Record, Stage};
use crate::search::{Action, Belief, Costs, Limits, Model, Purpose, Tally, Verdict, next};
use crate::trial::Outcome;

/// A build takes this long until one was measured.
const BUILD_SECONDS: f64 = 300.0;

/// A trial takes this long until one was measured.
const TRIAL_SECONDS: f64 = 30.0;

/// Failures of the host, one after the other, after which a session stops.
const HOST_FAILURES: u32 = 3;

/// How many times as often the bad end is tried as other revisions while other crashes come first.
const BAD_TIP_PATIENCE: u32 = 4;

/// How many times as many clean trials as of others are asked of a merge base: a whole branch is
/// ruled out by it.
const MERGE_BASE_CARE: u32 = 2;

/// What a session knows.
#[derive(Clone, Debug)]
pub struct Fold {
    candidates: Arc<Candidates>,
    find: Find,
    belief: Belief,
    presence: Option<Presence>,
    limits: Limits,
    machines: u32,
    tried: Vec<Tried>,
    index: HashMap<Rev, usize>,
    plan: Option<Plan>,
    spent: u64,
    builds: Mean,
    trials: Mean,
    host_failures: u32,
    host_failure: Option<(Stage, String)>,
    last_ms: u64,
    build_ms: u64,
    trial_ms: u64,
}

/// A revision to be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    rev: Rev,
    left: u32,
    purpose: Purpose,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Record that this revision is to be tried.
    Plan {
        /// The revision.
        rev: Rev,
        /// How many trials.
        trials: u32,
        /// Why.
        purpose: Purpose,
    },
    /// Record that this revision says nothing of a fix, whatever its trials would show.
    Skip {
        /// The revision.
        rev: Rev,
        /// Where its branch left.
        base: Rev,
        /// Why.
        why: Skip,
    },
    /// Build it.
    Build {
        /// The revision.
        rev: Rev,
    },
    /// Run trials of it.
    Trials {
        /// The revision.
        rev: Rev,
        /// How many.
        trials: u32,
    },
    /// Stop: the host failed too often, last with this.
    GiveUp {
        /// At what.
        stage: Stage,
        /// How.
        reason: String,
    },
    /// Stop: this is the answer.
    Done(Verdict),
}

/// Why a record can't be applied.
#[derive(Debug, Error)]
pub enum FoldError {
    /// It speaks of a commit outside the range.
    #[error("the journal speaks of {commit}, which is neither a candidate nor a good tip")]
    UnknownCommit {
        /// The commit.
        commit: CommitId,
    },
    /// A number stands for no revision of the range.
    #[error("there is no revision number {rev} in the range")]
    UnknownRevision {
        /// The number.
        rev: Rev,
    },
}

impl Fold {
    /// A session in which nothing has happened yet. `machines` trials run at a time.
    pub fn new(candidates: Arc<Candidates>, model: Model, limits: Limits, machines: u32) -> Fold {
        let belief = Belief::new(Arc::new(candidates.graph().clone()), model);
        let presence = Presence::new(model.find, candidates.graph());
        Fold {
            candidates,
            find: model.find,
            belief,
            presence,
            limits,
            machines,
            tried: Vec::new(),
            index: HashMap::new(),
            plan: None,
            spent: 0,
            builds: Mean::default(),
            trials: Mean::default(),
            host_failures: 0,
            host_failure: None,
            last_ms: 0,
            build_ms: 0,
            trial_ms: 0,
        }
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// Fails if the record speaks of a commit that is not in the range.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        let elapsed = record.at_ms.saturating_sub(self.last_ms);
        self.last_ms = record.at_ms;
        match &record.event {
            Event::Resumed => {
                // Whoever resumes has seen to the host.
                self.host_failures = 0;
            }
            Event::Planned { commit, trials, purpose } => {
                let rev = self.rev(*commit)?;
                self.plan = Some(Plan { rev, left: *trials, purpose: *purpose });
            }
            Event::Built { commit, signature, image, compiler, seconds, cached } => {
                self.build_ms += elapsed;
                self.host_failures = 0;
                let at = self.tried(*commit)?;
                self.builds.add(*seconds);
                if let Some(tried) = self.tried.get_mut(at) {
                    tried.image = Some(Image {
                        signature: signature.clone(),
                        path: image.clone(),
                        compiler: compiler.clone(),
                        cached: *cached,
                    });
                }
                self.belief.built(self.rev(*commit)?, Some(signature));
                if self.shares_trials(at) {
                    // What was to be tried was tried under another name: think again.
                    self.plan = None;
                }
            }
            Event::BuildFailed { commit, reason, .. } => {
                self.build_ms += elapsed;
                self.host_failures = 0;
                let at = self.tried(*commit)?;
                if let Some(tried) = self.tried.get_mut(at) {
                    tried.build_failure = Some(reason.clone());
                }
                self.give_up_on(self.rev(*commit)?);
            }
            Event::Skipped { commit, base, why } => {
                let (rev, at) = (self.rev(*commit)?, self.tried(*commit)?);
                if let Some(tried) = self.tried.get_mut(at) {
                    tried.skipped = Some((*base, *why));
                }
                self.give_up_on(rev);
                if *why == Skip::Lacks {
                    self.belief.rule_out(rev);
                }
            }
            Event::Trial { commit, outcome, crashes, boot, seconds, console, report } => {
                self.trial_ms += elapsed;
                let trial = Trial {
                    outcome: outcome.clone(),
                    crashes: crashes.clone(),
                    boot: *boot,
                    seconds: *seconds,
                    console: console.clone(),
                    report: report.clone(),
                };
                self.apply_trial(*commit, trial)?;
            }
            Event::Infra { stage, reason, .. } => {
                match stage {
                    Stage::Build => self.build_ms += elapsed,
                    Stage::Trial => self.trial_ms += elapsed,
                }
                self.host_failures += 1;
                self.host_failure = Some((*stage, reason.clone()));
            }
        }
        Ok(())
    }

    fn apply_trial(&mut self, commit: CommitId, trial: Trial) -> Result<(), FoldError> {
        let rev = self.rev(commit)?;
        let at = self.tried(commit)?;
        self.host_failures = 0;
        self.spent += 1;
        self.trials.add(trial.seconds);
        let told = trial.tally();
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.rev == rev) {
            plan.left = plan.left.saturating_sub(1);
        }
        let Some(tried) = self.tried.get_mut(at) else { return Ok(()) };
        tried.trials.push(trial);
        self.weigh(rev, at, told);
        let Some(tried) = self.tried.get(at) else { return Ok(()) };
        let useless = tried.trials.iter().filter(|trial| trial.is_useless()).count();
        let is_foreign = |trial: &Trial| matches!(trial.outcome, Outcome::Foreign { .. });
        // Elsewhere there is another revision to try. Here all ends, and a crash that comes first
        // now and then is a matter of luck.
        let patience = match self.bad_end() == Some(rev) {
            true if tried.trials.iter().any(is_foreign) => BAD_TIP_PATIENCE,
            _ => 1,
        };
        let most = self.limits.useless.saturating_mul(patience);
        if tried.tally().trials() == 0 && useless >= most as usize {
            self.give_up_on(rev);
        }
        Ok(())
    }

    /// Takes in what one more trial told, which is among those tried already.
    fn weigh(&mut self, rev: Rev, at: usize, told: Tally) {
        if told.trials() == 0 {
            return self.belief.observe_useless(rev, 1);
        }
        let graph = self.candidates.graph();
        let held_back = |presence: &Presence| presence.of(graph, rev) != Present::Yes;
        if !self.presence.as_ref().is_some_and(held_back) {
            return self.belief.observe(rev, told);
        }
        // Without the bug to begin with, a clean trial does not speak for a fix.
        let own = self.tried.get(at).map(Tried::tally).unwrap_or_default();
        if own.hits > 0 {
            self.found(rev, Found::Shows);
            self.take_in_what_was_held_back();
        } else if !graph.is_candidate(rev) && own.clean >= self.merge_base_trials() {
            self.found(rev, Found::Lacks);
            self.belief.untestable(rev);
            self.plan = None;
        }
    }

    fn take_in_what_was_held_back(&mut self) {
        let Some(presence) = &self.presence else { return };
        let graph = self.candidates.graph();
        for tried in &self.tried {
            let (own, known) = (tried.tally(), self.belief.own_tally(tried.rev));
            if known.trials() == 0
                && own.trials() > 0
                && presence.of(graph, tried.rev) == Present::Yes
            {
                self.belief.observe(tried.rev, own);
            }
        }
    }

    /// Clean trials after which a merge base counts as without the bug.
    fn merge_base_trials(&self) -> u32 {
        let best = self.belief.best().map_or(0, |(rev, _)| rev);
        self.belief.clean_trials_needed(best, self.limits.clean).saturating_mul(MERGE_BASE_CARE)
    }

    fn found(&mut self, rev: Rev, found: Found) {
        if let Some(presence) = &mut self.presence {
            presence.found(rev, found);
        }
    }

    /// Nothing can be learned from trials of a revision.
    fn give_up_on(&mut self, rev: Rev) {
        self.belief.untestable(rev);
        if !self.candidates.graph().is_candidate(rev) && !self.lacks_bug(rev) {
            self.found(rev, Found::Untestable);
        }
        self.plan = None;
    }

    /// What to do now; the same after the same records.
    pub fn next(&self) -> Step {
        if let Some((stage, reason)) = &self.host_failure
            && self.host_failures >= HOST_FAILURES
        {
            return Step::GiveUp { stage: *stage, reason: reason.clone() };
        }
        if let Some(plan) = self.plan.filter(|plan| plan.left > 0) {
            let built = self.of(plan.rev).is_some_and(|tried| tried.image.is_some());
            return match built {
                true => Step::Trials { rev: plan.rev, trials: plan.left },
                false => Step::Build { rev: plan.rev },
            };
        }
        match next(&self.belief, &self.costs(), &self.limits, self.spent) {
            Action::Test { rev, trials, purpose } => self.plan(rev, trials, purpose),
            Action::Done(verdict) => Step::Done(verdict),
        }
    }

    /// What to do so that a revision can be tried.
    fn plan(&self, rev: Rev, trials: u32, purpose: Purpose) -> Step {
        let Some(presence) = &self.presence else { return Step::Plan { rev, trials, purpose } };
        match presence.of(self.candidates.graph(), rev) {
            Present::Yes => Step::Plan { rev, trials, purpose },
            Present::Try(base) => {
                let clean = self.of(base).map_or(0, |tried| tried.tally().clean);
                let lacks = self.merge_base_trials().saturating_sub(clean).max(1);
                let trials = lacks.min(self.machines());
                Step::Plan { rev: base, trials, purpose: Purpose::MergeBase }
            }
            Present::No(base) => Step::Skip { rev, base, why: Skip::Lacks },
            Present::Unknown(base) => Step::Skip { rev, base, why: Skip::Unknown },
        }
    }

    /// Which commit is looked for.
    pub fn find(&self) -> Find {
        self.find
    }

    /// The end of the range that shows the bug.
    pub fn bad_end(&self) -> Option<Rev> {
        self.find.bad_end(self.candidates.graph())
    }

    /// The ends of the range that do not.
    pub fn good_ends(&self) -> Vec<Rev> {
        self.find.good_ends(self.candidates.graph())
    }

    /// Whether a merge base was found to be older than the bug whose fix is looked for.
    pub fn lacks_bug(&self, rev: Rev) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.lacks(rev))
    }

    /// The candidates.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// What is believed.
    pub fn belief(&self) -> &Belief {
        &self.belief
    }

    /// Every revision that was tried, in the order they were first.
    pub fn tried_revisions(&self) -> &[Tried] {
        &self.tried
    }

    /// What became of a revision.
    pub fn of(&self, rev: Rev) -> Option<&Tried> {
        self.index.get(&rev).and_then(|&at| self.tried.get(at))
    }

    /// The other tried revisions with the image of this one.
    pub fn same_image(&self, rev: Rev) -> Vec<&Tried> {
        let Some(image) = self.of(rev).and_then(|tried| tried.image.as_ref()) else {
            return Vec::new();
        };
        let same = |other: &&Tried| {
            other.rev != rev
                && other.image.as_ref().is_some_and(|other| other.signature == image.signature)
        };
        self.tried.iter().filter(same).collect()
    }

    /// How many trials run at a time.
    pub fn machines(&self) -> u32 {
        self.machines.max(1)
    }

    /// Trials run, of every kind.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// Time spent on builds and on trials; not the time between an interruption and the next run.
    pub fn times(&self) -> (Duration, Duration) {
        (Duration::from_millis(self.build_ms), Duration::from_millis(self.trial_ms))
    }

    /// What is being tried at present, and why.
    pub fn purpose(&self) -> Option<(Rev, Purpose)> {
        self.plan.map(|plan| (plan.rev, plan.purpose))
    }

    fn costs(&self) -> Costs {
        Costs {
            build_seconds: self.builds.or(BUILD_SECONDS),
            trial_seconds: self.trials.or(TRIAL_SECONDS),
            machines: self.machines,
        }
    }

    fn shares_trials(&self, at: usize) -> bool {
        let Some(tried) = self.tried.get(at) else { return false };
        tried.trials.is_empty()
            && self.same_image(tried.rev).iter().any(|other| other.tally().trials() > 0)
    }

    /// The name of a revision.
    ///
    /// # Errors
    /// Fails if there is no such revision in the range.
    pub fn commit(&self, rev: Rev) -> Result<CommitId, FoldError> {
        self.candidates.id(rev).ok_or(FoldError::UnknownRevision { rev })
    }

    fn rev(&self, commit: CommitId) -> Result<Rev, FoldError> {
        self.candidates.rev(commit).ok_or(FoldError::UnknownCommit { commit })
    }

    fn tried(&mut self, commit: CommitId) -> Result<usize, FoldError> {
        let rev = self.rev(commit)?;
        let tried = &mut self.tried;
        Ok(*self.index.entry(rev).or_insert_with(|| {
            tried.push(Tried::new(rev, commit));
            tried.len() - 1
        }))
    }
}
