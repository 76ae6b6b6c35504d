//! Sums over the ancestors of every candidate at once.

use super::chains::{Chain, Chains};

/// Chains that go through the graph at a time, as bits.
const BLOCK: usize = 256;
type Bits = [u64; BLOCK / 64];

/// For every chain, the sum over all chains below it, its own left out.
///
/// Along a line that is the sum of the parent plus what the parent holds (`whole`). A merge adds
/// what its further parents contain and its first does not; to find that, [`BLOCK`] chains at a
/// time are pushed through the graph as bits. There it is `merged` that is summed: the same as
/// `whole`, or a sample of it in which few chains have a weight. Chains whose weight there is zero
/// cost nothing.
pub(super) fn sums_below<const W: usize>(
    chains: &Chains,
    whole: &[[f64; W]],
    merged: &[[f64; W]],
) -> Vec<[f64; W]> {
    let mut sums = vec![[0.0; W]; chains.len()];
    let has_merges = (0..chains.len() as Chain).any(|chain| chains.parents(chain).len() > 1);
    if has_merges {
        let weighty: Vec<Chain> =
            (0..).zip(merged).filter(|(_, w)| w.iter().any(|&x| x != 0.0)).map(|it| it.0).collect();
        let mut contains = vec![Bits::default(); chains.len()];
        for block in weighty.chunks(BLOCK) {
            add_merged(chains, merged, block, &mut contains, &mut sums);
        }
    }
    for chain in 0..chains.len() as Chain {
        let Some(&parent) = chains.parents(chain).first() else { continue };
        let below = sums.get(parent as usize).copied().unwrap_or([0.0; W]);
        let of_parent = whole.get(parent as usize).copied().unwrap_or([0.0; W]);
        if let Some(sum) = sums.get_mut(chain as usize) {
            add(sum, &below);
            add(sum, &of_parent);
        }
    }
    sums
}

/// Adds to each merge the weights of those of `block` that its first parent does not contain and
/// another one does.
fn add_merged<const W: usize>(
    chains: &Chains,
    weights: &[[f64; W]],
    block: &[Chain],
    contains: &mut [Bits],
    sums: &mut [[f64; W]],
) {
    let mut members = block.iter().enumerate().peekable();
    let first = block.first().copied().unwrap_or_default();
    // Nothing older contains any of the block.
    contains.iter_mut().take(first as usize).for_each(|bits| *bits = Bits::default());
    for chain in first..chains.len() as Chain {
        let of = |parent: Chain| contains.get(parent as usize).copied().unwrap_or_default();
        let mut parents = chains.parents(chain).iter();
        let mut bits = parents.next().map_or(Bits::default(), |&parent| of(parent));
        let mut others = Bits::default();
        for &parent in parents {
            or(&mut others, &of(parent));
        }
        for (word, (others, bits)) in others.iter().zip(&mut bits).enumerate() {
            let mut more = others & !*bits;
            *bits |= others;
            while more != 0 {
                let member = word * 64 + more.trailing_zeros() as usize;
                more &= more - 1;
                let weight = block.get(member).and_then(|&it| weights.get(it as usize));
                if let (Some(sum), Some(weight)) = (sums.get_mut(chain as usize), weight) {
                    add(sum, weight);
                }
            }
        }
        if let Some((member, _)) = members.next_if(|&(_, &member)| member == chain)
            && let Some(word) = bits.get_mut(member / 64)
        {
            *word |= 1 << (member % 64);
        }
        if let Some(slot) = contains.get_mut(chain as usize) {
            *slot = bits;
        }
    }
}

fn or(bits: &mut Bits, more: &Bits) {
    for (word, more) in bits.iter_mut().zip(more) {
        *word |= more;
    }
}

pub(super) fn add<const W: usize>(sum: &mut [f64; W], more: &[f64; W]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// For every candidate, the sum of `weights` over itself and its candidate ancestors.
pub(crate) fn ancestor_sums(chains: &Chains, weights: &[f64]) -> Vec<f64> {
    let weight = |rev: u32| weights.get(rev as usize).copied().unwrap_or(0.0);
    let members = |chain| chains.members(chains.range(chain));
    let all = 0..chains.len() as Chain;
    let whole: Vec<[f64; 1]> =
        all.clone().map(|chain| [members(chain).iter().map(|&rev| weight(rev)).sum()]).collect();
    let below = sums_below(chains, &whole, &whole);
    let mut sums = vec![0.0; weights.len()];
    for (chain, [below]) in all.zip(below) {
        let mut sum = below;
        for &rev in members(chain) {
            sum += weight(rev);
            if let Some(slot) = sums.get_mut(rev as usize) {
                *slot = sum;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ancestor_sums;
    use crate::history::Graph;
    use crate::search::Chains;

    proptest! {
        /// On any graph the sums are those of a walk from each candidate.
        #[test]
        fn same_as_a_walk_from_each(
            choices in prop::collection::vec((any::<u16>(), any::<u16>(), 0u8..5), 1..600)
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
            let weights: Vec<f64> = choices.iter().map(|&(a, _, _)| f64::from(a % 16)).collect();
            let chains = Chains::new(&graph);
            let sums = ancestor_sums(&chains, &weights);
            for rev in 0..outside {
                let set = graph.ancestors(rev);
                let walked: f64 =
                    (0..outside).filter(|&c| set.contains(c)).map(|c| weights[c as usize]).sum();
                prop_assert_eq!(walked, sums[rev as usize]);
                // The chains that a revision contains, and its own up to it, are the same set.
                let (own, place) = chains.locate(rev).unwrap();
                let words = chains.contained(&[rev]);
                for c in 0..outside {
                    let (chain, at) = chains.locate(c).unwrap();
                    let inside =
                        words[chain as usize] == 1 || (chain == own && at <= place);
                    prop_assert_eq!(inside, set.contains(c));
                }
            }
        }
    }
}
