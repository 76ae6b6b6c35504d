//! How likely trials are to tell something of the target.

use super::rates::Tally;

/// Trials that told nothing of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Useless {
    /// Something else came first, which it may not the next time: another crash, a hang.
    pub by_chance: u32,
    /// They did not come so far that they could have told: no boot, too few CPUs.
    pub dead: u32,
}

impl Useless {
    /// All of them.
    pub fn trials(self) -> u32 {
        self.by_chance.saturating_add(self.dead)
    }

    /// These and others.
    pub fn plus(self, other: Useless) -> Useless {
        Useless {
            by_chance: self.by_chance.saturating_add(other.by_chance),
            dead: self.dead.saturating_add(other.dead),
        }
    }
}

/// Share of the revisions that build and of which no trial tells anything.
const MUTE: f64 = 0.02;

/// The same share of the ends of a range, of which somebody has seen what they do.
const MUTE_END: f64 = 0.002;

/// How often trials tell nothing, learned from the revisions of which some do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yields {
    by_chance: Share,
    dead: Share,
}

/// A share that differs from revision to revision: Beta(a, b).
#[derive(Clone, Copy, Debug)]
struct Share {
    a: f64,
    b: f64,
}

impl Yields {
    /// What follows from what those revisions showed of which some trials told something.
    pub(super) fn new(told: Tally, useless: Useless) -> Yields {
        let told = f64::from(told.trials());
        // Another bug may well be in a part of the range only, so its share varies widely. That a
        // kernel boots now and then is rare.
        Yields {
            by_chance: Share::learned(0.1, 5.0, f64::from(useless.by_chance), told),
            dead: Share::learned(0.01, 50.0, f64::from(useless.dead), told),
        }
    }

    /// Probability that further trials of a revision will ever tell something, of which so many
    /// told nothing and none told anything.
    pub(super) fn speaks(&self, useless: Useless, is_end: bool) -> f64 {
        let mute = if is_end { MUTE_END } else { MUTE };
        let by_luck = self.by_chance.all_of(useless.by_chance) * self.dead.all_of(useless.dead);
        let speaks = (1.0 - mute) * by_luck;
        speaks / (speaks + mute)
    }

    /// The share of the trials of a revision that will tell something, if any do.
    pub(super) fn share(&self, told: Tally, useless: Useless) -> f64 {
        let told = f64::from(told.trials());
        let of = |share: Share, useless: u32| {
            (share.b + told) / (share.a + share.b + told + f64::from(useless))
        };
        of(self.by_chance, useless.by_chance) * of(self.dead, useless.dead)
    }
}

impl Share {
    /// `mean` is what is thought of it beforehand, and `strength` how alike revisions are, in
    /// trials.
    fn learned(mean: f64, strength: f64, useless: f64, told: f64) -> Share {
        let mean = (mean * strength + useless) / (strength + useless + told);
        Share { a: mean * strength, b: (1.0 - mean) * strength }
    }

    /// Probability that this many trials one after the other are useless.
    fn all_of(self, trials: u32) -> f64 {
        let mut all = 1.0;
        for nth in 0..trials {
            all *= (self.a + f64::from(nth)) / (self.a + self.b + f64::from(nth));
            // It is as good as nothing, and the next million would not make it any smaller.
            if all < 1e-9 {
                return 0.0;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Useless, Yields};
    use crate::search::Tally;

    fn by_chance(by_chance: u32) -> Useless {
        Useless { by_chance, dead: 0 }
    }

    #[test]
    fn patience_grows_with_what_is_seen_elsewhere() {
        let nothing = Yields::new(Tally::default(), Useless::default());
        let masked = Yields::new(Tally { hits: 10, clean: 60 }, by_chance(30));
        let speaks = |of: &Yields, trials| of.speaks(by_chance(trials), false);
        assert!(speaks(&nothing, 2) > 0.3 && speaks(&nothing, 15) < 0.003);
        assert!(speaks(&masked, 4) > 3.0 * speaks(&nothing, 4));
        assert!(masked.speaks(by_chance(8), true) > masked.speaks(by_chance(8), false));
        assert!((masked.share(Tally::default(), Useless::default()) - 0.7).abs() < 0.02);
        let halved = masked.share(Tally { hits: 0, clean: 50 }, by_chance(50));
        assert!((halved - 0.5).abs() < 0.03, "{halved}");
    }

    #[test]
    fn what_does_not_boot_once_will_hardly_boot() {
        let yields = Yields::new(Tally { hits: 0, clean: 50 }, Useless::default());
        assert!(yields.speaks(Useless { by_chance: 0, dead: 3 }, false) < 0.003);
        assert!(yields.speaks(Useless { by_chance: 0, dead: 1 }, true) > 0.5);
        assert_eq!(yields.speaks(by_chance(u32::MAX), false), 0.0);
    }
}
