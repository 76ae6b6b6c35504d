//! What recorded trials say of another title than the one they were run for.

use crate::journal::Event;
use crate::trial::{Outcome, Target};

/// The event as it would have been recorded, had the session looked for crashes of `wanted`
/// instead of for `target`.
///
/// As ever, the first crash that was printed decides. A trial that printed none and ended because
/// `target` showed says of a crash what such an end says of one.
pub fn retarget(event: Event, target: &Target, wanted: &Target) -> Event {
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
    use crate::journal::Event;
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
        match retarget(trial(outcome, crashes), target, &wanted) {
            Event::Trial { outcome, .. } => outcome,
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
}
