//! `vmbisect simulate`.

mod suspicion;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::Serialize;
use vmbisect::history::{CommitId, History, HistoryError};
use vmbisect::search::{Costs, Limits};
use vmbisect::simulate::{
    Nature, Reliability, Rule, Score, Setting, Shape, SimulateError, Suspicion, least_trials,
    simulate,
};

use self::suspicion::Worth;
use super::args::at_least_one;
use super::interrupt::{cancel_on_signals, interrupted};
use super::{Output, told};

/// Bisects simulated bugs whose culprit is known, and says how often each rule finds it and what
/// that takes. No kernel is built and no machine is started.
///
/// To plan a bisection: take the number of candidates from `git rev-list --count GOOD..BAD`, the
/// seconds of a build and of a trial from one of each, and the hit rate from a few dozen trials of
/// the bad revision (`vmbisect loop` gives each title's). Then vary what you can choose, --machines,
/// --confidence, a workload with a higher hit rate, and compare the hours. The column "90 % within"
/// says what to allow for: one bisection in ten takes longer.
///
/// All rules meet the same histories, the same broken revisions and the same luck in the n-th trial
/// of each revision. Our own knows neither rate beforehand; how often names at a claimed
/// probability were right is in a table at the end, by what was claimed and by setting; a setting is
/// marked where the two differ by more than 2 points and by more than chance. "Wrong" are names of other commits: what a rule
/// that is merely unsure leaves out. The line "no rule" gives the fewest trials that would do for
/// anyone who knew both rates and had builds for free (Fano's bound); compare with
/// --build-seconds 0.
///
/// The rules of syzkaller and git bisect take any crash for the bug's, so other bugs (--foreign)
/// mislead them. The rule git-bayesect asks the Python package of that name, which has to be
/// installed: pip install git_bayesect.
///
/// --grid is the whole range in one go: hit rates from 0.05 to 0.9, false rates from 0 to 0.03,
/// other crashes from none to 0.3 of the trials, ours beside syzkaller's rule of 2024.
///
/// With --suspects, there is a table of what it is worth to suspect these commits, by the probability
/// that the culprit is one of them. That probability is known only from bugs whose fixes name the
/// culprit (`Fixes:`), as the share of them in which it touches a file of the crash.
///
/// With --json, there is an object for each setting: candidates, hit_rate, false_rate, foreign,
/// histories, least_trials (the line "no rule") and rules, each with how many histories were right,
/// wrong and unanswered, the means of its trials, of those at_bad_tip, builds and hours, hours_90, and
/// reliability; and suspicion (null without --suspects): ours without it, with a wrong one and a right
/// one, and saves_hours_from, the probability of being right at which it pays.
///
/// Exit status: 0 done, 2 something went wrong, 130 interrupted, with what was known by then.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  vmbisect simulate --candidates 5932 --hit-rate 0.05,0.1,0.3 --false-rate 0.01
  vmbisect simulate --merges 0.07 --hit-rate 0.2 --foreign 0.1 --broken 0.05 --machines 8
  vmbisect simulate --repo linux --good v6.1 --bad v6.2 --build-seconds 180 --trial-seconds 25
  vmbisect simulate --rule ours --suspects 0.02
  vmbisect simulate --grid --runs 1000 --json > grid.json")]
pub(crate) struct Args {
    /// Commits that may be the culprit
    #[arg(long, value_name = "N", default_value_t = 5932, help_heading = "History")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    candidates: u32,

