//! Which files of the source tree a build read, and so which commits can't change its image.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

/// The files of the source tree that builds read, relative to its top.
///
/// Kbuild leaves a `.cmd` file beside everything that it compiles, with all headers that the
/// compiler opened. What a single build read is not what every revision of a range reads, so the
/// files of several builds, of both ends at least, are to be put together with
/// [`Dependencies::add`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    files: HashSet<String>,
}

/// Directories that no image for x86 takes anything from.
const FOREIGN: [&str; 5] =
    ["Documentation/", "LICENSES/", "samples/", "tools/perf/", "tools/testing/"];

/// Directories whose headers are found by name: a new one may take the place of another.
const SEARCHED: [&str; 2] = ["include/", "arch/x86/include/"];

/// Directories whose programs run during the build. Not all of them leave a trace of what they
/// read.
const BUILDING: [&str; 4] = ["scripts/", "tools/", "usr/", "certs/"];

/// Files at the top of the tree that are for people and git.
const FOR_PEOPLE: [&str; 7] = [
    "CREDITS",
    "COPYING",
    "MAINTAINERS",
    "README",
    ".mailmap",
    ".gitignore",
    ".get_maintainer.ignore",
];

/// What a build reads if it puts all headers into the image (CONFIG_IKHEADERS).
const HEADERS_IN_IMAGE: &str = "kernel/kheaders.c";

impl Dependencies {
    /// The name of the file that the store keeps them in, beside the image.
    pub const FILE: &str = "dependencies";

    /// What the build with its objects in `objects` read of the tree at `source`.
    ///
    /// # Errors
    /// Fails if the objects can't be read.
    pub fn read(objects: &Path, source: &Path) -> std::io::Result<Dependencies> {
        let mut dependencies = Dependencies::default();
        let mut directories = vec![objects.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else if name.starts_with('.') && name.ends_with(".cmd") {
                    let text = std::fs::read(entry.path())?;
                    dependencies.take(&String::from_utf8_lossy(&text), objects, source);
                }
            }
        }
        Ok(dependencies)
    }

    /// Takes in a `.cmd` file: `source_X := FILE` and `deps_X := \`, with a file a line up to one
    /// that does not go on.
    fn take(&mut self, text: &str, objects: &Path, source: &Path) {
        let mut goes_on = false;
        for line in text.lines() {
            let names = match line.split_once(" := ") {
                Some((variable, value))
                    if variable.starts_with("deps_") || variable.starts_with("source_") =>
                {
                    value
                }
                Some(_) => {
                    goes_on = false;
                    continue;
                }
                None if goes_on => line,
                None => continue,
            };
            goes_on = line.ends_with('\\');
            let names = names.trim_end_matches('\\').split_whitespace();
            let files =
                names.filter(|name| !name.starts_with("$(wildcard") && !name.ends_with(')'));
            self.files.extend(files.filter_map(|file| within(source, &objects.join(file))));
        }
    }

    /// Writes them to a file, a path a line.
    ///
    /// # Errors
    /// Fails if it can't be written.
    pub fn save(&self, to: &Path) -> io::Result<()> {
        let mut files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        files.sort_unstable();
        let mut out = io::BufWriter::new(std::fs::File::create(to)?);
        files.into_iter().try_for_each(|file| writeln!(out, "{file}"))?;
        out.flush()
    }

    /// Reads what [`Dependencies::save`] wrote.
    ///
    /// # Errors
    /// Fails if the file can't be read, or if there is none.
    pub fn load(from: &Path) -> io::Result<Dependencies> {
        let text = std::fs::read_to_string(from)?;
        Ok(Dependencies { files: text.lines().map(str::to_owned).collect() })
    }

    /// Takes in what another build read, and says whether some of it is new.
    pub fn add(&mut self, other: Dependencies) -> bool {
        let before = self.files.len();
        self.files.extend(other.files);
        self.files.len() > before
    }

    /// Whether nothing is known to have been read.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether a commit that changes these paths, and no others, can't change an x86 image.
    ///
    /// It says no wherever there is doubt: to what configures or steers the build (Kconfig,
    /// makefiles, scripts, tables from which sources are made), to headers that are searched for,
    /// to what is not of a known kind, and to everything as long as no build was seen. That a
    /// source was not read says something only if it was there to be read: `was_there` says of a
    /// path whether one of the trees that were built has it. No paths at all change nothing.
    pub fn cannot_change<'a>(
        &self,
        paths: impl IntoIterator<Item = &'a str>,
        was_there: impl Fn(&str) -> bool,
    ) -> bool {
        !self.is_empty() && paths.into_iter().all(|path| !self.may_matter(path, &was_there))
    }

    fn may_matter(&self, path: &str, was_there: impl Fn(&str) -> bool) -> bool {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let starts = |with: &[&str]| with.iter().any(|start| path.starts_with(start));
        if self.files.contains(path) {
            return true;
        }
        // These pull in others, from wherever they are.
        if ["Kconfig", "Makefile", "Kbuild"].iter().any(|start| name.starts_with(start)) {
            return !starts(&["tools/perf/", "tools/testing/"]);
        }
        if starts(&FOREIGN) || FOR_PEOPLE.contains(&path) || is_of_other_architecture(path) {
            return false;
        }
        if name == ".gitignore" {
            return false;
        }
        if starts(&BUILDING) || starts(&SEARCHED) {
            return true;
        }
        match name.rsplit_once('.') {
            Some((_, "h")) if self.files.contains(HEADERS_IN_IMAGE) => true,
            Some((_, "c" | "h" | "S")) => !was_there(path),
            _ => true,
        }
    }
}

