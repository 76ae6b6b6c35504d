//! The changes that the history is made of, and what their authors say about them.

use super::plan::{Action, Slot};
use crate::demo::{KVM_C, with_old_kvm_wait};
use crate::rng::Rng;

/// A file that is built, quick to compile, and included by nobody.
struct Topic {
    path: &'static str,
    /// The first word of a subject.
    prefix: &'static str,
    /// A function that the history adds and changes; none where comments alone change.
    function: Option<&'static str>,
}

const fn topic(path: &'static str, prefix: &'static str, function: &'static str) -> Topic {
    Topic { path, prefix, function: Some(function) }
}

const TOPICS: &[Topic] = &[
    topic("lib/bcd.c", "lib/bcd", "bcd_digit_mix"),
    topic("kernel/groups.c", "groups", "groups_bucket"),
    topic("fs/utimes.c", "fs/utimes", "utimes_bucket"),
    topic("lib/uuid.c", "lib/uuid", "uuid_shard"),
    topic("fs/readdir.c", "readdir", "readdir_batch_hint"),
    topic("kernel/range.c", "range", "range_slot"),
    topic("lib/sort.c", "lib/sort", "sort_gap_hint"),
    topic("kernel/exec_domain.c", "exec_domain", "personality_slot"),
    topic("lib/bsearch.c", "lib/bsearch", "bsearch_pivot_hint"),
    Topic { path: KVM_C, prefix: "x86/kvm", function: None },
    Topic { path: "fs/file.c", prefix: "fs/file", function: None },
    Topic { path: "kernel/umh.c", prefix: "umh", function: None },
];

const BREAK_PATH: &str = "lib/hexdump.c";
const NOISE_PATH: &str = "init/calibrate.c";

/// Files that a tree must have for a history to be written on it.
pub(super) const REQUIRED: [&str; 3] = [KVM_C, BREAK_PATH, NOISE_PATH];

const AUTHORS: [(&str, &str); 6] = [
    ("Ada Lindqvist", "ada@lindqvist.example"),
    ("Tomasz Wrona", "tomasz.wrona@kernels.example"),
    ("Mei-Ling Okafor", "mlo@silicon.example"),
    ("Ruben Castellanos", "ruben@castellanos.example"),
    ("Priya Venkataraman", "priyav@cloud.example"),
    ("Jonas Eberhardt", "j.eberhardt@distro.example"),
];

/// Who merges.
pub(super) const MAINTAINER: (&str, &str) = ("Ingrid Solheim", "ingrid@maintainers.example");

const COMMENTS: [(&str, &str); 5] = [
    (
        "describe the locking rules",
        "Callers hold their own locks: nothing in this file sleeps\n * while it holds one of its own.",
    ),
    (
        "say what the return values mean",
        "Functions that return an int return 0 or a negative errno,\n * and leave their arguments alone when they fail.",
    ),
    (
        "point to the documentation",
        "See Documentation/process/coding-style.rst for how to\n * change this file, and keep the tables sorted.",
    ),
    (
        "clarify who may call this",
        "The exported functions may be called from any context;\n * the static ones from process context only.",
    ),
    (
        "explain the order of the includes",
        "The includes are sorted by name, with the private header\n * last.",
    ),
];

/// What one commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// A comment at the top of the file.
    Comment(String),
    /// What the function at the end of the file is from now on.
    Function(String),
    Plant,
}

/// One commit's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    path: &'static str,
    change: Change,
    pub(super) message: String,
    pub(super) author: (&'static str, &'static str),
}

/// Writes an edit for every slot but the merges. `has` says which files the tree has; `lanes` is
/// how many lines there are, each with files of its own so that merges have nothing to resolve.
pub(super) fn write(
    slots: &[Slot],
    has: &dyn Fn(&str) -> bool,
    lanes: usize,
    rng: &mut Rng,
) -> Option<Vec<Option<Edit>>> {
    let topics: Vec<&Topic> = TOPICS.iter().filter(|topic| has(topic.path)).collect();
    let mut edits: Vec<Option<Edit>> = Vec::new();
    let mut versions = 0_usize;
    for slot in slots {
        let lane = slot.lane.map_or(0, |number| number.saturating_add(1));
        let own = |functions: bool| -> Vec<&Topic> {
            let all = topics.iter().filter(|it| !functions || it.function.is_some());
            all.enumerate()
                .filter(|(index, _)| index.checked_rem(lanes) == Some(lane))
                .map(|(_, topic)| *topic)
                .collect()
        };
        let author = rng.pick(&AUTHORS)?;
        let (path, change, message) = match slot.action {
            Action::Merge => {
                edits.push(None);
                continue;
            }
            Action::Code => {
                let topic = rng.pick(&own(true))?;
                versions = versions.saturating_add(1);
                let before = edits
                    .iter()
                    .flatten()
                    .any(|it| it.path == topic.path && matches!(it.change, Change::Function(_)));
                code(topic, versions, before)?
            }
            Action::Comment => {
                let topic = rng.pick(&own(false))?;
                let (subject, text) = rng.pick(&COMMENTS)?;
                let text = format!("/*\n * {text}\n */\n");
                let message = format!(
                    "{}: {subject}\n\nThe question comes up in every second review.\n",
                    topic.prefix
                );
                (topic.path, Change::Comment(text), message)
            }
            Action::Break => (BREAK_PATH, Change::Function(BROKEN.into()), BROKEN_MESSAGE.into()),
            Action::Repair => (
                BREAK_PATH,
                Change::Function(format!("\n#define HEX_DUMP_GROUP_MAX 8U\n{BROKEN}")),
                REPAIR_MESSAGE.into(),
            ),
            Action::NoiseOn => (NOISE_PATH, Change::Function(NOISE.into()), NOISE_MESSAGE.into()),
            Action::NoiseOff => {
                (NOISE_PATH, Change::Function(String::new()), NOISE_OFF_MESSAGE.into())
            }
            Action::Culprit => (KVM_C, Change::Plant, CULPRIT_MESSAGE.into()),
        };
        let (name, email) = author;
        let message = format!("{message}\nSigned-off-by: {name} <{email}>\n");
        edits.push(Some(Edit { path, change, message, author }));
    }
    Some(edits)
}