    /// Share of merges among them, up to 0.4: 0 is one commit after the other, Linux has 0.07
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "History")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 0.4))]
    merges: f64,

    /// Share of the branches that left below the good revision; each left at another commit
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "History")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0), requires = "merges")]
    below: f64,

    /// Take the history between --good and --bad from this repository
    #[arg(long, value_name = "DIR", help_heading = "History", requires = "good")]
    #[arg(conflicts_with_all = ["candidates", "merges"])]
    repo: Option<PathBuf>,

    /// A revision without the bug; may be given several times
    #[arg(long, value_name = "REV", help_heading = "History", requires = "repo")]
    good: Vec<String>,

    /// The revision with the bug
    #[arg(long, value_name = "REV", default_value = "HEAD", help_heading = "History")]
    #[arg(requires = "repo")]
    bad: String,

    /// Share of the commits that touch files of the crash, which our own rule favours as `bisect`
    /// does without --no-crash-prior
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "History")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0))]
    suspects: f64,

    /// Probability that the culprit is one of these
    #[arg(long, value_name = "P", default_value_t = 0.5, help_heading = "History")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0), requires = "suspects")]
    suspects_right: f64,

    /// Probability that a trial of a revision with the bug shows it; several, with commas, are
    /// simulated one after the other
    #[arg(long, value_name = "P", default_value = "0.3", value_delimiter = ',')]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0), help_heading = "Trials")]
    hit_rate: Vec<f64>,

    /// Probability that a trial of a revision without the bug shows the same; several, with commas,
    /// are simulated one after the other
    #[arg(long, value_name = "Q", default_value = "0.01", value_delimiter = ',')]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0), help_heading = "Trials")]
    false_rate: Vec<f64>,

    /// Probability that a trial dies of another bug first; several, with commas, are simulated one
    /// after the other
    #[arg(long, value_name = "SHARE", default_value = "0", value_delimiter = ',')]
    #[arg(value_parser = |text: &str| number(text, 0.0, 0.99), help_heading = "Trials")]
    foreign: Vec<f64>,

    /// Hit rates from 0.05 to 0.9, false rates from 0 to 0.03, other crashes from 0 to 0.3
    #[arg(long, help_heading = "Trials")]
    #[arg(conflicts_with_all = ["hit_rate", "false_rate", "foreign"])]
    grid: bool,

    /// Share of the history that has this other bug
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, help_heading = "Trials")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1.0))]
    foreign_span: f64,

    /// Share of the revisions that do not build
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Trials")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 0.9))]
    broken: f64,

    /// How many commits in a row do not build
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Trials")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    broken_length: u32,

    /// Seconds that a build takes
    #[arg(long, value_name = "SECONDS", default_value_t = 400.0, help_heading = "Costs")]
    #[arg(value_parser = |text: &str| number(text, 0.0, 1e6))]
    build_seconds: f64,

    /// Seconds that a trial takes
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, help_heading = "Costs")]
    #[arg(value_parser = |text: &str| number(text, 0.001, 1e6))]
    trial_seconds: f64,

    /// Trials that run at a time
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Costs")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    machines: u32,

    /// Rules to compare; may be given several times [default: all but git-bayesect; with --grid,
    /// ours and syzkaller-2024]
    #[arg(long, value_name = "RULE", value_enum, help_heading = "Rules")]
    rule: Vec<Named>,

    /// Probability at which our own rule names a culprit, from 0.5 to 0.999
    #[arg(long, value_name = "P", default_value_t = 0.95, help_heading = "Rules")]
    #[arg(value_parser = super::bisect::confidence)]
    confidence: f64,

    /// Trials after which our own rule gives up
    #[arg(long, value_name = "N", default_value_t = Limits::default().trials)]
    #[arg(help_heading = "Rules")]
    max_trials: u64,

    /// Clean trials of the bad revision after which our own rule gives up
    #[arg(long, value_name = "N", default_value_t = Limits::default().bad_tip)]
    #[arg(help_heading = "Rules", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bad_trials: u32,

    /// Histories, each with a culprit of its own
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Simulation")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,

    /// Where the random numbers start: the same seed gives the same histories
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Simulation")]
    seed: u64,

    /// Histories that are simulated at a time [default: one a CPU]
    #[arg(long, value_name = "N", help_heading = "Simulation")]
    #[arg(value_parser = at_least_one::<NonZeroUsize>)]
    jobs: Option<NonZeroUsize>,
}

/// A rule on the command line.
#[derive(Clone, Copy, Debug)]
struct Named(Rule);

