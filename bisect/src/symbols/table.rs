//! Symbols by address and by name.

/// A symbol as a file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Where it begins.
    pub(super) address: u64,
    /// How many bytes it has, if the file knows; else 0.
    pub(super) size: u64,
    /// Whether it is code.
    pub(super) code: bool,
    /// Whether any other symbol of its address is rather what the place is called.
    pub(super) weak: bool,
}

/// Symbols, of which there are some 100,000 in a kernel.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: String,
    /// By address, and of one address the best name first.
    entries: Vec<Entry>,
    /// Indices of entries, by name.
    by_name: Vec<u32>,
}

/// One symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) address: u64,
    /// 0 where it is not known.
    size: u64,
    name: u32,
    name_length: u32,
    code: bool,
    weak: bool,
}

impl Table {
    /// Adds a symbol. What is no name in a kernel, such as a label of the assembler, is left out, and
    /// so is everything after the first 4 GiB of names.
    pub(super) fn push(&mut self, raw: Raw<'_>) {
        let is_label = [".L", "$", "__pfx_", "__cfi_"].iter().any(|it| raw.name.starts_with(it));
        let place = u32::try_from(self.names.len()).ok().zip(u32::try_from(raw.name.len()).ok());
        let (false, false, Some((name, name_length))) = (raw.name.is_empty(), is_label, place)
        else {
            return;
        };
        self.names.push_str(raw.name);
        let Raw { address, size, code, weak, .. } = raw;
        self.entries.push(Entry { address, size, name, name_length, code, weak });
    }

    /// Sorts the symbols; to be called once after the last was added.
    pub(super) fn finish(mut self) -> Table {
        let names = std::mem::take(&mut self.names);
        // As scripts/kallsyms.c: of several names for one address the kernel prints the one that is
        // not weak and has the fewest underscores before it.
        let underscores = |entry: &Entry| {
            let name = name_of(&names, entry);
            name.len() - name.trim_start_matches('_').len()
        };
        self.entries.sort_by_key(|it| (it.address, !it.code, it.weak, underscores(it)));
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.by_name = (0..count).collect();
        let name = |index: &u32| {
            self.entries.get(*index as usize).map_or("", |entry| name_of(&names, entry))
        };
        self.by_name.sort_by(|a, b| name(a).cmp(name(b)));
        self.names = names;
        self
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The function that holds an address.
    pub(super) fn lookup(&self, address: u64) -> Option<super::Symbol<'_>> {
        let behind = self.entries.partition_point(|entry| entry.address <= address);
        let last = self.entries.get(..behind)?.iter().rposition(|entry| entry.code)?;
        let start = self.entries.get(last)?.address;
        // The first of those that begin there.
        let first = self.entries.partition_point(|entry| entry.address < start);
        let entry = self.entries.get(first)?;
        let (offset, size) = (address - start, self.extent(entry));
        (offset < size).then(|| super::Symbol { name: name_of(&self.names, entry), offset, size })
    }

    /// All symbols of a name, by address.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let name_at = |index: &u32| {
            self.entries.get(*index as usize).map_or("", |entry| name_of(&self.names, entry))
        };
        let from = self.by_name.partition_point(|index| name_at(index) < name);
        let rest = self.by_name.get(from..).unwrap_or_default();
        let rest = rest.get(..rest.partition_point(|index| name_at(index) == name));
        rest.unwrap_or_default().iter().filter_map(|index| self.entries.get(*index as usize))
    }

    /// The address of the function of a name that has this size in a call trace.
    pub(super) fn sized(&self, name: &str, size: u64) -> Option<u64> {
        let functions = || self.named(name).filter(|entry| entry.code);
        let exact = functions().find(|entry| self.extent(entry) == size);
        // What kallsyms takes for the next symbol has changed over the years; between the end of a
        // function and the next one there is only padding.
        let near =
            |entry: &&Entry| entry.size > 0 && (entry.size..=self.extent(entry)).contains(&size);
        exact.or_else(|| functions().find(near)).map(|entry| entry.address)
    }

    /// How far a symbol reaches: to the next one, as kallsyms has it.
    fn extent(&self, entry: &Entry) -> u64 {
        let behind = self.entries.partition_point(|other| other.address <= entry.address);
        let next = self.entries.get(behind);
        next.map_or(entry.size.max(1), |next| next.address - entry.address)
    }
}

fn name_of<'a>(names: &'a str, entry: &Entry) -> &'a str {
    let start = entry.name as usize;
    names.get(start..start.saturating_add(entry.name_length as usize)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Raw, Table};

    fn table(symbols: &[(&str, u64, u64, bool, bool)]) -> Table {
        let mut table = Table::default();
        for &(name, address, size, code, weak) in symbols {
            table.push(Raw { name, address, size, code, weak });
        }
        table.finish()
    }

    fn lookup(table: &Table, address: u64) -> Option<(&str, u64, u64)> {
        table.lookup(address).map(|it| (it.name, it.offset, it.size))
    }

    #[test]
    fn a_place_is_called_what_the_kernel_calls_it() {
        let table = table(&[
            ("g", 0x1020, 5, true, false),
            ("__x64_f", 0x1000, 0x11, true, false),
            ("f", 0x1000, 0x11, true, true),
            ("_f", 0x1000, 0x11, true, false),
            ("__pfx_g", 0x1018, 0, true, false),
            ("data", 0x1010, 4, false, false),
        ]);
        assert_eq!(lookup(&table, 0x100f), Some(("_f", 0xf, 0x10)));
        assert_eq!(lookup(&table, 0x1010), None, "data");
        assert_eq!(lookup(&table, 0x1024), Some(("g", 4, 5)));
        assert_eq!(lookup(&table, 0x1025), None);
        assert_eq!(lookup(&table, 0xfff), None);
        assert_eq!(table.named("data").next().map(|entry| entry.address), Some(0x1010));
        assert!(table.named("h").next().is_none());
    }

    #[test]
    fn the_size_tells_namesakes_apart() {
        let table = table(&[
            ("show", 0x1000, 0x1c, true, false),
            ("a", 0x1020, 0x10, true, false),
            ("show", 0x1030, 0x38, true, false),
            ("b", 0x1070, 0x10, true, false),
        ]);
        assert_eq!(table.sized("show", 0x20), Some(0x1000));
        assert_eq!(table.sized("show", 0x40), Some(0x1030));
        assert_eq!(table.sized("show", 0x38), Some(0x1030), "without the padding");
        assert_eq!(table.sized("show", 0x44), None, "another kernel's");
        assert_eq!(table.sized("b", 0x10), Some(0x1070));
    }

    proptest! {
        #[test]
        fn every_address_is_in_the_symbol_before_it(
            starts in proptest::collection::btree_set(0_u64..1000, 1..40),
            address in 0_u64..1100,
        ) {
            let names: Vec<String> = starts.iter().map(|start| format!("f{start}")).collect();
            let mut table = Table::default();
            for (name, &address) in names.iter().zip(&starts).rev() {
                table.push(Raw { name, address, size: 0, code: true, weak: false });
            }
            let table = table.finish();
            let before = starts.range(..=address).next_back();
            match table.lookup(address) {
                Some(found) => {
                    let start = before.copied().unwrap();
                    prop_assert_eq!(found.name, format!("f{start}"));
                    prop_assert_eq!(found.offset, address - start);
                    prop_assert_eq!(table.sized(found.name, found.size), Some(start));
                }
                None => prop_assert!(before.is_none_or(|start| starts.last() == Some(start))),
            }
        }
    }
}
