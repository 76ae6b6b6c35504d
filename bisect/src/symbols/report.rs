//! Source lines for the functions and offsets in a report.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use super::modules::Modules;
use super::{Location, Symbols};
use crate::crash::{Crash, classify};

/// `f+0x1/0x2 [module]`; newer kernels print the module's build id behind its name.
static PLACE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"([A-Za-z_$][A-Za-z0-9_.$]*)\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16})(?: \[([A-Za-z0-9_-]+)(?: [0-9a-f]+)?\])?",
    )
    .ok()
});

/// An address without a name, as kernels without KALLSYMS print it: alone on its line, at `RIP:`, or
/// where a warning is.
static BARE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(?:\s*(?:\[<[0-9a-fx]+>\]\s*)?(?:\? )?|RIP: [0-9a-f]{4}:|WARNING: CPU: \d+ PID: \d+ at (?:[^ ]+:\d+ )?)(0x[0-9a-f]{8,16})$",
    )
    .ok()
});

/// What stands in a line before the place where the kernel was. All other addresses are those that
/// calls return to.
const EXACT: &[&str] = &[
    "RIP: ",
    "EIP: ",
    "IP: [<",
    "pc : ",
    "PC is at ",
    "epc : ",
    "NIP [",
    "WARNING: ",
    "BUG: KFENCE:",
];

/// Puts source lines into reports.
#[derive(Debug)]
pub struct Symbolizer {
    kernel: Symbols,
    modules: Option<Modules>,
}

/// A report with source lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbolized {
    /// The report. A line has a further one before it for each function that was inlined there.
    pub text: String,
    /// How many lines have got a source line.
    pub found: usize,
    /// How many addresses have got a name.
    pub named: usize,
    /// Functions, with their sizes, that this kernel does not have: those of modules whose symbols
    /// are not there, or those of another kernel.
    pub unknown: Vec<String>,
}

impl Symbolizer {
    /// A symbolizer for what a kernel printed.
    pub fn new(kernel: Symbols) -> Symbolizer {
        Symbolizer { kernel, modules: None }
    }

    /// The same, with the modules that are somewhere below a directory. It is searched when a
    /// report names a module.
    pub fn with_modules(self, directory: &Path) -> Symbolizer {
        Symbolizer { modules: Some(Modules::new(directory)), ..self }
    }

    /// The kernel's symbols.
    pub fn kernel(&self) -> &Symbols {
        &self.kernel
    }

    /// Puts source lines into a report of a kernel that was loaded `offset` bytes above where it
    /// was linked to, see [`KernelOffset`](super::KernelOffset).
    pub fn report(&self, report: &str, offset: u64) -> Symbolized {
        let mut done =
            Symbolized { text: String::with_capacity(2 * report.len()), ..Symbolized::default() };
        let top = self.kernel.top().filter(|top| top.len() > 1);
        for line in report.lines() {
            match top {
                Some(top) if line.contains(top) => {
                    self.line(&line.replace(top, ""), offset, &mut done);
                }
                _ => self.line(line, offset, &mut done),
            }
        }
        done
    }

    /// Puts source lines into a crash: into its report, and into what follows from them. A raw
    /// report becomes what a symbolized one would have been from the start: the file to blame is
    /// known, and a function that was inlined can be the one that the title names.
    pub fn crash(&self, crash: &mut Crash, offset: u64) -> Symbolized {
        let done = self.report(&crash.report, offset);
        if done.found > 0 {
            let again = classify(done.text.as_bytes()).into_iter().next();
            if let Some(again) = again.filter(|it| it.kind == crash.kind) {
                // A report without names lacks what its title needs.
                let is_whole = crash.corrupted.is_none() || done.named > 0;
                if again.corrupted.is_none() && is_whole {
                    crash.title = again.title;
                    crash.alt_titles = again.alt_titles;
                    crash.frame = again.frame;
                    crash.corrupted = None;
                }
                crash.guilty_file = again.guilty_file.or(crash.guilty_file.take());
            }
            crash.report.clone_from(&done.text);
        }
        done
    }

    fn line(&self, line: &str, offset: u64, done: &mut Symbolized) {
        match self.place(line, offset, done) {
            Some(place) => done.push(line, &place),
            None => {
                done.text.push_str(line);
                done.text.push('\n');
            }
        }
    }

