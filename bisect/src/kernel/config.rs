//! How a kernel is to be configured and compiled.

use std::num::NonZeroUsize;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BuildError;
use crate::hex;

/// What the configuration starts from. Files are read once, so that editing one does not change a
/// bisection that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The revision's own `make defconfig`.
    Defconfig,
    /// The revision's own `make tinyconfig`.
    Tinyconfig,
    /// A complete `.config`.
    File(Fragment),
}

/// Lines of Kconfig options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// What messages call it: the path it was read from.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Fragment {
    /// Takes a text; `name` is what messages call it.
    ///
    /// # Errors
    /// Fails on a line that is neither an option nor a comment.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Result<Fragment, BuildError> {
        let fragment = Fragment { name: name.into(), text: text.into() };
        for (index, line) in fragment.text.lines().enumerate() {
            let line = line.trim();
            if !(line.is_empty() || line.starts_with('#') || parse(line).is_some()) {
                let (name, text) = (fragment.name, line.chars().take(80).collect());
                return Err(BuildError::ConfigSyntax { name, line: index.saturating_add(1), text });
            }
        }
        Ok(fragment)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Fails if it can't be read, or is no Kconfig text.
    pub fn read(path: &Path) -> Result<Fragment, BuildError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| BuildError::Config { path: path.to_owned(), source })?;
        Fragment::new(path.display().to_string(), text)
    }

    /// The options it sets, in order; `None` is "is not set".
    pub(super) fn options(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.text.lines().filter_map(|line| parse(line.trim()))
    }
}

/// Reads `CONFIG_A=y` and `# CONFIG_A is not set`; `CONFIG_A=n` is the latter.
pub(super) fn parse(line: &str) -> Option<(&str, Option<&str>)> {
    let is_name = |name: &str| {
        name.strip_prefix("CONFIG_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
    };
    if let Some(name) = line.strip_prefix("# ").and_then(|it| it.strip_suffix(" is not set")) {
        return is_name(name).then_some((name, None));
    }
    let (name, value) = line.split_once('=')?;
    is_name(name).then_some((name, (value != "n").then_some(value)))
}

/// Which compiler family builds the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toolchain {
    /// GCC and binutils; the value is make's `CC`, such as `gcc-12`.
    Gcc(String),
    /// Clang and LLVM; the value is make's `LLVM`: `1`, a suffix such as `-16`, or a directory
    /// that ends in `/`.
    Llvm(String),
}

impl Default for Toolchain {
    fn default() -> Toolchain {
        Toolchain::Gcc("gcc".into())
    }
}

/// How a kernel is to be configured and compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// What the configuration starts from.
    pub base: Base,
    /// What is laid over it, in order.
    pub fragments: Vec<Fragment>,
    /// How many jobs make runs at a time.
    pub jobs: NonZeroUsize,
    /// Which compiler.
    pub toolchain: Toolchain,
    /// More arguments for make, such as `KCFLAGS=-O1`.
    pub make_args: Vec<String>,
    /// Whether `vmlinux` is kept beside the image; call traces are symbolized with it.
    pub keep_vmlinux: bool,
}

impl BuildConfig {
    /// A build from `base` with every CPU of this machine and its `gcc`.
    pub fn new(base: Base) -> BuildConfig {
        BuildConfig {
            base,
            fragments: Vec::new(),
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            toolchain: Toolchain::default(),
            make_args: Vec::new(),
            keep_vmlinux: false,
        }
    }

    /// Hash of everything in it that can change what is built.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        match &self.base {
            Base::Defconfig => field(b"defconfig"),
            Base::Tinyconfig => field(b"tinyconfig"),
            Base::File(file) => {
                field(b"file");
                field(normalised(file).as_bytes());
            }
        }
        for fragment in &self.fragments {
            field(b"fragment");
            field(normalised(fragment).as_bytes());
        }
        match &self.toolchain {
            Toolchain::Gcc(cc) => field(format!("CC={cc}").as_bytes()),
            Toolchain::Llvm(llvm) => field(format!("LLVM={llvm}").as_bytes()),
        }
        for argument in &self.make_args {
            field(b"make");
            field(argument.as_bytes());
        }
        hex::encode(&hash.finalize())
    }
}

/// The options without comments and spelling: what decides the result.
fn normalised(fragment: &Fragment) -> String {
    let mut text = String::new();
    for (name, value) in fragment.options() {
        text.push_str(name);
        text.push('=');
        text.push_str(value.unwrap_or("n"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Base, BuildConfig, Fragment, parse};

    #[test]
    fn options_are_read() {
        assert_eq!(parse("CONFIG_SMP=y"), Some(("CONFIG_SMP", Some("y"))));
        assert_eq!(parse("CONFIG_SMP=n"), Some(("CONFIG_SMP", None)));
        assert_eq!(parse("# CONFIG_SMP is not set"), Some(("CONFIG_SMP", None)));
        assert_eq!(parse("CONFIG_CMDLINE=\"a=b c\""), Some(("CONFIG_CMDLINE", Some("\"a=b c\""))));
        assert_eq!(parse("# a comment"), None);
        assert_eq!(parse("CONFIG_=y"), None);
    }

    #[test]
    fn nonsense_is_refused_with_its_line() {
        let error = Fragment::new("x.config", "CONFIG_A=y\n\nfoo bar\n").unwrap_err().to_string();
        assert!(error.contains("x.config, line 3"), "{error}");
    }

    #[test]
    fn the_key_ignores_comments_and_jobs_and_nothing_else() {
        let key = |text: &str, jobs: usize| {
            let mut config = BuildConfig::new(Base::Tinyconfig);
            config.fragments.push(Fragment::new("f", text).unwrap());
            config.jobs = jobs.try_into().unwrap();
            config.key()
        };
        assert_eq!(key("CONFIG_A=y\n", 1), key("# why\nCONFIG_A=y", 8));
        assert_ne!(key("CONFIG_A=y\n", 1), key("CONFIG_A=m\n", 1));
        assert_ne!(key("CONFIG_A=y\n", 1), key("CONFIG_A=y\nCONFIG_B=n\n", 1));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,200}") {
            let _ = Fragment::new("f", text);
        }
    }
}
