//! Addresses, as MAINTAINERS and commit messages have them.

use std::sync::LazyLock;

use crate::crash::Names;

/// Addresses that are read by nobody, or by nobody who could do anything about a bug.
const NOBODY: &str = include_str!("nobody.txt");

/// Somebody's name and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The name, if it is known.
    pub(super) name: Option<String>,
    /// `user@host`.
    pub(super) mail: String,
}

impl Address {
    /// Reads `Name <user@host>`, `"Name, Other" <user@host>` or `user@host`, whatever follows it.
    pub(super) fn parse(text: &str) -> Option<Address> {
        let (name, mail) = match text.split_once('<') {
            Some((name, rest)) => (name, rest.split('>').next()?),
            None => ("", text.split_ascii_whitespace().next()?),
        };
        let mail = mail.trim();
        let (user, host) = mail.rsplit_once('@')?;
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "<>(),;:\"".contains(c);
        if user.is_empty() || !host.contains('.') || mail.contains(is_odd) {
            return None;
        }
        let name = name.trim().trim_matches('"').trim();
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        Some(Address { name: Some(name).filter(|name| !name.is_empty()), mail: mail.to_owned() })
    }

    /// What tells it from others: case does not.
    pub(super) fn key(&self) -> String {
        self.mail.to_ascii_lowercase()
    }

    /// Whether it is a program's, or leads nowhere.
    pub(super) fn is_read_by_nobody(&self) -> bool {
        static NAMES: LazyLock<Names> = LazyLock::new(|| Names::parse(NOBODY));
        NAMES.contains(&self.key())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { name, mail } = self;
        match name {
            // RFC 5322: names with these must be quoted.
            Some(name) if name.contains(|c| "()<>[]:;@\\,.\"".contains(c)) => {
                write!(f, "\"{}\" <{mail}>", name.replace(['"', '\\'], ""))
            }
            Some(name) => write!(f, "{name} <{mail}>"),
            None => f.write_str(mail),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Address;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        assert_eq!(Address::parse(text).map(|it| it.to_string()).as_deref(), want, "{text}");
    }

    #[test]
    fn addresses_of_every_shape() {
        check("A B <a@b.org>", Some("A B <a@b.org>"));
        check("\tA. B <a@b.org>", Some("\"A. B\" <a@b.org>"));
        check("\"B, A\" <a@b.org>", Some("\"B, A\" <a@b.org>"));
        check("list@b.org (moderated for non-subscribers)", Some("list@b.org"));
        check("<stable@b.org> # v5.4+", Some("stable@b.org"));
        for wrong in ["", "A B", "a@b", "@b.org", "A <a@b.org, c@d.org>", "a:b@c.org"] {
            check(wrong, None);
        }
    }

    #[test]
    fn programs_read_no_mail() {
        let nobody = |text: &str| Address::parse(text).unwrap().is_read_by_nobody();
        assert!(nobody("syzbot <syzbot+0123@syzkaller.appspotmail.com>"));
        assert!(nobody("kernel test robot <LKP@intel.com>"));
        assert!(nobody("<stable@vger.kernel.org>"));
        assert!(nobody("root <root@machine.localdomain>"));
        assert!(!nobody("linux-kernel@vger.kernel.org"));
        assert!(!nobody("A B <a@b.org>"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[A-Za-z. ,é]{0,12}", mail in "[a-z+]{1,8}@[a-z]{1,8}\\.[a-z]{2,3}") {
            let name = name.trim().to_owned();
            let address = Address { name: Some(name).filter(|it| !it.is_empty()), mail };
            prop_assert_eq!(Address::parse(&address.to_string()), Some(address));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,60}") {
            let _ = Address::parse(&text);
        }
    }
}