impl ValueEnum for Named {
    fn value_variants<'a>() -> &'a [Named] {
        const ALL: [Named; Rule::ALL.len()] = [
            Named(Rule::Ours),
            Named(Rule::Syzkaller2021),
            Named(Rule::Syzkaller2024),
            Named(Rule::GitBisect),
            Named(Rule::GitBayesect),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

/// How the rules did in one setting.
#[derive(Debug, Serialize)]
struct Simulated {
    candidates: usize,
    hit_rate: f64,
    false_rate: f64,
    foreign: f64,
    histories: u64,
    /// Trials that no rule can do without, absent if hits tell nothing.
    least_trials: Option<f64>,
    rules: Vec<Score>,
    /// What the suspicion is worth to our own rule, if there is one.
    suspicion: Option<Worth>,
}

/// The rates of one setting.
#[derive(Clone, Copy, Debug)]
struct Rates {
    hit: f64,
    false_: f64,
    foreign: f64,
}

/// What `--grid` covers.
const GRID: [&[f64]; 3] = [&[0.05, 0.1, 0.2, 0.3, 0.5, 0.9], &[0.0, 0.01, 0.03], &[0.0, 0.1, 0.3]];

fn number(text: &str, low: f64, high: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        Ok(_) => Err(format!("must be from {low} to {high}")),
        Err(_) => Err("not a number".into()),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let shape = args.shape()?;
    let rules: Vec<Rule> = match &args.rule[..] {
        [] if args.grid => vec![Rule::Ours, Rule::Syzkaller2024],
        [] => Rule::OWN.to_vec(),
        named => named.iter().map(|named| named.0).collect(),
    };
    let jobs = args.jobs.or(std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let cancel = cancel_on_signals()?;
    if !output.json {
        output.line(format!("{} candidates, {} histories each", shape.candidates(), args.runs));
    }
    let progress = output.progress();
    progress.enable_steady_tick(std::time::Duration::from_millis(200));
    let settings = args.rates();
    let mut all: Vec<Simulated> = Vec::new();
    for (number, &rates) in (1..).zip(&settings) {
        if cancel.is_cancelled() {
            break;
        }
        let setting = args.setting(shape.clone(), rates);
        let mut on_done = |what: &str, done| {
            let Rates { hit, false_, foreign } = rates;
            let (of, settings) = (args.runs, settings.len());
            progress.set_message(format!(
                "setting {number} of {settings} (hit rate {hit}, false rate {false_}, foreign \
                 {foreign}{what}): {done} of {of} histories"
            ));
        };
        let mut on_rules = |done| on_done("", done);
        let scores = told(
            simulate(&setting, &rules, args.runs, jobs, &cancel, &mut on_rules),
            SimulateError::hint,
        )?;
        let suspicion = match rules.contains(&Rule::Ours) {
            true => told(
                Worth::find(&setting, args.runs, jobs, &cancel, &mut on_done),
                SimulateError::hint,
            )?,
            false => None,
        };
        let least = least_trials(
            shape.candidates(),
            rates.hit,
            rates.false_,
            rates.foreign,
            args.confidence,
        );
        let simulated = Simulated {
            candidates: shape.candidates(),
            hit_rate: rates.hit,
            false_rate: rates.false_,
            foreign: rates.foreign,
            histories: scores.first().map_or(0, |score| score.histories),
            least_trials: least.is_finite().then_some(least),
            rules: scores,
            suspicion,
        };
        if !output.json {
            progress.suspend(|| print(&simulated, output));
        }
        all.push(simulated);
    }
    progress.finish_and_clear();
    if output.json {
        output.line(serde_json::to_string_pretty(&all)?);
    } else {
        print_reliability(&all, output);
    }
    if cancel.is_cancelled() {
        output.note("interrupted; this is what was known");
        return Ok(interrupted());
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn shape(&self) -> anyhow::Result<Shape> {
        let candidates = self.candidates as usize;
        let Some(repo) = &self.repo else {
            return Ok(match self.merges {
                0.0 => Shape::Linear { candidates },
                share => Shape::Merges { candidates, share, below: self.below },
            });
        };
        let history = told(History::open(repo), HistoryError::hint)?;
        let good: Vec<CommitId> = self
            .good
            .iter()
            .map(|name| told(history.resolve(name), HistoryError::hint))
            .collect::<Result<_, _>>()?;
        let bad = told(history.resolve(&self.bad), HistoryError::hint)?;
        let candidates = told(history.candidates(&good, bad), HistoryError::hint)?;
        if candidates.is_empty() {
            bail!("there are no commits between the good and the bad revision");
        }
        Ok(Shape::Given(Arc::new(candidates.graph().clone())))
    }

    /// All combinations that were asked for.
    fn rates(&self) -> Vec<Rates> {
        let [hits, falses, foreigns] = match self.grid {
            true => GRID,
            false => [&self.hit_rate[..], &self.false_rate, &self.foreign],
        };
        let mut all = Vec::new();
        for &hit in hits {
            for &false_ in falses {
                all.extend(foreigns.iter().map(|&foreign| Rates { hit, false_, foreign }));
            }
        }
        all
    }

    fn setting(&self, shape: Shape, rates: Rates) -> Setting {
        Setting {
            shape,
            nature: Nature {
                hit_rate: rates.hit,
                false_rate: rates.false_,
                foreign: rates.foreign,
                foreign_span: self.foreign_span,
                broken: self.broken,
                broken_length: self.broken_length as usize,
            },
            suspicion: (self.suspects > 0.0)
                .then_some(Suspicion { share: self.suspects, right: self.suspects_right }),
            costs: Costs {
                build_seconds: self.build_seconds,
                trial_seconds: self.trial_seconds,
                machines: self.machines,
            },
            limits: Limits {
                trials: self.max_trials,
                bad_tip: self.bad_trials,
                ..Limits::default()
            },
            confidence: self.confidence,
            seed: self.seed,
        }
    }
}

fn print(simulated: &Simulated, output: &Output) {
    let Simulated { hit_rate, false_rate, foreign, histories, least_trials, rules, .. } = simulated;
    let suspicion = &simulated.suspicion;
    output.line("");
    output.line(format!(
        "hit rate {hit_rate}, false rate {false_rate}, other crashes {foreign}, {histories} \
         histories"
    ));
    output
        .line("rule              right   wrong  no answer   trials  at bad tip  builds    hours  90 % within");
    let share = |part: u64| 100.0 * part as f64 / (*histories).max(1) as f64;
    for score in rules {
        output.line(format!(
            "{:<15} {:>5.1} % {:>5.1} % {:>8.1} % {:>8.1} {:>11.1} {:>7.1} {:>8.2} {:>12.2}",
            score.rule.name(),
            share(score.right),
            share(score.wrong),
            share(score.unanswered),
            score.trials,
            score.at_bad_tip,
            score.builds,
            score.hours,
            score.hours_90,
        ));
    }
    if let Some(least) = least_trials {
        output.line(format!("{:<43} {least:>8.1}", "no rule, builds free, with fewer than"));
    }
    if let Some(suspicion) = suspicion {
        suspicion.print(output);
    }
}

fn print_reliability(all: &[Simulated], output: &Output) {
    for rule in Rule::ALL {
        let scores = all.iter().flat_map(|simulated| &simulated.rules);
        let rows = scores.filter(|score| score.rule == rule).flat_map(|score| &score.reliability);
        let rows = Reliability::together(rows);
        if rows.is_empty() {
            continue;
        }
        output.line("");
        output.line(format!("{}: claimed and actual probability", rule.name()));
        for row in rows {
            let claims = claims(&row);
            output.line(format!(
                "  {:>4.0} to {:>3.0} %: {claims}",
                100.0 * row.from,
                100.0 * row.to
            ));
        }
        if all.len() > 1 {
            print_by_setting(all, rule, output);
        }
    }
}

/// What all settings together hide: where more was claimed than was true, or less.
fn print_by_setting(all: &[Simulated], rule: Rule, output: &Output) {
    output.line("  by hit rate, false rate and other crashes:");
    for simulated in all {
        let score = simulated.rules.iter().find(|score| score.rule == rule);
        let Some(row) = score.and_then(|score| Reliability::in_all(&score.reliability)) else {
            continue;
        };
        let Simulated { hit_rate, false_rate, foreign, .. } = simulated;
        let off = match row.is_off() {
            true if row.claimed > row.actual => "  <- claims too much",
            true => "  <- claims too little",
            false => "",
        };
        output.line(format!("  {hit_rate:>5} {false_rate:>5} {foreign:>4}: {}{off}", claims(&row)));
    }
}

fn claims(row: &Reliability) -> String {
    let Reliability { claims, claimed, actual, .. } = row;
    format!(
        "{claims:>6} claims, {:>5.1} % claimed, {:>5.1} % right",
        100.0 * claimed,
        100.0 * actual
    )
}
