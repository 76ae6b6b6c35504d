//! Ctrl-C, SIGTERM and a terminal that is gone (SIGHUP) as a [`Cancel`].

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmbisect::cancel::Cancel;
use vmbisect::history::HistoryError;
use vmbisect::trial::LaunchError;

use super::error::find;

/// The exit status of an interrupted command, as a shell reports SIGINT.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(130)
}

/// Nothing, where what failed did so because the user asked to stop.
pub(crate) fn unless_interrupted<T>(result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    let stopped = |error| {
        matches!(find(error), Some(HistoryError::Cancelled))
            || matches!(find(error), Some(LaunchError::Cancelled))
    };
    match result {
        Err(error) if stopped(&error) => Ok(None),
        result => result.map(Some),
    }
}

/// Signals that come this soon after the first are the same one: timeout(1) sends it to the program
/// and then to its process group.
const SAME: Duration = Duration::from_millis(500);

/// A token that the first signal cancels. Another one ends the process on the spot: nothing is lost
/// by it that was reported.
pub(crate) fn cancel_on_signals() -> anyhow::Result<Cancel> {
    let mut handled = vec![SIGINT, SIGTERM];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Under nohup(1) it is to go on.
    if !is_ignored(&status, SIGHUP) {
        handled.push(SIGHUP);
    }
    let mut signals = Signals::new(handled).context("can't handle signals")?;
    let cancel = Cancel::new();
    let token = cancel.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut first = None;
            for _ in signals.forever() {
                let now = Instant::now();
                if is_the_same(first, now) {
                    continue;
                }
                if token.is_cancelled() {
                    super::boot::restore_terminal();
                    std::process::exit(130);
                }
                first = Some(now);
                token.cancel();
            }
        })
        .context("can't start a thread")?;
    Ok(cancel)
}

/// Whether a signal that comes now is the one that came first, sent twice.
fn is_the_same(first: Option<Instant>, now: Instant) -> bool {
    first.is_some_and(|first| now.duration_since(first) < SAME)
}

/// Whether a process ignores a signal, by its /proc/PID/status (proc(5)).
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use signal_hook::consts::{SIGHUP, SIGINT};

    use super::{SAME, is_ignored, is_the_same};

    #[test]
    fn one_signal_may_come_twice() {
        let first = Instant::now();
        assert!(!is_the_same(None, first));
        assert!(is_the_same(Some(first), first));
        assert!(is_the_same(Some(first), first + SAME - Duration::from_millis(1)));
        assert!(!is_the_same(Some(first), first + SAME));
    }

    #[test]
    fn a_signal_that_is_ignored_stays_so() {
        let status = "Name:\tvmbisect\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, SIGHUP));
        assert!(!is_ignored(status, SIGINT));
        assert!(!is_ignored("", SIGHUP));
    }
}
