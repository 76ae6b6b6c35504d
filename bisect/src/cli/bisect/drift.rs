//! Titles that show where the target does not.

use std::collections::HashSet;

use vmbisect::history::CommitId;
use vmbisect::report::{Seen, TitleReport, titles};
use vmbisect::session::{Fold, Tried};
use vmbisect::trial::Outcome;

/// Revisions that are listed for a title, the last ones.
const REVISIONS: usize = 6;

/// Titles that show where the target does not, as far as that was said.
#[derive(Debug, Default)]
pub(super) struct Drift {
    titles: HashSet<String>,
    told: HashSet<(String, CommitId)>,
}

impl Drift {
    /// What there is to say after a trial: that another title shows where the target does not, how
    /// often either did at each revision and, the first time, what to do about it. The bad end shows
    /// the target, whatever else it shows.
    pub(super) fn line(&mut self, fold: &Fold, tried: &Tried, outcome: &Outcome) -> Option<String> {
        let Outcome::Foreign { title } = outcome else { return None };
        let commit = tried.commit;
        let is_bad_end = fold.bad_end() == Some(tried.rev);
        if is_bad_end || tried.tally().hits > 0 || !self.told.insert((title.clone(), commit)) {
            return None;
        }
        let all = titles(fold);
        let target: Vec<&Seen> =
            all.iter().filter(|it| it.target).flat_map(|title| &title.seen).collect();
        let is_it = |it: &&TitleReport| !it.target && it.title == *title;
        let other: Vec<&Seen> =
            all.iter().find(is_it).into_iter().flat_map(|it| &it.seen).collect();
        let mut line = format!(
            "{title:?} shows at {} instead of the target. Trials that ended with either, out of all: \
             target {}; {title:?} {}.",
            commit.short(),
            rates(&target),
            rates(&other),
        );
        if self.titles.insert(title.clone()) {
            line.push_str(&format!(
                " It counts neither for nor against a revision; what follows for it is told by: \
                 vmbisect replay STATE --crash {title:?}"
            ));
        }
        Some(line)
    }
}

fn rates(seen: &[&Seen]) -> String {
    let left_out = seen.len().saturating_sub(REVISIONS);
    let last = seen.iter().skip(left_out);
    let last = last.map(|seen| format!("{} {}/{}", seen.commit.short(), seen.trials, seen.of));
    let more = (left_out > 0).then(|| format!("{left_out} more"));
    match seen.is_empty() {
        true => "nowhere".into(),
        false => more.into_iter().chain(last).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vmbisect::history::{Candidates, CommitId};
    use vmbisect::journal::{Event, Record};
    use vmbisect::search::{Limits, Model};
    use vmbisect::session::Fold;
    use vmbisect::trial::Outcome;

    use super::Drift;

    fn id(digit: u32) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn a_title_that_shows_instead_is_said_at_once_with_its_rates() {
        let line = (1..=4).map(|digit| (id(digit), vec![id(digit - 1)])).collect();
        let candidates = Arc::new(Candidates::new(line, &[id(0)]));
        let mut fold = Fold::new(candidates, Model::new(0.95), Limits::default(), 1);
        let mut drift = Drift::default();
        let mut say = |digit: u32, outcome: Outcome| {
            let commit = id(digit);
            let event = Event::Trial {
                commit,
                outcome: outcome.clone(),
                crashes: Vec::new(),
                boot: false,
                seconds: 1.0,
                console: None,
                report: None,
            };
            fold.apply(&Record { at_ms: 0, event }).unwrap();
            let tried = fold.tried_revisions().iter().find(|tried| tried.commit == commit);
            drift.line(&fold, tried.unwrap(), &outcome)
        };
        let hit = || Outcome::Hit { title: "A".into() };
        let other = || Outcome::Foreign { title: "B".into() };
        // At the bad end it shows besides.
        assert_eq!([hit(), hit(), other()].map(|outcome| say(4, outcome)), [None, None, None]);
        assert_eq!(say(2, Outcome::Clean), None);
        assert_eq!(
            say(2, other()).unwrap(),
            "\"B\" shows at 222222222222 instead of the target. Trials that ended with either, out \
             of all: target 444444444444 2/3; \"B\" 444444444444 1/3, 222222222222 1/2. It counts \
             neither for nor against a revision; what follows for it is told by: vmbisect replay \
             STATE --crash \"B\""
        );
        // Once for each revision, and where the target shows it is nothing new.
        assert_eq!(say(2, other()), None);
        assert_eq!([hit(), other()].map(|outcome| say(3, outcome)), [None, None]);
        assert_eq!(
            say(1, other()).unwrap(),
            "\"B\" shows at 111111111111 instead of the target. Trials that ended with either, out \
             of all: target 444444444444 2/3, 333333333333 1/2; \"B\" 444444444444 1/3, \
             222222222222 2/3, 333333333333 1/2, 111111111111 1/1."
        );
    }
}
