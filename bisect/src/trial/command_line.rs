//! The kernel command line that every trial gets.

use std::io::Read;

use guest_init::INIT_I386_PATH;
use guest_init::protocol::{NONCE_PARAMETER, TERMINAL_PARAMETER};

use super::{Job, TerminalSize};

/// What every candidate is told, whatever its version: unknown parameters are ignored.
///
/// `earlyprintk` shows a death before the console driver is up and hands over to it (no `,keep`:
/// every line would come twice). `loglevel=7` and `printk.time=1` make the log say what the
/// classifier and the preconditions read whatever the configuration chose. `panic=-1 reboot=k`
/// turn a panic into a reset through the i8042 at once. There is no PCI, one 8250, and nothing
/// behind the i8042: probing for more is most of a small kernel's boot, and so are 512 BSD
/// pseudo-terminals, each of which devtmpfs makes a node for in another task. All vCPUs share one
/// TSC, and the check would see a busy host as a broken one. The only NMI that there is asks a
/// kernel that hangs what it knows; `unknown_nmi_panic` has it answer with a stack.
const BASE: &str = "console=ttyS0 earlyprintk=ttyS0 loglevel=7 printk.time=1 panic=-1 reboot=k \
    pci=off tsc=reliable 8250.nr_uarts=1 pty.legacy_count=0 i8042.noaux i8042.nomux i8042.nopnp \
    i8042.dumbkbd random.trust_cpu=on cryptomgr.notests unknown_nmi_panic";

/// The complete command line: [`BASE`], what the job asks for, the nonce, and what the user appends,
/// which comes last so that it wins.
///
/// A kernel that reads the MP table is spared ACPI, which is most of what a distribution's kernel
/// does before its drivers, and keeps the timer and the interrupt controllers that hardware-reduced
/// ACPI takes from it.
pub(super) fn command_line(nonce: &str, job: &Job, by_acpi: bool, is_32_bit: bool) -> String {
    let mut line = BASE.to_owned();
    if !by_acpi {
        line.push_str(" acpi=off");
    }
    if !job.kaslr {
        line.push_str(" nokaslr");
    }
    if is_32_bit {
        line.push_str(&format!(" rdinit={INIT_I386_PATH}"));
    }
    line.push_str(&format!(" {NONCE_PARAMETER}={nonce}"));
    if let Some(terminal) = &job.terminal {
        line.push_str(&format!(" {TERMINAL_PARAMETER}"));
        if let Some(TerminalSize { rows, columns }) = terminal.size() {
            line.push_str(&format!("={rows}x{columns}"));
        }
    }
    if !job.append.trim().is_empty() {
        line.push(' ');
        line.push_str(job.append.trim());
    }
    line
}

/// 128 random bits from the operating system, in hexadecimal.
pub(super) fn nonce() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(crate::hex::encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::{command_line, nonce};
    use crate::trial::tests::job;
    use crate::trial::{Job, Terminal, TerminalSize};

    #[test]
    fn the_users_part_comes_last() {
        let job = |append: &str| Job { append: append.into(), ..job() };
        let line = command_line("c0ffee", &job(" nopvspin loglevel=4 "), false, false);
        assert!(line.ends_with(" vmbisect.nonce=c0ffee nopvspin loglevel=4"), "{line}");
        assert!(!line.contains("  "), "{line}");
        assert!(command_line("c0ffee", &job(""), false, true).ends_with("nonce=c0ffee"));
        let line = |size| {
            let job = Job { terminal: Some(Terminal::new(size)), ..job("nopvspin") };
            command_line("c0ffee", &job, false, false)
        };
        assert!(line(None).ends_with("nonce=c0ffee vmbisect.terminal nopvspin"), "{}", line(None));
        let sized = line(Some(TerminalSize { rows: 50, columns: 160 }));
        assert!(sized.ends_with(" vmbisect.terminal=50x160 nopvspin"), "{sized}");
    }

    #[test]
    fn acpi_and_kaslr_are_off_unless_they_are_wanted() {
        let has = |kaslr, by_acpi| {
            let line = command_line("c0ffee", &Job { kaslr, ..job() }, by_acpi, false);
            let has = |word| line.split(' ').any(|parameter| parameter == word);
            (has("nokaslr"), has("acpi=off"))
        };
        assert_eq!(has(false, false), (true, true));
        assert_eq!(has(true, true), (false, false));
    }

    #[test]
    fn nonces_differ() {
        let (a, b) = (nonce().unwrap(), nonce().unwrap());
        assert_eq!((a.len(), b.len()), (32, 32));
        assert_ne!(a, b);
    }
}
