//! Rules that find a culprit.

pub(super) mod bayesect;
mod git_bisect;
pub(super) mod ours;
mod syzkaller;

use serde::Serialize;

use super::world::Lab;
use super::{Setting, SimulateError};
use crate::cancel::Cancel;
use crate::history::Rev;
use bayesect::Bayesect;

/// A rule that says what to try next, and when a commit is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// What `vmbisect bisect` does.
    Ours,
    /// What syzkaller did until 2021: 10 runs, 20 once the bug is flaky, and any crash is bad.
    #[serde(rename = "syzkaller-2021")]
    Syzkaller2021,
    /// What syzkaller does since July 2024: bad from the larger of 2 and a sixth of the runs on,
    /// good if half of them are and none crashed. Names below its threshold of confidence, which
    /// it keeps to itself, are no answers.
    #[serde(rename = "syzkaller-2024")]
    Syzkaller2024,
    /// `git bisect run` with one trial a revision, any crash being bad.
    GitBisect,
    /// `git bayesect run` of the Python package git_bayesect, with any crash being bad. It has to be
    /// installed.
    GitBayesect,
}

/// Programs that rules are asked of, started when one is needed first.
#[derive(Debug, Default)]
pub(super) struct Programs {
    bayesect: Option<Bayesect>,
}

/// What came of following a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// The commit that it names.
    pub(super) named: Option<Rev>,
    /// The commit that it holds likeliest, named or not, with the probability that it claims.
    pub(super) claim: Option<(Rev, f64)>,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 5] =
        [Rule::Ours, Rule::Syzkaller2021, Rule::Syzkaller2024, Rule::GitBisect, Rule::GitBayesect];

    /// Those that need no other program.
    pub const OWN: [Rule; 4] =
        [Rule::Ours, Rule::Syzkaller2021, Rule::Syzkaller2024, Rule::GitBisect];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Ours => "ours",
            Rule::Syzkaller2021 => "syzkaller-2021",
            Rule::Syzkaller2024 => "syzkaller-2024",
            Rule::GitBisect => "git-bisect",
            Rule::GitBayesect => "git-bayesect",
        }
    }

    /// Follows the rule to its end; `None` if cancelled.
    pub(super) fn follow(
        self,
        lab: &mut Lab<'_>,
        setting: &Setting,
        programs: &mut Programs,
        cancel: &Cancel,
    ) -> Result<Option<Answer>, SimulateError> {
        Ok(match self {
            Rule::Ours => ours::follow(lab, setting, cancel),
            Rule::Syzkaller2021 => syzkaller::follow(lab, syzkaller::Era::Of2021, cancel),
            Rule::Syzkaller2024 => syzkaller::follow(lab, syzkaller::Era::Of2024, cancel),
            Rule::GitBisect => git_bisect::follow(lab, cancel),
            Rule::GitBayesect => {
                let bayesect = match &mut programs.bayesect {
                    Some(bayesect) => bayesect,
                    slot => slot.insert(Bayesect::start()?),
                };
                bayesect::follow(lab, bayesect, cancel)?
            }
        })
    }
}
