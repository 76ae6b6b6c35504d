//! Crash families: whether two titles are one bug, seen twice.
//!
//! What a bug does depends on where it is caught: freed memory that is read is a KASAN report in one
//! kernel and a page fault in the next, and a loop that never ends is an RCU stall or a hung task,
//! depending on who waits for it. Titles of one family that name the same function are likely to be
//! one bug; titles that name no function are akin to nothing but themselves.

use std::{fmt, sync::LazyLock};

use super::{Crash, names::Names};

/// Why two titles are taken for one bug.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kinship {
    /// They are equal.
    Same,
    /// Both crashes are known by this title.
    KnownAs(String),
    /// Both are of one family, and blame one function.
    Family {
        /// What the family has in common: `bad accesses to memory`.
        bugs: &'static str,
        /// The function that both name.
        function: String,
    },
}

impl fmt::Display for Kinship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kinship::Same => f.write_str("the titles are equal"),
            Kinship::KnownAs(title) => write!(f, "both are known as {title}"),
            Kinship::Family { bugs, function } => write!(f, "both are {bugs} in {function}"),
        }
    }
}

/// What the families have in common, and the titles that they consist of, up to ` in FUNCTION`.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "bad accesses to memory",
        &[
            "KASAN: * Read",
            "KASAN: * Write",
            "KFENCE: * read",
            "KFENCE: * write",
            "bad-access",
            "general protection fault",
            "BUG: unable to handle *",
            "Internal error",
            "Unhandled fault",
            "stack segment fault",
        ],
    ),
    (
        "uses of memory that was freed too early",
        &[
            "KASAN: *use-after-free *",
            "KFENCE: use-after-free *",
            "KMSAN: *use-after-free",
            "KASAN: invalid-free",
            "KASAN: double-free",
            "KFENCE: invalid free",
            "invalid-free",
            "BUG: Object already free",
            "BUG: Poison overwritten",
            "BUG: corrupted list",
            "WARNING: refcount bug",
            "WARNING: ODEBUG bug",
        ],
    ),
    (
        "failures to go on",
        &[
            "INFO: rcu detected stall",
            "INFO: task hung",
            "INFO: task can't die",
            "BUG: soft lockup",
            "hard lockup",
            "stall",
            "hang",
        ],
    ),
    (
        "deadlocks",
        &[
            "possible deadlock",
            "inconsistent lock state",
            "BUG: spinlock recursion",
            "BUG: spinlock lockup suspected",
            "INFO: task hung",
            "hang",
        ],
    ),
    (
        "locks that are not let go as they were taken",
        &[
            "*: bad unlock balance",
            "*: held lock freed",
            "*: still has locks held",
            "*: lock held when returning to user space",
            "WARNING: locking bug",
            "BUG: workqueue leaked lock or atomic",
        ],
    ),
    ("assertions that fail", &["kernel BUG", "WARNING"]),
    (
        "attempts to sleep where that is forbidden",
        &[
            "BUG: sleeping function called from invalid context",
            "BUG: scheduling while atomic",
            "BUG: assuming atomic context",
        ],
    ),
    (
        "stack overflows",
        &[
            "BUG: stack guard page was hit",
            "kernel panic: corrupted stack end",
            "kernel panic: stack is corrupted",
            "stack-overflow",
            "PANIC: double fault",
        ],
    ),
];

/// Why these two crashes are taken for one bug, if they are. Each is given by its titles, the
/// first of which is its own.
///
/// ```
/// use vmbisect::crash::family::kinship;
///
/// let why = kinship(&["INFO: rcu detected stall in looper"], &["INFO: task hung in looper"]);
/// assert_eq!(why.unwrap().to_string(), "both are failures to go on in looper");
/// assert_eq!(kinship(&["WARNING in f"], &["WARNING in g"]), None);
/// ```
pub fn kinship(one: &[&str], other: &[&str]) -> Option<Kinship> {
    if one.first()? == other.first()? {
        return Some(Kinship::Same);
    }
    // Titles without a function say too little: all reports that are damaged are alike.
    let shared = one.iter().find(|title| function(title).is_some() && other.contains(title));
    if let Some(title) = shared {
        return Some(Kinship::KnownAs((*title).to_owned()));
    }
    let mut pairs = one.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
    pairs.find_map(|(one, other)| family(one, other))
}

