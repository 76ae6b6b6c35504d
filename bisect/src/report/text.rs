//! The answer for people.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use super::ending_text::{doubts, trials_to_believe};
use super::{Answer, DroppedBaseline, Report, RevisionReport, StandIn, Standing, Suspect};
use crate::history::Find;
use crate::search::WhyNot;
use crate::session::Skip;
use crate::trial::Target;

/// Remaining candidates that are listed one by one.
const LISTED: usize = 20;

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_answer(f)?;
        writeln!(f)?;
        self.write_table(f)?;
        writeln!(f)?;
        self.write_remarks(f)?;
        if let Some(told) = &self.recipients {
            writeln!(f, "Who to tell:")?;
            told.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        if let Some(name) = &self.baseline {
            writeln!(f, "The baseline {name} was used.")?;
        }
        for DroppedBaseline { name, dropped } in &self.dropped_baselines {
            writeln!(f, "The baseline {name} was not used: {}.", dropped.seen)?;
        }
        if self.inert > 0 {
            writeln!(
                f,
                "{} of the candidates can't change the image: they touch nothing that was built.",
                self.inert
            )?;
        }
        writeln!(
            f,
            "{} trials{} of {} revisions out of {} candidates; {} building, {} in trials.",
            self.trials,
            match self.dropped_trials {
                0 => String::new(),
                trials => format!(" ({trials} with what was not used)"),
            },
            self.revisions.len(),
            self.candidates,
            duration(self.build_seconds),
            duration(self.trial_seconds),
        )
    }
}

