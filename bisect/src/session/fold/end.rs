//! What is left to do when the search has ended: the revert.

use super::{Fold, Plan};
use crate::history::Rev;
use crate::journal::Event;
use crate::search::{Purpose, Verdict};
use crate::session::{FoldError, Image, Reverted, Step, Trial};

impl Fold {
    /// Takes in what happened to the revert. It is no revision of the range: what it shows says
    /// something of the answer, and nothing of the search.
    pub(super) fn apply_reverted(&mut self, event: &Event, elapsed: u64) -> Result<(), FoldError> {
        let rev = self.reverted_rev();
        match event {
            Event::Planned { trials, purpose, .. } => {
                self.plan = Some(Plan { rev, left: *trials, purpose: *purpose });
                return Ok(());
            }
            Event::Built { .. } | Event::BuildFailed { .. } => self.build_ms += elapsed,
            Event::Trial { .. } => {
                self.trial_ms += elapsed;
                self.spent += 1;
                if let Some(plan) = self.plan.as_mut() {
                    plan.left = plan.left.saturating_sub(1);
                }
            }
            _ => {}
        }
        self.host_failures = 0;
        let Some(tried) = self.reverted.as_mut().and_then(|it| it.tried.as_mut()) else {
            return Ok(());
        };
        tried.trials.extend(Trial::of(event));
        tried.image = Image::of(event).or(tried.image.take());
        if let Event::BuildFailed { reason, .. } = event {
            tried.build_failure = Some(reason.clone());
        }
        let is_over = tried.build_failure.is_some();
        if is_over || self.reverted.as_ref().is_some_and(|it| it.shows(&self.belief).is_some()) {
            self.plan = None;
        }
        Ok(())
    }

    /// What is left to do when the search has ended.
    pub(super) fn end(&self, verdict: Verdict) -> Step {
        let Verdict::Culprit { rev, .. } = verdict else { return Step::Done(verdict) };
        match &self.reverted {
            _ if !self.reverting => Step::Done(verdict),
            Some(reverted) if reverted.culprit == rev => {
                match reverted.lacks(self.clean_trials_needed(), &self.belief) {
                    0 => Step::Done(verdict),
                    _ if self.spent >= self.limits.trials => Step::Done(verdict),
                    lacks => {
                        let trials = lacks.min(self.machines());
                        Step::Plan { rev: self.reverted_rev(), trials, purpose: Purpose::Revert }
                    }
                }
            }
            _ => Step::Revert { rev },
        }
    }

    /// The answer, reverted at the newer end of the range, once that was tried.
    pub fn reverted(&self) -> Option<&Reverted> {
        self.reverted.as_ref()
    }

    /// Whether the bug shows with the revert; `None` where its trials do not say.
    pub fn shows_reverted(&self) -> Option<bool> {
        self.reverted.as_ref()?.shows(&self.belief)
    }

    /// Clean trials after which a revision counts as without the bug.
    pub fn clean_trials_needed(&self) -> u32 {
        self.belief.clean_trials_needed(self.likeliest(), self.limits.clean)
    }

    /// The likeliest candidate.
    pub(super) fn likeliest(&self) -> Rev {
        self.belief.best().map_or(0, |(rev, _)| rev)
    }

    /// The number that stands for the revert: one that no revision has.
    pub(super) fn reverted_rev(&self) -> Rev {
        self.candidates.graph().revisions() as Rev
    }
}
