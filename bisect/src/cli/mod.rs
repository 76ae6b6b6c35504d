//! The command line: one file a subcommand.
//!
//! Results go to standard output, as text for people or, with `--json`, as JSON; progress and
//! errors go to standard error. Exit status: 0 the question has a good answer, 1 it has a bad one
//! (a crash was found, no culprit could be named), 2 it could not be answered, 130 interrupted.

mod args;
mod bisect;
mod boot;
mod build;
mod classify;
mod demo;
mod doctor;
mod error;
mod interrupt;
mod loop_;
mod output;
mod replay;
mod simulate;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use error::{WithHint, told};
pub(crate) use output::Output;

/// Finds the commit that broke a Linux kernel: builds candidates, boots each in a virtual machine
/// of its own, reads what the kernel prints and weighs the evidence.
#[derive(Debug, Parser)]
#[command(name = "vmbisect", version, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print JSON on standard output instead of text
    #[arg(long, global = true)]
    json: bool,

    /// Print no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(about = "Find the commit that brought in a crash")]
    Bisect(Box<bisect::Args>),
    #[command(about = "Boot a kernel once and say how it ended")]
    Boot(Box<boot::Args>),
    #[command(about = "Build a kernel from a revision and a configuration")]
    Build(build::Args),
    #[command(about = "Find the crashes in console logs")]
    Classify(classify::Args),
    #[command(about = "Plant a bug in a kernel history and find it again")]
    Demo(demo::Args),
    #[command(about = "Say what this machine can do and what it lacks")]
    Doctor(doctor::Args),
    #[command(about = "Boot a kernel over and over and count what shows")]
    Loop(Box<loop_::Args>),
    #[command(about = "Weigh the evidence in another tool's bisection log")]
    Replay(replay::Args),
    #[command(about = "Bisect simulated bugs: how often a rule is right, and what it takes")]
    Simulate(Box<simulate::Args>),
    #[command(
        about = "Run trials for another vmbisect: jobs on standard input, events on standard output",
        hide = true
    )]
    Worker(worker::Args),
}

/// Runs the program and gives its exit status.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    let result = match &cli.command {
        Command::Bisect(args) => bisect::run(args, &output),
        Command::Boot(args) => boot::run(args, &output),
        Command::Build(args) => build::run(args, &output),
        Command::Classify(args) => classify::run(args, &output),
        Command::Demo(args) => demo::run(args, &output),
        Command::Doctor(args) => doctor::run(args, &output),
        Command::Loop(args) => loop_::run(args, &output),
        Command::Replay(args) => replay::run(args, &output),
        Command::Simulate(args) => simulate::run(args, &output),
        Command::Worker(args) => worker::run(args, &output),
    };
    result.unwrap_or_else(|error| {
        error::print(&error, &output);
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    /// Command lines of this program that stand indented in a text, as a shell splits them.
    fn commands(text: &str) -> Vec<Vec<String>> {
        let text = text.replace("\\\n", " ");
        let indented = text.lines().filter(|line| line.starts_with("  "));
        let last = indented.filter_map(|line| line.rsplit(" | ").next());
        let ours = last.map(str::trim).filter(|line| line.starts_with("vmbisect "));
        let words = |line| shlex::split(line).unwrap_or_else(|| panic!("{line}"));
        ours.map(|line| words(line).into_iter().take_while(|word| word != ">").collect()).collect()
    }

    #[test]
    fn what_the_guide_and_the_help_print_can_be_typed() {
        let mut texts = vec![include_str!("../../../README.md").to_owned()];
        for command in Cli::command().get_subcommands() {
            texts.extend(command.get_after_help().map(ToString::to_string));
        }
        let mut seen = 0;
        for words in texts.iter().flat_map(|text| commands(text)) {
            assert!(Cli::try_parse_from(&words).is_ok(), "{words:?}");
            seen += 1;
        }
        assert!(seen > 40, "{seen}");
    }
}
