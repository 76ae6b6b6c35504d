//! How good a rule is, measured: bisections of simulated bugs, whose culprit is known.
//!
//! Builds and trials are simulated, everything else is real: [`Rule::Ours`] is
//! [`search::next`](crate::search::next) on a [`search::Belief`](crate::search::Belief). Rules are
//! compared in the same worlds, where the n-th trial of a revision ends the same for all of them.
//!
//! ```
//! use vmbisect::cancel::Cancel;
//! use vmbisect::search::{Costs, Limits};
//! use vmbisect::simulate::{Nature, Rule, Setting, Shape, simulate};
//!
//! let setting = Setting {
//!     shape: Shape::Linear { candidates: 100 },
//!     nature: Nature {
//!         hit_rate: 0.9,
//!         false_rate: 0.0,
//!         foreign: 0.0,
//!         foreign_span: 1.0,
//!         broken: 0.0,
//!         broken_length: 20,
//!     },
//!     suspicion: None,
//!     costs: Costs { build_seconds: 400.0, trial_seconds: 10.0, machines: 1 },
//!     limits: Limits::default(),
//!     confidence: 0.95,
//!     seed: 1,
//! };
//! let scores = simulate(&setting, &[Rule::Ours], 10, 1, &Cancel::new(), &mut |_| {})?;
//! assert!(scores[0].right >= 8);
//! # Ok::<(), vmbisect::simulate::SimulateError>(())
//! ```

mod bound;
mod history;
mod rules;
mod tally;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

pub use bound::least_trials;
pub use history::Shape;
pub use rules::Rule;
pub use tally::{Reliability, Score};
pub use world::{Nature, Suspicion};

use crate::cancel::Cancel;
use crate::history::Rev;
use crate::rng::Rng;
use crate::search::{Costs, Limits};
use rules::Programs;
use rules::bayesect::Bayesect;
use tally::Outcome;
use thiserror::Error;
use world::{Lab, World};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The history.
    pub shape: Shape,
    /// The bug, and what else goes wrong.
    pub nature: Nature,
    /// What points our own rule at some of the commits, if anything does.
    pub suspicion: Option<Suspicion>,
    /// What builds and trials take.
    pub costs: Costs,
    /// Where our own rule gives up.
    pub limits: Limits,
    /// Probability at which our own rule names a culprit.
    pub confidence: f64,
    /// Where the random numbers start.
    pub seed: u64,
}

/// Why a rule can't be simulated.
#[derive(Debug, Error)]
pub enum SimulateError {
    /// git_bayesect is not installed.
    #[error("git_bayesect can't be run ({said})")]
    NoBayesect {
        /// Which Python was asked, and what came of it.
        said: String,
    },
    /// git_bayesect does not do what it did when this was written.
    #[error("git_bayesect failed: {reason}")]
    Bayesect {
        /// How.
        reason: String,
    },
}

impl SimulateError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        "the rule git-bayesect asks the package of that name: install it with `pip install \
         git_bayesect` (or pipx), version 1.2, or leave the rule out"
    }
}

/// Follows each rule through `histories` histories, `jobs` of them at a time, and says how each
/// did. `on_done` is told how many are done.
///
/// When cancelled, the histories done by then are what counts. The result depends on the setting
/// and on the number of histories alone.
///
/// # Errors
/// Fails if a rule needs a program that is not there, or that fails.
pub fn simulate(
    setting: &Setting,
    rules: &[Rule],
    histories: u64,
    jobs: usize,
    cancel: &Cancel,
    on_done: &mut dyn FnMut(u64),
) -> Result<Vec<Score>, SimulateError> {
    if rules.contains(&Rule::GitBayesect) {
        // Said before hours of other rules' work, and not after.
        drop(Bayesect::start()?);
    }
    let next = AtomicU64::new(0);
    let (mut done, mut failed) = (Vec::new(), None);
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..jobs.max(1) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                let mut programs = Programs::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= histories {
                        return;
                    }
                    let one = one(setting, rules, number, &mut programs, cancel).transpose();
                    let Some(outcomes) = one else { return };
                    let ends = outcomes.is_err();
                    if sender.send((number, outcomes)).is_err() || ends {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (number, outcomes) in receiver {
            match outcomes {
                Ok(outcomes) => {
                    done.push((number, outcomes));
                    on_done(done.len() as u64);
                }
                Err(error) => {
                    // Nobody begins another one.
                    next.store(histories, Ordering::Relaxed);
                    failed = Some(error);
                }
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    done.sort_by_key(|(number, _)| *number);
    let of = |at: usize| -> Vec<Outcome> {
        done.iter().filter_map(|(_, outcomes)| outcomes.get(at).copied()).collect()
    };
    Ok(rules.iter().enumerate().map(|(at, &rule)| Score::new(rule, &of(at))).collect())
}

/// Follows each rule through one history; `None` if cancelled.
fn one(
    setting: &Setting,
    rules: &[Rule],
    number: u64,
    programs: &mut Programs,
    cancel: &Cancel,
) -> Result<Option<Vec<Outcome>>, SimulateError> {
    let mut rng = Rng::new(setting.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
    let mut seed = || (rng.uniform() * (1u64 << 53) as f64) as u64;
    let (shape_seed, culprit_seed, world_seed) = (seed(), seed(), seed());
    let graph = setting.shape.history(&mut Rng::new(shape_seed));
    let culprit = Rng::new(culprit_seed).below(graph.candidates()) as Rev;
    let world = World::new(graph, culprit, setting.nature, world_seed);
    let outcomes: Result<Vec<Option<Outcome>>, SimulateError> = rules
        .iter()
        .map(|rule| {
            let mut lab = Lab::new(&world, setting.costs);
            let answer = rule.follow(&mut lab, setting, programs, cancel)?;
            Ok(answer.map(|answer| Outcome::new(answer, &lab)))
        })
        .collect();
    Ok(outcomes?.into_iter().collect())
}

#[cfg(test)]
mod tests;
