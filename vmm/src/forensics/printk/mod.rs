//! The kernel's own log, read from the guest's memory: what `quiet` kept from the console, and what
//! was still on its way to the serial port when the kernel stopped.
//!
//! Two kinds are read: the lockless ring buffer that kernels have had since 5.10
//! (`kernel/printk/printk_ringbuffer.h`), and the buffer of records before that, since 3.5
//! (`struct printk_log` in `kernel/printk/printk.c`). Where they lie is told by symbols, by the note
//! that kernels leave for crash dumps (VMCOREINFO), or, for the ring buffer, by a search: what one
//! consists of is so peculiar that nothing else looks like it.

mod legacy;
mod ring;
mod vmcoreinfo;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::ring::{Layout, Ring};
use self::vmcoreinfo::VmCoreInfo;
use super::memory::{AddressSpace, WritablePage};
use super::symbols::KernelSymbols;

/// How much text is kept, of the last records. A kernel's buffer has 64 KiB to some MiB.
const MOST_TEXT: usize = 1 << 20;

/// How many records are kept.
const MOST_RECORDS: usize = 1 << 15;

/// How much of the kernel's image is searched.
const MOST_SEARCHED: u64 = 256 << 20;

/// How much is searched at once.
const PIECE: usize = 64 << 10;

/// How many ring buffers are looked at. A kernel has two, the one that it is linked with and a larger
/// one that it may move to; a guest that wants to keep us busy may have filled its memory with them.
const MOST_RINGS: usize = 16;

/// A record of the kernel's log: what one `printk` said, if it was a whole line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its number since the kernel started; of kernels before 5.10, since the oldest that is left.
    pub sequence: u64,
    /// Nanoseconds since the kernel's clock started.
    pub time_ns: u64,
    /// Log level, 0 (emergency) to 7 (debug).
    pub level: u8,
    /// What it says, perhaps in several lines; bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl LogRecord {
    /// Its lines, as a console shows them: `[    0.123456] text`.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let micros = self.time_ns / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        self.text.lines().map(move |line| format!("[{seconds:5}.{micros:06}] {line}"))
    }
}

/// How the log was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// By the kernel's symbols.
    Symbols,
    /// By the note that the kernel leaves for crash dumps.
    VmCoreInfo,
    /// By a search through the kernel's image in memory.
    Search,
}

/// The kernel's log, oldest record first: at most the last MiB of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelLog {
    /// How it was found.
    pub source: LogSource,
    /// The records.
    pub records: Vec<LogRecord>,
}

/// Why the kernel's log can't be read from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogError {
    /// 32-bit page tables, or none that lead anywhere.
    #[error("the kernel's page tables can't be read")]
    PageTables,
    /// There is none where the symbols say, and none was found otherwise.
    #[error(
        "no kernel log was found in memory: before Linux 5.10 it takes symbols (System.map or \
         vmlinux of this very kernel) or CONFIG_CRASH_CORE, and no kernel has one before its first \
         message"
    )]
    NotFound,
}

/// Reads the kernel's log. `slide` is what the kernel was moved by in virtual addresses (KASLR).
///
/// # Errors
/// Fails if there is none to be found. What is found is checked for sense, not for truth: the guest
/// may have written whatever it wants there.
pub fn read(
    space: &AddressSpace<'_>,
    symbols: &KernelSymbols,
    slide: u64,
) -> Result<KernelLog, LogError> {
    if !space.is_readable() {
        return Err(LogError::PageTables);
    }
    let by = |source| move |records| KernelLog { source, records };
    if let Some(log) = by_symbols(space, symbols, slide) {
        return Ok(by(LogSource::Symbols)(log));
    }
    if let Some(log) = search(space) {
        return Ok(by(LogSource::Search)(log));
    }
    VmCoreInfo::find(space, symbols, slide)
        .and_then(|info| by_vmcoreinfo(space, &info))
        .map(by(LogSource::VmCoreInfo))
        .ok_or(LogError::NotFound)
}

fn by_symbols(
    space: &AddressSpace<'_>,
    symbols: &KernelSymbols,
    slide: u64,
) -> Option<Vec<LogRecord>> {
    let at = |name: &str| symbols.get(name).map(|address| address.wrapping_add(slide));
    if let Some(prb) = at("prb") {
        let ring = space.u64(prb)?;
        return Layout::KNOWN
            .iter()
            .find_map(|layout| Ring::open(space, ring, layout))
            .map(|ring| ring.records(space));
    }
    let variables = legacy::Variables {
        log_buf: at("log_buf")?,
        log_buf_len: at("log_buf_len")?,
        log_first_idx: at("log_first_idx")?,
        log_next_idx: at("log_next_idx")?,
    };
    legacy::records(space, &variables, None)
}

fn by_vmcoreinfo(space: &AddressSpace<'_>, info: &VmCoreInfo) -> Option<Vec<LogRecord>> {
    if let Some(prb) = info.symbol("prb") {
        let layout = Layout::from_vmcoreinfo(info)?;
        return Some(Ring::open(space, space.u64(prb)?, &layout)?.records(space));
    }
    let variables = legacy::Variables {
        log_buf: info.symbol("log_buf")?,
        log_buf_len: info.symbol("log_buf_len")?,
        log_first_idx: info.symbol("log_first_idx")?,
        log_next_idx: info.symbol("log_next_idx")?,
    };
    legacy::records(space, &variables, info.size("printk_log"))
}

/// Looks for ring buffers in what the kernel can write to of its image, and takes the one that was
/// written to last: a kernel moves to a larger one when it is told how large that is to be.
fn search(space: &AddressSpace<'_>) -> Option<Vec<LogRecord>> {
    let mut best: Option<(u64, Ring)> = None;
    // No part of the image is mapped twice.
    let mut budget = MOST_SEARCHED.min(space.memory().end());
    let mut rings = 0;
    let mut piece = vec![0; PIECE];
    'image: for WritablePage { address, physical, size } in space.writable_image() {
        for offset in (0..size).step_by(PIECE) {
            let length = (size - offset).min(PIECE as u64);
            let Some(rest) = budget.checked_sub(length) else { break 'image };
            budget = rest;
            let Some(bytes) = piece.get_mut(..length as usize) else { break };
            if !space.memory().read(physical + offset, bytes) {
                continue;
            }
            let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
            for (index, _) in (0_u64..).zip(words).filter(|(_, word)| Ring::may_begin_with(*word)) {
                let address = address + offset + 8 * index;
                let layouts = Layout::KNOWN.iter();
                let found = layouts.filter_map(|layout| Ring::open(space, address, layout));
                for ring in found {
                    rings += 1;
                    if rings > MOST_RINGS {
                        break 'image;
                    }
                    if let Some(last) = ring.last_sequence(space)
                        && best.as_ref().is_none_or(|(best, _)| *best <= last)
                    {
                        best = Some((last, ring));
                    }
                }
            }
        }
    }
    best.map(|(_, ring)| ring.records(space))
}
