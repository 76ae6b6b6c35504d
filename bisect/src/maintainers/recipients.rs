//! Who is told.

use serde::{Deserialize, Serialize};

use super::address::Address;

/// Who is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipients {
    /// Whom it is addressed to: maintainers, lists, the author of the culprit.
    pub to: Vec<Recipient>,
    /// Who gets a copy: reviewers, and whoever else had to do with the culprit.
    pub cc: Vec<Recipient>,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// `Name <address>`, or the address of a list.
    pub address: String,
    /// Why: `maintainer of NETWORKING [GENERAL]`.
    pub why: Vec<String>,
    /// What tells addresses apart.
    #[serde(skip)]
    key: String,
}

impl Recipients {
    /// Whether nobody is told.
    pub fn is_empty(&self) -> bool {
        self.to.is_empty() && self.cc.is_empty()
    }

    /// The same as the lines that end a log in the form of syzbot's.
    pub fn log_lines(&self) -> String {
        let quoted = |list: &[Recipient]| {
            let list: Vec<String> = list.iter().map(|it| format!("{:?}", it.address)).collect();
            list.join(" ")
        };
        format!(
            "recipients (to): [{}]\nrecipients (cc): [{}]\n",
            quoted(&self.to),
            quoted(&self.cc)
        )
    }

    /// Adds somebody; whoever is there already gets one more reason.
    pub(super) fn add(&mut self, address: &Address, to: bool, why: &str) {
        let key = address.key();
        let known = self.to.iter_mut().chain(&mut self.cc).find(|known| known.key == key);
        if let Some(known) = known {
            if !known.why.iter().any(|reason| reason == why) {
                known.why.push(why.to_owned());
            }
            if known.address == known.key && address.name.is_some() {
                known.address = address.to_string();
            }
            if to && let Some(at) = self.cc.iter().position(|known| known.key == key) {
                let known = self.cc.remove(at);
                self.to.push(known);
            }
            return;
        }
        let list = if to { &mut self.to } else { &mut self.cc };
        list.push(Recipient { address: address.to_string(), why: vec![why.to_owned()], key });
    }

    /// People before lists.
    pub(super) fn finish(mut self) -> Recipients {
        let is_list = |it: &Recipient| it.why.iter().all(|why| why.starts_with("list of "));
        self.to.sort_by_key(is_list);
        self
    }
}

impl std::fmt::Display for Recipients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (field, list) in [("To", &self.to), ("Cc", &self.cc)] {
            for Recipient { address, why, .. } in list {
                writeln!(f, "{field}: {address} ({})", why.join(", "))?;
            }
        }
        Ok(())
    }
}