impl Report {
    fn write_answer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = describe(&self.target);
        match &self.answer {
            Answer::Culprit { culprit, unconfirmed, stand_ins, merge, revert, .. } => {
                let first = match self.find {
                    Find::Cause => "first bad commit:",
                    Find::Fix => "first fixed commit:",
                };
                writeln!(f, "{first} {} {}", culprit.commit, culprit.title)?;
                let width = first.len();
                writeln!(f, "{:<width$} {}", "probability:", percent(culprit.probability))?;
                unconfirmed.iter().try_for_each(|parent| self.write_unconfirmed(f, parent))?;
                for StandIn { parent, tried } in stand_ins {
                    let (parent, tried) = (line(parent), line(tried));
                    writeln!(f, "its parent {parent} has the image of {tried}, which was tried")?;
                }
                merge.iter().try_for_each(|merge| self.write_merge(f, merge))?;
                revert.iter().try_for_each(|revert| self.write_revert(f, revert))
            }
            Answer::Undecided { why, remaining, outside, base, merged_by } => {
                let reason = match why {
                    WhyNot::Indistinguishable => {
                        "nothing that can be tested would tell these apart"
                    }
                    WhyNot::Unconfirmed => {
                        "the likeliest one can't be tested, so that nobody has seen it show the bug"
                    }
                    WhyNot::Contradicted => {
                        "what was seen of the likeliest one, or of a parent of it, speaks against it"
                    }
                    WhyNot::BaseIsBad => "the bug came in on a side branch, below this range",
                    WhyNot::Budget => "as many trials were run as were allowed (--max-trials)",
                };
                writeln!(f, "No culprit can be named: {reason}.")?;
                if let Some(base) = base {
                    let shows_it =
                        |it: &RevisionReport| it.commit.commit == base.commit && it.hits > 0;
                    let has_it = match self.revisions.iter().any(shows_it) {
                        true => "shows it already: it is no good revision",
                        false => {
                            "has it already, by what was seen beside it; it could not be tested"
                        }
                    };
                    writeln!(f, "{}, where the branch left, {has_it}.", line(base))?;
                }
                if let Some(merge) = merged_by {
                    writeln!(f, "The branch was merged by {}.", line(merge))?;
                }
                for suspect in remaining.iter().take(LISTED) {
                    writeln!(f, "  {:>7}  {}", percent(suspect.probability), line(suspect))?;
                }
                if remaining.len() > LISTED {
                    writeln!(f, "  and {} more", remaining.len() - LISTED)?;
                }
                writeln!(f, "  {:>7}  none of the candidates", percent(*outside))?;
                self.write_way_on(f)
            }
            Answer::NotReproduced { clean, hit_rate_below, instead, .. } => {
                writeln!(
                    f,
                    "{target} did not show at the bad revision {}: {clean} clean trials.",
                    line(&self.bad)
                )?;
                writeln!(
                    f,
                    "If it shows there at all, then in fewer than {} of the trials.",
                    percent(*hit_rate_below)
                )?;
                writeln!(f, "To rule out a rate takes {}.", trials_to_believe())?;
                write_instead(f, instead)?;
                writeln!(
                    f,
                    "hint: give it more time or vCPUs or a workload that provokes it, or more of \
                     --bad-trials"
                )
            }
            Answer::BadTipUntestable { build_failure: Some(reason), .. } => {
                writeln!(f, "The bad revision {} does not build:", line(&self.bad))?;
                reason.lines().try_for_each(|line| writeln!(f, "  {line}"))
            }
            Answer::BadTipUntestable { build_failure: None, instead } => {
                writeln!(
                    f,
                    "{target} could not show at the bad revision {}: no trial got that far.",
                    line(&self.bad)
                )?;
                write_instead(f, instead)?;
                writeln!(f, "hint: `vmbisect boot` shows the console")
            }
            Answer::GoodTipUntestable { build_failure } => {
                writeln!(
                    f,
                    "No release without the bug was found: the oldest, {}, can't be tested.",
                    self.good.first().map(line).unwrap_or_default()
                )?;
                for reason in build_failure.iter().flat_map(|reason| reason.lines()) {
                    writeln!(f, "  {reason}")?;
                }
                writeln!(f, "hint: say where the bug was not there yet: --good REV")
            }
            Answer::GoodTipBad { same_image: true, .. } => writeln!(
                f,
                "The good and the bad revision build to the same image: with this configuration, \
                 nothing that changed between them is built."
            ),
            Answer::GoodTipBad { probability, same_image: false, oldest_release, shows_at } => {
                match self.find {
                    Find::Cause if *oldest_release => writeln!(
                        f,
                        "{target} shows in every release down to the oldest one, {}: it is older.\n\
                         hint: an older revision may be good all the same: --good REV",
                        self.good.first().map(line).unwrap_or_default()
                    )?,
                    Find::Cause => writeln!(
                        f,
                        "{target} shows at a good revision too, {}: it is older.\n\
                         hint: give an older good revision, or leave out --good to have one found",
                        shows_at.iter().map(line).collect::<Vec<_>>().join(", ")
                    )?,
                    Find::Fix => writeln!(
                        f,
                        "{target} still shows at the good revision: it is not fixed there.\n\
                         hint: give a newer good revision, once there is one that is fixed"
                    )?,
                }
                writeln!(f, "probability:      {}", percent(*probability))
            }
        }
    }

    /// A parent that was not seen to be what the answer makes it.
    fn write_unconfirmed(&self, f: &mut fmt::Formatter<'_>, parent: &Suspect) -> fmt::Result {
        let parent_line = line(parent);
        let revision = self.revisions.iter().find(|it| it.commit.commit == parent.commit);
        match (self.find, revision.and_then(|revision| revision.skipped)) {
            (_, Some((base, Skip::Lacks))) => writeln!(
                f,
                "its parent {parent_line} never had the bug: the branch left at {}, before it came \
                 in",
                base.short()
            ),
            (_, Some((base, Skip::Unknown))) => writeln!(
                f,
                "warning: whether its parent {parent_line} had the bug can't be known: {}, where \
                 the branch left, can't be tested",
                base.short()
            ),
            (Find::Cause, None) => {
                writeln!(f, "warning: its parent {parent_line} could not be shown to be good")
            }
            (Find::Fix, None) => {
                writeln!(f, "warning: its parent {parent_line} could not be shown to have the bug")
            }
        }
    }

    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "revision      is       hits  trials  title")?;
        for revision in &self.revisions {
            let trials = revision.hits + revision.clean;
            let (hits, trials) = match trials {
                0 => ("-".into(), "-".into()),
                _ => (revision.hits.to_string(), trials.to_string()),
            };
            let standing = word(revision.standing);
            writeln!(
                f,
                "{}  {standing:<7}  {hits:>4}  {trials:>6}  {}{}",
                revision.commit.commit.short(),
                revision.commit.title,
                remark(revision)
            )?;
        }
        Ok(())
    }

    fn write_remarks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.revisions.iter().any(|revision| revision.hits > 0) {
            let [mean, low, high] = self.hit_rate.map(percent);
            writeln!(
                f,
                "A kernel with the bug shows it in {mean} of the trials ({low} to {high})."
            )?;
        }
        if !self.useless.is_empty() {
            writeln!(f, "Seen and not blamed on anyone:")?;
            for (what, count) in &self.useless {
                writeln!(f, "  {count:>4} x {what}")?;
            }
        }
        self.write_titles(f)?;
        doubts(&self.contradictions).try_for_each(|doubt| writeln!(f, "{doubt}"))
    }
}

