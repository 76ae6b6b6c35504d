//! What `vmbisect bisect` does: the same belief and the same choice, on simulated trials.

use std::collections::HashSet;

use super::Answer;
use crate::cancel::Cancel;
use crate::search::{Action, Belief, Model, Prior, SUSPECTED, Tally, Useless, Verdict, next};
use crate::simulate::Setting;
use crate::simulate::world::Lab;

pub(super) fn follow(lab: &mut Lab<'_>, setting: &Setting, cancel: &Cancel) -> Option<Answer> {
    let (belief, verdict) = search(lab, setting, cancel)?;
    let named = match verdict {
        Verdict::Culprit { rev, .. } => Some(rev),
        _ => None,
    };
    Some(Answer { named, claim: belief.best() })
}

/// Searches to the end; `None` if cancelled.
pub(in crate::simulate) fn search(
    lab: &mut Lab<'_>,
    setting: &Setting,
    cancel: &Cancel,
) -> Option<(Belief, Verdict)> {
    let graph = &lab.world.graph;
    let mut prior = Prior::even(graph.candidates());
    if let Some(suspicion) = setting.suspicion {
        prior.hold(lab.world.suspects(suspicion), SUSPECTED);
    }
    let model = Model::new(setting.confidence);
    let mut belief = Belief::with_prior(graph.clone(), model, &prior);
    let mut built = HashSet::new();
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        let (rev, trials) = match next(&belief, &lab.costs, &setting.limits, lab.trials) {
            Action::Done(verdict) => return Some((belief, verdict)),
            Action::Test { rev, trials, .. } => (rev, trials),
        };
        if built.insert(rev) {
            if !lab.build(rev) {
                belief.untestable(rev);
                continue;
            }
            belief.built(rev, None);
        }
        let seen = lab.run(rev, trials);
        let told = Tally { hits: seen.hits, clean: seen.clean };
        if told.trials() > 0 {
            belief.observe(rev, told);
        }
        if seen.foreign > 0 {
            belief.observe_useless(rev, Useless { by_chance: seen.foreign, dead: 0 });
        }
    }
}
