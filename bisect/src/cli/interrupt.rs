//! Ctrl-C and SIGTERM as a [`Cancel`].

use std::process::ExitCode;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use vmbisect::cancel::Cancel;

/// The exit status of an interrupted command, as a shell reports SIGINT.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(130)
}

/// A token that the first signal cancels. The second ends the process on the spot: nothing is lost
/// by it that was reported.
pub(crate) fn cancel_on_signals() -> anyhow::Result<Cancel> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("can't handle signals")?;
    let cancel = Cancel::new();
    let token = cancel.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                if token.is_cancelled() {
                    super::boot::restore_terminal();
                    std::process::exit(130);
                }
                token.cancel();
            }
        })
        .context("can't start a thread")?;
    Ok(cancel)
}
