//! What the search for a fix asks besides: whether a revision had the bug to begin with.

use super::Fold;
use crate::history::Rev;
use crate::search::{Purpose, Tally, Useless};
use crate::session::presence::{Found, Presence, Present};
use crate::session::{Skip, Step, Tried};

/// How many times as many clean trials as of others are asked of a merge base: a whole branch is
/// ruled out by it.
const MERGE_BASE_CARE: u32 = 2;

/// Trials of a merge base, for each clean one that is asked for, after which it is left open whether
/// it has the bug.
const MOST_OF_BASE: u32 = 2;

impl Fold {
    /// Takes in what one more trial told, which is among those tried already.
    pub(super) fn weigh(&mut self, rev: Rev, at: usize, told: Tally, useless: Useless) {
        if told.trials() == 0 {
            return self.belief.observe_useless(rev, useless);
        }
        let graph = self.candidates.graph();
        let held_back = |presence: &Presence| presence.of(graph, rev) != Present::Yes;
        if !self.presence.as_ref().is_some_and(held_back) {
            return self.belief.observe(rev, told);
        }
        // Without the bug to begin with, a clean trial does not speak for a fix.
        let own = self.tried.get(at).map(Tried::tally).unwrap_or_default();
        let (shows, needed) = (self.belief.shows(own, self.likeliest()), self.merge_base_trials());
        let is_base = !graph.is_candidate(rev);
        if shows == Some(true) {
            self.found(rev, Found::Shows);
            self.take_in_what_was_held_back();
        } else if is_base && shows == Some(false) && own.clean >= needed {
            self.found(rev, Found::Lacks);
            self.belief.untestable(rev);
            self.plan = None;
        } else if is_base && own.trials() >= MOST_OF_BASE * needed {
            self.give_up_on(rev);
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
        self.clean_trials_needed().saturating_mul(MERGE_BASE_CARE)
    }

    fn found(&mut self, rev: Rev, found: Found) {
        if let Some(presence) = &mut self.presence {
            presence.found(rev, found);
        }
    }

    /// Nothing can be learned from trials of a revision.
    pub(super) fn give_up_on(&mut self, rev: Rev) {
        self.belief.untestable(rev);
        if !self.candidates.graph().is_candidate(rev) && !self.lacks_bug(rev) {
            self.found(rev, Found::Untestable);
        }
        self.plan = None;
    }

    /// What to do so that a revision can be tried.
    pub(super) fn plan(&self, rev: Rev, trials: u32, purpose: Purpose) -> Step {
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

    /// Whether a merge base was found to be older than the bug whose fix is looked for.
    pub fn lacks_bug(&self, rev: Rev) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.lacks(rev))
    }
}
