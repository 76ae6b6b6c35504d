//! How a subcommand talks: results, progress, notes.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How a subcommand talks.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether results are JSON.
    pub(crate) json: bool,
    quiet: bool,
}

impl Output {
    /// An output that prints JSON or text, and progress unless `quiet`.
    pub(crate) fn new(json: bool, quiet: bool) -> Output {
        Output { json, quiet }
    }

    /// Whether progress is unwanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line of what is going on now, redrawn in place; nothing where standard error is not a
    /// terminal.
    pub(crate) fn progress(&self) -> ProgressBar {
        let bar = ProgressBar::new_spinner();
        if self.quiet || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
            bar.set_style(style);
        }
        bar
    }

    /// A line of the result, on standard output. Where nobody reads it any more, the program ends
    /// as SIGPIPE would end it; where it can't be written, it says so.
    pub(crate) fn line(&self, line: impl AsRef<str>) {
        let Err(error) = writeln!(std::io::stdout(), "{}", line.as_ref()) else { return };
        super::boot::restore_terminal();
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(141);
        }
        let _ = writeln!(std::io::stderr(), "error: can't write to standard output: {error}");
        std::process::exit(2);
    }

    /// A line that stays, on standard error. Where nobody reads it any more, the work goes on: its
    /// result goes elsewhere.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
        }
    }
}

/// What a guest printed, with nothing in it that a terminal would obey: whoever controls the guest
/// must not control the terminal of whoever watches.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\t';
    match text.contains(obeyed) {
        true => Cow::Owned(text.replace(obeyed, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

/// A file for people, where `-` is standard input.
pub(crate) fn called(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".into(),
        false => path.display().to_string(),
    }
}

/// Says what a command waits for that was told to read a log from standard input, where nothing else
/// shows that it does.
pub(crate) fn note_waiting(path: &Path, output: &Output) {
    if path == Path::new("-") && std::io::stdin().is_terminal() {
        output.note("reading the log from this terminal; Ctrl-D ends it");
    }
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_guest_can_not_speak_to_the_terminal() {
        assert_eq!(printable("[ 1.0]\tok"), "[ 1.0]\tok");
        assert_eq!(
            printable("\u{1b}]0;title\u{7}\r\u{9b}2J"),
            "\u{fffd}]0;title\u{fffd}\u{fffd}\u{fffd}2J"
        );
    }
}
