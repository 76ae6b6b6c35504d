//! What a trial says about the target, and how that is decided.

use serde::{Deserialize, Serialize};
use vmm::{Ending, Milestone};

use super::{SeenCrash, Target};
use crate::crash::{Crash, Kind};

/// What a trial says about the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The target showed, during boot or workload: evidence for bad.
    Hit {
        /// What showed: a crash title, or a sentence for the other targets.
        title: String,
    },
    /// The workload finished and nothing showed: evidence for good.
    Clean,
    /// Another crash came first: nothing about the target after that moment.
    Foreign {
        /// The other crash's title.
        title: String,
    },
    /// Init was never reached and nothing was recognised.
    NoBoot {
        /// What was seen instead.
        reason: String,
    },
    /// No progress.
    Hang {
        /// What the machine hung on, as far as it can be told.
        title: String,
    },
    /// A precondition is not met; never good.
    Invalid {
        /// Which one.
        reason: String,
    },
    /// The host failed.
    Infra {
        /// How.
        reason: String,
    },
}

/// Everything that an outcome is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What is looked for.
    pub target: &'a Target,
    /// Every crash, in the order they were printed.
    pub crashes: &'a [SeenCrash],
    /// What a machine that hung was found to hang in.
    pub hang: Option<&'a Crash>,
    /// How the machine stopped.
    pub ending: &'a Ending,
    /// The last milestone that was passed.
    pub reached: Option<Milestone>,
    /// vCPUs the machine was given.
    pub vcpus: u8,
    /// CPUs that the guest says it brought up.
    pub cpus_online: Option<u32>,
    /// Whether the trial is only valid with PV spinlocks on.
    pub require_pv_spinlocks: bool,
    /// Whether the guest's PV spinlocks are on, if it said so.
    pub pv_spinlocks: Option<bool>,
}

/// The status by which a shell says that a command can't be executed.
const CANNOT_EXECUTE: u8 = 126;

/// The status by which a shell says that there is no such command.
const NOT_FOUND: u8 = 127;

/// What the evidence says about the target.
///
/// What was printed comes before how the machine ended, and of what was printed only the first
/// crash counts: whatever follows may be its consequence. A hit needs no preconditions, since
/// the target did show; a clean trial needs all of them. Nothing but the workload's own exit (or,
/// where boot is the question, init) is ever clean.
///
/// A guest that still works when its time is up is slow, or its host is: that says nothing, whatever
/// is looked for. The VMM tells it from one that hangs or has stalled.
pub fn decide(evidence: &Evidence<'_>) -> Outcome {
    if *evidence.target == Target::NoBoot {
        return decide_boot(evidence);
    }
    if let Some(first) = evidence.crashes.first() {
        let title = first.crash.title.clone();
        return match evidence.target.matches(&first.crash) {
            true => Outcome::Hit { title },
            false => Outcome::Foreign { title },
        };
    }
    let seen = evidence.ending.to_string();
    let booted = evidence.booted();
    match evidence.ending {
        Ending::Exit { status } => decide_exit(*status, evidence),
        Ending::AgentFailed { .. } => Outcome::Invalid { reason: seen },
        Ending::Hang { .. } => {
            let title = evidence.hang.map_or(seen, |crash| crash.title.clone());
            match evidence.target.matches_hang(evidence.hang) {
                true => Outcome::Hit { title },
                false => Outcome::Hang { title },
            }
        }
        Ending::TimedOut { stalled: false, .. } => still_works(&seen),
        Ending::TimedOut { .. } if *evidence.target == Target::Hang => Outcome::Hit { title: seen },
        Ending::TimedOut { .. } if booted => Outcome::Hang { title: seen },
        Ending::Reset | Ending::TripleFault if booted => match evidence.target {
            Target::AnyCrash => Outcome::Hit { title: seen },
            _ => Outcome::Foreign { title: seen },
        },
        Ending::ConsoleLimit { .. } if booted => Outcome::Invalid { reason: seen },
        Ending::TimedOut { .. }
        | Ending::Reset
        | Ending::TripleFault
        | Ending::ConsoleLimit { .. } => Outcome::NoBoot { reason: seen },
        Ending::KvmInternalError { .. }
        | Ending::EntryFailed { .. }
        | Ending::VmmError { .. }
        | Ending::Stopped => Outcome::Infra { reason: seen },
    }
}

