//! What a loop is doing, on standard error, and what came of it, on standard output.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use vmbisect::boot_loop::{Counted, Interval, Progress, Seen, Stop, Tally};

use super::Result;
use crate::cli::Output;
use crate::cli::output::printable;

/// How often a loop in which nothing shows says that it is alive, where nobody sees the line that is
/// redrawn.
const WORD: Duration = Duration::from_secs(30);

/// Titles that the redrawn line names.
const LIVE_TITLES: usize = 3;

/// Shows a loop while it goes on.
pub(super) struct Show<'a> {
    output: &'a Output,
    bar: ProgressBar,
    runs: Option<u64>,
    started: Instant,
    said: Cell<Instant>,
}

impl<'a> Show<'a> {
    pub(super) fn new(output: &'a Output, jobs: NonZeroUsize, runs: Option<u64>) -> Show<'a> {
        let bar = output.progress();
        bar.enable_steady_tick(Duration::from_millis(200));
        let now = Instant::now();
        let show = Show { output, bar, runs, started: now, said: Cell::new(now) };
        show.note(format!("{jobs} at a time"));
        show
    }

    /// Takes the redrawn line away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub(super) fn progress(&self, progress: &Progress<'_>) {
        match progress {
            Progress::Finished { finished, new, tally } => {
                let number = finished.number;
                match &finished.seen {
                    Seen::Nothing => {}
                    Seen::Title(title) => {
                        let (count, counted) = (tally.count(title), tally.counted());
                        let title = printable(title);
                        self.note(format!("run {number}: {title} ({count} of {counted})"));
                    }
                    Seen::Invalid(reason) | Seen::Infra(reason) => {
                        let reason = printable(reason);
                        self.note(format!("run {number} told nothing: {reason}"));
                    }
                }
                if let (true, Some(first)) = (*new, finished.report.crashes.first())
                    && !self.output.json
                {
                    let report = printable_lines(&first.crash.report);
                    self.bar.suspend(|| self.output.line(format!("\n{report}")));
                }
                self.live(tally);
            }
            Progress::Restarted { number, reason } => {
                self.note(format!("run {number} starts again: {reason}"));
            }
            Progress::Pulse(tally) => self.live(tally),
        }
    }

    /// The line that is redrawn, or a line now and then where nothing is.
    fn live(&self, tally: &Tally) {
        let of = self.runs.map_or(String::new(), |runs| format!(" of {runs}"));
        let (counted, failed) = (tally.counted(), tally.failed());
        let now = format!(
            "{counted}{of} runs, {failed} showed something{}{}",
            rate(failed, counted),
            by_title(&tally.titles())
        );
        self.bar.set_message(now.clone());
        if self.bar.is_hidden() && self.said.get().elapsed() >= WORD {
            self.note(now);
        }
    }

    /// A line that stays.
    pub(super) fn note(&self, line: impl AsRef<str>) {
        self.said.set(Instant::now());
        let elapsed = self.started.elapsed().as_secs();
        let line = format!("[{:>3}:{:02}] {}", elapsed / 60, elapsed % 60, line.as_ref());
        self.bar.suspend(|| self.output.note(line));
    }
}

/// The most frequent titles, as many as a line has room for.
fn by_title(titles: &[(&str, u64)]) -> String {
    let (first, rest) = titles.split_at(titles.len().min(LIVE_TITLES));
    let mut counts: Vec<String> =
        first.iter().map(|(title, count)| format!("{count} x {}", printable(title))).collect();
    if !rest.is_empty() {
        let count: u64 = rest.iter().map(|(_, count)| count).sum();
        counts.push(format!("{count} x {} others", rest.len()));
    }
    if counts.is_empty() { String::new() } else { format!(": {}", counts.join("; ")) }
}

fn rate(count: u64, of: u64) -> String {
    match of {
        0 => String::new(),
        _ => format!(
            ", {} ({})",
            percent(count as f64 / of as f64),
            interval(Interval::of(count, of))
        ),
    }
}

/// Prints the result for people.
pub(super) fn result(result: &Result, output: &Output) {
    let summary = &result.summary;
    output.line(format!(
        "\n{}: {} passed, {} showed something",
        number(summary.counted, "run"),
        summary.passed,
        summary.failed
    ));
    if summary.counted > 0 {
        output.line(format!(
            "\n{:>6} {:>8}  {:<20} {:>7}",
            "count", "rate", "95 % interval", "first"
        ));
        for Counted { shown, rate, interval: ends } in &summary.titles {
            row(
                shown.count,
                *rate,
                *ends,
                &format!("run {}", shown.first_run),
                &shown.title,
                output,
            );
        }
        row(summary.failed, summary.rate, summary.interval, "", "anything", output);
    }
    if let Some(times) = &summary.to_init_us {
        output.line(format!(
            "\nto init: {} at least, median {}, 9 in 10 within {}, {} at most ({})",
            seconds(times.min),
            seconds(times.median),
            seconds(times.p90),
            seconds(times.max),
            number(times.boots as u64, "boot")
        ));
    }
    for (reason, count) in summary.invalid.iter().chain(&summary.infra) {
        output.line(format!("told nothing: {count} x {}", printable(reason)));
    }
    let why = match &result.stopped {
        Stop::Runs => "there were enough runs".into(),
        Stop::Time => "the time was up".into(),
        Stop::Crash(title) => format!("{} showed", printable(title)),
        Stop::Interrupted => "interrupted".into(),
        Stop::Host(reason) => format!("the host failed: {}", printable(reason)),
    };
    if let Some(consoles) = &result.consoles {
        output.line(format!("their consoles: {}", consoles.display()));
    }
    output.line(format!(
        "stopped: {why} ({:.1} s, {} at a time, {})",
        result.seconds, result.jobs, result.launcher
    ));
}

fn row(count: u64, rate: f64, ends: Interval, first: &str, title: &str, output: &Output) {
    let (rate, ends) = (percent(rate), interval(ends));
    output.line(format!("{count:>6} {rate:>8}  {ends:<20} {first:>7}  {}", printable(title)));
}

fn interval(Interval { low, high }: Interval) -> String {
    format!("{} to {}", percent(low), percent(high))
}

/// A rate with two digits that count, and one behind the point where there is room for it.
fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    match percent {
        0.0 => "0 %".into(),
        0.1.. => format!("{percent:.1} %"),
        _ => {
            let zeroes = -percent.log10().floor();
            format!("{percent:.*} %", zeroes.clamp(1.0, 12.0) as usize + 1)
        }
    }
}

fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// So many of a thing.
fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn seconds(us: u64) -> String {
    format!("{:.3} s", us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{by_title, percent};

    #[test]
    fn the_line_that_is_redrawn_counts_by_title() {
        assert_eq!(by_title(&[]), "");
        assert_eq!(by_title(&[("BUG: a\x1b", 2)]), ": 2 x BUG: a\u{fffd}");
        let many = [("a", 5), ("b", 4), ("c", 3), ("d", 2), ("e", 1)];
        assert_eq!(by_title(&many), ": 5 x a; 4 x b; 3 x c; 3 x 2 others");
    }

    #[test]
    fn small_rates_keep_their_digits() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.036_21), "3.6 %");
        assert_eq!(percent(1.0), "100.0 %");
        assert_eq!(percent(0.000_123), "0.012 %");
        assert_eq!(percent(1e-30), "0.0000000000000 %");
    }
}
