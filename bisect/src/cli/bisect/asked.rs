//! What a bisection was asked for, and the fold that it begins with. A replay of its state begins
//! with the same one, so that it believes what the bisection did.

use std::sync::Arc;

use clap::Parser;
use vmbisect::history::{Candidates, CommitId, History, HistoryError};
use vmbisect::journal::{Event, Header, Record, Resumption};
use vmbisect::search::{Limits, Model, Prior};
use vmbisect::session::{Fold, Hints};

use super::{Args, told};
use crate::cli::{Cli, Command};

/// What a bisection was asked for, as far as what it believes and does next depends on it.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Asked {
    limits: Limits,
    suspect: Vec<(String, f64)>,
    paths: Vec<String>,
    no_crash_prior: bool,
    revert: bool,
    baselines: Vec<String>,
}

impl Args {
    /// The arguments of the command line that a bisection was begun with, and what was said anew
    /// since; `None` if this program does not know them.
    pub(super) fn held(header: &Header, anew: &Resumption) -> Option<Args> {
        let Command::Bisect(mut args) = Cli::try_parse_from(&header.arguments).ok()?.command else {
            return None;
        };
        args.max_trials = anew.max_trials.or(args.max_trials);
        args.revert |= anew.revert;
        args.kernel.repo = anew.repo.clone().or(args.kernel.repo);
        Some(*args)
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            limits: Limits {
                trials: self.max_trials.map_or(Limits::default().trials, Into::into),
                bad_tip: self.bad_trials,
                ..Limits::default()
            },
            suspect: self.suspect.clone(),
            paths: self.paths.clone(),
            no_crash_prior: self.no_crash_prior,
            revert: self.revert,
            baselines: self.baselines.clone(),
        }
    }
}

impl Asked {
    /// What the one was asked for last whose journal begins with this line; `None` if this program
    /// does not know its command line.
    pub(in crate::cli) fn of(header: &Header, anew: &Resumption) -> Option<Asked> {
        Args::held(header, anew).map(|args| args.asked())
    }

    /// The same, of another title: what was suspected of the one says nothing of the other, and
    /// nothing is to be reverted for it.
    pub(in crate::cli) fn of_another_title(self) -> Asked {
        Asked { limits: self.limits, baselines: self.baselines, ..Asked::default() }
    }

    /// What the user suspects.
    ///
    /// # Errors
    /// Fails if the repository does not have a suspect.
    pub(in crate::cli) fn hints(&self, history: &History) -> anyhow::Result<Hints> {
        let resolve = |(name, weight): &(String, f64)| {
            Ok((told(history.resolve(name), HistoryError::hint)?, *weight))
        };
        let suspects = self.suspect.iter().map(resolve).collect::<anyhow::Result<_>>()?;
        Ok(Hints { paths: self.paths.clone(), suspects })
    }

    /// The fold that it begins with, in which nothing has happened yet.
    pub(in crate::cli) fn fold(
        &self,
        header: &Header,
        prior: Option<&Prior>,
        candidates: Candidates,
        machines: u32,
    ) -> Fold {
        let model = Model { find: header.find, ..Model::new(header.confidence) };
        let mut fold = Fold::new(Arc::new(candidates), model, self.limits, machines)
            .with_baselines(self.baselines.clone());
        if header.good.is_empty() {
            fold = fold.with_picked_good();
        }
        if !self.no_crash_prior {
            fold = fold.with_crash_hint();
        }
        if self.revert {
            fold = fold.with_revert();
        }
        match prior {
            Some(prior) => fold.with_prior(prior),
            None => fold,
        }
    }
}

/// The release that was taken for good last.
pub(in crate::cli) fn picked_good(records: &[Record]) -> Option<CommitId> {
    records.iter().rev().find_map(|record| match record.event {
        Event::Good { commit, .. } => Some(commit),
        _ => None,
    })
}

/// The revisions without the bug: those given or, if none was, the release that was taken for one.
pub(in crate::cli) fn good_ends(header: &Header, records: &[Record]) -> Vec<CommitId> {
    match header.good.is_empty() {
        true => picked_good(records).into_iter().collect(),
        false => header.good.clone(),
    }
}
