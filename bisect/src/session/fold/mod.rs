//! What a session knows: a fold over the records of its journal.

mod baseline;
mod end;
mod fix;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::baseline::Baselines;
use super::mean::Mean;
use super::presence::Presence;
use super::{FoldError, Image, Reverted, Skip, Step, Trial, Tried};
use crate::history::{Candidates, CommitId, Find, Rev};
use crate::journal::{Event, Record, Stage};
use crate::search::{Action, Belief, Costs, Limits, Model, Prior, Purpose, Verdict, next};

/// A build takes this long until one was measured.
const BUILD_SECONDS: f64 = 300.0;

/// A trial takes this long until one was measured.
const TRIAL_SECONDS: f64 = 30.0;

/// Failures of the host, one after the other, after which a session stops.
const HOST_FAILURES: u32 = 3;

/// Probability that a release has a bug that a later revision has.
const PICKED_GOOD_IS_BAD: f64 = 0.3;

/// What a session knows.
#[derive(Clone, Debug)]
pub struct Fold {
    candidates: Arc<Candidates>,
    model: Model,
    belief: Belief,
    /// What the user suspects.
    suspicion: Prior,
    /// Whether the crash itself is to point at candidates, and whether it has not yet in this range.
    crash_hints: bool,
    crash_hint: bool,
    presence: Option<Presence>,
    /// Candidates that can't change the image, once that is known of this range.
    inert: Option<BTreeSet<Rev>>,
    limits: Limits,
    machines: u32,
    baselines: Baselines,
    /// Whether the good end was picked among the releases, and not given.
    picked: bool,
    /// Whether the answer is to be reverted in the end.
    reverting: bool,
    reverted: Option<Reverted>,
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

impl Fold {
    /// A session in which nothing has happened yet. `machines` trials run at a time.
    pub fn new(candidates: Arc<Candidates>, model: Model, limits: Limits, machines: u32) -> Fold {
        let belief = Belief::new(Arc::new(candidates.graph().clone()), model);
        let presence = Presence::new(model.find, candidates.graph());
        Fold {
            suspicion: Prior::even(candidates.len()),
            crash_hints: false,
            crash_hint: false,
            candidates,
            model,
            belief,
            presence,
            inert: None,
            limits,
            machines,
            baselines: Baselines::default(),
            picked: false,
            reverting: false,
            reverted: None,
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

    /// The same, with a good end that was picked among the releases: it may well have the bug.
    pub fn with_picked_good(self) -> Fold {
        let model = Model { outside: PICKED_GOOD_IS_BAD, ..self.model };
        let candidates = self.candidates.clone();
        Fold { picked: true, model, ..self }.anew(candidates)
    }

    /// The same, in which the files that the crash names point at candidates.
    pub fn with_crash_hint(self) -> Fold {
        Fold { crash_hints: true, crash_hint: true, ..self }
    }

    /// Whether the crash is still to point at candidates.
    pub(super) fn wants_crash_hint(&self) -> bool {
        self.crash_hint
    }

    /// The same, with a suspicion. Nothing may have happened in it yet.
    pub fn with_prior(self, prior: &Prior) -> Fold {
        let graph = Arc::new(self.candidates.graph().clone());
        let belief = Belief::with_prior(graph, self.model, prior);
        Fold { belief, suspicion: prior.clone(), ..self }
    }

    /// The same, which reverts its answer in the end.
    pub fn with_revert(self) -> Fold {
        Fold { reverting: true, ..self }
    }

    /// One in which nothing has happened yet, of another range.
    pub fn anew(&self, candidates: Arc<Candidates>) -> Fold {
        let fold = Fold::new(candidates, self.model, self.limits, self.machines);
        let Fold { picked, reverting, crash_hints, .. } = *self;
        let fold = fold.with_baselines(self.baselines.names.clone());
        Fold { picked, reverting, crash_hints, crash_hint: crash_hints, ..fold }
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// Fails if the record speaks of a commit that is not in the range.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        let elapsed = record.at_ms.saturating_sub(self.last_ms);
        self.last_ms = record.at_ms;
        if let Some(commit) = record.event.commit()
            && self.reverted.as_ref().is_some_and(|reverted| reverted.is(commit))
        {
            return self.apply_reverted(&record.event, elapsed);
        }
        match &record.event {
            Event::Resumed(_) => {
                // Whoever resumes has seen to the host.
                self.host_failures = 0;
            }
            // Of what the range has more now, nothing of either kind is known, and those that were
            // favoured before are too young by now.
            Event::Good { .. } => {
                self.inert = None;
                self.crash_hint = self.crash_hints;
                self.belief.set_prior(&self.suspicion);
            }
            Event::BaselineDropped(dropped) => self.drop_baseline(dropped.clone()),
            Event::Favoured { commits, share } => {
                self.crash_hint = false;
                let revs = commits.iter().filter_map(|&commit| self.candidates.rev(commit));
                let mut prior = self.suspicion.clone();
                prior.hold(revs, *share);
                self.belief.set_prior(&prior);
            }
            Event::Inert { commits } => {
                self.set_inert(commits.iter().filter_map(|&it| self.candidates.rev(it)).collect());
                // What was to be tried may have been tried under another name: think again.
                self.plan = None;
            }
            Event::NotInert { commits } => {
                let mut inert = self.inert.take().unwrap_or_default();
                for rev in commits.iter().filter_map(|&commit| self.candidates.rev(commit)) {
                    inert.remove(&rev);
                }
                self.set_inert(inert);
            }
            Event::Reverted { culprit, commit, failure } => {
                let (culprit, rev) = (self.rev(*culprit)?, self.reverted_rev());
                let tried = commit.map(|commit| Tried::new(rev, commit));
                self.reverted = Some(Reverted { culprit, failure: failure.clone(), tried });
            }
            Event::Planned { commit, trials, purpose, .. } => {
                let rev = self.rev(*commit)?;
                self.plan = Some(Plan { rev, left: *trials, purpose: *purpose });
            }
            Event::Built { commit, signature, seconds, .. } => {
                self.build_ms += elapsed;
                self.host_failures = 0;
                let at = self.tried(*commit)?;
                self.builds.add(*seconds);
                if let Some(tried) = self.tried.get_mut(at) {
                    tried.image = Image::of(&record.event);
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
            Event::Trial { commit, .. } => {
                self.trial_ms += elapsed;
                if let Some(trial) = Trial::of(&record.event) {
                    self.apply_trial(*commit, trial)?;
                }
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

    fn set_inert(&mut self, inert: BTreeSet<Rev>) {
        self.belief.cannot_change(inert.iter().copied());
        self.inert = Some(inert);
    }

    /// The candidates that can't change the image; `None` until that is known of this range.
    pub fn inert(&self) -> Option<&BTreeSet<Rev>> {
        self.inert.as_ref()
    }

    fn apply_trial(&mut self, commit: CommitId, trial: Trial) -> Result<(), FoldError> {
        let rev = self.rev(commit)?;
        let at = self.tried(commit)?;
        self.host_failures = 0;
        self.spent += 1;
        self.trials.add(trial.seconds);
        let (told, useless) = (trial.tally(), trial.useless());
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.rev == rev) {
            plan.left = plan.left.saturating_sub(1);
        }
        let Some(tried) = self.tried.get_mut(at) else { return Ok(()) };
        tried.trials.push(trial);
        self.weigh(rev, at, told, useless);
        let Some(tried) = self.tried.get(at) else { return Ok(()) };
        if tried.tally().trials() == 0 && self.belief.is_untestable(rev) {
            self.give_up_on(rev);
        }
        Ok(())
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
        let good = self.good_ends();
        if !good.is_empty() && good.iter().all(|&end| self.belief.is_untestable(end)) {
            if let Some(dropped) = self.no_good_end_with_baseline() {
                return Step::DropBaseline(dropped);
            }
            if self.picked {
                return Step::Done(Verdict::GoodTipUntestable);
            }
        }
        match next(&self.belief, &self.costs(), &self.limits_in_use(), self.spent) {
            Action::Test { rev, trials, purpose } => self.plan(rev, trials, purpose),
            Action::Done(verdict) => match self.drops_baseline(&verdict) {
                Some(dropped) => Step::DropBaseline(dropped),
                None => self.end(verdict),
            },
        }
    }

    /// Which commit is looked for.
    pub fn find(&self) -> Find {
        self.model.find
    }

    /// Whether the good end was picked among the releases, and not given.
    pub fn picked_good(&self) -> bool {
        self.picked
    }

    /// The end of the range that shows the bug.
    pub fn bad_end(&self) -> Option<Rev> {
        self.model.find.bad_end(self.candidates.graph())
    }

    /// The ends of the range that do not.
    pub fn good_ends(&self) -> Vec<Rev> {
        self.model.find.good_ends(self.candidates.graph())
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
        let reverted = self.reverted.as_ref().and_then(|reverted| reverted.tried.as_ref());
        match self.index.get(&rev) {
            Some(&at) => self.tried.get(at),
            None => reverted.filter(|tried| tried.rev == rev),
        }
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
        let tried = || self.of(rev).map(|tried| tried.commit);
        self.candidates.id(rev).or_else(tried).ok_or(FoldError::UnknownRevision { rev })
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
