//! `System.map`: `ffffffff81000000 T _text`, one symbol a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use super::SymbolsError;
use super::table::{Raw, Table};

/// The longest line; what is longer is none.
const LONGEST: u64 = 4096;

/// Reads a `System.map` from its start. `/proc/kallsyms` has the same form.
pub(super) fn read(path: &Path, mut file: &File) -> Result<Table, SymbolsError> {
    let io = |source| SymbolsError::Io { path: path.to_owned(), source };
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut input = BufReader::new(file);
    let mut table = Table::default();
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let mut limited = std::io::Read::take(&mut input, LONGEST);
        if limited.read_until(b'\n', &mut line).map_err(io)? == 0 {
            break;
        }
        let text = std::str::from_utf8(&line).ok();
        let Some(raw) = text.and_then(parse) else {
            let line = text.map(|_| number);
            return Err(SymbolsError::Unknown { path: path.to_owned(), line });
        };
        table.push(raw);
    }
    Ok(table.finish())
}

fn parse(line: &str) -> Option<Raw<'_>> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next().filter(|kind| kind.len() == 1)?;
    let name = words.next()?;
    // A module's name may follow. Debian's kernels come with a sentence instead, which begins like a symbol.
    if !words.next().is_none_or(|module| module.starts_with('[')) {
        return None;
    }
    let code = matches!(kind, "t" | "T" | "w" | "W");
    Some(Raw { name, address, size: 0, code, weak: matches!(kind, "w" | "W") })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_are_read() {
        let raw = parse("ffffffff81000000 T _text\n").unwrap();
        assert_eq!(
            (raw.name, raw.address, raw.code, raw.weak),
            ("_text", 0xffff_ffff_8100_0000, true, false)
        );
        assert!(parse("c0008000 W weak\n").unwrap().weak);
        assert!(!parse("0000000000000000 A __per_cpu_start").unwrap().code);
        assert!(parse("ffffffffc0000000 t f\t[kvm]").unwrap().code);
        let sentence = "ffffffffffffffff B The real System.map is elsewhere";
        for wrong in ["", "x", "ffffffff81000000", "ffffffff81000000 Tt f", "g T f", sentence] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
