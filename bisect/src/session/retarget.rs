//! What recorded trials say of another title than the one they were run for.

use std::collections::HashSet;

use crate::history::CommitId;
use crate::journal::{Event, Record};
use crate::trial::{Outcome, Target};

/// The records as far as they would be the same, had the session looked for crashes of `wanted`
/// instead of for `target`.
///
/// As ever, the first crash that was printed decides. A trial that printed none and ended because
/// `target` showed says of a crash what such an end says of one. What was concluded on the way is
/// about `target` alone, and left out: what to try next, whom its crash points at, which branches
/// never had it, and the revert of its culprit with all that was tried of it.
pub fn retarget(records: Vec<Record>, target: &Target, wanted: &Target) -> Vec<Record> {
    let reverts: HashSet<CommitId> = records.iter().filter_map(|it| revert(&it.event)).collect();
    let of_revert = |event: &Event| match event {
        Event::Infra { commit, .. } => reverts.contains(commit),
        other => other.commit().is_some_and(|commit| reverts.contains(&commit)),
    };
    let kept = records.into_iter().filter(|it| !is_conclusion(&it.event) && !of_revert(&it.event));
    kept.map(|Record { at_ms, event }| Record { at_ms, event: judge(event, target, wanted) })
        .collect()
}

fn revert(event: &Event) -> Option<CommitId> {
    match event {
        Event::Reverted { commit, .. } => *commit,
        _ => None,
    }
}

/// Whether it follows from what the session looked for, and not from the revisions.
fn is_conclusion(event: &Event) -> bool {
    match event {
        Event::Favoured { .. }
        | Event::Planned { .. }
        | Event::Skipped { .. }
        | Event::Reverted { .. } => true,
        // A release that was picked is an end of the range for any title.
        Event::Resumed(_)
        | Event::Good { .. }
        | Event::BaselineDropped(_)
        | Event::Inert { .. }
        | Event::NotInert { .. }
        | Event::Built { .. }
        | Event::BuildFailed { .. }
        | Event::Trial { .. }
        | Event::Infra { .. } => false,
    }
}

fn judge(event: Event, target: &Target, wanted: &Target) -> Event {
    match event {
        Event::Trial { commit, outcome, crashes, boot, seconds, console, report } => {
            let outcome = match crashes.first() {
                Some(title) if wanted.matches_title(title) => Outcome::Hit { title: title.clone() },
                Some(title) => Outcome::Foreign { title: title.clone() },
                None => without_crash(outcome, target),
            };
            Event::Trial { commit, outcome, crashes, boot, seconds, console, report }
        }
        other => other,
    }
}

fn without_crash(outcome: Outcome, target: &Target) -> Outcome {
    match (outcome, target) {
        // The workload came to its end, whatever the end was.
        (Outcome::Hit { .. } | Outcome::Foreign { .. }, Target::ExitStatus(_)) => Outcome::Clean,
        (Outcome::Hit { title }, Target::NoBoot) => Outcome::NoBoot { reason: title },
        (Outcome::Hit { title }, Target::Hang) => Outcome::Hang { title },
        (Outcome::Hit { title }, Target::AnyCrash) => Outcome::Foreign { title },
        // The journal of another version may lack the list of crashes.
        (Outcome::Hit { title }, Target::Crash(_)) => Outcome::Foreign { title },
        (Outcome::Clean, Target::NoBoot) => {
            Outcome::Invalid { reason: "it was stopped when it had booted".into() }
        }
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::retarget;
    use crate::history::CommitId;
    use crate::journal::{Event, Record};
    use crate::search::Purpose;
    use crate::session::Skip;
    use crate::trial::{Outcome, Target};

    fn trial(outcome: Outcome, crashes: &[&str]) -> Event {
        Event::Trial {
            commit: "1".repeat(40).parse().unwrap(),
            outcome,
            crashes: crashes.iter().map(|&title| title.into()).collect(),
            boot: false,
            seconds: 1.0,
            console: None,
            report: None,
        }
    }

    fn judged(outcome: Outcome, crashes: &[&str], target: &Target) -> Outcome {
        let wanted = Target::Crash(vec!["B*".into()]);
        let records = vec![Record { at_ms: 0, event: trial(outcome, crashes) }];
        match &retarget(records, target, &wanted)[..] {
            [Record { event: Event::Trial { outcome, .. }, .. }] => outcome.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_crash_decides() {
        let hit = |title: &str| Outcome::Hit { title: title.into() };
        let foreign = |title: &str| Outcome::Foreign { title: title.into() };
        let a = Target::Crash(vec!["A".into()]);
        assert_eq!(judged(hit("A"), &["A", "B1"], &a), foreign("A"));
        assert_eq!(judged(foreign("B1"), &["B1", "A"], &a), hit("B1"));
        assert_eq!(judged(Outcome::Clean, &[], &a), Outcome::Clean);
    }

    #[test]
    fn without_a_crash_the_end_decides() {
        let hit = || Outcome::Hit { title: "x".into() };
        let status = Target::ExitStatus(None);
        assert_eq!(judged(hit(), &[], &status), Outcome::Clean);
        assert_eq!(judged(hit(), &[], &Target::NoBoot), Outcome::NoBoot { reason: "x".into() });
        assert_eq!(judged(hit(), &[], &Target::Hang), Outcome::Hang { title: "x".into() });
        assert_eq!(judged(hit(), &[], &Target::AnyCrash), Outcome::Foreign { title: "x".into() });
        let invalid = judged(Outcome::Clean, &[], &Target::NoBoot);
        assert!(matches!(invalid, Outcome::Invalid { .. }), "{invalid:?}");
    }

    #[test]
    fn what_was_concluded_of_another_title_is_left_out() {
        let id = |digit: &str| -> CommitId { digit.repeat(40).parse().unwrap() };
        let (commit, purpose, title) = (id("1"), Purpose::Revert, String::new());
        let inert = Event::Inert { commits: vec![id("5")] };
        let good = Event::Good { commit: id("6"), name: "v1".into() };
        let mut of_revert = trial(Outcome::Clean, &[]);
        if let Event::Trial { commit, .. } = &mut of_revert {
            *commit = id("9");
        }
        let events = vec![
            good.clone(),
            Event::Planned { commit, trials: 4, purpose, title },
            trial(Outcome::Clean, &[]),
            Event::Favoured { commits: vec![id("2")], share: 0.5 },
            inert.clone(),
            Event::Skipped { commit: id("3"), base: id("4"), why: Skip::Lacks },
            Event::Reverted { culprit: id("1"), commit: Some(id("9")), failure: None },
            of_revert,
        ];
        let records = events.into_iter().map(|event| Record { at_ms: 0, event }).collect();
        let wanted = Target::Crash(vec!["B".into()]);
        let kept = retarget(records, &Target::Crash(vec!["A".into()]), &wanted);
        let kept: Vec<Event> = kept.into_iter().map(|record| record.event).collect();
        assert_eq!(kept, [good, trial(Outcome::Clean, &[]), inert]);
    }
}
