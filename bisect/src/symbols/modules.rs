//! The modules of a kernel, by the names that call traces have for them.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Symbols;

/// How deep directories are searched: `lib/modules/6.1.0/kernel/drivers/…`.
const DEEPEST: usize = 24;

/// The modules below a directory.
#[derive(Debug)]
pub(super) struct Modules {
    directory: PathBuf,
    files: OnceCell<HashMap<String, PathBuf>>,
    /// Those that were asked for; `None` where there are no symbols to be had.
    open: RefCell<HashMap<String, Option<Arc<Symbols>>>>,
}

impl Modules {
    /// Modules somewhere below `directory`.
    pub(super) fn new(directory: &Path) -> Modules {
        let directory = directory.to_owned();
        Modules { directory, files: OnceCell::new(), open: RefCell::default() }
    }

    /// The symbols of a module.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Symbols>> {
        let name = name.replace('-', "_");
        if let Some(known) = self.open.borrow().get(&name) {
            return known.clone();
        }
        let files = self.files.get_or_init(|| {
            let mut files = HashMap::new();
            search(&self.directory, DEEPEST, &mut files);
            files
        });
        // A module that can't be read is one whose functions have no lines.
        let symbols = files.get(&name).and_then(|path| Symbols::open(path).ok()).map(Arc::new);
        self.open.borrow_mut().insert(name, symbols.clone());
        symbols
    }
}

/// Finds modules. Symbolic links, as `build` and `source` are, are not followed.
fn search(directory: &Path, depth: usize, files: &mut HashMap<String, PathBuf>) {
    let Ok(entries) = directory.read_dir() else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            search(&path, depth - 1, files);
        } else if kind.is_file() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let stem = name.strip_suffix(".ko.debug").or_else(|| name.strip_suffix(".ko"));
            if let Some(stem) = stem {
                files.insert(stem.replace('-', "_"), path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::super::tests::vmlinux;
    use super::super::{Symbolizer, Symbols};

    const MODULE: &str = r#"
__attribute__((section(".init.text"))) int at_start(int x) { __asm__ volatile ("nop"); return x; }
void before(void) { __asm__ volatile (".skip 64, 0x90"); }
int at_run(int x) { __asm__ volatile ("nop"); return x + 1; }
"#;

    #[test]
    fn modules_are_found_by_name() {
        let Some((dir, path)) = vmlinux() else { return };
        let modules = dir.path().join("modules/kernel");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("my_mod.c"), MODULE).unwrap();
        let compiled = Command::new("gcc")
            .args(["-g", "-O2", "-c", "my_mod.c", "-o", "my-mod.ko"])
            .current_dir(&modules)
            .status()
            .unwrap();
        assert!(compiled.success());
        let symbols = Symbols::open(&modules.join("my-mod.ko")).unwrap();
        let size = symbols.lookup(symbols.address_of("at_run").unwrap()).unwrap().size;
        let symbolizer = Symbolizer::new(Symbols::open(&path).unwrap()).with_modules(dir.path());
        let raw = format!(" at_run+0x1/{size:#x} [my_mod]\n f+0x1/0x2 [other]");
        let report = symbolizer.report(&raw, 0);
        let first = report.text.lines().next().unwrap();
        assert!(first.starts_with(" at_run+0x1/") && first.ends_with("my_mod.c:4"), "{first}");
        assert_eq!(symbols.address_of("at_start"), None, "its place is that of another function");
        assert_eq!(report.unknown, ["f+0x1/0x2 [other]"]);
    }
}
