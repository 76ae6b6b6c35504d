//! The kernel's own log, read from the guest's memory: what `quiet` kept from the console, and what
//! was still on its way to the serial port when the kernel stopped.
//!
//! Two kinds are read: the lockless ring buffer that kernels have had since 5.10
//! (`kernel/printk/printk_ringbuffer.h`), and the buffer of records before that, since 3.5
//! (`struct printk_log` in `kernel/printk/printk.c`). Where they lie is told by the note that kernels
//! leave for crash dumps (VMCOREINFO), in which they also say what theirs look like; else by symbols;
//! else, for the ring buffer, by a search: what one consists of is so peculiar that nothing else looks
//! like it. Symbols and the search know the layouts that there have been, of 64-bit and of 32-bit
//! kernels, and find nothing where there is another one. A note that only a search finds comes last, since
//! it means to look at every page of the guest's memory, most of which the host has not given yet.

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

/// How many places are looked at more closely that begin as a ring buffer does. Of a kernel's words few
/// are such small numbers, but a guest that wants to keep us busy may have filled its memory with them.
const MOST_PLACES: usize = 1 << 20;

/// How many ring buffers are looked at. A kernel has two, the one that it is linked with and a larger
/// one that it may move to.
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
    let by = |source| move |records| KernelLog { source, records };
    let noted = |info: VmCoreInfo| by_vmcoreinfo(space, &info).map(by(LogSource::VmCoreInfo));
    VmCoreInfo::by_symbol(space, symbols, slide)
        .and_then(noted)
        .or_else(|| by_symbols(space, symbols, slide).map(by(LogSource::Symbols)))
        .or_else(|| search(space).map(by(LogSource::Search)))
        .or_else(|| VmCoreInfo::search(space).and_then(noted))
        .ok_or(LogError::NotFound)
}

fn by_symbols(
    space: &AddressSpace<'_>,
    symbols: &KernelSymbols,
    slide: u64,
) -> Option<Vec<LogRecord>> {
    let at = |name: &str| symbols.get(name).map(|address| address.wrapping_add(slide));
    if let Some(prb) = at("prb") {
        let ring = space.word(prb)?;
        return Layout::known(space)
            .iter()
            .filter_map(|layout| Ring::open(space, ring, layout))
            .find(|ring| ring.has_sense(space))
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
        return Ring::open(space, space.word(prb)?, &layout)
            .filter(|ring| ring.has_sense(space))
            .map(|ring| ring.records(space));
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
    let layouts = Layout::known(space);
    let mut best: Option<(u64, Ring)> = None;
    // No part of the image is mapped twice.
    let mut budget = MOST_SEARCHED.min(space.memory().end());
    let (mut places, mut rings) = (0, 0);
    let mut piece = vec![0; PIECE];
    let word = usize::try_from(space.word_size()).unwrap_or(size_of::<u64>());
    'image: for WritablePage { address, physical, size } in space.writable_image() {
        for offset in (0..size).step_by(PIECE) {
            let length = (size - offset).min(PIECE as u64);
            let Some(rest) = budget.checked_sub(length) else { break 'image };
            budget = rest;
            let Some(bytes) = piece.get_mut(..length as usize) else { break };
            if !space.memory().read(physical + offset, bytes) {
                continue;
            }
            let words = bytes.chunks_exact(word).enumerate();
            for (index, _) in words.filter(|(_, word)| Ring::may_begin_with_word(word)) {
                let at = index * word;
                if !bytes.get(at..).is_some_and(|bytes| Ring::may_begin_with(space, bytes)) {
                    continue;
                }
                places += 1;
                if places > MOST_PLACES {
                    break 'image;
                }
                let address = address + offset + at as u64;
                for ring in layouts.iter().filter_map(|layout| Ring::open(space, address, layout)) {
                    rings += 1;
                    if rings > MOST_RINGS {
                        break 'image;
                    }
                    if ring.has_sense(space)
                        && let Some(last) = ring.last_sequence(space)
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
