//! Which configuration is in use: a baseline, as long as the bug shows with it.

use super::Fold;
use crate::search::{Limits, Verdict};
use crate::session::Tried;
use crate::session::baseline::{Baselines, CLEAN_TRIALS, Dropped, WhyDropped};

impl Fold {
    /// The same, in which the configurations of these names are tried before the one asked for, in
    /// this order. Nothing may have happened in it yet.
    pub fn with_baselines(self, names: Vec<String>) -> Fold {
        Fold { baselines: Baselines { names, dropped: Vec::new() }, ..self }
    }

    /// The baseline in use; `None` where that is the configuration asked for.
    pub fn baseline(&self) -> Option<&str> {
        self.baselines.current()
    }

    /// The baselines that are not used, by name, in the order they were tried.
    pub fn dropped_baselines(&self) -> impl Iterator<Item = (&str, &Dropped)> {
        let Baselines { names, dropped } = &self.baselines;
        names.iter().map(String::as_str).zip(dropped)
    }

    /// The number of the configuration in use: baselines first, the one asked for last.
    pub(in crate::session) fn configuration(&self) -> usize {
        self.baselines.dropped.len()
    }

    /// Where trying is given up with the configuration in use.
    pub(super) fn limits_in_use(&self) -> Limits {
        match self.baseline() {
            Some(_) => Limits { bad_tip: self.limits.bad_tip.min(CLEAN_TRIALS), ..self.limits },
            None => self.limits,
        }
    }

    /// Whether an end of the search is one of the baseline in use alone, and why.
    pub(super) fn drops_baseline(&self, verdict: &Verdict) -> Option<Dropped> {
        self.baseline()?;
        let at_bad = self.bad_end().and_then(|end| self.of(end));
        let (why, seen) = match verdict {
            Verdict::NotReproduced => (WhyDropped::NotShown, clean_trials(at_bad)),
            Verdict::BadTipUntestable => (WhyDropped::Untestable, untestable(at_bad)),
            // A release that was picked is known to nobody as good.
            Verdict::GoodTipBad { .. } if !self.picked => {
                (WhyDropped::ShownAtGood, "a good revision shows the bug, too".into())
            }
            _ => return None,
        };
        Some(Dropped { why, seen })
    }

    /// Goes on with the next configuration. What was measured with this one is of other kernels.
    pub(super) fn drop_baseline(&mut self, dropped: Dropped) {
        let mut fold = self.anew(self.candidates.clone()).with_prior(&self.suspicion);
        fold.baselines = std::mem::take(&mut self.baselines);
        fold.baselines.dropped.push(dropped);
        fold.spent = self.spent;
        fold.last_ms = self.last_ms;
        fold.build_ms = self.build_ms;
        fold.trial_ms = self.trial_ms;
        *self = fold;
    }
}

fn clean_trials(at_bad: Option<&Tried>) -> String {
    let clean = at_bad.map_or(0, |tried| tried.tally().clean);
    format!("the bad revision does not show the bug in {clean} clean trials{}", others(at_bad))
}

fn untestable(at_bad: Option<&Tried>) -> String {
    match at_bad.and_then(|tried| tried.build_failure.as_ref()) {
        Some(reason) => {
            let first = reason.lines().next().unwrap_or_default();
            format!("the bad revision does not build: {first}")
        }
        None => format!("no trial of the bad revision got that far{}", others(at_bad)),
    }
}

/// What showed instead.
fn others(at_bad: Option<&Tried>) -> String {
    let seen = at_bad.map(Tried::useless).unwrap_or_default();
    seen.iter().map(|(what, count)| format!("; {count} x {what}")).collect()
}
