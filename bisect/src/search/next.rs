//! Belief in, next action out.

use serde::{Deserialize, Serialize};

use super::gain::best_batch;
use super::{Belief, Limits};
use crate::history::Rev;

/// What an action takes, as measured so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Seconds to build a revision.
    pub build_seconds: f64,
    /// Seconds to run one trial, or `machines` of them at a time.
    pub trial_seconds: f64,
    /// How many trials run at a time.
    pub machines: u32,
}

/// Why a revision is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Whether the bug shows at the bad end at all.
    BadTip,
    /// Whether it is really absent from a good end.
    GoodTip,
    /// Whether a branch already had the bug where it left.
    MergeBase,
    /// Whether reverting the culprit undoes what it did.
    Revert,
    /// To narrow down the candidates.
    Search,
    /// Whether the likely culprit shows it or, where it is the likely fix, does not.
    ConfirmCulprit,
    /// Whether a parent of the likely culprit does not or, of the likely fix, does.
    ConfirmParent,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Build the revision, unless there is an image, and try it.
    Test {
        /// The revision.
        rev: Rev,
        /// How many trials; never more than run at a time, since every result may change what is
        /// best.
        trials: u32,
        /// Why.
        purpose: Purpose,
    },
    /// There is nothing more to do.
    Done(Verdict),
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// This is the sought commit: the culprit, which shows the bug, as its parents do not; or the
    /// fix, which does not, as its parents do.
    Culprit {
        /// The commit.
        rev: Rev,
        /// Posterior probability.
        probability: f64,
        /// Parents that could not be tested.
        unconfirmed: Vec<Rev>,
    },
    /// The evidence does not suffice.
    Undecided {
        /// Why no more is gathered.
        why: WhyNot,
        /// Candidates that hold the asked confidence, likeliest first.
        remaining: Vec<(Rev, f64)>,
    },
    /// The bug did not show at the bad end.
    NotReproduced,
    /// The bad end can't be built, does not boot or always dies of something else first.
    BadTipUntestable,
    /// No good end was given, and the one that was picked can't be tested.
    GoodTipUntestable,
    /// The bug is in a good end too.
    GoodTipBad {
        /// Posterior probability that the bug is older than the range, or not fixed in it.
        probability: f64,
    },
}

/// Why no more evidence is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// Nothing that can be tested would tell the remaining candidates apart.
    Indistinguishable,
    /// As many trials were run as were allowed.
    Budget,
    /// The others are ruled out, but the one that is left can't be tested itself.
    Unconfirmed,
    /// The others are ruled out, but what its own trials show, or those of a parent, speaks against
    /// the one that is left.
    Contradicted,
    /// A branch already had the bug where it left, below the good ends: see
    /// [`Belief::bad_base`]. What brought it in there is no candidate.
    BaseIsBad,
}

/// Hits at the bad end that establish the bug, and of the culprit that make it sure that it has it:
/// a single one may be false.
pub(super) const ESTABLISHED: u32 = 2;

/// Trials of the bad end after which one hit has to do.
const PATIENCE: u32 = 20;

/// The hit rate is learned at the bad end until the bounds of its 95 % interval are no further apart
/// than by this factor: some six hits of a rare bug, two of one that always shows.
const UNSURE: f64 = 5.0;

/// Trials of the good end for each one of the bad end before the search begins. They tell of a false
/// rate that is high, and cost no build; a low one is learned while the search goes on.
const AT_GOOD: f64 = 0.25;

/// Below this share of the error that is allowed, the bug hardly shows all over the range: good ends
/// are tried like any other revision then, where that tells most.
const SETTLED: f64 = 0.2;

/// Trials of the likely culprit or of a parent, for each clean one that is asked for, after which more
/// will not show what it has to be.
const ENOUGH: u32 = 2;

/// How many times as many clean trials are asked of where a side branch left, below the good ends: a
/// whole branch is blamed by it, and beforehand little speaks for its being bad.
const BASE_CARE: u32 = 2;

/// Less information than this, in bits, is not worth a batch. Where the bug shows hardly more often than
/// something that looks the same, at 5 % and 3 %, the longest batch tells some 0.003 just before the
/// answer, and thousands of trials do lead to it.
const NEGLIGIBLE: f64 = 0.001;

