//! The order of commits that a log implies, for want of the repository.

use std::collections::BTreeMap;

use super::{BisectLog, Word};
use crate::history::{Candidates, CommitId};

/// Commits that a log may imply; git counts no more between any two releases of Linux together.
const MOST: u64 = 2_000_000;

/// The candidates as a line, in the order that the log implies.
///
/// git says at each step how many revisions would be left if the one it picked were good. Together
/// with what it was told, that gives most positions; where one is lost, git has picked the middle.
/// Commits that the log does not name get names that only count them. Our own logs say of each
/// commit which candidate it is; with merges in the range that is one of several orders.
pub fn implied_order(log: &BisectLog) -> Candidates {
    if let Some((top, named)) = stated_order(log) {
        return line(log, top, &named);
    }
    let picked: Vec<(CommitId, Word, Option<u64>)> = log
        .tested
        .iter()
        .filter(|tested| Some(tested.commit) != log.bad && !log.good.contains(&tested.commit))
        .filter_map(|tested| Some((tested.commit, tested.word?, tested.left.map(u64::from))))
        .filter(|(_, word, left)| *word != Word::Skip || left.is_some())
        .collect();
    let mut named = BTreeMap::new();
    let (mut below, mut size) = (0, size(&picked));
    let top = size;
    for (at, (commit, word, left)) in picked.iter().enumerate() {
        // One more than is left is good's share; the rest, this one included, is below it.
        let rank = match left {
            Some(left) => size.saturating_sub(left + 1),
            None => self::size(picked.get(at + 1..).unwrap_or_default()),
        };
        let rank = rank.clamp(1, size.saturating_sub(1).max(1));
        // What was skipped has its place already, and git counts the same from beside it.
        let rank = (1..size)
            .filter(|rank| !named.contains_key(&(below + rank)))
            .min_by_key(|free| free.abs_diff(rank))
            .unwrap_or(rank);
        named.entry(below + rank).or_insert(*commit);
        match word {
            Word::Good => {
                below += rank;
                size = size.saturating_sub(rank);
            }
            Word::Bad => size = rank,
            // It is where it is, and nothing is narrowed down.
            Word::Skip => {}
        }
    }
    named.extend(log.bad.map(|bad| (top, bad)));
    line(log, top, &named)
}

/// How many candidates there were before these were picked, the bad end included.
fn size(picked: &[(CommitId, Word, Option<u64>)]) -> u64 {
    // From the end: what is known of the later steps says how large the earlier ones were.
    picked.iter().rev().fold(1, |after, (_, word, left)| {
        let size = match (word, left) {
            // The later candidates are those below the picked one, itself included.
            (Word::Bad, Some(left)) => after + left + 1,
            (Word::Skip, Some(left)) => after.max(left + 2),
            (Word::Good, Some(left)) => 2 * (left + 1),
            (_, None) => after.saturating_mul(2),
        };
        size.min(MOST)
    })
}

/// The order that the log states, if it does so of every commit but the older ends.
fn stated_order(log: &BisectLog) -> Option<(u64, BTreeMap<u64, CommitId>)> {
    let inside = log.tested.iter().filter(|tested| !log.good.contains(&tested.commit));
    let places: Vec<(CommitId, (u32, u32))> =
        inside.map(|tested| Some((tested.commit, tested.position?))).collect::<Option<_>>()?;
    let (_, (_, top)) = places.first()?;
    let top = u64::from(*top).min(MOST);
    let named = places.iter().map(|(commit, (at, _))| (u64::from(*at).clamp(1, top), *commit));
    Some((top, named.collect()))
}

fn line(log: &BisectLog, top: u64, named: &BTreeMap<u64, CommitId>) -> Candidates {
    let name = |position: u64| {
        named.get(&position).copied().or_else(|| format!("{position:040x}").parse().ok())
    };
    let mut parent: Vec<CommitId> = log.good.clone();
    let mut commits = Vec::new();
    for id in (1..=top).filter_map(name) {
        commits.push((id, std::mem::replace(&mut parent, vec![id])));
    }
    Candidates::new(commits, &log.good)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
