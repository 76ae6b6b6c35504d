//! What follows from the evidence.

use std::collections::BTreeMap;

use serde::Serialize;
use vmbisect::history::{CommitId, Find};
use vmbisect::import::{JUDGED, Word};
use vmbisect::report::{Contradiction, TitleReport, contradictions, percent, titles};
use vmbisect::search::{Tally, Verdict, WhyNot};
use vmbisect::session::{Step, Tried};
use vmbisect::trial::Target;

use super::evidence::{Evidence, Order};
use super::next;
use super::verdicts::{Conflict, conflicts};

/// Remaining commits that are listed one by one.
const LISTED: usize = 50;

/// What follows from the evidence.
#[derive(Serialize)]
pub(super) struct Replayed {
    pub(super) find: Find,
    pub(super) target: Option<Target>,
    pub(super) order: Order,
    pub(super) candidates: usize,
    pub(super) counted: bool,
    pub(super) verdict_trials: Option<u32>,
    pub(super) tested: Vec<Tested>,
    pub(super) blamed: Option<Remaining>,
    /// The commit that can be named.
    pub(super) named: Option<Remaining>,
    /// Its parents that can't be tested.
    pub(super) unconfirmed: Vec<CommitId>,
    /// Why none can.
    pub(super) why_not: Option<String>,
    /// The likeliest commit, unless that is one that the log does not name.
    pub(super) best: Option<Remaining>,
    pub(super) remaining: Vec<Remaining>,
    pub(super) unnamed_remaining: Remainder,
    pub(super) outside: f64,
    pub(super) titles: Vec<TitleReport>,
    pub(super) contradictions: Vec<Contradiction>,
    pub(super) conflicts: Vec<Conflict>,
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
    pub(super) judged: bool,
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
    pub(super) fn new(evidence: &Evidence) -> Replayed {
        let fold = &evidence.fold;
        let belief = fold.belief();
        let step = fold.next();
        let of =
            |commit, probability| Remaining { commit, title: evidence.title(commit), probability };
        let id = |rev| fold.candidates().id(rev);
        // Of how many others it is one decides how likely a commit is.
        let remaining = match evidence.is_counted {
            true => belief.credible(evidence.confidence),
            false => Vec::new(),
        };
        let (named, unnamed): (Vec<_>, Vec<_>) = remaining
            .into_iter()
            .filter_map(|(rev, probability)| Some((id(rev)?, probability)))
            .enumerate()
            .partition(|(at, (commit, _))| *at < LISTED && evidence.is_named(*commit));
        let best = || {
            let (rev, probability) = belief.best().filter(|_| evidence.is_counted)?;
            let commit = id(rev).filter(|commit| evidence.is_named(*commit))?;
            Some(of(commit, probability))
        };
        let known = next::culprit(fold, &step).filter(|_| evidence.is_counted);
        let culprit = known.as_ref().and_then(|(rev, _)| {
            let commit = id(*rev).filter(|commit| evidence.is_named(*commit))?;
            Some(of(commit, belief.probability(*rev)))
        });
        let unconfirmed = known.map(|(_, unconfirmed)| unconfirmed).unwrap_or_default();
        let conflicts = conflicts(evidence);
        Replayed {
            find: fold.find(),
            target: evidence.target.clone(),
            order: evidence.order,
            candidates: fold.candidates().len(),
            counted: evidence.is_counted,
            verdict_trials: evidence.verdict_trials,
            tested: tested(evidence, &conflicts),
            blamed: evidence.blamed.map(|blamed| {
                let rev = fold.candidates().rev(blamed);
                of(blamed, rev.map_or(0.0, |rev| belief.probability(rev)))
            }),
            why_not: culprit.is_none().then(|| why_not(evidence, &step, best())),
            unconfirmed: unconfirmed.into_iter().filter_map(id).collect(),
            named: culprit,
            best: best(),
            remaining: named.into_iter().map(|(_, (commit, mass))| of(commit, mass)).collect(),
            unnamed_remaining: Remainder {
                commits: unnamed.len(),
                probability: unnamed.iter().map(|(_, (_, probability))| probability).sum(),
            },
            outside: belief.outside(),
            titles: titles(fold).into_iter().filter(|title| title.title != JUDGED).collect(),
            contradictions: contradictions(fold)
                .into_iter()
                .filter(|it| about(it).into_iter().all(|commit| !evidence.is_judged(commit)))
                .collect(),
            conflicts,
            next: next::describe(evidence, &step),
        }
    }
}

fn about(contradiction: &Contradiction) -> Vec<CommitId> {
    match contradiction {
        Contradiction::HitOfGood { commit, .. } | Contradiction::CleanOfBad { commit, .. } => {
            vec![*commit]
        }
        Contradiction::SameImage { shows, lacks } => vec![*shows, *lacks],
    }
}

fn tested(evidence: &Evidence, conflicts: &[Conflict]) -> Vec<Tested> {
    let fold = &evidence.fold;
    let of = |tried: &Tried| {
        let recorded = evidence.words.get(&tried.commit).copied();
        let judged = evidence.is_judged(tried.commit);
        // What a verdict stands for was not run.
        let tally = if judged { Tally::default() } else { tried.tally() };
        // Without runs, only another verdict can contradict it.
        let can_contradict = !judged || conflicts.iter().any(|it| it.is_about(tried.commit));
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
            foreign: if judged { BTreeMap::new() } else { tried.useless() },
            build_failure: tried.build_failure.clone(),
            judged,
            probability_bad: bad,
            contradicts: match recorded {
                Some(Word::Good) => can_contradict && contains > 0.5,
                Some(Word::Bad) => can_contradict && contains < 0.5,
                Some(Word::Skip) | None => false,
            },
        }
    };
    fold.tried_revisions().iter().map(of).collect()
}

/// Why no commit can be named.
fn why_not(evidence: &Evidence, step: &Step, best: Option<Remaining>) -> String {
    if !evidence.is_counted {
        return "the log does not say how many commits lie between those it tests; --repo DIR knows"
            .into();
    }
    if let Some(best) = best.filter(|best| best.probability >= evidence.confidence) {
        let (name, probability) = (evidence.name(best.commit), percent(best.probability));
        let (itself, parents) = match evidence.fold.find() {
            Find::Cause => ("that it shows it", "do not"),
            Find::Fix => ("that it shows it no more", "do"),
        };
        let undecided = match step {
            Step::Done(Verdict::Undecided { why, .. }) => Some(*why),
            _ => None,
        };
        let but = match undecided {
            Some(WhyNot::Contradicted) => {
                "what was seen of it, or of a parent of it, speaks against it".into()
            }
            Some(WhyNot::BaseIsBad | WhyNot::Indistinguishable | WhyNot::Budget) => {
                "that is too little to name it".into()
            }
            Some(WhyNot::Unconfirmed) | None => {
                format!("too few trials tell {itself}, and that its parents {parents}")
            }
        };
        return format!("{name} is likeliest, at {probability}, but {but}");
    }
    let fold = &evidence.fold;
    let told: Vec<_> = fold.tried_revisions().iter().collect();
    let (judged, run): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|tried| evidence.is_judged(tried.commit));
    let mut why = Vec::new();
    if !judged.is_empty() {
        let said = |word| evidence.verdicts.iter().filter(|(_, said)| *said == word).count();
        let (bad, good) = (said(Word::Bad), said(Word::Good));
        why.push(format!("verdicts: {bad} bad, {good} good, any of which may be wrong"));
    }
    if !run.is_empty() {
        why.push(what_runs_told(&run));
    }
    why.join("; ")
}

fn what_runs_told(tried: &[&Tried]) -> String {
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
