//! Releases, by their tags.

use std::cmp::Reverse;

use super::{CommitId, History, HistoryError};

/// A release: a tag `v*` and the commit that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The tag's name, `v6.5`.
    pub name: String,
    /// The commit.
    pub commit: CommitId,
    version: Version,
}

/// The numbers of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: Vec<u32>,
    /// The number of a release candidate; the release itself comes after all of them.
    candidate: u32,
}

impl Version {
    const FINAL: u32 = u32::MAX;

    /// Reads `v6.5`, `v6.1.50`, `v6.5-rc3`; nothing else is a release of Linux.
    fn parse(tag: &str) -> Option<Version> {
        let version = tag.strip_prefix('v')?;
        let (numbers, candidate) = match version.split_once("-rc") {
            Some((numbers, candidate)) => (numbers, candidate.parse().ok()?),
            None => (version, Version::FINAL),
        };
        let numbers: Vec<u32> =
            numbers.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        (numbers.len() > 1).then_some(Version { numbers, candidate })
    }

    /// Numbers of a release that starts a series of stable ones: 2.6.32, 6.1.
    fn series(&self) -> &[u32] {
        let length = if self.numbers.first() == Some(&2) { 3 } else { 2 };
        self.numbers.get(..length).unwrap_or(&self.numbers)
    }
}

impl History {
    /// The releases that are ancestors of `bad`, from the newest to the oldest.
    ///
    /// Release candidates are among them only where there is no other release; of a stable series,
    /// the newest one and the release that it started with.
    ///
    /// # Errors
    /// Fails if the repository can't be read.
    pub fn releases(&self, bad: CommitId) -> Result<Vec<Release>, HistoryError> {
        let until = self.commit_seconds(bad)?;
        let mut tags: Vec<Release> = Vec::new();
        for name in self.tag_names()? {
            let Some(version) = Version::parse(&name) else { continue };
            let commit = self.resolve(&format!("refs/tags/{name}"))?;
            // What is younger can't be an ancestor, and is cheaper to tell than by a walk.
            if commit != bad && self.commit_seconds(commit)? <= until {
                tags.push(Release { name, commit, version });
            }
        }
        tags.sort_by_key(|release| Reverse(release.version.clone()));
        let (finals, candidates): (Vec<Release>, Vec<Release>) =
            tags.into_iter().partition(|release| release.version.candidate == Version::FINAL);
        let releases = self.ancestors_among(finals, bad)?;
        match releases.is_empty() {
            false => Ok(releases),
            true => self.ancestors_among(candidates, bad),
        }
    }

    fn ancestors_among(
        &self,
        releases: Vec<Release>,
        bad: CommitId,
    ) -> Result<Vec<Release>, HistoryError> {
        let mut found: Vec<Release> = Vec::new();
        for release in releases {
            let series = release.version.series();
            let is_stable = release.version.numbers.len() > series.len();
            // Once one of a line of releases is an ancestor, its stable siblings add nothing, and
            // older series had theirs on other branches.
            if (is_stable && !found.is_empty()) || !self.is_ancestor(release.commit, bad)? {
                continue;
            }
            found.push(release);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_ordered_as_they_were_released() {
        let ordered =
            ["v2.6.12-rc2", "v2.6.12", "v2.6.12.1", "v4.9", "v4.10-rc1", "v4.10", "v4.10.3"];
        let parsed: Vec<_> = ordered.iter().map(|tag| Version::parse(tag).unwrap()).collect();
        assert!(parsed.is_sorted(), "{parsed:?}");
        for other in ["v6", "6.1", "v6.1-rt3", "v6.1-dontuse", "v", "next-20210217"] {
            assert_eq!(Version::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_stable_release_has_the_series_of_the_release_it_follows() {
        for (tag, series) in [("v6.1.50", "v6.1"), ("v2.6.32.3", "v2.6.32"), ("v6.1", "v6.1")] {
            let (of, series) = (Version::parse(tag).unwrap(), Version::parse(series).unwrap());
            assert_eq!(of.series(), series.numbers, "{tag}");
        }
    }
}
