//! Finds the places in a log where a report may begin, at several bytes a cycle.
//!
//! Every literal is at least [`SHORTEST`] bytes long, so wherever one stands in the log, one of the
//! windows of [`WINDOW`] bytes that begin at every second byte lies within it. Only those windows
//! are looked at: each is hashed into a table of all windows of all literals, and where it is a member
//! the literals that have it are compared. What this costs hardly depends on the number of literals,
//! as long as the table is sparse; an Aho-Corasick automaton looks at every byte, and the vectorized
//! searches in front of one give up beyond some dozens of literals.

/// The shortest literal: one window, wherever it begins.
pub(super) const SHORTEST: usize = WINDOW + 1;

const WINDOW: usize = 4;

/// Bits of a hash. The table takes 64 KiB, of which texts use little; with a thousand literals, one
/// window in sixteen is taken for a member that is none.
const BITS: u32 = 15;

/// How many windows are looked at before the first branch.
const AT_ONCE: usize = 8;

/// The literals, ready to be searched for.
#[derive(Debug)]
pub(super) struct Prefilter {
    /// For each hash, which of the groups has the literals with such a window; most have none, which
    /// is the first group.
    groups_of: Box<[u16; 1 << BITS]>,
    /// Literals, and where in them the window is.
    groups: Vec<Vec<(&'static [u8], usize)>>,
}

impl Prefilter {
    /// A search for these literals, of which none is shorter than [`SHORTEST`].
    pub(super) fn new(literals: impl IntoIterator<Item = &'static str>) -> Prefilter {
        let mut filter =
            Prefilter { groups_of: Box::new([0; 1 << BITS]), groups: vec![Vec::new()] };
        for literal in literals {
            debug_assert!(literal.len() >= SHORTEST, "{literal:?} is too short to be found");
            // Whether it begins at an even or an odd place, one of its first two windows is seen.
            for (at, window) in literal.as_bytes().windows(WINDOW).take(2).enumerate() {
                let Some(window) = window.first_chunk() else { continue };
                let group = &mut filter.groups_of[hash(*window)];
                if *group == 0 {
                    // A table of 2^15 entries has no more groups than fit.
                    *group = filter.groups.len() as u16;
                    filter.groups.push(Vec::new());
                }
                if let Some(group) = filter.groups.get_mut(usize::from(*group)) {
                    group.push((literal.as_bytes(), at));
                }
            }
        }
        filter
    }

    /// Places in `text`, in order, each within the line in which a literal stands.
    pub(super) fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                at = self.next_member(text, at)?;
                let found = at;
                at += 2;
                if self.stands_at(text, found) {
                    return Some(found);
                }
            }
        })
    }

    /// The first window from `at` on that is a member of the set.
    fn next_member(&self, text: &[u8], mut at: usize) -> Option<usize> {
        const BYTES: usize = 2 * (AT_ONCE - 1) + WINDOW;
        while let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<BYTES>()) {
            let window = |n: usize| bytes.get(2 * n..).and_then(|rest| rest.first_chunk());
            let is_member = |n: usize| window(n).is_some_and(|window| self.is_member(*window));
            if (0..AT_ONCE).fold(false, |any, n| any | is_member(n)) {
                return (0..AT_ONCE).find(|n| is_member(*n)).map(|n| at + 2 * n);
            }
            at += 2 * AT_ONCE;
        }
        while let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk()) {
            if self.is_member(*bytes) {
                return Some(at);
            }
            at += 2;
        }
        None
    }

    #[inline(always)]
    fn is_member(&self, window: [u8; WINDOW]) -> bool {
        self.groups_of[hash(window)] != 0
    }

    /// Whether a literal stands where this window is.
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let window = text.get(at..).and_then(|rest| rest.first_chunk());
        let group =
            window.and_then(|&window| self.groups.get(usize::from(self.groups_of[hash(window)])));
        group.into_iter().flatten().any(|(literal, offset)| {
            at.checked_sub(*offset)
                .and_then(|start| text.get(start..))
                .is_some_and(|text| text.starts_with(literal))
        })
    }
}

#[inline(always)]
fn hash(window: [u8; WINDOW]) -> usize {
    // Fibonacci hashing: the upper bits of the product depend on all of the window's.
    (u32::from_le_bytes(window).wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::Prefilter;

    #[test]
    fn literals_are_found_wherever_they_stand() {
        let filter = Prefilter::new(["BUG: ", "Kernel panic"]);
        for before in 0..20 {
            for after in 0..20 {
                for literal in ["BUG: ", "Kernel panic"] {
                    let text = format!("{}{literal}{}", ".".repeat(before), "x".repeat(after));
                    let found: Vec<usize> = filter.find(text.as_bytes()).collect();
                    assert!(!found.is_empty(), "{text}");
                    let place = before..before + literal.len();
                    assert!(found.iter().all(|at| place.contains(at)), "{text}: {found:?}");
                }
            }
        }
        assert_eq!(filter.find(b"BUG; Kernel Panic").count(), 0);
        assert_eq!(filter.find(b"").count(), 0);
    }
}
