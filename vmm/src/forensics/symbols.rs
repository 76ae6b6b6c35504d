//! Addresses of the kernel's symbols, as far as they help to read its memory.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Addresses of some of the kernel's symbols, as System.map or `nm vmlinux` has them. None has to be
/// there; without them less can be said about a guest that hangs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelSymbols(BTreeMap<String, u64>);

impl KernelSymbols {
    /// The names that are of use.
    pub const NAMES: &'static [&'static str] = &[
        // The table of the spinlocks' functions, and what can be in it.
        "pv_lock_ops",
        "pv_ops_lock",
        "pv_ops",
        "native_queued_spin_lock_slowpath",
        "__pv_queued_spin_lock_slowpath",
        "queued_spin_lock_slowpath",
        // The log.
        "prb",
        "log_buf",
        "log_buf_len",
        "log_first_idx",
        "log_next_idx",
        "vmcoreinfo_data",
        // Code, and how to unwind it.
        "_stext",
        "_etext",
        "_sinittext",
        "_einittext",
        "__start_orc_unwind_ip",
        "__stop_orc_unwind_ip",
        "__start_orc_unwind",
        "__stop_orc_unwind",
        // By which it is seen whether the kernel was moved.
        "linux_banner",
    ];

    /// Asks `address_of` for every name that is of use.
    pub fn collect(mut address_of: impl FnMut(&str) -> Option<u64>) -> KernelSymbols {
        let known = |name: &&str| Some(((*name).to_owned(), address_of(name)?));
        KernelSymbols(KernelSymbols::NAMES.iter().filter_map(known).collect())
    }

    /// The address of a symbol.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From one symbol to another one.
    pub(crate) fn range(&self, start: &str, end: &str) -> Option<Range<u64>> {
        let range = self.get(start)?..self.get(end)?;
        (!range.is_empty()).then_some(range)
    }
}