/// The question is whether the kernel boots at all; crashes on the way only say how it does not.
fn decide_boot(evidence: &Evidence<'_>) -> Outcome {
    if evidence.booted() {
        return evidence
            .unmet_precondition()
            .map_or(Outcome::Clean, |reason| Outcome::Invalid { reason });
    }
    let seen = evidence.ending.to_string();
    match evidence.ending {
        Ending::KvmInternalError { .. }
        | Ending::EntryFailed { .. }
        | Ending::VmmError { .. }
        | Ending::Stopped => Outcome::Infra { reason: seen },
        Ending::TimedOut { stalled: false, .. } if !evidence.crashes.iter().any(stops_a_boot) => {
            still_works(&seen)
        }
        _ => Outcome::Hit {
            title: evidence.crashes.first().map_or(seen, |first| first.crash.title.clone()),
        },
    }
}

/// Whether it may be for this that init is not reached: after a warning or a sanitizer's report a kernel
/// goes on, and one that keeps complaining of a stall does not.
fn stops_a_boot(SeenCrash { crash, .. }: &SeenCrash) -> bool {
    crash.panicked || matches!(crash.kind, Kind::Bug | Kind::DoS | Kind::Hang)
}

/// It was not let come to its end.
fn still_works(seen: &str) -> Outcome {
    let reason = format!("{seen}: it needs a longer --timeout, or a host less busy");
    Outcome::Invalid { reason }
}

/// The workload ended, and nothing was printed that is a crash.
fn decide_exit(status: u8, evidence: &Evidence<'_>) -> Outcome {
    let title = evidence.ending.to_string();
    match *evidence.target {
        Target::ExitStatus(Some(wanted)) if status == wanted => return Outcome::Hit { title },
        // It did not run, so that nothing was tried; a shell says so with these two.
        _ if matches!(status, CANNOT_EXECUTE | NOT_FOUND) => {
            return Outcome::Invalid { reason: format!("the workload could not be run: {title}") };
        }
        Target::ExitStatus(None) if status != 0 => return Outcome::Hit { title },
        // Neither success nor the failure that is looked for.
        Target::ExitStatus(Some(_)) if status != 0 => return Outcome::Foreign { title },
        _ => {}
    }
    match evidence.unmet_precondition() {
        Some(reason) => Outcome::Invalid { reason },
        None => Outcome::Clean,
    }
}

