//! The same for people.

use std::fmt::{self, Formatter};

use super::text::{line, percent};
use super::{Answer, Contradiction, MergeReport, Report, RevertReport, RevertResult, TitleReport};
use crate::history::Find;

/// Files that are named one by one.
const FILES: usize = 5;

/// Titles, and revisions of each, that are listed.
const TITLES: usize = 8;
const REVISIONS: usize = 6;

impl Report {
    pub(super) fn write_merge(&self, f: &mut Formatter<'_>, merge: &MergeReport) -> fmt::Result {
        let (alone, together) = match self.find {
            Find::Cause => ("is without the bug", "only together do they show it"),
            Find::Fix => ("has the bug", "only together are they without it"),
        };
        let unknown: Vec<String> = merge
            .sides
            .iter()
            .filter(|side| !side.confirmed)
            .map(|side| line(&side.parent))
            .collect();
        match unknown.as_slice() {
            [] => writeln!(f, "It is a merge. Each side alone {alone}; {together}.")?,
            sides => writeln!(
                f,
                "It is a merge. Whether each side alone {alone} was not seen of {}, so it may also \
                 be that side which brings it.",
                sides.join(" and of ")
            )?,
        }
        let Some(by_hand) = &merge.by_hand else { return Ok(()) };
        match (by_hand.conflicts.as_slice(), by_hand.changed.as_slice()) {
            ([], []) => writeln!(
                f,
                "git merges the two without a conflict to just this: what one side changed, the \
                 other relies on."
            ),
            (conflicts, changed) => {
                if !conflicts.is_empty() {
                    writeln!(f, "Somebody resolved conflicts in {}.", files(conflicts))?;
                }
                if !changed.is_empty() {
                    writeln!(f, "Somebody changed more than git would in {}.", files(changed))?;
                }
                Ok(())
            }
        }
    }

    pub(super) fn write_revert(&self, f: &mut Formatter<'_>, revert: &RevertReport) -> fmt::Result {
        let trials = revert.hits + revert.clean;
        let newest = match self.find {
            Find::Cause => line(&self.bad),
            Find::Fix => self.good.first().map(line).unwrap_or_default(),
        };
        let reason = revert.reason.as_deref().and_then(|reason| reason.lines().next());
        match (revert.result, self.find) {
            (RevertResult::Gone, Find::Cause) => writeln!(
                f,
                "Reverted at {newest} it is cured: {} trials shows the target.",
                out_of(revert.hits, trials)
            ),
            (RevertResult::Shows, Find::Cause) => writeln!(
                f,
                "Reverted at {newest} it is NOT cured: {} of {trials} trials show the target. \
                 Something that came later may rely on it, or bring it in again.",
                revert.hits
            ),
            (RevertResult::Gone, Find::Fix) => writeln!(
                f,
                "Reverted at {newest} the bug does not come back: {} trials shows the target. \
                 Something that came later fixes it as well.",
                out_of(revert.hits, trials)
            ),
            (RevertResult::Shows, Find::Fix) => writeln!(
                f,
                "Reverted at {newest} the bug comes back: {} of {trials} trials show the target.",
                revert.hits
            ),
            (RevertResult::Unclear, _) => writeln!(
                f,
                "Reverted at {newest}, {} of {trials} trials show the target, which does not tell \
                 whether it is there.",
                revert.hits
            ),
            (RevertResult::DoesNotApply, _) => {
                writeln!(f, "The revert at {newest} does not apply: {}.", reason.unwrap_or("?"))
            }
            (RevertResult::Untestable, _) => writeln!(
                f,
                "The revert at {newest} could not be tested: {}.",
                reason.unwrap_or("no trial was allowed")
            ),
        }
    }

    /// Titles and where they were seen, if there is more than one.
    pub(super) fn write_titles(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.titles.iter().all(|title| title.target) {
            return Ok(());
        }
        writeln!(f, "Titles by revision, as trials that ended with them out of all:")?;
        for TitleReport { title, target, seen } in self.titles.iter().take(TITLES) {
            let target = if *target { " (the target)" } else { "" };
            let mut at: Vec<String> = seen
                .iter()
                .take(REVISIONS)
                .map(|seen| format!("{} {}/{}", seen.commit.short(), seen.trials, seen.of))
                .collect();
            if seen.len() > REVISIONS {
                at.push(format!("{} more", seen.len() - REVISIONS));
            }
            writeln!(f, "  {title}{target}: {}", at.join(", "))?;
        }
        if self.titles.len() > TITLES {
            writeln!(f, "  and {} more titles", self.titles.len() - TITLES)?;
        }
        writeln!(f, "What follows for another title: vmbisect replay STATE --crash TITLE")
    }

