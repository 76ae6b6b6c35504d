//! What a launcher costs: measured with a guest that prints a line and resets.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use vmm::Milestone;

use super::{LaunchError, Launcher};
use crate::cancel::Cancel;
use crate::temp::TempRoom;
use crate::trial::{Acpi, Job, Outcome, Target, TrialReport};

/// Where the guest is loaded.
const CODE: u64 = 0x10_0000;

/// Where its code lies in its file.
const OFFSET: usize = 0x1000;

/// What a launcher costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// What it is.
    pub launcher: String,
    /// From nothing to the end of the first trial, in milliseconds: an outer machine boots in it.
    pub first_trial_ms: f64,
    /// The next trial, in milliseconds: what each costs beyond its guest.
    pub trial_ms: f64,
    /// Of that, from the start of the machine to its first byte, in milliseconds.
    pub first_byte_ms: f64,
}

/// Runs two small guests on `launcher`.
///
/// # Errors
/// Fails where the launcher does, or if the guest does not print its line.
pub fn measure(launcher: &dyn Launcher, cancel: &Cancel) -> Result<Cost, LaunchError> {
    let room = TempRoom::new("cost");
    let room = room.map_err(|source| LaunchError::File { path: std::env::temp_dir(), source })?;
    let write = |name: &str, content: &[u8]| {
        let path: PathBuf = room.path().join(name);
        match std::fs::write(&path, content) {
            Ok(()) => Ok(path),
            Err(source) => Err(LaunchError::File { path, source }),
        }
    };
    let job = job(write("kernel", &guest())?, write("initramfs", &[])?);
    let run = || {
        let started = Instant::now();
        let report = launcher.run(&job, &mut drop, cancel)?;
        let trial_ms = started.elapsed().as_secs_f64() * 1e3;
        match first_byte_ms(&report) {
            Some(first_byte_ms) => Ok((trial_ms, first_byte_ms)),
            None => Err(LaunchError::Remote {
                launcher: launcher.describe(),
                reason: format!("a guest that prints a line did not: {}", seen(&report)),
                hint: "`vmbisect doctor` says what this machine can do",
            }),
        }
    };
    let (first_trial_ms, _) = run()?;
    let (trial_ms, first_byte_ms) = run()?;
    Ok(Cost { launcher: launcher.describe(), first_trial_ms, trial_ms, first_byte_ms })
}

/// What came of the trial instead.
fn seen(report: &TrialReport) -> String {
    match (&report.outcome, &report.machine) {
        (Outcome::Infra { reason }, _) => reason.clone(),
        (_, Some(machine)) => machine.ending.to_string(),
        (_, None) => "no machine was started".to_owned(),
    }
}

fn job(kernel: PathBuf, initramfs: PathBuf) -> Job {
    Job { acpi: Acpi::Off, memory_mib: 64, ..Job::new(kernel, initramfs, Target::AnyCrash) }
}

fn first_byte_ms(report: &TrialReport) -> Option<f64> {
    let first = report.milestones.iter().find(|(it, _)| *it == Milestone::FirstByte);
    first.map(|(_, at_us)| *at_us as f64 / 1e3)
}

/// The smallest kernel that shows that it runs: ELF, at 1 MiB, prints a line and resets.
fn guest() -> Vec<u8> {
    let mut code = Vec::new();
    for byte in *b"it runs\n" {
        // mov al, byte; mov dx, 0x3f8; out dx, al
        code.extend([0xb0, byte, 0x66, 0xba, 0xf8, 0x03, 0xee]);
    }
    // mov al, 0xfe; out 0x64, al; jmp $
    code.extend([0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe]);
    let size = code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC, EM_X86_64, EV_CURRENT; e_entry, e_phoff, e_shoff; e_flags.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([CODE, 64, 0].map(u64::to_le_bytes).as_flattened());
    elf.extend([0; 4]);
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
    elf.extend([64, 56, 1, 0, 0, 0_u16].map(u16::to_le_bytes).as_flattened());
    // PT_LOAD, RWX; p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
    elf.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    let fields = [OFFSET as u64, CODE, CODE, size, size, 0x1000];
    elf.extend(fields.map(u64::to_le_bytes).as_flattened());
    elf.resize(OFFSET, 0);
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::{guest, measure};
    use crate::cancel::Cancel;
    use crate::trial::launcher::InProcess;
    use crate::trial::{Job, LaunchError, Launcher, Outcome, TrialEvent, TrialReport};

    #[test]
    fn the_guest_is_a_kernel() {
        assert!(vmm::Kernel::from_bytes(guest()).is_ok());
    }

    #[test]
    fn a_trial_in_this_process_has_its_price() {
        if std::fs::File::open("/dev/kvm").is_err() {
            eprintln!("skipped: there is no /dev/kvm");
            return;
        }
        let cost = measure(&InProcess::new(), &Cancel::new()).unwrap();
        assert!(cost.first_byte_ms > 0.0 && cost.first_byte_ms < cost.trial_ms, "{cost:?}");
    }

    /// Where every trial ends so.
    struct Always(Outcome);

    impl Launcher for Always {
        fn describe(&self) -> String {
            "a place".into()
        }

        fn capacity(&self, _: u64, _: NonZeroUsize, _: &Cancel) -> usize {
            1
        }

        fn run(
            &self,
            _: &Job,
            _: &mut dyn FnMut(TrialEvent),
            _: &Cancel,
        ) -> Result<TrialReport, LaunchError> {
            Ok(TrialReport::without_machine(self.0.clone()))
        }
    }

    #[test]
    fn what_did_not_run_has_no_price() {
        let failed = |outcome| measure(&Always(outcome), &Cancel::new()).unwrap_err().to_string();
        let infra = failed(Outcome::Infra { reason: "ENOMEM".into() });
        assert_eq!(infra, "a place: a guest that prints a line did not: ENOMEM");
        assert!(failed(Outcome::Clean).contains("no machine was started"));
    }
}