/// Whether a path belongs to an architecture that is not x86. User-mode Linux takes from x86, not
/// the other way round.
fn is_of_other_architecture(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("arch")
        && parts.next().is_some_and(|architecture| architecture != "x86")
        && parts.next().is_some()
}

/// The path relative to `source`, if it lies there, with `.` and `..` worked out.
fn within(source: &Path, path: &Path) -> Option<String> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain.strip_prefix(source).ok().and_then(Path::to_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Dependencies;

    /// As Kbuild writes it, for a build beside its source.
    const CMD: &str = "\
savedcmd_kernel/fork.o := gcc -Wp,-MMD,kernel/.fork.o.d -nostdinc -I/b/src/include -c -o kernel/fork.o /b/src/kernel/fork.c

source_kernel/fork.o := /b/src/kernel/fork.c

deps_kernel/fork.o := \\
    $(wildcard include/config/ARCH_HAS_STRICT_KERNEL_RWX) \\
  /b/src/include/linux/compiler-version.h \\
  ../src/include/linux/sched.h \\
  include/generated/autoconf.h \\
  /usr/lib/gcc/x86_64-linux-gnu/12/include/stddef.h \\

kernel/fork.o: $(deps_kernel/fork.o)
";

    fn dependencies() -> Dependencies {
        let mut dependencies = Dependencies::default();
        dependencies.take(CMD, Path::new("/b/out"), Path::new("/b/src"));
        dependencies
    }

    #[test]
    fn files_are_named_from_the_top_of_the_tree() {
        let mut files: Vec<_> = dependencies().files.into_iter().collect();
        files.sort();
        assert_eq!(
            files,
            ["include/linux/compiler-version.h", "include/linux/sched.h", "kernel/fork.c"]
        );
    }

    #[test]
    fn objects_are_searched_at_every_depth() {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().join("out");
        std::fs::create_dir_all(objects.join("kernel/sched")).unwrap();
        let source = dir.path().join("src");
        let text = format!("source_a.o := {}/kernel/sched/core.c\n", source.display());
        std::fs::write(objects.join("kernel/sched/.core.o.cmd"), text).unwrap();
        std::fs::write(objects.join("kernel/sched/core.o"), "source_b.o := /no").unwrap();
        let read = Dependencies::read(&objects, &source).unwrap();
        assert!(!read.cannot_change(["kernel/sched/core.c"], |_| true));
        assert!(read.cannot_change(["kernel/sched/fair.c"], |_| true));
        assert!(Dependencies::read(&dir.path().join("none"), &source).is_err());
    }

    #[test]
    fn what_was_not_read_can_not_matter() {
        let read = dependencies();
        for path in [
            "Documentation/admin-guide/bug-bisect.rst",
            "MAINTAINERS",
            "arch/arm64/mm/fault.c",
            "arch/riscv/boot/dts/sifive/fu540-c000.dtsi",
            "drivers/net/ethernet/intel/e1000/e1000_main.c",
            "drivers/gpu/drm/drm_internal.h",
            "tools/testing/selftests/kvm/Makefile",
            "drivers/net/.gitignore",
        ] {
            assert!(read.cannot_change([path], |_| true), "{path}");
        }
        assert!(read.cannot_change([], |_| false));
    }

    #[test]
    fn where_there_is_doubt_it_matters() {
        let read = dependencies();
        for path in [
            "kernel/fork.c",
            "include/linux/sched.h",
            "Kconfig",
            "arch/arm/Kconfig",
            "drivers/net/Makefile",
            "Documentation/Kconfig",
            "arch/Kconfig",
            "scripts/mod/modpost.c",
            "tools/objtool/check.c",
            "arch/x86/entry/syscalls/syscall_64.tbl",
            "lib/raid6/unroll.awk",
            "rust/kernel/lib.rs",
            "kernel/configs/debug.config",
            "README.new",
            "samples/Kconfig",
            "include/linux/fb.h",
            "arch/x86/include/asm/fb.h",
        ] {
            assert!(!read.cannot_change([path], |_| true), "{path}");
            assert!(!read.cannot_change(["MAINTAINERS", path], |_| true), "{path}");
        }
        assert!(!Dependencies::default().cannot_change(["MAINTAINERS"], |_| true));
        // What came and went between the ends, neither of them could have read.
        assert!(!read.cannot_change(["drivers/net/short_lived.c"], |_| false));
        let mut with_headers = read;
        let kheaders = Dependencies { files: ["kernel/kheaders.c".to_owned()].into() };
        assert!(with_headers.add(kheaders.clone()) && !with_headers.add(kheaders));
        assert!(!with_headers.cannot_change(["drivers/video/fb.h"], |_| true));
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(Dependencies::FILE);
        dependencies().save(&file).unwrap();
        assert_eq!(Dependencies::load(&file).unwrap(), dependencies());
        assert!(Dependencies::load(&dir.path().join("none")).is_err());
    }
}