    /// What can be done where there is no answer.
    pub(super) fn write_way_on(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Answer::Undecided { why, remaining, base, .. } = &self.answer else { return Ok(()) };
        use crate::search::WhyNot;
        match why {
            WhyNot::Budget => writeln!(
                f,
                "hint: vmbisect bisect --resume --max-trials {} goes on",
                self.trials.saturating_mul(2).max(1)
            ),
            WhyNot::BaseIsBad => {
                let base = base.as_ref().map(|base| base.commit.short()).unwrap_or_default();
                let good = self.good.first().map(|good| good.commit.short()).unwrap_or_default();
                writeln!(
                    f,
                    "hint: vmbisect bisect --bad {base} with an older --good finds what brought it in \
                     there; vmbisect bisect --find fix --bad {base} --good {good} what the good \
                     revision has against it, which the branch, or the merge of it, may lack"
                )
            }
            WhyNot::Contradicted => writeln!(
                f,
                "hint: see below what does not fit; --crash narrows a title down that has two causes"
            ),
            WhyNot::Unconfirmed | WhyNot::Indistinguishable => {
                let first = remaining.first().map(|suspect| suspect.commit.short());
                writeln!(
                    f,
                    "hint: the table below says why the others can't be tested; a patch or a \
                     --config with which they build and boot would part them. Until then, read them \
                     in this order: git show {}",
                    first.unwrap_or_default()
                )
            }
        }
    }
}

/// What was measured and does not fit, a sentence each, with what it may mean.
pub fn doubts(contradictions: &[Contradiction]) -> impl Iterator<Item = String> {
    contradictions.iter().map(|contradiction| match contradiction {
        Contradiction::HitOfGood { commit, hits, trials } => format!(
            "Does not fit: {} showed the target in {hits} of {trials} trials, and all else says \
             that it is without the bug. Either the title has two causes (narrow it down with \
             --crash), or the workload is not what it was.",
            commit.short()
        ),
        Contradiction::CleanOfBad { commit, trials } => format!(
            "Does not fit: none of {trials} trials of {} showed the target, and all else says that \
             it has the bug. Something there may hide it; look at what it differs in.",
            commit.short()
        ),
        Contradiction::SameImage { shows, lacks } => format!(
            "Does not fit: {} and {} are the same image, and only the first showed the target. It \
             shows rarely, or depends on the host; more trials (--max-trials) tell.",
            shows.short(),
            lacks.short()
        ),
    })
}

/// Clean trials after which a hit rate is ruled out (95 %), for a few rates.
pub(super) fn rates_to_exclude() -> [(f64, u32); 3] {
    [0.1, 0.03, 0.01].map(|rate: f64| (rate, (0.05_f64.ln() / (-rate).ln_1p()).ceil() as u32))
}

/// `29 clean trials rule out a rate of 10.0 %, ...`.
pub(super) fn trials_to_believe() -> String {
    let rates = rates_to_exclude();
    let each = rates.map(|(rate, trials)| format!("{trials} clean trials for {}", percent(rate)));
    each.join(", ")
}

/// `none of 20`, where there may be a hit of something else.
fn out_of(hits: u32, trials: u32) -> String {
    match hits {
        0 => format!("none of {trials}"),
        hits => format!("{hits} of {trials}"),
    }
}

fn files(files: &[String]) -> String {
    let mut named = files.iter().take(FILES).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > FILES {
        named.push_str(&format!(" and {} more", files.len() - FILES));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::{files, rates_to_exclude};

    #[test]
    fn clean_trials_that_rule_out_a_rate() {
        assert_eq!(rates_to_exclude(), [(0.1, 29), (0.03, 99), (0.01, 299)]);
    }

    #[test]
    fn many_files_are_counted() {
        let names = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned);
        assert_eq!(files(&names), "a, b, c, d, e and 2 more");
        assert_eq!(files(&names[..2]), "a, b");
    }
}
