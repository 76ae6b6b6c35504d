//! What each commit of the history does, drawn from a seed: a graph of slots and an edit for each.

use std::collections::BTreeSet;

use crate::rng::Rng;

/// How a history is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Commits on top of the base, merges included; 6 to 200.
    pub commits: usize,
    /// Side branches that are merged.
    pub merges: usize,
    /// Whether a stretch of two or three commits does not build.
    pub broken: bool,
    /// Whether an unrelated warning comes and goes before and after the culprit.
    pub noise: bool,
}

impl Default for Shape {
    /// What the demonstration uses.
    fn default() -> Shape {
        Shape { commits: 28, merges: 2, broken: true, noise: true }
    }
}

impl Shape {
    /// A straight line of `commits` in which all builds and nothing but the bug warns.
    pub fn straight(commits: usize) -> Shape {
        Shape { commits, merges: 0, broken: false, noise: false }
    }
}

/// What a commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Culprit,
    /// Puts something that does not compile into a file.
    Break,
    Repair,
    NoiseOn,
    NoiseOff,
    Merge,
    /// Changes code.
    Code,
    /// Changes comments only.
    Comment,
}

/// One commit to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) action: Action,
    /// The side branch that it is on, if it is on one.
    pub(super) lane: Lane,
    /// Slots; `None` is the base. A merge has two, the main line's first.
    pub(super) parents: Vec<Option<usize>>,
}

/// The number of a side branch; `None` is the main line.
type Lane = Option<usize>;

/// How far from the culprit, in slots, what makes a bisection hard begins or ends: near enough that
/// it can hardly be missed.
const NEAR: usize = 4;

/// Draws a plan; `None` if no place for everything was found.
pub(super) fn draw(shape: Shape, rng: &mut Rng) -> Option<Vec<Slot>> {
    // Nearly every layout has room; the bound only keeps an impossible shape from going on.
    (0..1000).find_map(|_| attempt(shape, rng))
}

fn attempt(shape: Shape, rng: &mut Rng) -> Option<Vec<Slot>> {
    let lanes = lanes(shape, rng)?;
    let parents = parents(&lanes);
    let mut actions: Vec<Action> = (0..lanes.len())
        .map(|slot| match parents.get(slot).map(Vec::len) {
            Some(2) => Action::Merge,
            _ if rng.below(3) == 0 => Action::Comment,
            _ => Action::Code,
        })
        .collect();
    let is_merge = |slot: usize| parents.get(slot).is_some_and(|it| it.len() == 2);
    let last = lanes.len().checked_sub(1)?;

    let margin = lanes.len() / 7;
    let culprits: Vec<usize> =
        (margin.max(1)..last.checked_sub(margin)?).filter(|&slot| !is_merge(slot)).collect();
    let culprit = rng.pick(&culprits)?;

    // The rest happens on the main line, whose state every side branch and merge takes over.
    let main: Vec<usize> =
        (0..last).filter(|&slot| lanes.get(slot) == Some(&None) && slot != culprit).collect();
    let mut taken = vec![culprit];
    if shape.broken {
        let start = rng.below(main.len());
        let length = 2 + rng.below(2);
        let (first, end) = (*main.get(start)?, *main.get(start + length)?);
        if is_merge(first) || is_merge(end) || first == 0 {
            return None;
        }
        *actions.get_mut(first)? = Action::Break;
        *actions.get_mut(end)? = Action::Repair;
        taken.extend([first, end]);
    }
    if shape.noise {
        let free = |slot: usize, taken: &[usize]| !is_merge(slot) && !taken.contains(&slot);
        let (before, after): (Vec<usize>, Vec<usize>) = main
            .iter()
            .copied()
            .filter(|&slot| free(slot, &taken))
            .partition(|&slot| slot < culprit);
        for side in [before, after] {
            let on = rng.below(side.len());
            let off = on + 1 + rng.below(3);
            *actions.get_mut(*side.get(on)?)? = Action::NoiseOn;
            *actions.get_mut(*side.get(off)?)? = Action::NoiseOff;
        }
    }
    *actions.get_mut(culprit)? = Action::Culprit;
    if !is_fair(shape, &actions, &parents, culprit) {
        return None;
    }
    let slots = actions.into_iter().zip(parents).zip(lanes);
    Some(slots.map(|((action, parents), lane)| Slot { action, lane, parents }).collect())
}

/// Whether the culprit can be told from its neighbours, and the rest is where it should be.
fn is_fair(
    shape: Shape,
    actions: &[Action],
    parents: &[Vec<Option<usize>>],
    culprit: usize,
) -> bool {
    let ancestry = ancestry(parents);
    let is_on = |slot: usize, on: Action, off: Action| {
        let Some(line) = ancestry.get(slot) else { return false };
        let count = |action| line.iter().filter(|it| actions.get(**it) == Some(&action)).count();
        count(on) > count(off)
    };
    let slots = 0..actions.len();
    let broken: Vec<usize> =
        slots.clone().filter(|&slot| is_on(slot, Action::Break, Action::Repair)).collect();
    // A bug that comes in with a revision that can't be tried, or right behind one, has no name.
    let parent = parents.get(culprit).and_then(|it| it.first().copied().flatten());
    if broken.contains(&culprit) || parent.is_some_and(|it| broken.contains(&it)) {
        return false;
    }
    let is_near = |slots: &[usize]| slots.iter().any(|slot| slot.abs_diff(culprit) <= NEAR);
    if shape.broken && (!(2..=3).contains(&broken.len()) || !is_near(&broken)) {
        return false;
    }
    let (bad, good): (Vec<usize>, Vec<usize>) = slots
        .filter(|&slot| is_on(slot, Action::NoiseOn, Action::NoiseOff))
        .partition(|&slot| ancestry.get(slot).is_some_and(|it| it.contains(&culprit)));
    !shape.noise || (is_near(&bad) && is_near(&good))
}

