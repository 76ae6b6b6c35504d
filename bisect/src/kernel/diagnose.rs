//! Why a build failed, read from what it printed: the revision, a missing tool, or the host.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::toolchain::package_of;

/// How many error lines are kept.
const MAX_ERRORS: usize = 20;
/// Longer lines are cut.
const MAX_LENGTH: usize = 500;

/// Texts that only a compiler, a linker or make prints, and only when something is wrong.
const STRONG: &[&str] = &[
    ": error: ",
    ": fatal error: ",
    ": Error: ",
    "undefined reference to",
    "multiple definition of",
    "No rule to make target",
    "ERROR: modpost",
    "ld: ",
    "ld.lld: error",
    "objtool: error",
    "*** missing separator",
    "*** multiple target patterns",
    "syntax error",
    "recursive dependency detected",
    "assertion failed",
];
/// Lines that are worth showing if there is no better one.
const WEAK: &[&str] = &["*** ", "Error ", "error:", "ERROR"];

/// What a host prints when it can't go on.
const HOST: &[(&str, &str)] = &[
    ("No space left on device", "the disk is full (No space left on device)"),
    ("Disk quota exceeded", "the disk quota is used up (Disk quota exceeded)"),
    ("Read-only file system", "the disk can't be written (Read-only file system)"),
    ("Input/output error", "the disk fails (Input/output error)"),
    ("Cannot allocate memory", "out of memory (Cannot allocate memory)"),
    ("virtual memory exhausted", "out of memory (virtual memory exhausted)"),
    ("out of memory allocating", "out of memory (the compiler could not allocate)"),
    ("memory exhausted", "out of memory (memory exhausted)"),
    ("Resource temporarily unavailable", "too many processes (Resource temporarily unavailable)"),
    ("Too many open files", "too many open files"),
    ("Killed signal terminated program", "a compiler was killed, most likely for want of memory"),
    ("internal compiler error: Killed", "a compiler was killed, most likely for want of memory"),
];

/// What the host lacks, if a message says so.
pub(super) fn host_failure(message: &str) -> Option<&'static str> {
    HOST.iter().find(|(text, _)| message.contains(text)).map(|(_, why)| *why)
}

/// What became of a build that did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The revision does not build.
    Revision { errors: Vec<String>, guilty: Option<String> },
    /// Something is not installed.
    MissingTool { tool: String, package: Option<&'static str> },
    /// The host failed it.
    Host(String),
}

/// Reads a build's output as it passes.
pub(super) struct Diagnosis {
    /// The source tree's path and a `/`, cut from the lines.
    prefix: String,
    strong: Vec<String>,
    weak: Vec<String>,
    host: Option<&'static str>,
    missing: Option<String>,
}

impl Diagnosis {
    pub(super) fn new(source: &Path) -> Diagnosis {
        Diagnosis {
            prefix: format!("{}/", source.display()),
            strong: Vec::new(),
            weak: Vec::new(),
            host: None,
            missing: None,
        }
    }

    pub(super) fn line(&mut self, line: &str) {
        if self.host.is_none() {
            self.host = host_failure(line);
            // make's own report of a recipe that SIGKILL ended.
            if is_killed(line) {
                self.host =
                    Some("a process of the build was killed, most likely for want of memory");
            }
        }
        if self.missing.is_none() {
            self.missing = missing_tool(line);
        }
        let list = if STRONG.iter().any(|text| line.contains(text)) {
            &mut self.strong
        } else if WEAK.iter().any(|text| line.contains(text)) {
            &mut self.weak
        } else {
            return;
        };
        if list.len() < MAX_ERRORS {
            let line: String =
                line.replace(&self.prefix, "").trim().chars().take(MAX_LENGTH).collect();
            if !list.contains(&line) {
                list.push(line);
            }
        }
    }

    /// The cause, once the build has failed.
    pub(super) fn cause(self, killed_by_signal: bool) -> Cause {
        if let Some(why) = self.host {
            return Cause::Host(why.into());
        }
        if killed_by_signal {
            return Cause::Host("the build was killed".into());
        }
        if let Some(tool) = self.missing {
            let package = package_of(&tool);
            return Cause::MissingTool { tool, package };
        }
        let errors = if self.strong.is_empty() { self.weak } else { self.strong };
        let guilty = errors.iter().find_map(|line| location(line));
        Cause::Revision { errors, guilty }
    }
}

/// `make[2]: *** [scripts/Makefile.build:250: mm/slob.o] Error 137`, or `Killed` in its place.
fn is_killed(line: &str) -> bool {
    line.contains("*** [") && (line.ends_with("] Error 137") || line.ends_with("] Killed"))
}

