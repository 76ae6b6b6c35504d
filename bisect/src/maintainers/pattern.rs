//! The patterns of `F:` and `X:`, as `scripts/get_maintainer.pl` matches them.

/// A pattern for paths. `*` stands for any text and `?` for one character, both also for `/`; what
/// ends in a `/`, or is a directory, stands for everything below it; anything else only has to begin
/// the path, and to have as many `/` as it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    /// Takes what stands behind `F:`.
    pub(super) fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// Whether it stands for a path, which is that of a file.
    pub(super) fn matches(&self, path: &str) -> bool {
        let text = &*self.0;
        if text.ends_with('/') {
            return begins(text.as_bytes(), path.as_bytes());
        }
        let is_directory = || path.strip_prefix(text).is_some_and(|rest| rest.starts_with('/'));
        is_directory() || slashes(text) == slashes(path) && begins(text.as_bytes(), path.as_bytes())
    }

    /// How special it is: the number of its directories; -1 for what begins with a star.
    pub(super) fn depth(&self) -> i64 {
        if self.0.starts_with('*') {
            return -1;
        }
        i64::try_from(slashes(&self.0)).unwrap_or(i64::MAX) + i64::from(!self.0.ends_with('/'))
    }
}

fn slashes(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'/').count()
}

/// Whether `path` begins with something that `pattern` stands for. After a mismatch only the last
/// star is tried again, so that it takes no more than the product of the lengths.
fn begins(pattern: &[u8], path: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    // Behind the last star, and where in the path the rest was tried last.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), path.get(here)) {
            (None, _) => return true,
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, here));
            }
            (Some(b'?'), Some(_)) => (at, here) = (at + 1, here + 1),
            (Some(wanted), Some(found)) if wanted == found => (at, here) = (at + 1, here + 1),
            _ => match &mut star {
                Some((behind, tried)) if *tried < path.len() => {
                    *tried += 1;
                    (at, here) = (*behind, *tried);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::Pattern;

    #[test]
    fn patterns_are_those_of_get_maintainer() {
        for (pattern, path, want) in [
            ("drivers/net/", "drivers/net/a/b.c", true),
            ("drivers/net", "drivers/net/a.c", true),
            ("drivers/net/*", "drivers/net/a.c", true),
            ("drivers/net/*", "drivers/net/a/b.c", false),
            ("drivers/net/*/b.c", "drivers/net/a/b.c", true),
            ("kernel/fork.c", "kernel/fork.c", true),
            ("kernel/fork.c", "kernel/forkxc", false),
            // It need not be all of it.
            ("kernel/for", "kernel/fork.c", true),
            ("fs/*fs/", "fs/ext/btrfs/a.c", true),
            ("*", "COPYING", true),
            ("*", "kernel/fork.c", false),
            ("*/", "kernel/fork.c", true),
            ("?ernel/", "kernel/fork.c", true),
            ("arch/*/kvm/", "arch/x86/kvm/mmu/mmu.c", true),
            ("mm/", "arch/x86/mm/fault.c", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(path), want, "{pattern} {path}");
        }
        assert_eq!(Pattern::new("net/core/").depth(), 2);
        assert_eq!(Pattern::new("net/core/sock.c").depth(), 3);
        assert_eq!(Pattern::new("*/").depth(), -1);
    }

    proptest! {
        /// What the script does: a regular expression.
        #[test]
        fn stars_are_those_of_the_regular_expression(pattern in "[ab*?/]{1,8}", path in "[ab]{1,3}(/[ab]{0,3}){0,3}") {
            let regex = pattern.replace('*', ".*").replace('?', ".");
            let begins = Regex::new(&format!("^{regex}")).unwrap().is_match(&path);
            let count = |text: &str| text.matches('/').count();
            let is_below = path.strip_prefix(&pattern).is_some_and(|rest| rest.starts_with('/'));
            let want = is_below || begins && (pattern.ends_with('/') || count(&pattern) == count(&path));
            prop_assert_eq!(Pattern::new(&pattern).matches(&path), want);
        }
    }
}
