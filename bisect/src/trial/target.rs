//! What a bisection looks for.

use serde::{Deserialize, Serialize};

use crate::crash::{Crash, Kind, family};

/// What counts as the bug showing itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// One of these crash titles; `*` stands for any text.
    Crash(Vec<String>),
    /// The same, or a crash that is likely to be the same bug, seen another way: of the same family
    /// ([`family`]) and in the same function.
    CrashFamily(Vec<String>),
    /// Any crash at all.
    AnyCrash,
    /// Init is never reached.
    NoBoot,
    /// The guest makes no progress.
    Hang,
    /// The workload ends with a status that is not 0, or with just this one.
    ExitStatus(Option<u8>),
}

impl Target {
    /// Whether a crash of which only the title is known is what is looked for.
    pub fn matches_title(&self, title: &str) -> bool {
        match self {
            Target::Crash(wanted) => wanted.iter().any(|pattern| matches_pattern(pattern, title)),
            Target::CrashFamily(wanted) => {
                wanted.iter().any(|wanted| matches_pattern(wanted, title) || akin(wanted, &[title]))
            }
            Target::AnyCrash => true,
            Target::Hang | Target::NoBoot | Target::ExitStatus(_) => false,
        }
    }

    /// Whether this crash is what is looked for.
    ///
    /// A suppressed crash (the guest ran out of memory, say) is not "any crash", but it is a hit
    /// where its own title is asked for.
    pub fn matches(&self, crash: &Crash) -> bool {
        let titles = family::titles(crash);
        let named = |wanted: &String| titles.iter().any(|title| matches_pattern(wanted, title));
        match self {
            Target::Crash(wanted) => wanted.iter().any(named),
            Target::CrashFamily(wanted) => {
                wanted.iter().any(|wanted| named(wanted) || akin(wanted, &titles))
            }
            Target::AnyCrash => !crash.suppressed,
            // The kernel's own watchdogs: stalls, lockups, hung tasks.
            Target::Hang => crash.kind == Kind::Hang,
            Target::NoBoot | Target::ExitStatus(_) => false,
        }
    }
}

/// Whether a crash of these titles is taken for the bug that has this title.
fn akin(wanted: &str, titles: &[&str]) -> bool {
    family::kinship(&[wanted], titles).is_some()
}

impl Target {
    /// Whether a machine that hangs, and was found to hang in this, is what is looked for: a hang in
    /// general, or one of this title. (Any crash at all is one that the kernel says something of.)
    pub fn matches_hang(&self, hang: Option<&Crash>) -> bool {
        match self {
            Target::Hang => true,
            Target::Crash(_) | Target::CrashFamily(_) => {
                hang.is_some_and(|crash| self.matches(crash))
            }
            Target::AnyCrash | Target::NoBoot | Target::ExitStatus(_) => false,
        }
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any text, the empty one included.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(prefix) else {
        return false;
    };
    // Leftmost matches are enough for all pieces but the last, which has to sit at the end.
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        let Some((_, behind)) = text.split_once(piece) else {
            return false;
        };
        text = behind;
    }
    text.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::{Target, matches_pattern};
    use crate::crash::Kind;
    use crate::trial::tests::crash;

    #[test]
    fn a_star_is_any_text() {
        assert!(matches_pattern("WARNING in kvm_wait", "WARNING in kvm_wait"));
        assert!(!matches_pattern("WARNING in kvm", "WARNING in kvm_wait"));
        assert!(matches_pattern("WARNING in *", "WARNING in kvm_wait"));
        assert!(matches_pattern("*kvm_wait", "WARNING in kvm_wait"));
        assert!(matches_pattern("*in*wait*", "WARNING in kvm_wait"));
        assert!(matches_pattern("*", ""));
        assert!(!matches_pattern("a*a", "a"));
        assert!(!matches_pattern("*wait*in*", "WARNING in kvm_wait"));
    }

    #[test]
    fn other_titles_of_a_crash_count() {
        let mut seen = crash("KASAN: use-after-free Read in foo");
        seen.alt_titles = vec!["bad-access in foo".into()];
        assert!(Target::Crash(vec!["x".into(), "bad-access in *".into()]).matches(&seen));
        assert!(Target::AnyCrash.matches(&seen));
        assert!(!Target::Hang.matches(&seen));
        assert!(!Target::NoBoot.matches(&seen));
        seen.kind = Kind::Hang;
        assert!(Target::Hang.matches(&seen));
    }

    #[test]
    fn a_family_is_a_hit_where_it_is_asked_for() {
        let mut seen = crash("general protection fault in foo");
        seen.alt_titles = vec!["bad-access in foo".into()];
        let wanted = || vec!["KASAN: use-after-free Read in foo".into()];
        assert!(!Target::Crash(wanted()).matches(&seen));
        assert!(Target::CrashFamily(wanted()).matches(&seen));
        assert!(Target::CrashFamily(wanted()).matches_title("KASAN: invalid-free in foo"));
        assert!(!Target::CrashFamily(wanted()).matches_title("WARNING in foo"));
        assert!(Target::CrashFamily(vec!["general * in f*".into()]).matches(&seen));
    }

    #[test]
    fn a_suppressed_crash_must_be_asked_for() {
        let mut seen = crash("no memory");
        seen.suppressed = true;
        assert!(!Target::AnyCrash.matches(&seen));
        assert!(Target::Crash(vec!["no memory".into()]).matches(&seen));
    }
}
