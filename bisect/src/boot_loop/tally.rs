//! What many runs showed, counted.

use std::collections::BTreeMap;

use serde::Serialize;
use vmm::Milestone;

use super::{Finished, Interval, Seen};

/// What the runs so far have shown.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    passed: u64,
    shown: Vec<Shown>,
    invalid: BTreeMap<String, u64>,
    infra: BTreeMap<String, u64>,
    to_init_us: Vec<u64>,
}

/// One title, and how often it showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The title.
    pub title: String,
    /// Runs that showed it before anything else.
    pub count: u64,
    /// The number of the first of them, counted from 1.
    pub first_run: u64,
    /// The first one's report; empty for what is no crash.
    pub report: String,
}

impl Tally {
    /// Takes in a run; true if it showed something that none before it did.
    pub(super) fn take_in(&mut self, finished: &Finished) -> bool {
        let report = &finished.report;
        let reached = |(milestone, at_us): &(Milestone, u64)| {
            (*milestone == Milestone::InitReached).then_some(*at_us)
        };
        self.to_init_us.extend(report.milestones.iter().find_map(reached));
        match &finished.seen {
            Seen::Nothing => self.passed += 1,
            Seen::Invalid(reason) => *self.invalid.entry(reason.clone()).or_default() += 1,
            Seen::Infra(reason) => *self.infra.entry(reason.clone()).or_default() += 1,
            Seen::Title(title) => {
                if let Some(known) = self.shown.iter_mut().find(|shown| shown.title == *title) {
                    known.count += 1;
                    return false;
                }
                let crash = report.crashes.first().map(|seen| seen.crash.report.clone());
                self.shown.push(Shown {
                    title: title.clone(),
                    count: 1,
                    first_run: finished.number,
                    report: crash.unwrap_or_default(),
                });
                return true;
            }
        }
        false
    }

    /// Runs that showed nothing.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Runs that showed something.
    pub fn failed(&self) -> u64 {
        self.shown.iter().map(|shown| shown.count).sum()
    }

    /// Runs that say something about the kernel: those that passed and those that failed.
    pub fn counted(&self) -> u64 {
        self.passed + self.failed()
    }

    /// How often this title showed.
    pub fn count(&self, title: &str) -> u64 {
        self.shown.iter().find(|shown| shown.title == title).map_or(0, |shown| shown.count)
    }

    /// What showed and how often, the most frequent title first.
    pub fn titles(&self) -> Vec<(&str, u64)> {
        let mut shown: Vec<&Shown> = self.shown.iter().collect();
        shown.sort_by_key(|shown| (std::cmp::Reverse(shown.count), shown.first_run));
        shown.into_iter().map(|shown| (&*shown.title, shown.count)).collect()
    }

    /// All of it, the most frequent title first.
    pub fn summary(&self) -> Summary {
        let counted = self.counted();
        let mut titles: Vec<Counted> = self
            .shown
            .iter()
            .map(|shown| Counted {
                rate: rate(shown.count, counted),
                interval: Interval::of(shown.count, counted),
                shown: shown.clone(),
            })
            .collect();
        titles.sort_by_key(|title| (std::cmp::Reverse(title.shown.count), title.shown.first_run));
        Summary {
            counted,
            passed: self.passed,
            failed: self.failed(),
            rate: rate(self.failed(), counted),
            interval: Interval::of(self.failed(), counted),
            titles,
            invalid: self.invalid.clone(),
            infra: self.infra.clone(),
            to_init_us: BootTimes::of(&self.to_init_us),
        }
    }
}

/// The result of a loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Runs that say something about the kernel.
    pub counted: u64,
    /// Those that showed nothing.
    pub passed: u64,
    /// Those that showed something.
    pub failed: u64,
    /// Share of the counted runs that showed something; 0 without any.
    pub rate: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// What showed, the most frequent first.
    pub titles: Vec<Counted>,
    /// Runs that say nothing because a precondition was not met, by reason.
    pub invalid: BTreeMap<String, u64>,
    /// Runs that say nothing because the host failed, by reason.
    pub infra: BTreeMap<String, u64>,
    /// Microseconds from the start of the machine to init; none if no run got there.
    pub to_init_us: Option<BootTimes>,
}

/// A title with its rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counted {
    /// What showed.
    #[serde(flatten)]
    pub shown: Shown,
    /// Share of the counted runs that showed it.
    pub rate: f64,
    /// Its 95 % interval.
    pub interval: Interval,
}

fn rate(count: u64, of: u64) -> f64 {
    count as f64 / of.max(1) as f64
}

/// How boot times are distributed, by nearest rank: each value is one that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BootTimes {
    /// Boots that reached init.
    pub boots: usize,
    /// The shortest.
    pub min: u64,
    /// Half of the boots took no longer.
    pub median: u64,
    /// Nine in ten boots took no longer.
    pub p90: u64,
    /// The longest.
    pub max: u64,
}

impl BootTimes {
    fn of(times: &[u64]) -> Option<BootTimes> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied()
        };
        Some(BootTimes {
            boots: sorted.len(),
            min: rank(0)?,
            median: rank(50)?,
            p90: rank(90)?,
            max: rank(100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::BootTimes;

    #[test]
    fn times_are_by_nearest_rank() {
        assert_eq!(BootTimes::of(&[]), None);
        let one = BootTimes { boots: 1, min: 7, median: 7, p90: 7, max: 7 };
        assert_eq!(BootTimes::of(&[7]), Some(one));
        let times: Vec<u64> = (1..=10).rev().collect();
        let ten = BootTimes { boots: 10, min: 1, median: 5, p90: 9, max: 10 };
        assert_eq!(BootTimes::of(&times), Some(ten));
    }
}