    /// What a line names, if it can be found.
    fn place(&self, line: &str, offset: u64, done: &mut Symbolized) -> Option<Place> {
        if let Some(found) = PLACE.as_ref().and_then(|place| place.captures(line)) {
            let (whole, name) = (found.get(0)?, found.get(1)?);
            let number = |group| u64::from_str_radix(found.get(group)?.as_str(), 16).ok();
            let (at, size) = (number(2)?, number(3)?);
            if at > size || is_source(line.get(whole.end()..)?) {
                return None;
            }
            let symbols = match found.get(4) {
                None => Some(Known::Kernel(&self.kernel)),
                Some(module) => self
                    .modules
                    .as_ref()
                    .and_then(|modules| modules.get(module.as_str()))
                    .map(Known::Module),
            };
            let start =
                symbols.as_ref().and_then(|it| it.symbols().address_of_sized(name.as_str(), size));
            let (Some(symbols), Some(start)) = (symbols, start) else {
                let unknown = whole.as_str().to_owned();
                if !done.unknown.contains(&unknown) {
                    done.unknown.push(unknown);
                }
                return None;
            };
            // A call that is the last instruction of its function returns to the next one.
            let back = u64::from(!is_exact(line) && at > 0);
            let locations = symbols.symbols().frames(start.wrapping_add(at - back));
            let text = whole.as_str().to_owned();
            return Some(Place { from: whole.start(), to: whole.end(), text, locations });
        }
        let found = BARE.as_ref()?.captures(line)?.get(1)?;
        let address = u64::from_str_radix(found.as_str().trim_start_matches("0x"), 16).ok()?;
        let address = address.checked_sub(offset)?;
        let symbol = self.kernel.lookup(address)?;
        done.named += 1;
        let back = u64::from(!is_exact(line) && symbol.offset > 0);
        Some(Place {
            from: found.start(),
            to: found.end(),
            text: format!("{}+{:#x}/{:#x}", symbol.name, symbol.offset, symbol.size),
            locations: self.kernel.frames(address - back),
        })
    }
}

/// The symbols of a place.
enum Known<'a> {
    Kernel(&'a Symbols),
    Module(Arc<Symbols>),
}

impl Known<'_> {
    fn symbols(&self) -> &Symbols {
        match self {
            Known::Kernel(symbols) => symbols,
            Known::Module(symbols) => symbols,
        }
    }
}

/// A place in the code that a line names.
struct Place {
    /// Where in the line it is named.
    from: usize,
    to: usize,
    /// What stands there in the end.
    text: String,
    locations: Vec<Location>,
}

impl Symbolized {
    /// Adds a line for each function that its place belongs to.
    fn push(&mut self, line: &str, place: &Place) {
        let before = line.get(..place.from).unwrap_or_default();
        let behind = line.get(place.to..).unwrap_or_default();
        let mut found = false;
        for location in &place.locations {
            let function = match (&location.function, location.inlined) {
                (Some(function), true) => function,
                (None, true) => continue,
                (_, false) => &place.text,
            };
            let (Some(file), Some(line)) = (&location.file, location.line) else { continue };
            let inlined = if location.inlined { " [inline]" } else { "" };
            self.text.push_str(&format!("{before}{function} {file}:{line}{inlined}{behind}\n"));
            found |= !location.inlined;
        }
        if !found {
            self.text.push_str(&format!("{before}{}{behind}\n", place.text));
        }
        self.found += usize::from(found);
    }
}

fn is_exact(line: &str) -> bool {
    EXACT.iter().any(|start| line.contains(start))
}