/// What to do next. `spent` counts trials of every kind.
///
/// The same belief, costs and limits always give the same action.
pub fn next(belief: &Belief, costs: &Costs, limits: &Limits, spent: u64) -> Action {
    let find = belief.model.find;
    let (Some(bad_tip), false) = (find.bad_end(&belief.graph), belief.graph.candidates() == 0)
    else {
        return undecided(belief, WhyNot::Indistinguishable);
    };
    let machines = costs.machines.max(1);
    let test = |rev, trials: u32, purpose| {
        if spent >= limits.trials {
            undecided(belief, WhyNot::Budget)
        } else {
            let rev = belief.representative(rev);
            Action::Test { rev, trials: trials.clamp(1, machines), purpose }
        }
    };
    let at_bad = belief.tally(bad_tip);
    // What shows at any candidate is in the bad end too, whether it shows there or not.
    let established =
        belief.most_hits() >= ESTABLISHED || (at_bad.hits > 0 && at_bad.trials() >= PATIENCE);
    if !established {
        if belief.is_untestable(bad_tip) {
            return Action::Done(Verdict::BadTipUntestable);
        }
        if at_bad.hits == 0 && at_bad.clean >= limits.bad_tip {
            return Action::Done(Verdict::NotReproduced);
        }
        return test(bad_tip, ESTABLISHED.max(machines), Purpose::BadTip);
    }
    let names_at = belief.model.names_at();
    let bad_good_end = belief.bad_good_end();
    if bad_good_end >= names_at {
        return Action::Done(Verdict::GoodTipBad { probability: bad_good_end });
    }
    if let Some((base, probability)) = belief.bad_base()
        && probability >= names_at
    {
        return match belief.tally(base).hits >= ESTABLISHED || belief.is_untestable(base) {
            true => undecided(belief, WhyNot::BaseIsBad),
            false => test(base, machines, Purpose::MergeBase),
        };
    }
    let (best, probability) = belief.best().unwrap_or_default();
    let needed = belief.clean_trials_needed(best, limits.clean);
    let wanted_of = |rev: Rev| match belief.is_base(rev) {
        true => needed.saturating_mul(BASE_CARE),
        false => needed,
    };
    let lacks = |rev: Rev| {
        let (tally, wanted) = (belief.tally(rev), wanted_of(rev));
        let lacks = wanted.saturating_sub(tally.clean);
        // A few hits may be false ones; where the bug itself is likelier, more trials tell nothing.
        let in_doubt = belief.probability_bad(rev) < 0.5 && tally.trials() < wanted * ENOUGH;
        let in_doubt = tally.hits == 0 || in_doubt;
        (lacks > 0 && in_doubt && !belief.is_untestable(rev)).then_some(lacks)
    };
    // The ends are there already, and what they tell of the rates saves builds and trials later: a
    // hit rate that is thought too low makes a bug of false hits.
    let rate = belief.hit_rate();
    if at_bad.trials() < limits.clean
        && rate.high > UNSURE * rate.low
        && !belief.is_untestable(bad_tip)
    {
        return test(bad_tip, machines, Purpose::BadTip);
    }
    let good_ends = find.good_ends(&belief.graph);
    let at_good: u32 = good_ends.iter().map(|&end| belief.tally(end).trials()).sum();
    let testable = good_ends.iter().filter(|&&end| !belief.is_untestable(end));
    let least_tried = testable.min_by_key(|&&end| belief.tally(end).trials());
    let wanted = AT_GOOD * f64::from(at_bad.trials().min(limits.clean));
    let lacks_good = (wanted.ceil() as u32).saturating_sub(at_good);
    if let (Some(&end), true) = (least_tried, lacks_good > 0) {
        let each = lacks_good.div_ceil(good_ends.len().max(1) as u32);
        return test(end, each, Purpose::GoodTip);
    }
    // Clean trials further up say more about a good end than its own could.
    for tip in good_ends {
        if belief.probability_bad(tip) > SETTLED * (1.0 - belief.model.confidence)
            && let Some(lacks) = lacks(tip)
        {
            return test(tip, lacks, Purpose::GoodTip);
        }
    }
    if probability >= names_at {
        // Trials that a revision lacks to be seen to be what the culprit makes it.
        let lacks_to_be = |rev: Rev, bad: bool| {
            let tally = belief.tally(rev);
            let is_seen = tally.hits >= ESTABLISHED || tally.clean >= needed * ENOUGH;
            match bad {
                true if is_seen || belief.is_untestable(rev) => None,
                true => Some(machines),
                false => lacks(rev),
            }
        };
        let seen_to_be = |rev: Rev, bad: bool| match bad {
            true => belief.tally(rev).hits >= ESTABLISHED,
            false => belief.tally(rev).clean >= wanted_of(rev),
        };
        let bad = find.is_bad(true);
        if let Some(lacks) = lacks_to_be(best, bad) {
            return test(best, lacks, Purpose::ConfirmCulprit);
        }
        if belief.is_untestable(best) && !seen_to_be(best, bad) {
            return undecided(belief, WhyNot::Unconfirmed);
        }
        let parents = belief.graph.parents(best);
        for &parent in parents {
            if let Some(lacks) = lacks_to_be(parent, !bad) {
                return test(parent, lacks, Purpose::ConfirmParent);
            }
        }
        // Trials that they share with others speak for these only if they have the same image, and
        // not just by what builds read. To see that costs no more than to link an image.
        let purpose = |rev| match rev == best {
            true => Purpose::ConfirmCulprit,
            false => Purpose::ConfirmParent,
        };
        let mut all = std::iter::once(best).chain(parents.iter().copied());
        let has_to_be = |rev| if rev == best { bad } else { !bad };
        if all.clone().any(|rev| belief.shows(belief.tally(rev), best) == Some(!has_to_be(rev))) {
            return undecided(belief, WhyNot::Contradicted);
        }
        let unseen = all.find(|&rev| !belief.is_built(rev) && !belief.is_untestable(rev));
        if let (Some(rev), true) = (unseen, spent < limits.trials) {
            return Action::Test { rev, trials: 1, purpose: purpose(rev) };
        }
        return Action::Done(Verdict::Culprit {
            rev: best,
            probability,
            unconfirmed: parents.iter().copied().filter(|&it| !seen_to_be(it, !bad)).collect(),
        });
    }
    match best_batch(belief, costs) {
        Some((batch, most_bits)) if most_bits >= NEGLIGIBLE => {
            test(batch.rev, batch.trials, Purpose::Search)
        }
        _ => match belief.bad_base() {
            Some((_, bad)) if bad > 0.5 => undecided(belief, WhyNot::BaseIsBad),
            _ => undecided(belief, WhyNot::Indistinguishable),
        },
    }
}

fn undecided(belief: &Belief, why: WhyNot) -> Action {
    let remaining = belief.credible(belief.model.confidence);
    Action::Done(Verdict::Undecided { why, remaining })
}
