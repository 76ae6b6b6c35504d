//! The crashes of one guest, of which there may be any number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SeenCrash;

/// Crashes that are kept with their reports. A report is cut at 1 MiB, but the largest of real ones
/// are below 100 KiB.
const MOST_KEPT: usize = 100;

/// Titles that are counted: a guest can make up any number of them.
const MOST_TITLES: usize = 1000;

/// How often a title was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleCount {
    /// The title.
    pub title: String,
    /// Crashes of this title.
    pub count: u64,
}

/// A crash, and the kernel's time when it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) time_us: u64,
    pub(super) seen: SeenCrash,
}

impl Seen {
    fn title(&self) -> &str {
        &self.seen.crash.title
    }
}

/// The crashes of one guest: the first hundred, among them the first of each title, and how many
/// there were.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    pub(super) kept: Vec<Seen>,
    counts: BTreeMap<String, u64>,
    seen: u64,
}

impl Crashes {
    /// Takes in one that was not there yet, and tells whether it is kept. It is not where there is no
    /// room and its title is known.
    pub(super) fn keep(&mut self, new: Seen) -> bool {
        if self.kept.len() >= MOST_KEPT {
            let known = |kept: &[Seen], title: &str| kept.iter().any(|it| it.title() == title);
            if known(&self.kept, new.title()) {
                return false;
            }
            // What was seen before makes room for what was not.
            let repeated = (0..self.kept.len()).rev().find(|&at| match self.kept.split_at(at) {
                (before, [it, ..]) => known(before, it.title()),
                _ => false,
            });
            let Some(at) = repeated else { return false };
            self.kept.remove(at);
        }
        self.kept.push(new);
        true
    }

    /// Counts one that is complete.
    pub(super) fn count(&mut self, title: &str) {
        self.seen += 1;
        if let Some(count) = self.counts.get_mut(title) {
            *count += 1;
        } else if self.counts.len() < MOST_TITLES {
            self.counts.insert(title.to_owned(), 1);
        }
    }

    /// Those that are kept, how many there were in all, and how many of each title, the most frequent
    /// first.
    pub(super) fn finish(self) -> (Vec<SeenCrash>, u64, Vec<TitleCount>) {
        let counts = self.counts.into_iter();
        let mut titles: Vec<_> = counts.map(|(title, count)| TitleCount { title, count }).collect();
        titles.sort_by_key(|it| std::cmp::Reverse(it.count));
        (self.kept.into_iter().map(|kept| kept.seen).collect(), self.seen, titles)
    }
}

#[cfg(test)]
mod tests {
    use super::{Crashes, MOST_KEPT, MOST_TITLES, Seen};
    use crate::crash::Phase;
    use crate::trial::SeenCrash;
    use crate::trial::tests::crash;

    /// Tells whether it is kept.
    fn add(crashes: &mut Crashes, title: &str) -> bool {
        crashes.count(title);
        let seen = SeenCrash { phase: Phase::Boot, at_us: 1, crash: crash(title) };
        crashes.keep(Seen { time_us: 0, seen })
    }

    #[test]
    fn the_first_of_each_title_is_kept_and_all_are_counted() {
        let mut crashes = Crashes::default();
        assert!(add(&mut crashes, "a") && add(&mut crashes, "b"));
        let kept = (0..5000).filter(|_| add(&mut crashes, "a")).count();
        assert_eq!(kept, MOST_KEPT - 2);
        assert!(add(&mut crashes, "c") && !add(&mut crashes, "c") && !add(&mut crashes, "b"));
        let (kept, seen, titles) = crashes.finish();
        let kept: String = kept.iter().map(|it| &*it.crash.title).collect();
        assert_eq!(kept, format!("ab{}c", "a".repeat(MOST_KEPT - 3)));
        let titles: Vec<_> = titles.iter().map(|it| (&*it.title, it.count)).collect();
        assert_eq!((seen, titles), (5005, vec![("a", 5001), ("b", 2), ("c", 2)]));
    }

    #[test]
    fn a_guest_that_makes_up_titles_takes_no_more_memory_for_it() {
        let mut crashes = Crashes::default();
        let kept = (0..5000).filter(|number| add(&mut crashes, &number.to_string())).count();
        let (_, seen, titles) = crashes.finish();
        assert_eq!((kept, seen, titles.len()), (MOST_KEPT, 5000, MOST_TITLES));
    }
}
