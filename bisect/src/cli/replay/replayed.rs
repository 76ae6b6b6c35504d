//! What follows from the evidence.

use std::collections::BTreeMap;

use serde::Serialize;
use vmbisect::history::{CommitId, Find};
use vmbisect::import::Word;
use vmbisect::report::{Contradiction, TitleReport, contradictions, titles};
use vmbisect::search::{Verdict, WhyNot};
use vmbisect::session::Step;
use vmbisect::trial::Target;

use super::evidence::{Evidence, Order};

/// Remaining commits that are listed one by one.
const LISTED: usize = 50;

/// What follows from the evidence.
#[derive(Serialize)]
pub(super) struct Replayed {
    pub(super) find: Find,
    pub(super) target: Target,
    pub(super) order: Order,
    pub(super) candidates: usize,
    pub(super) tested: Vec<Tested>,
    pub(super) blamed: Option<Remaining>,
    /// The commit that can be named.
    pub(super) named: Option<Remaining>,
    /// Why none can.
    pub(super) why_not: Option<String>,
    /// The likeliest commit, unless that is one that the log does not name.
    pub(super) best: Option<Remaining>,
    pub(super) remaining: Vec<Remaining>,
    pub(super) unnamed_remaining: Remainder,
    pub(super) outside: f64,
    pub(super) titles: Vec<TitleReport>,
    pub(super) contradictions: Vec<Contradiction>,
    pub(super) next: String,
}

/// A tested commit.
#[derive(Serialize)]
pub(super) struct Tested {
    pub(super) commit: CommitId,
    pub(super) title: Option<String>,
    pub(super) recorded: Option<Word>,
    pub(super) hits: u32,
    pub(super) trials: u32,
    pub(super) foreign: BTreeMap<String, u32>,
    pub(super) build_failure: Option<String>,
    pub(super) probability_bad: f64,
    pub(super) contradicts: bool,
}

#[derive(Serialize)]
pub(super) struct Remaining {
    pub(super) commit: CommitId,
    pub(super) title: Option<String>,
    pub(super) probability: f64,
}

#[derive(Serialize)]
pub(super) struct Remainder {
    pub(super) commits: usize,
    pub(super) probability: f64,
}

impl Replayed {
    pub(super) fn new(evidence: &Evidence, confidence: f64) -> Replayed {
        let fold = &evidence.fold;
        let belief = fold.belief();
        let of =
            |commit, probability| Remaining { commit, title: evidence.title(commit), probability };
        let id = |rev| fold.candidates().id(rev);
        let remaining = belief.credible(confidence);
        let (named, unnamed): (Vec<_>, Vec<_>) = remaining
            .into_iter()
            .filter_map(|(rev, probability)| Some((id(rev)?, probability)))
            .enumerate()
            .partition(|(at, (commit, _))| *at < LISTED && evidence.is_named(*commit));
        let best = || {
            let (rev, probability) = belief.best()?;
            let commit = id(rev).filter(|commit| evidence.is_named(*commit))?;
            Some(of(commit, probability))
        };
        let culprit = best().filter(|best| best.probability >= confidence);
        Replayed {
            find: fold.find(),
            target: evidence.target.clone(),
            order: evidence.order,
            candidates: fold.candidates().len(),
            tested: tested(evidence),
            blamed: evidence.blamed.map(|blamed| {
                let rev = fold.candidates().rev(blamed);
                of(blamed, rev.map_or(0.0, |rev| belief.probability(rev)))
            }),
            why_not: culprit.is_none().then(|| why_not(evidence)),
            named: culprit,
            best: best(),
            remaining: named.into_iter().map(|(_, (commit, mass))| of(commit, mass)).collect(),
            unnamed_remaining: Remainder {
                commits: unnamed.len(),
                probability: unnamed.iter().map(|(_, (_, probability))| probability).sum(),
            },
            outside: belief.outside(),
            titles: titles(fold),
            contradictions: contradictions(fold),
            next: next(evidence),
        }
    }
}

fn tested(evidence: &Evidence) -> Vec<Tested> {
    let fold = &evidence.fold;
    let of = |tried: &vmbisect::session::Tried| {
        let (tally, recorded) = (tried.tally(), evidence.words.get(&tried.commit).copied());
        let bad = fold.belief().probability_bad(tried.rev);
        // git's words are about the sought commit: what has a fix is "bad".
        let contains = match fold.find() {
            Find::Cause => bad,
            Find::Fix => 1.0 - bad,
        };
        Tested {
            commit: tried.commit,
            title: evidence.title(tried.commit),
            recorded,
            hits: tally.hits,
            trials: tally.trials(),
            foreign: tried.useless(),
            build_failure: tried.build_failure.clone(),
            probability_bad: bad,
            contradicts: match recorded {
                Some(Word::Good) => contains > 0.5,
                Some(Word::Bad) => contains < 0.5,
                Some(Word::Skip) | None => false,
            },
        }
    };
    fold.tried_revisions().iter().map(of).collect()
}

/// Why no commit can be named.
fn why_not(evidence: &Evidence) -> String {
    let fold = &evidence.fold;
    let tried = fold.tried_revisions();
    let hits: u32 = tried.iter().map(|tried| tried.tally().hits).sum();
    let showing = tried.iter().filter(|tried| tried.tally().hits > 0).count();
    let foreign: u32 = tried.iter().flat_map(|tried| tried.useless().into_values()).sum();
    let masked = tried.iter().filter(|tried| !tried.useless().is_empty()).count();
    let mut why = match hits {
        0 => "no trial showed it".to_owned(),
        _ => format!("{hits} trials of {} showed it", revisions(showing)),
    };
    if foreign > 0 {
        why.push_str(&format!(
            ", {foreign} trials of {} told nothing of it, since something else came first",
            revisions(masked)
        ));
    }
    let clean: u32 = tried.iter().map(|tried| tried.tally().clean).sum();
    why.push_str(&format!(", and {clean} were clean"));
    why
}

fn revisions(count: usize) -> String {
    match count {
        1 => "1 revision".into(),
        _ => format!("{count} revisions"),
    }
}

/// What to test next, in words.
fn next(evidence: &Evidence) -> String {
    let fold = &evidence.fold;
    match fold.next() {
        Step::Revert { .. } => "nothing, the culprit is known".into(),
        Step::Plan { rev, .. }
        | Step::Skip { rev, .. }
        | Step::Build { rev }
        | Step::Trials { rev, .. } => {
            let commit = fold.commit(rev).ok().filter(|&commit| evidence.is_named(commit));
            let Some(commit) = commit else {
                return format!("candidate {} of {}", rev + 1, fold.candidates().len());
            };
            let name = match evidence.title(commit) {
                Some(title) => format!("{} {title}", commit.short()),
                None => commit.short(),
            };
            match fold.of(rev) {
                Some(_) => format!("more trials of {name}"),
                None => name,
            }
        }
        Step::Done(Verdict::Culprit { .. }) => "nothing, the culprit is known".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Budget, .. }) => "as far as allowed".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Unconfirmed, .. }) => {
            "nothing: the likeliest commit can't be tested".into()
        }
        Step::Done(Verdict::Undecided { .. }) => "nothing that would tell more".into(),
        Step::Done(Verdict::NotReproduced | Verdict::BadTipUntestable) => {
            "the bad end, which has not shown it".into()
        }
        Step::Done(Verdict::GoodTipUntestable) => "an older good end".into(),
        Step::Done(Verdict::GoodTipBad { .. }) => "another good end, this one is bad".into(),
        Step::GiveUp { reason, .. } => reason,
    }
}
