//! Who to tell of a bug: the maintainers and lists that the kernel tree names for the file that is
//! to blame, and whoever had to do with the commit that brought it in.
//!
//! The file MAINTAINERS is read as `scripts/get_maintainer.pl` reads it (its patterns, its order),
//! and so are `.get_maintainer.ignore` and `.mailmap`, which say who does not want to be told and
//! where somebody is now. Maintainers, open lists and the culprit's author are addressed, reviewers
//! and whoever else signed get a copy.

mod address;
mod mailmap;
mod pattern;
mod recipients;
mod section;
mod tree;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::history::{CommitId, History, HistoryError};

pub use recipients::{Recipient, Recipients};

use address::Address;
use mailmap::Mailmap;
use section::Section;
use tree::Tree;

/// A commit that changes more files than this is about none of them.
const MOST_FILES: usize = 20;

/// Why nobody is known.
#[derive(Debug, Error)]
pub enum MaintainersError {
    /// There is no such file.
    #[error("{path} has no file MAINTAINERS")]
    NoMaintainers {
        /// The tree.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("can't read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The repository can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl MaintainersError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            MaintainersError::NoMaintainers { .. } => "name the top of a Linux source tree",
            MaintainersError::Io { .. } | MaintainersError::History(_) => {
                "see that it is there and that you may read it"
            }
        }
    }
}

/// Who maintains what in a kernel tree.
pub struct Maintainers<'a> {
    tree: Tree<'a>,
    sections: Vec<Section>,
    ignored: HashSet<String>,
    mailmap: Mailmap,
}

impl<'a> Maintainers<'a> {
    /// Reads what a source tree on disk says.
    ///
    /// # Errors
    /// Fails if it has no MAINTAINERS.
    pub fn in_directory(path: &Path) -> Result<Maintainers<'static>, MaintainersError> {
        Maintainers::read(Tree::Directory(path.to_owned()))
    }

    /// Reads what a revision says.
    ///
    /// # Errors
    /// Fails if it has no MAINTAINERS, or can't be read.
    pub fn at(history: &'a History, commit: CommitId) -> Result<Maintainers<'a>, MaintainersError> {
        Maintainers::read(Tree::Revision(history, commit))
    }

    fn read(tree: Tree<'a>) -> Result<Maintainers<'a>, MaintainersError> {
        let Some(text) = tree.read("MAINTAINERS")? else {
            return Err(MaintainersError::NoMaintainers { path: tree.path() });
        };
        let ignored = tree.read(".get_maintainer.ignore")?.unwrap_or_default();
        let ignored = ignored.lines().filter(|line| !line.trim_start().starts_with('#'));
        let ignored = ignored.filter_map(Address::parse).map(|address| address.key()).collect();
        let mailmap = Mailmap::parse(&tree.read(".mailmap")?.unwrap_or_default());
        Ok(Maintainers { sections: section::parse(&text), tree, ignored, mailmap })
    }

    /// Who to tell of a bug in a file, whose path is relative to the top of the tree.
    pub fn of_file(&self, path: &str) -> Recipients {
        let mut recipients = Recipients::default();
        self.add_file(path, &mut recipients);
        recipients.finish()
    }

    /// Who to tell of a bug that a commit brought in: its author and whoever else stands in its
    /// message, and who maintains the file that is to blame and the files that it changed.
    ///
    /// # Errors
    /// Fails if the commit can't be read.
    pub fn of_culprit(
        &self,
        history: &History,
        culprit: CommitId,
        guilty_file: Option<&str>,
    ) -> Result<Recipients, HistoryError> {
        let mut recipients = Recipients::default();
        let text = history.text(culprit)?;
        self.add(&mut recipients, &text.author, true, "author of the commit");
        for (key, value) in text.message.lines().filter_map(|line| line.split_once(':')) {
            let why = match &*key.trim().to_ascii_lowercase() {
                "signed-off-by" => "signed off on the commit",
                "reviewed-by" => "reviewed the commit",
                "acked-by" => "acknowledged the commit",
                "cc" => "copied on the commit",
                _ => continue,
            };
            self.add(&mut recipients, value, false, why);
        }
        let changed = history.changed_files(culprit)?;
        let changed = if changed.len() > MOST_FILES { Vec::new() } else { changed };
        let files = guilty_file.into_iter().chain(changed.iter().map(String::as_str));
        let mut seen = HashSet::new();
        for file in files.filter(|file| seen.insert(*file)) {
            self.add_file(file, &mut recipients);
        }
        Ok(recipients.finish())
    }

    fn add_file(&self, path: &str, recipients: &mut Recipients) {
        // Keywords are looked for in what cannot be read, too: in nothing.
        let text = self.tree.read(path).ok().flatten().unwrap_or_default();
        let mut found: Vec<(i64, &Section)> = self
            .sections
            .iter()
            .filter_map(|section| Some((section.depth(path, &text)?, section)))
            .collect();
        // The most special first; the order in the file where they are equally special.
        found.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        for (_, section) in found {
            for (address, why) in section.people() {
                self.add(recipients, address, true, &why);
            }
            for (address, why) in section.reviewers() {
                self.add(recipients, address, false, &why);
            }
            for (list, why) in section.lists() {
                self.add(recipients, list, true, &why);
            }
        }
    }

    fn add(&self, recipients: &mut Recipients, text: &str, to: bool, why: &str) {
        let Some(address) = Address::parse(text) else { return };
        let address = self.mailmap.map(address);
        if !address.is_read_by_nobody() && !self.ignored.contains(&address.key()) {
            recipients.add(&address, to, why);
        }
    }
}

#[cfg(test)]
mod tests;
