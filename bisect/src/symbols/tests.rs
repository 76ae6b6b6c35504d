//! Symbols of a small program that is laid out as a kernel is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Location, Symbols, SymbolsError};

/// Where kernels of x86-64 are linked to.
pub(super) const TEXT: u64 = 0xffff_ffff_8100_0000;

const MAIN_C: &str = r#"
#include "include/linux/helper.h"
void first(void);
void second(void);
int start_kernel(int x)
{
    first();
    second();
    return helper(x);
}
"#;

const HELPER_H: &str = r#"
static inline __attribute__((always_inline)) int innermost(int x)
{
    __asm__ volatile ("ud2" : : "r" (x));
    return x;
}
static inline __attribute__((always_inline)) int helper(int x)
{
    return innermost(x) + 1;
}
"#;

/// Two static functions of one name; `FILL` makes one longer.
const SHOW_C: &str = r#"
extern void sink(void);
static __attribute__((noinline)) void show(void)
{
    __asm__ volatile (FILL);
}
void NAME(void) { show(); __asm__ volatile (""); }
"#;

/// Compiles the program; `None`, with the reason printed, where there is no compiler.
pub(crate) fn vmlinux() -> Option<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let (tree, out) = (dir.path().join("linux"), dir.path().join("out"));
    for (path, text) in [
        ("init/main.c", MAIN_C.to_owned()),
        ("include/linux/helper.h", HELPER_H.to_owned()),
        ("lib/first.c", SHOW_C.replace("FILL", "\"nop\"").replace("NAME", "first")),
        ("net/second.c", SHOW_C.replace("FILL", "\".skip 40, 0x90\"").replace("NAME", "second")),
    ] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir_all(&out).unwrap();
    let vmlinux = out.join("vmlinux");
    let ran = Command::new("gcc")
        .args([
            "-g",
            "-O2",
            "-ffreestanding",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-fno-pie",
            "-mcmodel=kernel",
        ])
        .args(["-Wl,--build-id=none", "-Wl,-e,start_kernel", "-I../linux"])
        .arg(format!("-Wl,-Ttext={TEXT:#x}"))
        .args(["-o", "vmlinux"])
        .args(["../linux/init/main.c", "../linux/lib/first.c", "../linux/net/second.c"])
        .current_dir(&out)
        .output();
    match ran {
        Ok(output) if output.status.success() => Some((dir, vmlinux)),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("skipped: no compiler: {error}");
            None
        }
    }
}

/// Where `ud2` is in `start_kernel`.
pub(crate) fn ud2(path: &Path, symbols: &Symbols) -> u64 {
    let start = symbols.address_of("start_kernel").unwrap();
    let bytes = fs::read(path).unwrap();
    // The segment's first byte is that of TEXT.
    let elf = object::File::parse(&*bytes).unwrap();
    let section = elf.section_by_name(".text").unwrap();
    let text = section.data().unwrap();
    let from = usize::try_from(start - TEXT).unwrap();
    start + memchr::memmem::find(&text[from..], b"\x0f\x0b").unwrap() as u64
}

#[test]
fn inlined_functions_are_told_apart_and_paths_are_of_the_tree() {
    let Some((_dir, path)) = vmlinux() else { return };
    let symbols = Symbols::open(&path).unwrap();
    assert!(symbols.has_lines().unwrap());
    let at = ud2(&path, &symbols);
    let symbol = symbols.lookup(at).unwrap();
    assert_eq!(
        (symbol.name, symbol.offset),
        ("start_kernel", at - symbols.address_of("start_kernel").unwrap())
    );
    let location = |function: &str, file: &str, line, inlined| Location {
        function: Some(function.into()),
        file: Some(file.into()),
        line: Some(line),
        inlined,
    };
    assert_eq!(
        symbols.frames(at),
        [
            location("innermost", "include/linux/helper.h", 4, true),
            location("helper", "include/linux/helper.h", 9, true),
            location("start_kernel", "init/main.c", 9, false),
        ]
    );
    assert_eq!(symbols.frames(1), []);
    assert_eq!(symbols.lookup(1), None);
}

#[test]
fn the_size_tells_static_functions_apart() {
    let Some((_dir, path)) = vmlinux() else { return };
    let symbols = Symbols::open(&path).unwrap();
    let file = |name: &str| {
        // What is called is what begins right before it.
        let caller = symbols.address_of(name).unwrap();
        let size = |address| symbols.lookup(address).unwrap().size;
        let shows: Vec<u64> = symbols.table.named("show").map(|entry| entry.address).collect();
        let show = *shows.iter().filter(|show| **show < caller).max().unwrap();
        let found = symbols.address_of_sized("show", size(show)).unwrap();
        symbols.frames(found).pop().unwrap().file.unwrap()
    };
    assert_eq!((file("first").as_str(), file("second").as_str()), ("lib/first.c", "net/second.c"));
    assert_eq!(symbols.address_of_sized("show", 0x1000), None);
}

#[test]
fn a_system_map_has_names_but_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("System.map");
    fs::write(&path, "ffffffff81000000 T f\nffffffff81000010 t g\nffffffff81000040 D data\n")
        .unwrap();
    let symbols = Symbols::open(&path).unwrap();
    let symbol = symbols.lookup(TEXT + 0x13).unwrap();
    assert_eq!((symbol.name, symbol.offset, symbol.size), ("g", 3, 0x30));
    assert_eq!(symbols.address_of("data"), Some(TEXT + 0x40));
    assert_eq!(symbols.lookup(TEXT + 0x44), None);
    assert!(!symbols.has_lines().unwrap());
    assert_eq!(symbols.frames(TEXT), []);
}

#[test]
fn what_has_no_symbols_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Symbols::open(&path).unwrap_err()
    };
    assert!(matches!(open(b""), SymbolsError::Empty { .. }));
    assert!(matches!(
        open(b"ffffffff81000000 T f\nno map\n"),
        SymbolsError::Unknown { line: Some(2), .. }
    ));
    assert!(matches!(open(&[0xff; 100]), SymbolsError::Unknown { line: None, .. }));
    assert!(matches!(open(b"\x7fELF\x02\x01\x01"), SymbolsError::Elf { .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Symbols::open(&path).unwrap_err(), SymbolsError::Io { .. }));
}

/// The program again and again with something in it changed: whatever comes, nothing panics.
#[test]
fn damaged_files_are_refused_or_read() {
    let Some((dir, path)) = vmlinux() else { return };
    let whole = fs::read(&path).unwrap();
    let addresses: Vec<u64> = (TEXT..TEXT + 0x100).step_by(3).collect();
    let damaged = dir.path().join("damaged");
    let damage = (
        proptest::collection::vec((0..whole.len(), any::<u8>()), 0..40),
        proptest::option::weighted(0.2, 0..whole.len()),
    );
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    proptest!(config, |((changes, cut) in damage)| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut.unwrap_or(bytes.len()));
        fs::write(&damaged, &bytes).unwrap();
        if let Ok(symbols) = Symbols::open(&damaged) {
            let _ = symbols.has_lines();
            for &address in &addresses {
                let _ = (symbols.lookup(address), symbols.frames(address));
            }
        }
    });
}

#[test]
fn symbols_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Symbols>();
}
