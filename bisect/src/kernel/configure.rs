//! From what the user asked for to a complete `.config`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::parse;
use super::{Base, BuildConfig, Fragment};
use crate::hex;

/// Options that every build gets, whatever was asked for: without them, equal sources give unequal
/// kernels, or the build needs files and tools that have nothing to do with what is looked for.
const FORCED: &str = r#"# The release name is the builder's.
CONFIG_LOCALVERSION=""
# CONFIG_LOCALVERSION_AUTO is not set
# Type information holds line numbers and needs pahole.
# CONFIG_DEBUG_INFO_BTF is not set
# Keys are made up anew by every clean build, or are a distribution's own files.
CONFIG_MODULE_SIG_KEY=""
CONFIG_SYSTEM_TRUSTED_KEYS=""
CONFIG_SYSTEM_REVOCATION_KEYS=""
# A newer compiler warns about older code.
# CONFIG_WERROR is not set
"#;

/// A complete configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configured {
    /// The text of `.config`.
    pub(super) text: String,
    /// What was asked for and not granted.
    pub(super) notes: Vec<String>,
}

/// The make goal that writes the base, or `None` if it is a file.
pub(super) fn base_goal(base: &Base) -> Option<&'static str> {
    match base {
        Base::Defconfig => Some("defconfig"),
        Base::Tinyconfig => Some("tinyconfig"),
        Base::File(_) => None,
    }
}

/// What is laid over `base`, the text of the base configuration, for `olddefconfig` to complete.
pub(super) fn overlay(base: &str, config: &BuildConfig) -> String {
    let mut text = base.to_owned();
    for part in config.fragments.iter().map(|it| it.text.as_str()).chain([FORCED]) {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(part);
    }
    text
}

/// Which options of the fragments the complete configuration does not have as they were asked for.
pub(super) fn check(fragments: &[Fragment], complete: &str) -> Vec<String> {
    let granted: BTreeMap<&str, Option<&str>> = complete.lines().filter_map(parse).collect();
    // The last fragment that sets an option decides.
    let mut asked = BTreeMap::new();
    for fragment in fragments {
        for (name, value) in fragment.options() {
            asked.insert(name, (value, fragment.name.as_str()));
        }
    }
    let spell = |value: Option<&str>| value.map_or("n".to_owned(), str::to_owned);
    asked
        .into_iter()
        .filter_map(|(name, (wanted, from))| {
            let got = granted.get(name).copied().flatten();
            (got != wanted).then(|| {
                let why = match (wanted, got) {
                    (Some(_), None) => ": this revision lacks it or something it depends on",
                    (None, Some(_)) => ": another option selects it",
                    _ => "",
                };
                format!("{from} asks for {name}={}, it is {}{why}", spell(wanted), spell(got))
            })
        })
        .collect()
}

/// Hash of everything that decides how a configuration comes out: what was asked for, the compiler
/// (Kconfig probes it), and the files of the revision that Kconfig reads or runs.
pub(super) fn key(config: &BuildConfig, compiler: &str, listing: &str) -> String {
    let mut hash = Sha256::new();
    for text in [config.key().as_str(), compiler, FORCED] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    for line in listing.lines().filter(|line| decides(line)) {
        hash.update(line);
        hash.update("\n");
    }
    hex::encode(&hash.finalize())
}

/// Whether a line of `git ls-tree` names a file that Kconfig reads or runs.
fn decides(line: &str) -> bool {
    let Some((_, path)) = line.split_once('\t') else { return false };
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.starts_with("Kconfig")
        || name.ends_with(".config")
        || path.starts_with("scripts/")
        || path.contains("/configs/")
        || path.starts_with("arch/x86/Makefile")
        || (path == name && name != "MAINTAINERS" && name != "CREDITS")
}

/// Reads a complete configuration that was kept.
pub(super) fn load(path: &Path) -> Option<Configured> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Keeps a complete configuration.
pub(super) fn save(path: &Path, configured: &Configured) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut file, configured)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes `.config` unless it is there already: make takes a newer one for a changed one.
pub(super) fn place(path: &Path, text: &str) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::{check, decides, overlay};
    use crate::kernel::{Base, BuildConfig, Fragment};

    #[test]
    fn what_was_not_granted_is_said() {
        let one = Fragment::new("one", "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\nCONFIG_E=n\n").unwrap();
        let two = Fragment::new("two", "CONFIG_B=n\nCONFIG_D=5\n").unwrap();
        let notes = check(&[one, two], "# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=6\n");
        assert_eq!(
            notes,
            [
                "one asks for CONFIG_A=y, it is n: this revision lacks it or something it depends \
                 on",
                "one asks for CONFIG_C=n, it is y: another option selects it",
                "two asks for CONFIG_D=5, it is 6",
            ]
        );
    }

    #[test]
    fn fragments_come_after_the_base() {
        let mut config = BuildConfig::new(Base::Tinyconfig);
        config.fragments.push(Fragment::new("f", "CONFIG_A=y").unwrap());
        assert!(overlay("CONFIG_A=n", &config).starts_with("CONFIG_A=n\nCONFIG_A=y\n# The rel"));
    }

    #[test]
    fn kconfig_files_decide_and_sources_do_not() {
        let yes = ["init/Kconfig", "lib/Kconfig.debug", "scripts/cc-can-link.sh", "Makefile"];
        let yes = yes.into_iter().chain(["kernel/configs/tiny.config", "arch/x86/Makefile_32.cpu"]);
        assert!(yes.into_iter().all(|path| decides(&format!("100644 blob 12ab\t{path}"))));
        for path in ["kernel/fork.c", "kernel/Makefile", "MAINTAINERS", "arch/x86/kernel/kvm.c"] {
            assert!(!decides(&format!("100644 blob 12ab\t{path}")), "{path}");
        }
    }
}