/// Whether what follows a place is its source line already.
fn is_source(behind: &str) -> bool {
    let word = behind.split_ascii_whitespace().next().unwrap_or_default();
    word.rsplit_once(':').is_some_and(|(path, line)| {
        path.contains('.') && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::super::tests::{TEXT, ud2, vmlinux};
    use super::{Symbolizer, Symbols, is_source};

    #[test]
    fn a_place_is_symbolized_once() {
        assert!(is_source(" net/core/dev.c:12"));
        assert!(is_source(" ./include/linux/list.h:12 [inline]"));
        assert!(!is_source(""));
        assert!(!is_source(" [kvm]"));
        assert!(!is_source(" -> 0:1"));
    }

    #[test]
    fn a_report_gets_its_source_lines() {
        let Some((_dir, path)) = vmlinux() else { return };
        let symbols = Symbols::open(&path).unwrap();
        let at = ud2(&path, &symbols);
        let start = symbols.address_of("start_kernel").unwrap();
        let size = symbols.lookup(start).unwrap().size;
        let exact = format!("start_kernel+{:#x}/{size:#x}", at - start);
        // What a call at the same place would return to.
        let back = format!("start_kernel+{:#x}/{size:#x}", at - start + 1);
        let symbolizer = Symbolizer::new(symbols);
        let inlined = |before: &str, place: &str| {
            format!(
                "{before}innermost include/linux/helper.h:4 [inline]\n\
                 {before}helper include/linux/helper.h:9 [inline]\n\
                 {before}{place} init/main.c:9\n"
            )
        };
        let check = |report: &str, offset: u64, want: String| {
            assert_eq!(symbolizer.report(report, offset).text, want);
        };
        check(&format!("RIP: 0010:{exact}"), 0, inlined("RIP: 0010:", &exact));
        check(&format!(" {back}"), 0, inlined(" ", &back));
        check(&format!(" {exact} init/main.c:1"), 0, format!(" {exact} init/main.c:1\n"));
        // Without KALLSYMS, and loaded somewhere else.
        let offset = 0x1c0_0000;
        check(&format!("RIP: 0010:{:#x}", at + offset), offset, inlined("RIP: 0010:", &exact));
        check(&format!(" {:#x}", at + 1 + offset), offset, inlined(" ", &back));
        let warning = "WARNING: CPU: 0 PID: 1 at init/main.c:9 ";
        check(&format!("{warning}{:#x}", at + offset), offset, inlined(warning, &exact));
        check("no place at all", 0, "no place at all\n".into());

        let other = symbolizer.report(" start_kernel+0x1/0x1000\n f+0x1/0x2 [mod]", 0);
        assert_eq!(other.text, " start_kernel+0x1/0x1000\n f+0x1/0x2 [mod]\n");
        assert_eq!((other.found, other.unknown.len()), (0, 2));
    }

    #[test]
    fn a_crash_without_names_gets_its_title_then() {
        let Some((_dir, path)) = vmlinux() else { return };
        let symbols = Symbols::open(&path).unwrap();
        let second = symbols.address_of("second").unwrap() + 1;
        let log = format!(
            "WARNING: CPU: 0 PID: 1 at net/second.c:5 {second:#x}\nCPU: 0 PID: 1 Comm: a\n\
             RIP: 0010:{second:#x}\nCall Trace:\n <TASK>\n {:#x}\n </TASK>\n",
            symbols.address_of("start_kernel").unwrap() + 1
        );
        let mut crash = crate::crash::classify(log.as_bytes()).remove(0);
        assert!(crash.corrupted.is_some() && crash.frame.is_none(), "{crash:?}");
        Symbolizer::new(symbols).crash(&mut crash, 0);
        assert_eq!((crash.title.as_str(), &crash.corrupted), ("WARNING in second", &None));
        assert_eq!(crash.guilty_file.as_deref(), Some("net/second.c"));
    }

    #[test]
    fn a_crash_blames_a_file_then() {
        let Some((_dir, path)) = vmlinux() else { return };
        let symbols = Symbols::open(&path).unwrap();
        let start = symbols.address_of("second").unwrap();
        let size = symbols.lookup(start).unwrap().size;
        let log = format!(
            "------------[ cut here ]------------\nkernel BUG at x!\nRIP: 0010:second+0x1/{size:#x}\n"
        );
        let mut crash = crate::crash::classify(log.as_bytes()).remove(0);
        assert_eq!(crash.guilty_file, None);
        Symbolizer::new(symbols).crash(&mut crash, 0);
        assert_eq!(crash.title, "kernel BUG in second");
        assert_eq!(crash.guilty_file.as_deref(), Some("net/second.c"));
        assert!(crash.report.contains(" net/second.c:"), "{}", crash.report);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn any_report_keeps_its_lines(lines in proptest::collection::vec(".{0,60}|[ a-f+/0x]{0,40}", 0..10)) {
            let dir = tempfile::tempdir().unwrap();
            let map = dir.path().join("System.map");
            fs::write(&map, format!("{TEXT:x} T a\n{:x} T b\n", TEXT + 0x10)).unwrap();
            let symbolizer = Symbolizer::new(Symbols::open(&map).unwrap());
            let report = lines.join("\n");
            let done = symbolizer.report(&report, 0);
            prop_assert_eq!(done.text.lines().count(), report.lines().count());
        }
    }
}