impl Evidence<'_> {
    /// Whether init was reached: it said so, or something that only init can do has happened.
    fn booted(&self) -> bool {
        self.reached.is_some_and(|reached| reached >= Milestone::InitReached)
            || matches!(self.ending, Ending::Exit { .. } | Ending::AgentFailed { .. })
    }

    /// What keeps a trial in which nothing showed from saying that the kernel is good.
    fn unmet_precondition(&self) -> Option<String> {
        let wanted = u32::from(self.vcpus);
        match self.cpus_online {
            Some(online) if online < wanted => {
                return Some(format!("the guest brought up {online} of {wanted} CPUs"));
            }
            // A kernel without SMP support has nothing to say about its one CPU.
            None if wanted > 1 => {
                return Some(format!("the guest never said that it brought up {wanted} CPUs"));
            }
            _ => {}
        }
        match self.pv_spinlocks {
            _ if !self.require_pv_spinlocks => None,
            Some(true) => None,
            Some(false) => Some("the guest's PV spinlocks are off".into()),
            None => Some("the guest never said that its PV spinlocks are on".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm::{Ending, HangKind, Milestone};

    use super::{Evidence, Outcome, decide};
    use crate::crash::{Kind, Phase};
    use crate::trial::tests::crash;
    use crate::trial::{SeenCrash, Target};

    /// A trial to decide: one that went well, until a test says otherwise.
    struct Trial {
        target: Target,
        crashes: Vec<SeenCrash>,
        ending: Ending,
        reached: Option<Milestone>,
        cpus_online: Option<u32>,
        pv_spinlocks: Option<bool>,
    }

    impl Trial {
        fn new(target: Target, ending: Ending) -> Trial {
            Trial {
                target,
                crashes: Vec::new(),
                ending,
                reached: Some(Milestone::WorkloadStarted),
                cpus_online: Some(4),
                pv_spinlocks: Some(true),
            }
        }

        fn printed(mut self, titles: &[&str]) -> Trial {
            let seen =
                |title: &&str| SeenCrash { phase: Phase::Boot, at_us: 1, crash: crash(title) };
            self.crashes = titles.iter().map(seen).collect();
            self
        }

        fn reached(mut self, milestone: Milestone) -> Trial {
            self.reached = Some(milestone);
            self
        }

        fn decide(&self) -> Outcome {
            decide(&Evidence {
                target: &self.target,
                crashes: &self.crashes,
                hang: None,
                ending: &self.ending,
                reached: self.reached,
                vcpus: 4,
                cpus_online: self.cpus_online,
                require_pv_spinlocks: true,
                pv_spinlocks: self.pv_spinlocks,
            })
        }
    }

    const EXIT: Ending = Ending::Exit { status: 0 };
    const TIMED_OUT: Ending = Ending::TimedOut { seconds: 9, stalled: false };
    const STALLED: Ending = Ending::TimedOut { seconds: 9, stalled: true };
    const HANG: Ending = Ending::Hang { kind: HangKind::HaltedInterruptsOff };
    const LIMIT: Ending = Ending::ConsoleLimit { bytes: 9 };

    fn kvm_wait() -> Target {
        Target::Crash(vec!["WARNING in kvm_wait".into()])
    }

    fn host_failures() -> [Ending; 4] {
        [
            Ending::KvmInternalError { vcpu: 0, suberror: 1, data: vec![], rip: 0 },
            Ending::EntryFailed { vcpu: 0, reason: 1, cpu: 0 },
            Ending::VmmError { reason: "ENOMEM".into() },
            Ending::Stopped,
        ]
    }

    fn hit(title: &str) -> Outcome {
        Outcome::Hit { title: title.into() }
    }

    fn foreign(title: &str) -> Outcome {
        Outcome::Foreign { title: title.into() }
    }

    #[test]
    fn only_the_workloads_own_exit_is_clean() {
        let clean = Outcome::Clean;
        assert_eq!(Trial::new(kvm_wait(), EXIT).decide(), clean);
        // A reproducer that fails in the end has still done its work.
        assert_eq!(Trial::new(kvm_wait(), Ending::Exit { status: 1 }).decide(), clean);
        let agent = Ending::AgentFailed { reason: "no /proc".into() };
        let others = [agent, Ending::Reset, Ending::TripleFault, HANG, TIMED_OUT, STALLED, LIMIT];
        for ending in others.into_iter().chain(host_failures()) {
            for target in [kvm_wait(), Target::AnyCrash, Target::Hang, Target::ExitStatus(None)] {
                assert_ne!(Trial::new(target, ending.clone()).decide(), clean, "{ending}");
            }
        }
    }

    #[test]
    fn the_first_crash_decides() {
        let ours = "WARNING in kvm_wait";
        for ending in [Ending::Stopped, EXIT, Ending::Reset, TIMED_OUT, HANG] {
            let trial = |titles: &[&str]| Trial::new(kvm_wait(), ending.clone()).printed(titles);
            assert_eq!(trial(&[ours, "panic"]).decide(), hit(ours));
            assert_eq!(trial(&["WARNING in foo", ours]).decide(), foreign("WARNING in foo"));
        }
    }

    #[test]
    fn what_was_printed_comes_before_what_the_host_did() {
        for ending in host_failures() {
            let trial = |titles: &[&str]| Trial::new(kvm_wait(), ending.clone()).printed(titles);
            assert_eq!(trial(&["WARNING in kvm_wait"]).decide(), hit("WARNING in kvm_wait"));
            assert_eq!(trial(&["WARNING in foo"]).decide(), foreign("WARNING in foo"));
            assert!(matches!(trial(&[]).decide(), Outcome::Infra { .. }), "{ending}");
        }
    }

    #[test]
    fn a_hit_needs_no_preconditions_and_a_clean_trial_all_of_them() {
        let mut trial = Trial::new(kvm_wait(), EXIT);
        for (cpus, pv) in [(Some(3), Some(true)), (None, Some(true))]
            .into_iter()
            .chain([(Some(4), Some(false)), (Some(4), None)])
        {
            (trial.cpus_online, trial.pv_spinlocks) = (cpus, pv);
            assert!(matches!(trial.decide(), Outcome::Invalid { .. }), "{cpus:?} {pv:?}");
        }
        let trial = trial.printed(&["WARNING in kvm_wait"]);
        assert_eq!(trial.decide(), hit("WARNING in kvm_wait"));
    }

    #[test]
    fn one_cpu_needs_no_word_of_it() {
        let evidence = Evidence {
            target: &Target::AnyCrash,
            crashes: &[],
            hang: None,
            ending: &EXIT,
            reached: None,
            vcpus: 1,
            cpus_online: None,
            require_pv_spinlocks: false,
            pv_spinlocks: None,
        };
        assert_eq!(decide(&evidence), Outcome::Clean);
    }

    #[test]
    fn before_init_it_did_not_boot_and_after_it_something_broke() {
        for ending in [Ending::Reset, Ending::TripleFault, STALLED, LIMIT] {
            for target in [kvm_wait(), Target::AnyCrash, Target::ExitStatus(None)] {
                let trial = Trial::new(target, ending.clone()).reached(Milestone::FirstByte);
                assert!(matches!(trial.decide(), Outcome::NoBoot { .. }), "{ending}");
            }
        }
        let after = |target, ending| Trial::new(target, ending).decide();
        assert_eq!(after(kvm_wait(), Ending::Reset), foreign("guest reset"));
        assert_eq!(after(Target::AnyCrash, Ending::TripleFault), hit("triple fault"));
        assert!(matches!(after(kvm_wait(), STALLED), Outcome::Hang { .. }));
        assert!(matches!(after(kvm_wait(), LIMIT), Outcome::Invalid { .. }));
    }

    #[test]
    fn who_is_slow_is_told_to_wait_longer_whatever_is_looked_for() {
        let all = [Target::NoBoot, Target::Hang, Target::AnyCrash, Target::ExitStatus(None)];
        for target in all.into_iter().chain([kvm_wait()]) {
            for reached in [Milestone::FirstByte, Milestone::WorkloadStarted] {
                if target == Target::NoBoot && reached == Milestone::WorkloadStarted {
                    continue; // It boots.
                }
                let outcome = Trial::new(target.clone(), TIMED_OUT).reached(reached).decide();
                let Outcome::Invalid { reason } = outcome else {
                    panic!("{target:?}: {outcome:?}")
                };
                assert!(reason.starts_with("still running after 9 s"), "{reason}");
                assert!(reason.contains("a longer --timeout"), "{reason}");
            }
        }
    }

    #[test]
    fn what_a_slow_kernel_printed_on_its_way_may_be_why_it_does_not_boot() {
        let early = Trial::new(Target::NoBoot, TIMED_OUT).reached(Milestone::FirstByte);
        let mut warned = early.printed(&["WARNING in foo"]);
        assert!(matches!(warned.decide(), Outcome::Invalid { .. }));
        warned.crashes[0].crash.kind = Kind::Hang;
        assert_eq!(warned.decide(), hit("WARNING in foo"));
    }

    #[test]
    fn an_agent_that_failed_says_nothing() {
        let agent = Ending::AgentFailed { reason: "no /proc".into() };
        for target in [kvm_wait(), Target::AnyCrash, Target::ExitStatus(None)] {
            let outcome = Trial::new(target, agent.clone()).decide();
            assert_eq!(outcome, Outcome::Invalid { reason: agent.to_string() });
        }
    }

    #[test]
    fn a_workload_that_could_not_be_run_says_nothing() {
        for status in [126, 127] {
            let ending = Ending::Exit { status };
            for target in [kvm_wait(), Target::AnyCrash, Target::Hang, Target::ExitStatus(None)] {
                let outcome = Trial::new(target, ending.clone()).decide();
                assert!(matches!(outcome, Outcome::Invalid { .. }), "{outcome:?}");
            }
            // Unless it is just this that is looked for; and the boot is another question.
            let wanted = Trial::new(Target::ExitStatus(Some(status)), ending.clone()).decide();
            assert!(matches!(wanted, Outcome::Hit { .. }), "{wanted:?}");
            assert_eq!(Trial::new(Target::NoBoot, ending).decide(), Outcome::Clean);
        }
    }

    #[test]
    fn hangs() {
        let before = |target| Trial::new(target, HANG).reached(Milestone::FirstByte).decide();
        assert!(matches!(before(kvm_wait()), Outcome::Hang { .. }));
        assert!(matches!(before(Target::Hang), Outcome::Hit { .. }));
        let late = |target| Trial::new(target, STALLED).decide();
        assert!(matches!(late(Target::Hang), Outcome::Hit { .. }));
        let mut printed = Trial::new(Target::Hang, Ending::Stopped).printed(&["INFO: stall"]);
        assert_eq!(printed.decide(), foreign("INFO: stall"));
        printed.crashes[0].crash.kind = Kind::Hang;
        assert_eq!(printed.decide(), hit("INFO: stall"));
        assert_eq!(Trial::new(Target::Hang, EXIT).decide(), Outcome::Clean);
    }

    #[test]
    fn no_boot() {
        let early = |ending| Trial::new(Target::NoBoot, ending).reached(Milestone::FirstByte);
        assert_eq!(early(Ending::Reset).decide(), hit("guest reset"));
        assert!(matches!(early(STALLED).decide(), Outcome::Hit { .. }));
        assert!(matches!(early(HANG).decide(), Outcome::Hit { .. }));
        let panic = early(Ending::Reset).printed(&["kernel panic: no init"]);
        assert_eq!(panic.decide(), hit("kernel panic: no init"));
        for ending in host_failures() {
            assert!(matches!(early(ending).decide(), Outcome::Infra { .. }));
        }
        // What happens once init runs is another question.
        for ending in [EXIT, Ending::Stopped, Ending::Reset, TIMED_OUT] {
            let late = Trial::new(Target::NoBoot, ending).printed(&["WARNING in foo"]);
            assert_eq!(late.decide(), Outcome::Clean);
        }
        let mut alone = Trial::new(Target::NoBoot, EXIT);
        alone.cpus_online = Some(1);
        assert!(matches!(alone.decide(), Outcome::Invalid { .. }));
    }

    #[test]
    fn exit_status() {
        let status = |wanted, status| {
            Trial::new(Target::ExitStatus(wanted), Ending::Exit { status }).decide()
        };
        assert_eq!(status(None, 0), Outcome::Clean);
        assert!(matches!(status(None, 3), Outcome::Hit { .. }));
        assert!(matches!(status(Some(3), 3), Outcome::Hit { .. }));
        assert!(matches!(status(Some(0), 0), Outcome::Hit { .. }));
        assert_eq!(status(Some(3), 0), Outcome::Clean);
        assert!(matches!(status(Some(3), 1), Outcome::Foreign { .. }));
        let crashed = Trial::new(Target::ExitStatus(None), Ending::Exit { status: 3 });
        assert_eq!(crashed.printed(&["BUG: x"]).decide(), foreign("BUG: x"));
    }
}
