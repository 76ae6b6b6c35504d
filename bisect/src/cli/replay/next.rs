//! What a bisection of ours would do next.

use vmbisect::history::Rev;
use vmbisect::search::{Purpose, Verdict, WhyNot};
use vmbisect::session::{Fold, Step};

use super::evidence::Evidence;

/// The commit that it would name, and its parents that can't be tested. What is left then is at most
/// to revert it.
pub(super) fn culprit(fold: &Fold, step: &Step) -> Option<(Rev, Vec<Rev>)> {
    match step {
        Step::Done(Verdict::Culprit { rev, unconfirmed, .. }) => Some((*rev, unconfirmed.clone())),
        Step::Revert { rev } => Some((*rev, Vec::new())),
        _ if purpose(fold, step) == Some(Purpose::Revert) => {
            fold.reverted().map(|reverted| (reverted.culprit, Vec::new()))
        }
        _ => None,
    }
}

/// Why it would try a revision.
fn purpose(fold: &Fold, step: &Step) -> Option<Purpose> {
    match step {
        Step::Plan { purpose, .. } => Some(*purpose),
        Step::Build { .. } | Step::Trials { .. } => fold.purpose().map(|(_, purpose)| purpose),
        _ => None,
    }
}

/// What it would do next, in words.
pub(super) fn describe(evidence: &Evidence, step: &Step) -> String {
    if !evidence.is_counted {
        return "the same with --repo DIR".into();
    }
    let fold = &evidence.fold;
    match step {
        Step::Revert { .. } => "the revert of the culprit at the newer end".into(),
        Step::Plan { rev, .. }
        | Step::Skip { rev, .. }
        | Step::Build { rev }
        | Step::Trials { rev, .. } => {
            let (rev, purpose) = (*rev, purpose(fold, step));
            if purpose == Some(Purpose::Revert) {
                return "trials of the revert of the culprit at the newer end".into();
            }
            let why = match purpose {
                Some(Purpose::BadTip) => ", the end that should show it",
                Some(Purpose::GoodTip) => ", an end that should not show it",
                Some(Purpose::MergeBase) => ", where a branch left, which may not have had the bug",
                Some(Purpose::ConfirmCulprit) => ", the likely answer itself",
                Some(Purpose::ConfirmParent) => ", a parent of the likely answer",
                Some(Purpose::Search | Purpose::Revert) | None => "",
            };
            let commit = fold.commit(rev).ok().filter(|&commit| evidence.is_named(commit));
            let Some(commit) = commit else {
                return format!("candidate {} of {}{why}", rev + 1, fold.candidates().len());
            };
            let name = evidence.name(commit);
            match fold.of(rev) {
                Some(_) if evidence.is_judged(commit) => format!("{name} once more{why}"),
                Some(_) => format!("more trials of {name}{why}"),
                None => format!("{name}{why}"),
            }
        }
        Step::DropBaseline(_) => "the bad end with the next configuration".into(),
        Step::Done(Verdict::Culprit { .. }) => "nothing, the culprit is known".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Budget, .. }) => "as far as allowed".into(),
        Step::Done(Verdict::Undecided { why: WhyNot::Unconfirmed, .. }) => {
            "nothing: the likeliest commit can't be tested".into()
        }
        Step::Done(Verdict::Undecided { why: WhyNot::BaseIsBad, .. }) => {
            "nothing here: the bug is older than this range, where a branch left".into()
        }
        Step::Done(Verdict::Undecided { why: WhyNot::Contradicted, .. }) => {
            "nothing: what was seen speaks against the likeliest commit".into()
        }
        Step::Done(Verdict::Undecided { why: WhyNot::Indistinguishable, .. }) => {
            "nothing that would tell more".into()
        }
        Step::Done(Verdict::NotReproduced | Verdict::BadTipUntestable) => {
            "the bad end, which has not shown it".into()
        }
        Step::Done(Verdict::GoodTipUntestable) => "an older good end".into(),
        Step::Done(Verdict::GoodTipBad { .. }) => "another good end, this one is bad".into(),
        Step::GiveUp { reason, .. } => reason.clone(),
    }
}
