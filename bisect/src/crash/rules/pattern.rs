//! The words that patterns may use.

/// What stands for what in a pattern.
pub(in crate::crash) const SHORTHANDS: &[(&str, &str)] = &[
    // A function, with what the compiler and the unwinder put behind its name.
    (
        "{func}",
        r"(?P<func>[A-Za-z_][A-Za-z0-9_]*)(?:\.[A-Za-z0-9_.$]+)?(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?)?",
    ),
    // The same, without a name of its own: for groups that the title does not use.
    ("{symbol}", r"[A-Za-z_][A-Za-z0-9_.$]*(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?)?"),
    // A number of at least four hexadecimal digits, with `0x` before it or not; said so that no byte
    // of it can be read in two ways, which lets groups be found in one pass.
    ("{addr}", r"(?:0(?:x[0-9a-f])?|[1-9a-f])[0-9a-f]{3,}"),
    // A source file and a line in it.
    ("{src}", r"(?P<src>[-A-Za-z0-9_./+]+\.[a-zA-Z]+):[0-9]+"),
    // A task and its id: `syz-executor/123`. A task's name may hold blanks.
    ("{task}", r"(?P<task>[^\[\]]{1,32}?/[0-9]+)"),
    ("{num}", r"[0-9]+"),
];

/// A function's name alone.
const NAME: &str = r"(?P<func>[A-Za-z_][A-Za-z0-9_]*)\b";

/// Replaces the shorthands in a pattern.
pub(in crate::crash) fn expand(pattern: &str) -> String {
    // What may follow a name is not looked at where the pattern ends with it.
    let pattern = match pattern.strip_suffix("{func}") {
        Some(before) => format!("{before}{NAME}"),
        None => pattern.to_owned(),
    };
    SHORTHANDS.iter().fold(pattern, |text, (word, meaning)| text.replace(word, meaning))
}
