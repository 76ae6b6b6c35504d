//! What one run showed.

use vmm::Ending;

use crate::trial::{Outcome, TrialReport};

/// What one run showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: the workload ended with status 0, and no crash was printed.
    Nothing,
    /// Something, by its title: a crash's own, or a sentence for what has none.
    Title(String),
    /// The run says nothing about the kernel: a precondition was not met.
    Invalid(String),
    /// The run says nothing about the kernel: the host failed.
    Infra(String),
}

impl Seen {
    /// What the run with this report showed: of several crashes the first, whatever follows may be
    /// its consequence.
    pub fn of(report: &TrialReport) -> Seen {
        if let Some(first) = report.crashes.first() {
            return Seen::Title(first.crash.title.clone());
        }
        match &report.outcome {
            Outcome::Hit { title } | Outcome::Foreign { title } | Outcome::Hang { title } => {
                Seen::Title(title.clone())
            }
            Outcome::NoBoot { reason } => Seen::Title(format!("no boot: {reason}")),
            Outcome::Invalid { reason } => Seen::Invalid(reason.clone()),
            Outcome::Infra { reason } => Seen::Infra(reason.clone()),
            Outcome::Clean => match report.machine.as_ref().map(|machine| &machine.ending) {
                // To a bisection for a crash a workload that fails is one that ran.
                Some(ending @ Ending::Exit { status: 1.. }) => Seen::Title(ending.to_string()),
                _ => Seen::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm::{Ending, Summary};

    use super::Seen;
    use crate::crash::Phase;
    use crate::trial::tests::crash;
    use crate::trial::{Outcome, SeenCrash, TrialReport};

    fn seen(outcome: Outcome, ending: Ending, titles: &[&str]) -> Seen {
        let crashes = titles.iter().map(|title| SeenCrash {
            phase: Phase::Boot,
            at_us: 1,
            crash: crash(title),
        });
        Seen::of(&TrialReport {
            machine: Some(Summary::new(ending)),
            crashes: crashes.collect(),
            ..TrialReport::without_machine(outcome)
        })
    }

    #[test]
    fn every_outcome_has_its_place() {
        let exit = |status| Ending::Exit { status };
        assert_eq!(seen(Outcome::Clean, exit(0), &[]), Seen::Nothing);
        let failed = Seen::Title("workload exited with status 3".into());
        assert_eq!(seen(Outcome::Clean, exit(3), &[]), failed);
        let foreign = Outcome::Foreign { title: "SYZFAIL: no memory".into() };
        let both = ["SYZFAIL: no memory", "BUG: x"];
        let first = Seen::Title("SYZFAIL: no memory".into());
        assert_eq!(seen(foreign, Ending::Stopped, &both), first);
        let early = Outcome::NoBoot { reason: "guest reset".into() };
        assert_eq!(seen(early, Ending::Reset, &[]), Seen::Title("no boot: guest reset".into()));
        let invalid = Outcome::Invalid { reason: "1 of 2 CPUs".into() };
        assert_eq!(seen(invalid, exit(0), &[]), Seen::Invalid("1 of 2 CPUs".into()));
        let infra = Outcome::Infra { reason: "ENOMEM".into() };
        assert_eq!(seen(infra, Ending::Stopped, &[]), Seen::Infra("ENOMEM".into()));
    }
}
