//! The symbols of an ELF file.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use object::elf::SHF_EXECINSTR;
use object::{
    Object, ObjectKind, ObjectSection, ObjectSymbol, ReadCache, SectionFlags, SymbolKind,
};

use super::SymbolsError;
use super::table::{Raw, Table};

/// What an ELF file holds.
pub(super) struct Elf {
    /// Its symbols.
    pub(super) table: Table,
    /// Whether it is an object file, such as a module.
    pub(super) relocatable: bool,
    /// Whether it has debug information.
    pub(super) debug_info: bool,
}

/// Reads the symbols of an ELF file of any class and byte order. Only the headers and the symbol
/// table are read.
pub(super) fn read(path: &Path, file: &File) -> Result<Elf, SymbolsError> {
    let damaged = |source| SymbolsError::Elf { path: path.to_owned(), source };
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).map_err(damaged)?;
    let is_code = |flags| match flags {
        SectionFlags::Elf { sh_flags, .. } => sh_flags.0 & SHF_EXECINSTR.0 != 0,
        _ => false,
    };
    let sections = elf.sections();
    let code: HashSet<_> = sections.filter(|it| is_code(it.flags())).map(|it| it.index()).collect();
    // Before it is loaded, all sections of a module begin at 0. Nearly all of its code is in one.
    let relocatable = elf.kind() == ObjectKind::Relocatable;
    let text = elf.section_by_name(".text").map(|section| section.index());
    let mut table = Table::default();
    for symbol in elf.symbols().filter(|symbol| symbol.is_definition()) {
        let (Ok(name), kind) = (symbol.name(), symbol.kind()) else { continue };
        if matches!(kind, SymbolKind::File | SymbolKind::Section)
            || relocatable && symbol.section_index() != text
        {
            continue;
        }
        let code = symbol.section_index().is_some_and(|index| code.contains(&index));
        let (address, size, weak) = (symbol.address(), symbol.size(), symbol.is_weak());
        table.push(Raw { name, address, size, code, weak });
    }
    let debug_info = [".debug_info", ".zdebug_info"];
    Ok(Elf {
        table: table.finish(),
        relocatable,
        debug_info: debug_info.iter().any(|name| elf.section_by_name(name).is_some()),
    })
}
