//! The name of a commit.

use std::fmt;
use std::str::FromStr;

use git2::Oid;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hex;

/// The name of a commit: 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Oid);

impl CommitId {
    /// The first 12 digits, as kernel people write a commit.
    pub fn short(&self) -> String {
        self.0.to_string().chars().take(12).collect()
    }

    /// Reads a whole name. A history has a million of them, for which libgit2 would take most of the
    /// time that it takes to read it.
    pub(super) fn from_hex(digits: &[u8]) -> Option<CommitId> {
        Oid::from_bytes(&hex::decode::<20>(digits)?).ok().map(CommitId)
    }

    pub(super) fn oid(self) -> Oid {
        self.0
    }
}

impl From<Oid> for CommitId {
    fn from(oid: Oid) -> CommitId {
        CommitId(oid)
    }
}

impl FromStr for CommitId {
    type Err = git2::Error;

    /// # Errors
    /// Fails on anything but 40 hexadecimal digits.
    fn from_str(text: &str) -> Result<CommitId, git2::Error> {
        CommitId::from_hex(text.as_bytes())
            .ok_or_else(|| git2::Error::from_str("a full commit name has 40 hexadecimal digits"))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for CommitId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CommitId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CommitId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::CommitId;

    #[test]
    fn only_full_names() {
        let full = "997acaf6b4b59c6a9c259740312a69ea549cc684";
        let id: CommitId = full.parse().unwrap();
        assert_eq!(id.to_string(), full);
        assert_eq!(id.short(), "997acaf6b4b5");
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{full}\""));
        assert!("997acaf6b4b5".parse::<CommitId>().is_err());
        assert_eq!(full.to_uppercase().parse::<CommitId>().unwrap(), id);
        assert!("x".repeat(40).parse::<CommitId>().is_err());
    }
}