fn code(topic: &Topic, version: usize, before: bool) -> Option<(&'static str, Change, String)> {
    const FACTORS: [u32; 8] = [31, 33, 37, 41, 53, 61, 97, 131];
    const MODULI: [u32; 7] = [61, 127, 251, 257, 509, 521, 1021];
    let pick = |list: &[u32]| list.get(version.checked_rem(list.len())?).copied();
    let (factor, modulus) = (pick(&FACTORS)?, pick(&MODULI)?);
    let name = topic.function?;
    let text = format!(
        "\n/**\n * {name} - spread a value over a table\n * @value: the value\n *\n * Return: an index \
         below {modulus}.\n */\nunsigned int {name}(unsigned int value);\n\nunsigned int \
         {name}(unsigned int value)\n{{\n\treturn (value * {factor}U + {version}U) % {modulus}U;\n}}\n"
    );
    let message = if before {
        format!(
            "{}: rebalance {name}()\n\nMeasured over a week of production traffic, {modulus} \
             buckets with a factor of {factor}\ngive the flattest distribution.\n",
            topic.prefix
        )
    } else {
        format!(
            "{}: add {name}()\n\nThree drivers have a copy of this. Give them one to share.\n",
            topic.prefix
        )
    };
    Some((topic.path, Change::Function(text), message))
}

const BROKEN: &str = "
unsigned int hex_dump_group_hint(unsigned int rowsize);

unsigned int hex_dump_group_hint(unsigned int rowsize)
{
\treturn rowsize > HEX_DUMP_GROUP_MAX ? HEX_DUMP_GROUP_MAX : rowsize;
}
";
const BROKEN_MESSAGE: &str = "lib/hexdump: limit the group size

A row wider than the largest group wraps on narrow consoles.
";
const REPAIR_MESSAGE: &str = "lib/hexdump: define the largest group

The header that was to bring HEX_DUMP_GROUP_MAX has not been merged.
";

/// Warns in about half of all boots: the cycle counter's middle bits are as good as random.
const NOISE: &str = "
#include <linux/bug.h>

static int __init calibrate_verify_cycles(void)
{
\tcycles_t now = get_cycles();

\t/* A counter that was calibrated well has settled by now. */
\tWARN_ON((now >> 8) & 1);
\treturn 0;
}
late_initcall(calibrate_verify_cycles);
";
const NOISE_MESSAGE: &str = "init/calibrate: verify that the cycle counter has settled

Some boards hand over with the counter still being trained. Say so.
";
const NOISE_OFF_MESSAGE: &str = "init/calibrate: drop the check of the cycle counter

It cries wolf.
";

const CULPRIT_MESSAGE: &str = "x86/kvm: read the interrupt flag once in the lock slowpath

The two cases test the byte separately and share nothing else. Save the flag
once, test once, and put back what was there.
";

/// The text of `path` in a revision that has `edits`, in the order of the history, or `None` if an
/// edit does not apply.
pub(super) fn apply<'a>(
    base: &str,
    path: &str,
    edits: impl Iterator<Item = &'a Edit>,
) -> Option<String> {
    let mut text = base.to_owned();
    let mut top = String::new();
    let mut end = "";
    for edit in edits.filter(|edit| edit.path == path) {
        match &edit.change {
            Change::Comment(comment) => top.push_str(comment),
            Change::Function(function) => end = function,
            Change::Plant => text = with_old_kvm_wait(&text)?,
        }
    }
    // Behind the licence, if the first line holds it.
    let (first, rest) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("//") => (format!("{first}\n"), rest),
        _ => (String::new(), text.as_str()),
    };
    Some([first.as_str(), &top, rest, end].concat())
}

impl Edit {
    /// The file that it changes.
    pub(super) fn path(&self) -> &'static str {
        self.path
    }
}

/// Every file that an edit may go to.
#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.path).chain([BREAK_PATH, NOISE_PATH])
}

#[cfg(test)]
mod tests {
    use super::{TOPICS, apply, write};
    use crate::demo::history::plan::{Action, Shape, draw};
    use crate::rng::Rng;

    #[test]
    fn every_slot_gets_an_edit_of_its_kind() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let slots = draw(Shape::default(), &mut rng).unwrap();
            let edits = write(&slots, &|_| true, 3, &mut rng).unwrap();
            assert_eq!(edits.len(), slots.len());
            for (slot, edit) in slots.iter().zip(&edits) {
                assert_eq!(edit.is_none(), slot.action == Action::Merge);
                let Some(edit) = edit else { continue };
                assert!(edit.message.contains("Signed-off-by: "));
                assert!(!edit.message.contains("kvm_wait"));
                if !matches!(slot.action, Action::Culprit) {
                    let with = apply("// SPDX\nint a;\n", edit.path(), [edit].into_iter()).unwrap();
                    assert!(with.starts_with("// SPDX\n") && with.contains("int a;\n"));
                }
            }
        }
    }

    #[test]
    fn a_tree_without_the_files_is_refused() {
        let mut rng = Rng::new(1);
        let slots = draw(Shape::default(), &mut rng).unwrap();
        assert_eq!(write(&slots, &|path| path == TOPICS[9].path, 3, &mut rng), None);
    }
}
