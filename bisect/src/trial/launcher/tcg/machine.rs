//! The outer machine as QEMU is told of it.

use std::path::Path;
use std::process::Command;

/// By what the outer machine's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// By the host's clock.
    Host,
    /// By the instructions that it has executed, a nanosecond each: what is measured
    /// inside repeats, whatever else the host does.
    Instructions,
}

/// An outer machine, which has one CPU. Its standard input and output are the virtio port that
/// [`outer_init`](super::super::outer_init) opens.
#[derive(Debug)]
pub struct OuterMachine<'a> {
    /// The emulator.
    pub qemu: &'a Path,
    /// The kernel's image.
    pub kernel: &'a Path,
    /// A file with what [`OuterImage::build`](super::OuterImage::build) gave.
    pub initrd: &'a Path,
    /// A file for what its console says.
    pub console: &'a Path,
    /// Its time.
    pub clock: Clock,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// Arguments of PID 1, separated by spaces.
    pub arguments: &'a str,
}

impl OuterMachine<'_> {
    /// The command that runs it.
    pub fn command(&self) -> Command {
        // In a file name that is part of an option's value, commas are doubled.
        let console = self.console.to_string_lossy().replace(',', ",,");
        let clock = match self.clock {
            Clock::Host => "tsc=reliable",
            Clock::Instructions => "clocksource=tsc tsc=reliable",
        };
        let append = format!(
            "console=ttyS0 panic=-1 reboot=k mitigations=off init_on_alloc=0 {clock} random.trust_cpu=on no_timer_check \
             loglevel=5 rdinit=/init -- {}",
            self.arguments
        );
        let mut qemu = Command::new(self.qemu);
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "EPYC,+svm", "-smp", "1"]);
        if self.clock == Clock::Instructions {
            qemu.args(["-icount", "shift=0,sleep=off"]);
        }
        qemu.args(["-m", &self.memory_mib.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-serial", &format!("file:{console}")])
            .args(["-chardev", "stdio,id=worker,signal=off"])
            .args(["-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=worker,name=vmbisect"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.initrd)
            .args(["-append", &append]);
        qemu
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Clock, OuterMachine};

    fn arguments(clock: Clock) -> Vec<String> {
        let machine = OuterMachine {
            qemu: Path::new("qemu"),
            kernel: Path::new("/k"),
            initrd: Path::new("/i"),
            console: Path::new("/a,b/log"),
            clock,
            memory_mib: 1024,
            arguments: "worker outer",
        };
        let command = machine.command();
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_emulator_is_told_all_of_it() {
        let arguments = arguments(Clock::Host);
        for pair in [["-serial", "file:/a,,b/log"], ["-kernel", "/k"], ["-smp", "1"]] {
            assert!(arguments.windows(2).any(|it| it == pair), "{pair:?} in {arguments:?}");
        }
        assert!(arguments.last().unwrap().ends_with(" -- worker outer"));
        assert!(!arguments.contains(&"-icount".to_owned()));
    }

    #[test]
    fn instructions_are_counted_if_asked_for() {
        let arguments = arguments(Clock::Instructions);
        assert!(arguments.contains(&"shift=0,sleep=off".to_owned()));
        assert!(arguments.last().unwrap().contains("clocksource=tsc tsc=reliable "));
    }
}
