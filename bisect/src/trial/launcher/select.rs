//! Which launcher to take.

use std::num::NonZeroUsize;
use std::str::FromStr;

use thiserror::Error;
use vmm::host::{HostReport, Verdict};

use super::{Command, InProcess, LaunchError, Launcher, Tcg, TcgConfig, TcgError};
use crate::cancel::Cancel;
use crate::trial::{Job, TrialEvent, TrialReport};

/// What the user asks for: `auto`, `in-process`, `tcg` or `command:COMMAND`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// In process where this machine's KVM runs Linux, in the emulator where it does not.
    #[default]
    Auto,
    /// In process, whatever the KVM is.
    InProcess,
    /// In the emulator.
    Tcg,
    /// Through a shell command that starts a worker.
    Command(String),
}

/// What is not a [`Choice`].
#[derive(Debug, Error)]
#[error("{0:?} is none of auto, in-process, tcg and command:COMMAND")]
pub struct NotAChoice(String);

impl FromStr for Choice {
    type Err = NotAChoice;

    fn from_str(text: &str) -> Result<Choice, NotAChoice> {
        match (text, text.strip_prefix("command:").map(str::trim)) {
            ("auto", _) => Ok(Choice::Auto),
            ("in-process", _) => Ok(Choice::InProcess),
            ("tcg", _) => Ok(Choice::Tcg),
            (_, Some(line)) if !line.is_empty() => Ok(Choice::Command(line.to_owned())),
            _ => Err(NotAChoice(text.to_owned())),
        }
    }
}

/// A launcher, and why it is this one.
pub struct Selected {
    /// The launcher.
    pub launcher: Box<dyn Launcher>,
    /// Why: a sentence for people.
    pub why: String,
}

impl Selected {
    /// The same launcher with another idea of how many trials it carries at a time.
    pub fn at_a_time(self, trials: NonZeroUsize) -> Selected {
        let Selected { launcher, why } = self;
        Selected { launcher: Box::new(Limited { launcher, trials }), why }
    }
}

/// A launcher whose capacity the user has chosen.
struct Limited {
    launcher: Box<dyn Launcher>,
    trials: NonZeroUsize,
}

impl Launcher for Limited {
    fn describe(&self) -> String {
        self.launcher.describe()
    }

    fn capacity(&self, _memory_mib: u64, _per_cpu: NonZeroUsize, _cancel: &Cancel) -> usize {
        self.trials.get()
    }

    fn prepare(&self, on_line: &mut dyn FnMut(&str), cancel: &Cancel) -> Result<(), LaunchError> {
        self.launcher.prepare(on_line, cancel)
    }

    fn run(
        &self,
        job: &Job,
        on_event: &mut dyn FnMut(TrialEvent),
        cancel: &Cancel,
    ) -> Result<TrialReport, LaunchError> {
        self.launcher.run(job, on_event, cancel)
    }
}