/// Every slot's ancestors, and itself.
fn ancestry(parents: &[Vec<Option<usize>>]) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = Vec::new();
    for (slot, parents) in parents.iter().enumerate() {
        let mut own = BTreeSet::from([slot]);
        for parent in parents.iter().flatten() {
            own.extend(all.get(*parent).into_iter().flatten());
        }
        all.push(own);
    }
    all
}

/// Which line each slot is on. Side branches have three or four commits, alternate with the main
/// line and end in a merge on it.
fn lanes(shape: Shape, rng: &mut Rng) -> Option<Vec<Lane>> {
    let mut sides = Vec::new();
    let mut side_slots = 0_usize;
    for number in 0..shape.merges {
        let length = 3 + rng.below(2);
        // As many on the main line meanwhile, and the merge.
        let mut lanes = Vec::new();
        for _ in 0..length {
            lanes.extend([Some(number), None]);
        }
        lanes.push(None);
        side_slots += lanes.len();
        sides.push(lanes);
    }
    let plain = shape.commits.checked_sub(side_slots)?;
    // At least one plain commit at either end, the others anywhere between.
    let gaps = shape.merges + 1;
    let mut sizes = vec![1_usize; gaps];
    for _ in 0..plain.checked_sub(gaps)? {
        let gap = rng.below(gaps);
        *sizes.get_mut(gap)? += 1;
    }
    let mut lanes = Vec::new();
    let mut sides = sides.into_iter();
    for size in sizes {
        lanes.extend(std::iter::repeat_n(None, size));
        lanes.extend(sides.next().unwrap_or_default());
    }
    Some(lanes)
}

fn parents(lanes: &[Lane]) -> Vec<Vec<Option<usize>>> {
    let mut main: Option<usize> = None;
    // The side branch that is open: its number and its tip.
    let mut side: Option<(usize, usize)> = None;
    let mut parents = Vec::new();
    for (slot, lane) in lanes.iter().enumerate() {
        match *lane {
            Some(number) => {
                let tip = match side {
                    Some((open, tip)) if open == number => Some(tip),
                    _ => main,
                };
                parents.push(vec![tip]);
                side = Some((number, slot));
            }
            None => {
                // The merge is the second commit of the main line behind a side branch's last.
                match side.filter(|&(_, tip)| tip + 2 == slot) {
                    Some((_, tip)) => {
                        parents.push(vec![main, Some(tip)]);
                        side = None;
                    }
                    None => parents.push(vec![main]),
                }
                main = Some(slot);
            }
        }
    }
    parents
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Action, Shape, Slot, draw};
    use crate::rng::Rng;

    fn plan(shape: Shape, seed: u64) -> Vec<Slot> {
        draw(shape, &mut Rng::new(seed)).unwrap()
    }

    fn count(slots: &[Slot], action: Action) -> usize {
        slots.iter().filter(|slot| slot.action == action).count()
    }

    #[test]
    fn every_seed_has_everything() {
        let mut places = BTreeSet::new();
        for seed in 0..500 {
            let slots = plan(Shape::default(), seed);
            assert_eq!(slots.len(), 28);
            assert_eq!(count(&slots, Action::Merge), 2, "seed {seed}");
            assert_eq!(slots.iter().filter(|slot| slot.parents.len() == 2).count(), 2);
            for action in [Action::Culprit, Action::Break, Action::Repair] {
                assert_eq!(count(&slots, action), 1, "seed {seed}");
            }
            assert_eq!(count(&slots, Action::NoiseOn), 2, "seed {seed}");
            assert_eq!(count(&slots, Action::NoiseOff), 2, "seed {seed}");
            let culprit = slots.iter().position(|slot| slot.action == Action::Culprit).unwrap();
            places.insert(culprit);
            for (slot, it) in slots.iter().enumerate() {
                assert!(it.parents.iter().flatten().all(|parent| *parent < slot));
            }
            // Every commit is used: only the last one has no child.
            let used: BTreeSet<usize> =
                slots.iter().flat_map(|it| it.parents.iter().flatten().copied()).collect();
            assert_eq!(used.len(), slots.len() - 1, "seed {seed}");
        }
        assert!(places.len() > 12, "the culprit is drawn from few places: {places:?}");
    }

    #[test]
    fn small_series_are_possible() {
        for seed in 0..100 {
            for commits in 6..12 {
                let slots = plan(Shape::straight(commits), seed);
                assert_eq!((slots.len(), count(&slots, Action::Culprit)), (commits, 1));
            }
            let shape = Shape { commits: 14, merges: 1, broken: true, noise: false };
            assert_eq!(count(&plan(shape, seed), Action::Merge), 1);
        }
        assert_eq!(draw(Shape::straight(0), &mut Rng::new(0)), None);
        assert_eq!(draw(Shape { merges: 9, ..Shape::default() }, &mut Rng::new(0)), None);
    }
}