#[allow(clippy::unwrap_used, reason = "a constant that the tests compile")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// The program or header that a line says is missing.
fn missing_tool(line: &str) -> Option<String> {
    static SHELL: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"^(?:/bin/)?(?:da|ba)?sh: (?:line )?\d+: ([\w.+-]+): (?:command )?not found$")
    });
    static MAKE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"^make(?:\[\d+\])?: ([\w.+-]+): No such file or directory$"));
    static HEADER: LazyLock<Regex> = LazyLock::new(|| {
        regex(r"fatal error: ((?:libelf|gelf|openssl/[\w]+)\.h): No such file or directory$")
    });
    [&SHELL, &MAKE, &HEADER]
        .iter()
        .find_map(|pattern| pattern.captures(line))
        .and_then(|found| found.get(1))
        .map(|tool| tool.as_str().to_owned())
        .or_else(|| {
            let wants = line.contains("Please install libelf-dev");
            wants.then(|| "libelf.h".to_owned())
        })
}

/// `kernel/fork.c:12` of `kernel/fork.c:12:3: error: …`.
fn location(line: &str) -> Option<String> {
    static PLACE: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"^(?:ld: )?(?:\.\./|\./)*([\w./+-]+\.(?:c|h|S|lds|rs)|[\w./-]*(?:Kconfig|Makefile)[\w.]*):(\d+)(?::\d+)?:",
        )
    });
    let found = PLACE.captures(line)?;
    Some(format!("{}:{}", found.get(1)?.as_str(), found.get(2)?.as_str()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{Cause, Diagnosis};

    fn cause(lines: &[&str]) -> Cause {
        let mut diagnosis = Diagnosis::new(Path::new("/s/tree"));
        for line in lines {
            diagnosis.line(line);
        }
        diagnosis.cause(false)
    }

    #[test]
    fn a_compiler_error_is_the_revisions() {
        let found = cause(&[
            "  CC      kernel/fork.o",
            "/s/tree/kernel/fork.c: In function 'fork_init':",
            "/s/tree/kernel/fork.c:845:9: error: expected ';' before 'return'",
            "make[3]: *** [/s/tree/scripts/Makefile.build:250: kernel/fork.o] Error 1",
        ]);
        let errors = vec!["kernel/fork.c:845:9: error: expected ';' before 'return'".to_owned()];
        assert_eq!(found, Cause::Revision { errors, guilty: Some("kernel/fork.c:845".into()) });
    }

    #[test]
    fn without_a_strong_line_the_weak_ones_are_kept() {
        let Cause::Revision { errors, guilty } =
            cause(&["make: *** [/s/tree/Makefile:1250: vmlinux] Error 2"])
        else {
            panic!("not the revision's");
        };
        assert_eq!(errors, ["make: *** [Makefile:1250: vmlinux] Error 2"]);
        assert_eq!(guilty, None);
    }

    #[test]
    fn missing_tools_are_named_with_their_package() {
        for (line, name, package) in [
            ("/bin/sh: 1: flex: not found", "flex", Some("flex")),
            ("/bin/sh: line 1: bc: command not found", "bc", Some("bc")),
            ("make[2]: gcc: No such file or directory", "gcc", Some("gcc")),
            (
                "/s/tree/tools/objtool/elf.c:10:10: fatal error: gelf.h: No such file or directory",
                "gelf.h",
                Some("libelf-dev"),
            ),
            (
                "scripts/extract-cert.c:21:10: fatal error: openssl/bio.h: No such file or directory",
                "openssl/bio.h",
                Some("libssl-dev"),
            ),
        ] {
            assert_eq!(cause(&[line]), Cause::MissingTool { tool: name.into(), package }, "{line}");
        }
        // A header that the revision forgot is the revision's.
        let line = "kernel/a.c:1:10: fatal error: linux/nothing.h: No such file or directory";
        assert!(matches!(cause(&[line]), Cause::Revision { .. }));
    }

    #[test]
    fn a_killed_build_is_the_hosts() {
        for line in [
            "make[3]: *** [scripts/Makefile.build:250: mm/slob.o] Error 137",
            "make[3]: *** [scripts/Makefile.build:250: mm/slob.o] Killed",
            "gcc: fatal error: Killed signal terminated program cc1",
            "/tmp/ccQm3N0b.s: Fatal error: can't write 42 bytes: No space left on device",
            "cc1: out of memory allocating 65536 bytes after a total of 1 bytes",
        ] {
            assert!(matches!(cause(&[line]), Cause::Host(_)), "{line}");
        }
        assert!(matches!(Diagnosis::new(Path::new("/")).cause(true), Cause::Host(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(lines in proptest::collection::vec(".{0,80}", 0..20)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let _ = cause(&lines);
        }
    }
}