/// Why there is no launcher.
#[derive(Debug, Error)]
pub enum SelectError {
    /// This machine's KVM does not do, and there is no emulator either.
    #[error("{verdict}, and {tcg}")]
    Nowhere {
        /// What is wrong with the KVM.
        verdict: Verdict,
        /// What is wrong with the emulator.
        tcg: TcgError,
    },
    /// This machine has no KVM to run trials on.
    #[error("{0}")]
    NoKvm(Verdict),
    /// The emulator was asked for.
    #[error(transparent)]
    Tcg(#[from] TcgError),
}

/// Makes the launcher that the user asks for; `inspect` is asked what the KVM can do only where
/// that matters.
///
/// # Errors
/// Fails if there is no such launcher here. [`Choice::InProcess`] takes a KVM that is not known to
/// run Linux, but it takes a KVM.
pub fn select(
    choice: &Choice,
    config: TcgConfig,
    inspect: impl FnOnce() -> HostReport,
) -> Result<Selected, SelectError> {
    let selected = |launcher: Box<dyn Launcher>, why: String| Ok(Selected { launcher, why });
    match choice {
        Choice::InProcess => match inspect().verdict {
            verdict @ Verdict::NoKvm { .. } => Err(SelectError::NoKvm(verdict)),
            Verdict::RunsLinux => selected(Box::new(InProcess::new()), "as asked".into()),
            verdict => {
                let why = format!("as asked, although {}", why_not_here(&verdict));
                selected(Box::new(InProcess::new()), why)
            }
        },
        Choice::Tcg => selected(Box::new(Tcg::new(config)?), "as asked".into()),
        Choice::Command(line) => {
            selected(Box::new(Command::new(line, config.program)), "as asked".into())
        }
        Choice::Auto => match inspect().verdict {
            Verdict::RunsLinux => {
                let why = "this machine's KVM runs stock Linux kernels";
                selected(Box::new(InProcess::new()), why.into())
            }
            verdict => match Tcg::new(config) {
                Ok(tcg) => selected(Box::new(tcg), why_not_here(&verdict)),
                Err(tcg) => Err(SelectError::Nowhere { verdict, tcg }),
            },
        },
    }
}

fn why_not_here(verdict: &Verdict) -> String {
    match verdict {
        // It may be a good one, and a matter of permissions.
        Verdict::NoKvm { .. } => verdict.to_string(),
        _ => "this machine's KVM can't run a stock Linux kernel".into(),
    }
}

#[cfg(test)]
mod tests {
    use vmm::host::{HostReport, KvmState, Verdict};

    use super::{Choice, SelectError, select};
    use crate::trial::launcher::TcgConfig;

    fn host(verdict: Verdict) -> HostReport {
        HostReport {
            kvm: KvmState::Missing,
            backend: None,
            capabilities: Vec::new(),
            max_vcpus: None,
            pv_features: None,
            hidden: Vec::new(),
            halt_poll_ns: None,
            cpus: 1,
            memory_available: None,
            probe: None,
            verdict,
        }
    }

    fn chosen(choice: &Choice, qemu: &str, verdict: Verdict) -> Result<String, SelectError> {
        let config = TcgConfig { qemu: qemu.into(), ..TcgConfig::default() };
        select(choice, config, || host(verdict)).map(|selected| selected.launcher.describe())
    }

    #[test]
    fn words() {
        assert_eq!("auto".parse::<Choice>().unwrap(), Choice::Auto);
        assert_eq!("in-process".parse::<Choice>().unwrap(), Choice::InProcess);
        let command = Choice::Command("ssh host vmbisect worker".into());
        assert_eq!("command: ssh host vmbisect worker".parse::<Choice>().unwrap(), command);
        for bad in ["", "command:", "command: ", "qemu", "TCG"] {
            assert!(bad.parse::<Choice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_reason_says_what_is_wrong_here() {
        let reason = "no permission to open /dev/kvm";
        let none = || host(Verdict::NoKvm { reason: reason.into() });
        let config = TcgConfig { qemu: "sh".into(), ..TcgConfig::default() };
        let why = select(&Choice::Auto, config, none).map(|it| it.why).unwrap();
        assert_eq!(why, format!("no KVM: {reason}"));
    }

    #[test]
    fn auto_goes_by_what_kvm_can_run() {
        let cannot =
            || Verdict::CannotRunLinux { failed: "int3".into(), reason: "emulation".into() };
        let none = || Verdict::NoKvm { reason: "there is no /dev/kvm".into() };
        // Any program on the PATH does: nothing is started before the first trial.
        let auto = |qemu, verdict| chosen(&Choice::Auto, qemu, verdict);
        assert!(auto("no-such-emulator", Verdict::RunsLinux).unwrap().starts_with("in process"));
        assert!(auto("sh", cannot()).unwrap().starts_with("tcg"));
        assert!(auto("sh", none()).unwrap().starts_with("tcg"));
        let nowhere = auto("no-such-emulator", none());
        assert!(matches!(nowhere, Err(SelectError::Nowhere { .. })));
        let asked = chosen(&Choice::InProcess, "sh", none());
        assert!(matches!(asked, Err(SelectError::NoKvm(_))));
        assert!(chosen(&Choice::InProcess, "sh", cannot()).unwrap().starts_with("in process"));
    }
}