/// The same for two crashes.
pub fn of_crashes(one: &Crash, other: &Crash) -> Option<Kinship> {
    kinship(&titles(one), &titles(other))
}

/// Every title of a crash, its own first.
pub(crate) fn titles(crash: &Crash) -> Vec<&str> {
    std::iter::once(&crash.title).chain(&crash.alt_titles).map(String::as_str).collect()
}

/// The family that two titles are of, and name one function of.
fn family(one: &str, other: &str) -> Option<Kinship> {
    static KNOWN: LazyLock<Vec<(&str, Names)>> = LazyLock::new(|| {
        let names = |titles: &[&'static str]| Names::new(titles.iter().copied());
        FAMILIES.iter().map(|(bugs, titles)| (*bugs, names(titles))).collect()
    });
    let (one, function) = function(one)?;
    let (other, _) = self::function(other).filter(|(_, other)| *other == function)?;
    let (bugs, _) = KNOWN.iter().find(|(_, names)| names.contains(one) && names.contains(other))?;
    Some(Kinship::Family { bugs, function: function.to_owned() })
}

/// What a title says is wrong, and the function that it names.
fn function(title: &str) -> Option<(&str, &str)> {
    let (what, function) = title.rsplit_once(" in ")?;
    let is_name = function.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.$/".contains(&b));
    (is_name && function != "corrupted").then_some((what, function))
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Kinship, function, kinship};

    fn bugs(one: &str, other: &str) -> Option<&'static str> {
        match kinship(&[one], &[other]) {
            Some(Kinship::Family { bugs, .. }) => Some(bugs),
            _ => None,
        }
    }

    #[test]
    fn one_bug_has_many_faces() {
        for (one, other) in [
            ("KASAN: slab-use-after-free Read in f", "KASAN: slab-use-after-free Write in f"),
            ("KASAN: use-after-free Read in f", "general protection fault in f"),
            ("KASAN: null-ptr-deref Read in f", "BUG: unable to handle kernel paging request in f"),
            ("KASAN: slab-use-after-free Write in f", "KASAN: invalid-free in f"),
            ("WARNING: refcount bug in f", "KASAN: use-after-free Read in f"),
            ("INFO: task hung in f", "INFO: rcu detected stall in f"),
            ("BUG: soft lockup in f", "hang in f"),
            ("possible deadlock in f", "INFO: task hung in f"),
            ("kernel BUG in f", "WARNING in f"),
            ("WARNING: bad unlock balance in f", "BUG: held lock freed in f"),
        ] {
            assert!(bugs(one, other).is_some(), "{one} / {other}");
            assert_eq!(bugs(one, other), bugs(other, one), "{one} / {other}");
        }
    }

    #[test]
    fn strangers_are_not_akin() {
        for (one, other) in [
            ("KASAN: use-after-free Read in f", "KASAN: use-after-free Read in g"),
            ("WARNING in f", "WARNING: refcount bug in f"),
            ("memory leak in f", "KASAN: use-after-free Read in f"),
            ("WARNING in corrupted", "kernel BUG in corrupted"),
            ("INFO: task hung in corrupted", "INFO: rcu detected stall in corrupted"),
            ("kernel panic: Fatal exception in interrupt", "kernel panic: Fatal exception"),
            ("WARNING in aiptek_open/usb_submit_urb", "WARNING in usb_submit_urb"),
        ] {
            assert_eq!(kinship(&[one], &[other]), None, "{one} / {other}");
        }
        assert_eq!(kinship(&[], &["WARNING in f"]), None);
    }

    #[test]
    fn a_title_that_both_have_is_enough() {
        let one = ["KASAN: use-after-free Read in sys_x", "bad-access in sys_x", "bad-access in y"];
        let other = ["general protection fault in z", "bad-access in y"];
        let why = kinship(&one, &other);
        assert_eq!(why, Some(Kinship::KnownAs("bad-access in y".into())));
        assert_eq!(kinship(&one, &one), Some(Kinship::Same));
        let damaged = ["INFO: task hung in corrupted", "hang in corrupted"];
        let other = ["INFO: task can't die in corrupted", "hang in corrupted"];
        assert_eq!(kinship(&damaged, &other), None);
    }

    #[test]
    fn families_name_no_functions() {
        for title in FAMILIES.iter().flat_map(|(_, titles)| *titles) {
            assert_eq!(function(title), None, "{title}");
        }
    }
}