/// What showed at the bad end instead of the target.
fn write_instead(f: &mut fmt::Formatter<'_>, instead: &BTreeMap<String, u32>) -> fmt::Result {
    if instead.is_empty() {
        return Ok(());
    }
    writeln!(f, "Other things showed there, which --crash TITLE would look for:")?;
    instead.iter().try_for_each(|(what, count)| writeln!(f, "  {count:>4} x {what}"))
}

/// What is looked for, as the subject of a sentence.
pub fn describe(target: &Target) -> String {
    match target {
        Target::Crash(titles) => {
            titles.iter().map(|title| format!("{title:?}")).collect::<Vec<_>>().join(" or ")
        }
        Target::CrashFamily(titles) => {
            format!("{} or a crash akin to it", describe(&Target::Crash(titles.clone())))
        }
        Target::AnyCrash => "A crash".into(),
        Target::NoBoot => "A failure to boot".into(),
        Target::Hang => "A hang".into(),
        Target::ExitStatus(None) => "A failure of the workload".into(),
        Target::ExitStatus(Some(status)) => format!("Exit status {status} of the workload"),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Bad => "bad",
        Standing::Good => "good",
        Standing::Untestable => "skipped",
        Standing::Broken => "broken",
        Standing::Unclear => "unclear",
    }
}

fn remark(revision: &RevisionReport) -> String {
    let mut remark = String::new();
    if let Some(other) = revision.same_image_as {
        let _ = write!(remark, " [same image as {}]", other.short());
    }
    if let Some(reason) = revision.build_failure.as_ref().and_then(|reason| reason.lines().next()) {
        let _ = write!(remark, " [does not build: {reason}]");
    }
    match revision.skipped {
        Some((base, Skip::Lacks)) => {
            let _ = write!(remark, " [left at {}, before the bug came in]", base.short());
        }
        Some((base, Skip::Unknown)) => {
            let _ = write!(remark, " [left at {}, which can't be tested]", base.short());
        }
        None => {}
    }
    let useless: u32 = revision.useless.values().sum();
    if useless > 0 {
        let _ = write!(remark, " [{useless} told nothing]");
    }
    remark
}

pub(super) fn line(suspect: &Suspect) -> String {
    format!("{} {}", suspect.commit.short(), suspect.title)
}

/// A probability for people: never 100 % and never 0 %.
pub fn percent(probability: f64) -> String {
    match probability * 100.0 {
        high if high > 99.9 => "> 99.9 %".into(),
        low if low < 0.1 => "< 0.1 %".into(),
        percent => format!("{percent:.1} %"),
    }
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, percent};

    #[test]
    fn certainty_is_never_claimed() {
        assert_eq!(percent(1.0), "> 99.9 %");
        assert_eq!(percent(0.9734), "97.3 %");
        assert_eq!(percent(0.0), "< 0.1 %");
    }

    #[test]
    fn durations() {
        assert_eq!(duration(59.7), "1 min 0 s");
        assert_eq!(duration(16254.0), "4 h 30 min");
    }
}
