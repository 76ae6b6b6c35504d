//! Scores the classifier against the corpus and prints each miss.
//!
//! `cargo run -p vmbisect-tests --example corpus [QUESTION…]`; with `--half even` or `--half odd`
//! only every other case, for developing on one half and looking at the other's score.

use vmbisect_tests::corpus;

fn main() -> anyhow::Result<()> {
    let mut questions = Vec::new();
    let mut half = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--half" => half = arguments.next().map(|which| usize::from(which == "odd")),
            _ => questions.push(argument),
        }
    }
    let Some(directory) = corpus::find() else {
        println!("no corpus here: set VMBISECT_CORPUS to its directory");
        return Ok(());
    };
    let cases = corpus::reports(&directory)?;
    let chosen = cases.iter().enumerate().filter(|(index, _)| half.is_none_or(|h| index % 2 == h));
    let mut score = corpus::score(chosen.map(|(_, case)| case));
    if half.is_none() {
        corpus::score_guilty(&corpus::guilty(&directory)?, &mut score);
    }
    for (case, question, want, got) in &score.misses {
        if questions.is_empty() || questions.iter().any(|wanted| wanted == question) {
            println!("{case:>5} {question}\n        want {want}\n        got  {got}");
        }
    }
    for (question, (right, all)) in &score.totals {
        println!("{question:>14} {right:>4} of {all:>4}  {:.1} %", score.share(question) * 100.0);
    }
    Ok(())
}
