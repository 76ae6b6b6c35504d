//! Which configuration is in use: a baseline, as long as the bug shows with it.

use super::Fold;
use crate::search::{Limits, Verdict};
use crate::session::Tried;
use crate::session::baseline::{Baselines, CLEAN_TRIALS, Dropped, WhyDropped};

impl Fold {
    /// The same, in which the configurations of these names are tried before the one asked for, in
    /// this order. Nothing may have happened in it yet.
    pub fn with_baselines(self, names: Vec<String>) -> Fold {
        Fold { baselines: Baselines { names, ..Baselines::default() }, ..self }
    }

    /// The baseline in use; `None` where that is the configuration asked for.
    pub fn baseline(&self) -> Option<&str> {
        self.baselines.current()
    }

    /// The baselines that are not used, by name, in the order they were tried.
    pub fn dropped_baselines(&self) -> impl Iterator<Item = (&str, &Dropped)> {
        let Baselines { names, dropped, .. } = &self.baselines;
        names.iter().map(String::as_str).zip(dropped)
    }

    /// Trials of kernels that were built with them.
    pub fn dropped_trials(&self) -> u64 {
        self.baselines.spent
    }

    /// Which baseline is in use, counted from 0; `None` where that is the configuration asked for.
    pub(in crate::session) fn baseline_number(&self) -> Option<usize> {
        self.baseline().map(|_| self.baselines.dropped.len())
    }

    /// Where trying is given up with the configuration in use.
    pub(super) fn limits_in_use(&self) -> Limits {
        match self.baseline() {
            Some(_) => Limits { bad_tip: self.limits.bad_tip.min(CLEAN_TRIALS), ..self.limits },
            None => self.limits,
        }
    }

    /// Why the baseline in use is given up at this end of a search, if it is.
    pub(super) fn drops_baseline(&self, verdict: &Verdict) -> Option<Dropped> {
        self.baseline()?;
        let at_bad = self.bad_end().and_then(|end| self.of(end));
        match verdict {
            Verdict::NotReproduced => Some(Dropped {
                why: WhyDropped::NotShown,
                seen: format!(
                    "the bad revision does not show the bug in {} clean trials{}",
                    at_bad.map_or(0, |tried| tried.tally().clean),
                    others(at_bad)
                ),
            }),
            Verdict::BadTipUntestable => Some(Dropped {
                why: WhyDropped::Untestable,
                seen: untestable("the bad revision", at_bad),
            }),
            // Of a release that was picked nobody said that it is good.
            _ if self.picked => None,
            _ => self.drops_baseline_at_last(verdict),
        }
    }

    /// The same, where no release is left to be picked.
    pub(in crate::session) fn drops_baseline_at_last(&self, verdict: &Verdict) -> Option<Dropped> {
        self.baseline()?;
        let seen = "a good revision shows the bug with it, too".into();
        let is_bad = matches!(verdict, Verdict::GoodTipBad { .. });
        is_bad.then_some(Dropped { why: WhyDropped::ShownAtGood, seen })
    }

    /// Why the baseline in use is given up where no good end can be tested.
    pub(super) fn no_good_end_with_baseline(&self) -> Option<Dropped> {
        self.baseline()?;
        let end = self.good_ends().into_iter().find_map(|end| self.of(end));
        let seen = untestable("a good revision", end);
        Some(Dropped { why: WhyDropped::Untestable, seen })
    }

    /// Goes on with the next configuration. What was measured with this one is of other kernels.
    pub(super) fn drop_baseline(&mut self, dropped: Dropped) {
        let mut fold = self.anew(self.candidates.clone()).with_prior(&self.suspicion);
        fold.baselines = std::mem::take(&mut self.baselines);
        fold.baselines.dropped.push(dropped);
        fold.baselines.spent = self.spent;
        fold.spent = self.spent;
        fold.last_ms = self.last_ms;
        fold.build_ms = self.build_ms;
        fold.trial_ms = self.trial_ms;
        *self = fold;
    }
}

fn untestable(which: &str, end: Option<&Tried>) -> String {
    match end.and_then(|tried| tried.build_failure.as_ref()) {
        Some(reason) => {
            format!("{which} does not build: {}", reason.lines().next().unwrap_or_default())
        }
        None => format!("no trial of {which} told anything{}", others(end)),
    }
}

/// What showed instead.
fn others(end: Option<&Tried>) -> String {
    let seen = end.map(Tried::useless).unwrap_or_default();
    seen.iter().map(|(what, count)| format!("; {count} x {what}")).collect()
}
