//! A raw log of a real kernel and its vmlinux say what a symbolized log says; what the addresses are is
//! asked of binutils.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vmbisect::kernel::Image;
use vmbisect::tools::Purpose;
use vmbisect_tests::fixture::{self, DIE};
use vmbisect_tests::program::{run, vmbisect};

/// A function with an offset and its size, as kernels print it, and where in a line it stands.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    before: &'a str,
    name: &'a str,
    offset: u64,
    size: u64,
    behind: &'a str,
}

impl<'a> Place<'a> {
    fn find(line: &'a str) -> Option<Place<'a>> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        let (upto, rest) = line.split_once("+0x")?;
        let start = upto.rfind(|c| !is_of_name(c)).map_or(0, |at| at + 1);
        let (offset, rest) = rest.split_once("/0x")?;
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        Some(Place {
            before: &line[..start],
            name: &upto[start..],
            offset: number(offset)?,
            size: number(&rest[..digits])?,
            behind: &rest[digits..],
        })
    }
}

/// What binutils know of a kernel.
struct Binutils<'a> {
    vmlinux: &'a Path,
    /// Addresses and sizes, by name.
    functions: HashMap<String, Vec<(u64, u64)>>,
}

impl Binutils<'_> {
    fn of(vmlinux: &Path) -> Binutils<'_> {
        let output = Command::new("nm").arg("-n").arg(vmlinux).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let symbols: Vec<(u64, &str)> = text
            .lines()
            .filter_map(|line| {
                let (address, rest) = line.split_once(' ')?;
                Some((u64::from_str_radix(address, 16).ok()?, rest.split_once(' ')?.1))
            })
            .collect();
        let mut functions: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
        for (index, &(address, name)) in symbols.iter().enumerate() {
            let next = symbols[index..].iter().find(|(next, _)| *next > address);
            let size = next.map_or(0, |(next, _)| next - address);
            functions.entry(name.to_owned()).or_default().push((address, size));
        }
        Binutils { vmlinux, functions }
    }

    /// The address of a place, if there is one function of this name and size.
    fn address(&self, place: &Place<'_>) -> Option<u64> {
        let known = self.functions.get(place.name)?.iter();
        let mut fits = known.filter(|(_, size)| *size == place.size);
        let (start, _) = fits.next().filter(|_| fits.next().is_none())?;
        Some(start + place.offset)
    }

    /// The functions that an instruction belongs to, innermost first, each with its file and line.
    fn lines(&self, address: u64) -> Vec<(String, String)> {
        let output = Command::new("addr2line")
            .args(["-i", "-f", "-e"])
            .arg(self.vmlinux)
            .arg(format!("{address:#x}"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let place = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        lines.chunks(2).map(|pair| (pair[0].to_owned(), place(pair[1]))).collect()
    }
}

/// The console of a kernel that lies somewhere and runs into a `BUG()`.
fn console(image: &Image) -> String {
    let room = tempfile::tempdir().unwrap();
    let (source, kept) = (room.path().join("die.c"), room.path().join("kept"));
    let body =
        format!("#include <sys/prctl.h>\nint main(void) {{ return prctl({DIE}, 4, 0, 0, 0); }}\n");
    fs::write(&source, body).unwrap();
    let mut command = vmbisect();
    command.args(["loop", "--json", "--memory", "256", "--timeout", "300", "--vcpus", "1"]);
    command.args(["--runs", "3", "--kaslr", "--append", "oops=panic", "--keep"]).arg(&kept);
    let ran = run(command.arg("--workload-c").arg(&source).arg(&image.path));
    assert_eq!(ran.status, Some(1), "{}{}", ran.stdout, ran.stderr);
    // A trial ends soon after a crash, maybe before the panic that follows has said where the kernel
    // lies.
    let consoles =
        fs::read_dir(&kept).unwrap().map(|file| fs::read_to_string(file.unwrap().path()));
    let mut whole = consoles.map(Result::unwrap).filter(|text| offset(text).is_some());
    whole.next().unwrap_or_else(|| panic!("no console says where the kernel lies:\n{}", ran.stderr))
}

/// How far above its link address the kernel lies.
fn offset(console: &str) -> Option<u64> {
    let (_, behind) = console.split_once("Kernel Offset: 0x")?;
    u64::from_str_radix(behind.split_once(" from ")?.0, 16).ok()
}

/// What `vmbisect classify` says of the first crash in a log.
fn classify(log: &str, vmlinux: Option<&Path>) -> Value {
    let mut command = vmbisect();
    command.args(["classify", "--json"]);
    if let Some(vmlinux) = vmlinux {
        command.arg("--vmlinux").arg(vmlinux);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, log).unwrap();
    let ran = run(command.arg(file.path()));
    assert_eq!(ran.status, Some(1), "{log}{}", ran.stderr);
    let crashes: Value = serde_json::from_str(&ran.stdout).unwrap();
    crashes[0].clone()
}

#[track_caller]
fn same(got: &Value, want: &Value, fields: &[&str]) {
    for field in fields {
        assert_eq!(got[field], want[field], "{field}");
    }
}

/// What a crash is, whatever its report looks like.
const VERDICT: &[&str] = &["title", "alt_titles", "kind", "frame", "corrupted"];

/// Compares the lines of a symbolized report with what binutils say of the raw one's.
fn check_lines(raw: &str, symbolized: &str, binutils: &Binutils<'_>) {
    let mut lines = symbolized.lines().peekable();
    let mut inlined = 0;
    for raw in raw.lines() {
        let Some(place) = Place::find(raw) else {
            assert_eq!(lines.next(), Some(raw));
            continue;
        };
        // All but the instruction pointer are addresses that calls return to.
        let back = u64::from(!place.before.contains("RIP: ") && place.offset > 0);
        let address = binutils.address(&place).unwrap_or_else(|| panic!("where is {place:?}?"));
        let wanted = binutils.lines(address - back);
        let last = wanted.len() - 1;
        for (level, (function, at)) in wanted.iter().enumerate() {
            let line = lines.next().unwrap_or_else(|| panic!("{raw}: too few lines"));
            let text =
                line.strip_prefix(place.before).unwrap_or_else(|| panic!("{line} is no {raw}"));
            let text = text.strip_suffix(place.behind).unwrap();
            let (name, rest) = text.split_once(' ').unwrap_or_else(|| panic!("{line} has no file"));
            let (path, is_inlined) =
                rest.strip_suffix(" [inline]").map_or((rest, false), |path| (path, true));
            assert_eq!(is_inlined, level < last, "{line} is not {wanted:?}");
            let name_wanted = if is_inlined {
                function
            } else {
                &raw[place.before.len()..raw.len() - place.behind.len()]
            };
            assert_eq!(name, name_wanted, "{line}");
            assert!(at.ends_with(&format!("/{path}")), "{line} is not at {at}");
            inlined += usize::from(is_inlined);
        }
    }
    assert_eq!(lines.next(), None);
    assert!(inlined >= 2, "the BUG() and the entry of the system call are inlined:\n{symbolized}");
}

#[test]
fn a_raw_log_and_its_kernel_say_what_a_symbolized_log_says() {
    if let Err(error) = fixture::ensure(&[Purpose::OuterMachine, Purpose::Workload]) {
        return eprintln!("skipped: nowhere to run trials: {error}");
    }
    let Some(kernels) = fixture::kernels() else { return };
    let image = fixture::mortal(kernels).unwrap();
    let vmlinux = image.vmlinux.as_deref().expect("the fixtures keep vmlinux");
    let binutils = Binutils::of(vmlinux);
    let console = console(&image);

    let raw = classify(&console, None);
    assert_eq!(raw["title"], "kernel BUG in die_of", "{console}");
    let explained = classify(&console, Some(vmlinux));
    same(&explained, &raw, VERDICT);
    same(&explained, &raw, &["panicked", "start", "end"]);
    assert_eq!(explained["guilty_file"], "kernel/sys.c");
    let text = |crash: &Value| crash["report"].as_str().unwrap().to_owned();
    let report = text(&explained);
    assert!(report.contains("RIP: 0010:expect_less kernel/sys.c:"), "{report}");
    check_lines(&text(&raw), &report, &binutils);

    // The same as if the log had held the source lines.
    let symbolized = classify(&report, None);
    same(&symbolized, &explained, VERDICT);
    same(&symbolized, &explained, &["guilty_file", "report"]);

    // And without any name in it, as a kernel without KALLSYMS prints it: addresses where it lay.
    let offset = offset(&console).unwrap();
    let lines = console.lines().map(|line| {
        let place = Place::find(line);
        // What the unwinder only guesses may be anything.
        match place.and_then(|place| Some((binutils.address(&place)? + offset, place))) {
            Some((address, Place { before, behind, .. })) => {
                format!("{before}{address:#x}{behind}\n")
            }
            None => format!("{line}\n"),
        }
    });
    let nameless = classify(&lines.collect::<String>(), Some(vmlinux));
    same(&nameless, &explained, VERDICT);
    same(&nameless, &explained, &["guilty_file", "report", "panicked"]);
}
