//! Who compiles: the compiler and the linker as they call themselves.

use std::process::{Command, Stdio};

use super::{BuildError, Toolchain};

impl Toolchain {
    /// What make is told.
    pub(super) fn make_arguments(&self) -> Vec<String> {
        match self {
            // ccache keeps results of its own where it is installed.
            Toolchain::Gcc(cc) if crate::tools::on_path("ccache").is_some() => {
                vec![format!("CC=ccache {cc}")]
            }
            Toolchain::Gcc(cc) => vec![format!("CC={cc}")],
            Toolchain::Llvm(llvm) => vec![format!("LLVM={llvm}")],
        }
    }

    /// Compiler and linker, as they call themselves.
    pub(super) fn identity(&self) -> Result<String, BuildError> {
        let [compiler, linker] = self.programs();
        Ok(format!("{}, {}", version(&compiler)?, version(&linker)?))
    }

    fn programs(&self) -> [String; 2] {
        match self {
            Toolchain::Gcc(cc) => [cc.clone(), "ld".into()],
            Toolchain::Llvm(llvm) => ["clang", "ld.lld"].map(|name| match llvm.as_str() {
                directory if directory.ends_with('/') => format!("{directory}{name}"),
                suffix if suffix.starts_with('-') => format!("{name}{suffix}"),
                _ => name.into(),
            }),
        }
    }
}

fn version(program: &str) -> Result<String, BuildError> {
    let missing = || BuildError::MissingTool { tool: program.into(), package: package_of(program) };
    // CC may carry options of its own.
    let mut words = program.split_ascii_whitespace();
    let output = Command::new(words.next().ok_or_else(missing)?)
        .args(words)
        .arg("--version")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().filter(|_| output.status.success()).map(str::to_owned).ok_or_else(missing)
}

/// The Debian package of a program that a kernel build runs.
pub(super) fn package_of(program: &str) -> Option<&'static str> {
    match program {
        "clang" => Some("clang"),
        "ld.lld" => Some("lld"),
        "openssl" => Some("openssl"),
        "python3" => Some("python3-minimal"),
        "rsync" => Some("rsync"),
        "objcopy" | "nm" | "objdump" | "as" | "ar" | "strip" => Some("binutils"),
        "gelf.h" | "libelf.h" => Some("libelf-dev"),
        _ if program.starts_with("openssl/") => Some("libssl-dev"),
        _ => crate::tools::ALL.iter().find(|tool| tool.name == program).map(|tool| tool.debian),
    }
}

#[cfg(test)]
mod tests {
    use super::package_of;
    use crate::kernel::{BuildError, Toolchain};

    #[test]
    fn a_compiler_that_is_not_there_is_named() {
        let error = Toolchain::Gcc("no-such-gcc".into()).identity().unwrap_err();
        assert!(matches!(error, BuildError::MissingTool { tool, .. } if tool == "no-such-gcc"));
    }

    #[test]
    fn llvm_has_three_spellings() {
        let name = |llvm: &str| Toolchain::Llvm(llvm.into()).programs()[0].clone();
        assert_eq!(name("1"), "clang");
        assert_eq!(name("-16"), "clang-16");
        assert_eq!(name("/opt/llvm/bin/"), "/opt/llvm/bin/clang");
    }

    #[test]
    fn packages_are_known() {
        assert_eq!(package_of("flex"), Some("flex"));
        assert_eq!(package_of("gelf.h"), Some("libelf-dev"));
        assert_eq!(package_of("pahole"), Some("dwarves"));
        assert_eq!(package_of("frobnicate"), None);
    }
}
