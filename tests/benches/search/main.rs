//! How fast the search thinks, and how fast a history is read.
//!
//! ```text
//! cargo bench -p vmbisect-tests --bench search
//! VMBISECT_BENCH_REPO=linux VMBISECT_BENCH_RANGE=v6.1..v6.6 cargo bench -p vmbisect-tests --bench search
//! ```
//!
//! The goals, on one core: the next action in 3 ms among 10,000 candidates with merges and in 100 ms
//! among 1,000,000; memory in proportion to the candidates; the graph read from a repository in no
//! more time than `git rev-list` takes to print it.
//!
//! Histories are generated in the shape of Linux: 7 % merges, branches of branches. Without a
//! repository of yours, one of the same shape is made with `git fast-import`, `VMBISECT_BENCH_COMMITS`
//! long (100,000).

mod repository;

use std::sync::Arc;

use divan::{Bencher, black_box};
use vmbisect::history::Graph;
use vmbisect::search::{Action, Belief, Costs, Limits, Model, Tally, next};
use vmbisect::simulate::Shape;

const SIZES: [usize; 4] = [10_000, 100_000, 1_000_000, 1_300_000];
const COSTS: Costs = Costs { build_seconds: 400.0, trial_seconds: 10.0, machines: 4 };

fn main() {
    for size in SIZES {
        let graph = linux(size);
        let before = resident();
        let belief = searching(graph, 0);
        let grown = resident().saturating_sub(before);
        println!("{size} candidates: {} bytes each to believe in", grown / size);
        drop(black_box(belief));
    }
    divan::main();
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn linux(candidates: usize) -> Arc<Graph> {
    Shape::Merges { candidates, share: 0.07, below: 0.0 }.sample(1)
}

/// A search of which both ends are settled and `halvings` revisions were tried since, by a bug that
/// shows in half of the trials and came in at two thirds of the history.
fn searching(graph: Arc<Graph>, halvings: usize) -> Belief {
    let tip = graph.bad_tip().unwrap();
    let culprit = tip / 3 * 2;
    let mut belief = Belief::new(graph.clone(), Model::new(0.95));
    belief.observe(tip, Tally { hits: 5, clean: 5 });
    belief.observe(graph.good_tips()[0], Tally { hits: 0, clean: 20 });
    for _ in 0..halvings {
        let Action::Test { rev, .. } = next(&belief, &COSTS, &Limits::default(), 0) else { break };
        let hits = if graph.ancestors(rev).contains(culprit) { 5 } else { 0 };
        belief.built(rev, None);
        belief.observe(rev, Tally { hits, clean: 10 - hits });
    }
    belief
}

/// What to do next, when only the ends are known.
#[divan::bench(args = SIZES, max_time = 3)]
fn first_action(bencher: Bencher<'_, '_>, candidates: usize) {
    act(bencher, candidates, 0);
}

/// What to do next, after six builds.
#[divan::bench(args = SIZES, max_time = 3)]
fn later_action(bencher: Bencher<'_, '_>, candidates: usize) {
    act(bencher, candidates, 6);
}

/// What to do next, once a revision could not be built: some are likelier to be testable now.
#[divan::bench(args = SIZES, max_time = 3)]
fn action_among_broken(bencher: Bencher<'_, '_>, candidates: usize) {
    let mut belief = searching(linux(candidates), 2);
    if let Action::Test { rev, .. } = next(&belief, &COSTS, &Limits::default(), 0) {
        belief.untestable(rev);
    }
    bencher.bench_local(|| next(black_box(&belief), &COSTS, &Limits::default(), 0));
}

fn act(bencher: Bencher<'_, '_>, candidates: usize, halvings: usize) {
    let belief = searching(linux(candidates), halvings);
    bencher.bench_local(|| next(black_box(&belief), &COSTS, &Limits::default(), 0));
}

/// Takes in the first trial of a revision.
#[divan::bench(args = SIZES, max_time = 3)]
fn new_revision(bencher: Bencher<'_, '_>, candidates: usize) {
    let belief = searching(linux(candidates), 6);
    let rev = candidates as u32 / 2;
    bencher.with_inputs(|| belief.clone()).bench_local_values(|mut belief| {
        belief.observe(rev, Tally { hits: 0, clean: 1 });
        belief
    });
}

/// Takes in one more trial of a revision that is known.
#[divan::bench(args = SIZES, max_time = 3)]
fn one_more_trial(bencher: Bencher<'_, '_>, candidates: usize) {
    let mut belief = searching(linux(candidates), 6);
    let rev = candidates as u32 / 2;
    bencher.bench_local(|| belief.observe(rev, Tally { hits: 0, clean: 1 }));
}
