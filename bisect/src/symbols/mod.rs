//! From addresses to functions and source lines, and back.
//!
//! [`Symbols`] reads the symbol table of a vmlinux, a module or a `System.map` when it is opened, and
//! debug information only when a line is asked for, one compilation unit at a time: half a gigabyte
//! of vmlinux costs some tens of megabytes. A [`Symbolizer`] puts the lines into reports.

mod elf;
mod error;
mod lines;
mod modules;
mod offset;
mod report;
mod system_map;
mod table;

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use error::SymbolsError;
pub use offset::KernelOffset;
pub use report::{Symbolized, Symbolizer};

use lines::Lines;
use table::Table;

/// The symbols of one kernel, and its source lines where it has debug information.
#[derive(Debug)]
pub struct Symbols {
    path: PathBuf,
    table: Table,
    /// Whether addresses are offsets in sections, as in a module that is not loaded.
    relocatable: bool,
    /// Whether there is debug information.
    debug_info: bool,
    lines: OnceCell<Result<Lines, SymbolsError>>,
}

/// A symbol and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name, as the symbol table has it: `f`, `f.isra.0`, `f.cold`.
    pub name: &'a str,
    /// How many bytes behind its start the place is.
    pub offset: u64,
    /// How many bytes it has, by the kernel's own reckoning: up to the next symbol.
    pub size: u64,
}

/// A function that an instruction belongs to. Where functions were inlined, one instruction belongs
/// to several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The function; `None` where debug information has a line but no function, as in assembly.
    pub function: Option<String>,
    /// The source file, relative to the top of the kernel tree.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// Whether the function was inlined into that of the next location.
    pub inlined: bool,
}

/// What an ELF file begins with.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

impl Symbols {
    /// Reads the symbols of an ELF file (a vmlinux or a module of any architecture) or of a
    /// `System.map`.
    ///
    /// # Errors
    /// Fails if the file can't be read, is neither, is damaged, or has no symbols.
    pub fn open(path: &Path) -> Result<Symbols, SymbolsError> {
        let io = |source| SymbolsError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mut magic = Vec::new();
        (&file).take(ELF_MAGIC.len() as u64).read_to_end(&mut magic).map_err(io)?;
        let (table, relocatable, debug_info) = if magic == ELF_MAGIC {
            let elf = elf::read(path, &file)?;
            (elf.table, elf.relocatable, elf.debug_info)
        } else {
            (system_map::read(path, &file)?, false, false)
        };
        if table.is_empty() {
            return Err(SymbolsError::Empty { path: path.to_owned() });
        }
        let path = path.to_owned();
        Ok(Symbols { path, table, relocatable, debug_info, lines: OnceCell::new() })
    }

    /// The file that they are from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The function that holds an address, which is one as linked: for a kernel that was loaded
    /// elsewhere, less its [`KernelOffset`].
    pub fn lookup(&self, address: u64) -> Option<Symbol<'_>> {
        self.table.lookup(address)
    }

    /// The address of a symbol, code or data. Of several with one name it is the lowest.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        self.table.named(name).map(|entry| entry.address).next()
    }

    /// The address of the function `name` that has `size` bytes in a call trace. Static functions
    /// of different files may share a name; the size tells them apart.
    ///
    /// `None` where there is no such function, or only ones of other sizes, which are of another
    /// kernel.
    pub fn address_of_sized(&self, name: &str, size: u64) -> Option<u64> {
        self.table.sized(name, size)
    }

    /// The functions that the instruction at an address belongs to, innermost first; none where
    /// there is no debug information about it. Give the address of the call, not of the return.
    ///
    /// In a module that was not loaded, the first bytes of `.text` and those of `.init.text` have
    /// the same addresses, so that some of them have no lines.
    pub fn frames(&self, address: u64) -> Vec<Location> {
        match self.lines() {
            Some(Ok(lines)) => {
                // In a module, all sections begin at 0; only the name says which one was meant.
                let expected = self.relocatable.then(|| self.lookup(address)).flatten();
                lines.frames(address, expected.map(|symbol| symbol.name))
            }
            _ => Vec::new(),
        }
    }

    /// Reads debug information, if that has not been done yet, to say whether there is any.
    ///
    /// # Errors
    /// Fails if it is damaged; [`Symbols::frames`] gives nothing then.
    pub fn has_lines(&self) -> Result<bool, &SymbolsError> {
        match self.lines() {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) => Err(error),
        }
    }

    /// What stands before the paths of this kernel's sources where its build directory was another
    /// one, with a `/` at its end: messages such as UBSAN's hold it.
    fn top(&self) -> Option<&str> {
        self.lines()?.as_ref().ok()?.top()
    }

    fn lines(&self) -> Option<&Result<Lines, SymbolsError>> {
        self.debug_info.then(|| {
            self.lines.get_or_init(|| Lines::open(&self.path, &|name| self.address_of(name)))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
