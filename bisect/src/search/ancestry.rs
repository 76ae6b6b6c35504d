//! Sums over the ancestors of every candidate at once.

use crate::history::{Graph, Rev};

/// For every candidate, the sum of `weights` over itself and its candidate ancestors.
///
/// Along a line that is the parent's sum plus the commit's own weight. A merge adds what its
/// further parents have and its first does not; to find that, 64 candidates at a time are pushed
/// through the graph as bits of a word. Candidates of weight zero are left out.
pub(crate) fn ancestor_sums<const W: usize>(graph: &Graph, weights: &[[f64; W]]) -> Vec<[f64; W]> {
    let candidates = graph.candidates();
    let mut sums = vec![[0.0; W]; candidates];
    let merges: Vec<Rev> = (0..candidates as Rev)
        .filter(|&rev| graph.candidate_parents(rev).nth(1).is_some())
        .collect();
    if !merges.is_empty() {
        let weighty: Vec<Rev> = (0..candidates as Rev)
            .filter(|&rev| weights.get(rev as usize).is_some_and(|w| w.iter().any(|&x| x != 0.0)))
            .collect();
        for block in weighty.chunks(64) {
            add_merged(graph, weights, &merges, block, &mut sums);
        }
    }
    for rev in 0..candidates as Rev {
        let first = graph.candidate_parents(rev).next();
        let below = first.and_then(|parent| sums.get(parent as usize).copied());
        let own = weights.get(rev as usize);
        if let Some(sum) = sums.get_mut(rev as usize) {
            add(sum, &below.unwrap_or([0.0; W]));
            add(sum, own.unwrap_or(&[0.0; W]));
        }
    }
    sums
}

/// Adds to each merge the weights of those of `block` that its first parent does not contain and
/// another one does.
fn add_merged<const W: usize>(
    graph: &Graph,
    weights: &[[f64; W]],
    merges: &[Rev],
    block: &[Rev],
    sums: &mut [[f64; W]],
) {
    let mut contains = vec![0u64; graph.candidates()];
    let mut members = block.iter().enumerate().peekable();
    let first = block.first().copied().unwrap_or_default();
    for rev in first..graph.candidates() as Rev {
        let mut word = graph
            .candidate_parents(rev)
            .fold(0, |word, parent| word | contains.get(parent as usize).copied().unwrap_or(0));
        if let Some((bit, _)) = members.next_if(|&(_, &member)| member == rev) {
            word |= 1 << bit;
        }
        if let Some(slot) = contains.get_mut(rev as usize) {
            *slot = word;
        }
    }
    let of = |rev: Rev| contains.get(rev as usize).copied().unwrap_or(0);
    for &merge in merges {
        let mut parents = graph.candidate_parents(merge);
        let first = parents.next().map_or(0, of);
        let mut merged = parents.fold(0, |word, parent| word | of(parent)) & !first;
        let Some(sum) = sums.get_mut(merge as usize) else { continue };
        while merged != 0 {
            let bit = merged.trailing_zeros() as usize;
            merged &= merged - 1;
            if let Some(weight) = block.get(bit).and_then(|&rev| weights.get(rev as usize)) {
                add(sum, weight);
            }
        }
    }
}

fn add<const W: usize>(sum: &mut [f64; W], more: &[f64; W]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ancestor_sums;
    use crate::history::Graph;

    proptest! {
        /// On any graph the sums are those of a walk from each candidate.
        #[test]
        fn same_as_a_walk_from_each(
            choices in prop::collection::vec((any::<u16>(), any::<u16>(), 0u8..4), 1..300)
        ) {
            let outside = choices.len() as u32;
            let parents: Vec<Vec<u32>> = choices.iter().enumerate().map(|(i, &(a, b, kind))| {
                let pick = |x: u16| if i == 0 { outside } else { u32::from(x) % i as u32 };
                match kind {
                    0 => vec![pick(a), pick(b)],
                    1 => vec![outside, pick(b)],
                    _ => vec![(i as u32).checked_sub(1).unwrap_or(outside)],
                }
            }).collect();
            let graph = Graph::new(&parents, choices.len() + 1, vec![outside]);
            let weights: Vec<[f64; 2]> =
                choices.iter().map(|&(a, _, kind)| [f64::from(a), f64::from(kind)]).collect();
            let sums = ancestor_sums(&graph, &weights);
            for rev in 0..outside {
                let set = graph.ancestors(rev);
                for w in 0..2 {
                    let walked: f64 = (0..outside)
                        .filter(|&c| set.contains(c))
                        .map(|c| weights[c as usize][w])
                        .sum();
                    prop_assert_eq!(walked, sums[rev as usize][w]);
                }
            }
        }
    }
}
