//! A history of kernels so small that any KVM boots them and that nothing takes long, to try the whole
//! program on: from its command line to its answer.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use vmbisect::tools::Purpose;

use crate::fixture;
use crate::program::vmbisect;

const KERNEL: &str = include_str!("toy/kernel.c");
const MAKEFILE: &str = include_str!("toy/Makefile");
/// By these a tree is told from one that is no kernel's, and builds from one another.
const LANDMARKS: [&str; 4] =
    ["Kconfig", "scripts/Makefile.build", "arch/x86/Makefile", "arch/x86/boot/header.S"];

/// A repository of such kernels with a checkout of the last one, and room for bisections.
///
/// Commit N, of the title `toy: add N`, adds the file `N.h`; its tag is `vN`.
#[derive(Debug)]
pub struct Toy {
    room: tempfile::TempDir,
}

impl Toy {
    /// One of its own for a test; `None`, with the reason printed, where it can't be built or booted.
    ///
    /// # Panics
    /// If the repository can't be made.
    pub fn new() -> Option<Toy> {
        if let Err(error) = fixture::ensure(&[Purpose::History, Purpose::Kernel]) {
            eprintln!("skipped: no kernels to test with: {error}");
            return None;
        }
        if let Err(error) = fs::File::open("/dev/kvm") {
            eprintln!("skipped: no /dev/kvm to boot small kernels with: {error}");
            return None;
        }
        // In memory, where that is to be had: a journal waits for the disk at every line.
        let room = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let toy = Toy { room: room.expect("a directory") };
        toy.write("first", &TITLES);
        Some(toy)
    }

    /// Writes the history anew, by somebody else: the same trees, but other commits. What was there
    /// is gone. Commit N gets the Nth title.
    ///
    /// # Panics
    /// If git fails.
    pub fn write(&self, author: &str, titles: &[&str]) {
        let repo = self.repo();
        let _ = fs::remove_dir_all(&repo);
        fs::create_dir(&repo).expect("a directory");
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        let mut git = Command::new("git");
        git.arg("-C").arg(&repo).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
        let mut import = git.spawn().expect("git");
        let history = history(author, titles);
        let written = import.stdin.take().map(|mut input| input.write_all(history.as_bytes()));
        written.expect("a pipe").expect("git reads");
        assert!(import.wait().expect("git ends").success());
        self.git(&["checkout", "--quiet", "main"]);
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.path("linux")
    }

    /// A place beside it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Where its bisections keep what happens.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// What git prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let ran = Command::new("git").arg("-C").arg(self.repo()).args(arguments).output();
        let ran = ran.expect("git runs");
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// `vmbisect bisect` on it, where the kernels show the bug of that name.
    pub fn bisect(&self, bug: &str, arguments: &[&str]) -> Command {
        let mut command = vmbisect();
        command.args(["bisect", "--json", "--tinyconfig", "--launcher", "in-process"]);
        command.args(["--vcpus", "1", "--memory", "64", "--append"]).arg(format!("show={bug}"));
        command.arg("--repo").arg(self.repo()).arg("--build-dir").arg(self.path("build"));
        command.arg("--state").arg(self.state()).args(arguments);
        command
    }

    /// `vmbisect bisect --resume` of what was begun.
    pub fn resume(&self) -> Command {
        let mut command = vmbisect();
        command.args(["bisect", "--json", "--resume", "--state"]).arg(self.state());
        command
    }

    /// The journal, as it is.
    ///
    /// # Panics
    /// If there is none.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.state().join("journal.jsonl")).expect("a journal")
    }
}

/// What the commits are called.
pub const TITLES: [&str; 8] = [
    "toy: begin",
    "toy: add 1",
    "toy: add 2",
    "toy: add 3",
    "toy: add 4",
    "toy: add 5",
    "toy: add 6",
    "toy: add 7",
];

/// The history, as `git fast-import` reads it.
fn history(author: &str, titles: &[&str]) -> String {
    let mut stream = String::new();
    let add =
        |path: &str, text: &str| format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len());
    for (number, title) in titles.iter().enumerate() {
        let when = 1_600_000_000 + 60 * number;
        let mark = number + 1;
        let _ = write!(
            stream,
            "commit refs/heads/main\nmark :{mark}\n\
             committer {author} <{author}@example.org> {when} +0000\n\
             data {}\n{title}\n",
            title.len()
        );
        if number == 0 {
            stream += &add("kernel.c", KERNEL);
            stream += &add("Makefile", MAKEFILE);
            for path in LANDMARKS {
                stream += &add(path, "\n");
            }
        } else {
            stream += &add(&format!("{number}.h"), "\n");
        }
        let _ = writeln!(stream, "\nreset refs/tags/v{number}\nfrom :{mark}\n");
    }
    stream
}
