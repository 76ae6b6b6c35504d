//! `.mailmap`: which address somebody has now, gitmailmap(5).

use std::collections::HashMap;

use super::address::Address;

/// What stands in a `.mailmap`.
#[derive(Debug, Default)]
pub(super) struct Mailmap {
    /// By an address in lower case: for each name that it applies to (none is any), what is right.
    known: HashMap<String, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    of: Option<String>,
    name: Option<String>,
    mail: Option<String>,
}

impl Mailmap {
    /// Reads a `.mailmap`; lines that are none of its forms are left out, as git does.
    pub(super) fn parse(text: &str) -> Mailmap {
        let mut map = Mailmap::default();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let Some((first, rest)) = part(line) else { continue };
            let (key, entry) = match part(rest) {
                // `Proper Name <commit@address>`
                None => (first.1, Entry { of: None, name: first.0, mail: None }),
                // `Proper Name <proper@address> Commit Name <commit@address>`, both names optional
                Some((second, _)) => {
                    let mail = Some(first.1.to_owned());
                    (second.1, Entry { of: second.0, name: first.0, mail })
                }
            };
            map.known.entry(key.to_ascii_lowercase()).or_default().push(entry);
        }
        map
    }

    /// The address as it is now.
    pub(super) fn map(&self, address: Address) -> Address {
        let Some(entries) = self.known.get(&address.key()) else { return address };
        let is_of = |entry: &&Entry| match (&entry.of, &address.name) {
            (Some(of), Some(name)) => of.eq_ignore_ascii_case(name),
            (of, _) => of.is_none(),
        };
        // An entry for this very name comes before one for any.
        let named = entries.iter().filter(is_of).find(|entry| entry.of.is_some());
        let Some(entry) = named.or_else(|| entries.iter().rev().find(is_of)) else {
            return address;
        };
        Address {
            name: entry.name.clone().or(address.name),
            mail: entry.mail.clone().unwrap_or(address.mail),
        }
    }
}

/// `Name <address>` and what follows it.
fn part(text: &str) -> Option<((Option<String>, &str), &str)> {
    let (name, rest) = text.split_once('<')?;
    let (mail, rest) = rest.split_once('>')?;
    let name = Some(name.trim()).filter(|name| !name.is_empty()).map(str::to_owned);
    Some(((name, mail.trim()), rest))
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::Mailmap;

    #[test]
    fn every_form_is_read() {
        let map = Mailmap::parse(
            "# people\n\
             Right Name <only@name.org>\n\
             <new@x.org> <old@x.org>\n\
             Full Name <new@y.org> <OLD@y.org> # moved\n\
             One <one@z.org> Uno <shared@z.org>\n\
             no address\n",
        );
        let check = |text: &str, want: &str| {
            assert_eq!(map.map(Address::parse(text).unwrap()).to_string(), want, "{text}");
        };
        check("r <only@name.org>", "Right Name <only@name.org>");
        check("A <Old@x.org>", "A <new@x.org>");
        check("f <old@y.org>", "Full Name <new@y.org>");
        check("Uno <shared@z.org>", "One <one@z.org>");
        check("Dos <shared@z.org>", "Dos <shared@z.org>");
        check("A <other@x.org>", "A <other@x.org>");
    }
}
