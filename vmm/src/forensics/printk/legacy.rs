//! The buffer of records of kernels before 5.10: `struct printk_log` and the text behind it, one after
//! the other, from the start again where the rest was too short.

use std::collections::VecDeque;

use super::{LogRecord, MOST_RECORDS, MOST_TEXT};
use crate::forensics::memory::AddressSpace;

/// Sizes of `struct printk_log`: without and with the caller (CONFIG_PRINTK_CALLER, since 5.1).
const HEADERS: [u64; 2] = [16, 20];

/// The largest buffer that is read: twice what a kernel can be configured to have
/// (CONFIG_LOG_BUF_SHIFT).
const LARGEST: u32 = 1 << 26;

/// Addresses of the kernel's variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variables {
    pub(super) log_buf: u64,
    pub(super) log_buf_len: u64,
    pub(super) log_first_idx: u64,
    pub(super) log_next_idx: u64,
}

/// The header of a record.
struct Header {
    time_ns: u64,
    length: u16,
    text: u16,
    dictionary: u16,
    level: u8,
}

impl Header {
    fn read(space: &AddressSpace<'_>, at: u64) -> Option<Header> {
        let time_ns = space.u64(at)?;
        let [a, b, c, d, e, f, _, flags] = space.array(at.checked_add(8)?)?;
        Some(Header {
            time_ns,
            length: u16::from_le_bytes([a, b]),
            text: u16::from_le_bytes([c, d]),
            dictionary: u16::from_le_bytes([e, f]),
            level: flags >> 5,
        })
    }

    /// Whether the lengths go together for a `size` of the header: records are padded to 4 bytes.
    fn fits(&self, size: u64) -> bool {
        let content = size + u64::from(self.text) + u64::from(self.dictionary);
        (content..content + 4).contains(&u64::from(self.length))
    }
}

/// The last records, oldest first, if there is a buffer. `size` is that of the header, where the
/// kernel says so.
pub(super) fn records(
    space: &AddressSpace<'_>,
    variables: &Variables,
    size: Option<u64>,
) -> Option<Vec<LogRecord>> {
    let buffer = space.word(variables.log_buf)?;
    let capacity = space.u32(variables.log_buf_len)?;
    let first = space.u32(variables.log_first_idx)?;
    let next = space.u32(variables.log_next_idx)?;
    if capacity > LARGEST || first >= capacity || next > capacity {
        return None;
    }
    let oldest = Header::read(space, buffer.checked_add(u64::from(first))?)?;
    let size = size.or_else(|| HEADERS.into_iter().find(|size| oldest.fits(*size)))?;
    let mut records = VecDeque::new();
    let mut kept = 0;
    let mut index = first;
    let mut wrapped = next > first;
    for sequence in 0.. {
        if index == next && wrapped {
            break;
        }
        let at = buffer.checked_add(u64::from(index))?;
        let Some(header) = Header::read(space, at) else { break };
        if header.length == 0 && !wrapped {
            wrapped = true;
            index = 0;
            continue;
        }
        index = match index.checked_add(header.length.into()) {
            Some(end) if end <= capacity && header.fits(size) => end,
            _ => break,
        };
        let mut text = vec![0; header.text.into()];
        if !space.read(at.checked_add(size)?, &mut text) {
            break;
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        kept += text.len();
        records.push_back(LogRecord {
            sequence,
            time_ns: header.time_ns,
            level: header.level,
            text,
        });
        while kept > MOST_TEXT || records.len() > MOST_RECORDS {
            kept -= records.pop_front().map_or(kept, |record| record.text.len());
        }
    }
    (!records.is_empty()).then(|| records.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forensics::fake::Kind;

    const BUFFER: usize = 0x9000;
    const CAPACITY: u32 = 256;

    fn memory(kind: Kind, first: u32, next: u32) -> Vec<u8> {
        let mut memory = kind.memory(0x10000);
        let buffer = kind.pointer(kind.base() + BUFFER as u64);
        memory[0x8000..][..buffer.len()].copy_from_slice(&buffer);
        for (at, value) in [(0x8008, CAPACITY), (0x800c, first), (0x8010, next)] {
            memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        memory
    }

    /// Writes a record and gives the place behind it.
    fn log(memory: &mut [u8], at: usize, header: usize, text: &str) -> usize {
        let length = (header + text.len()).next_multiple_of(4);
        let record = &mut memory[BUFFER + at..][..length];
        record[..8].copy_from_slice(&2_000_000_000_u64.to_le_bytes());
        record[8..10].copy_from_slice(&(length as u16).to_le_bytes());
        record[10..12].copy_from_slice(&(text.len() as u16).to_le_bytes());
        record[15] = 6 << 5;
        record[header..][..text.len()].copy_from_slice(text.as_bytes());
        at + length
    }

    fn texts(kind: Kind, memory: &Vec<u8>) -> Option<Vec<String>> {
        let space = AddressSpace::new(memory, kind.paging());
        let variables = Variables {
            log_buf: kind.base() + 0x8000,
            log_buf_len: kind.base() + 0x8008,
            log_first_idx: kind.base() + 0x800c,
            log_next_idx: kind.base() + 0x8010,
        };
        let records = records(&space, &variables, None)?;
        Some(records.into_iter().map(|record| record.text).collect())
    }

    #[test]
    fn headers_of_both_sizes() {
        for (kind, header) in [(Kind::Long, 16), (Kind::Long, 20), (Kind::Pae, 16), (Kind::Pae, 20)]
        {
            let mut memory = memory(kind, 0, 0);
            let next = log(&mut memory, 0, header, "Linux version 4.9");
            let next = log(&mut memory, next, header, "second");
            memory[0x8010] = next as u8;
            assert_eq!(texts(kind, &memory).unwrap(), ["Linux version 4.9", "second"]);
        }
    }

    #[test]
    fn a_zero_length_leads_back_to_the_start() {
        let mut memory = memory(Kind::Long, 200, 0);
        let end = log(&mut memory, 200, 16, "old");
        assert!(end < 240, "a header without a length follows");
        let next = log(&mut memory, 0, 16, "new");
        memory[0x8010] = next as u8;
        assert_eq!(texts(Kind::Long, &memory).unwrap(), ["old", "new"]);
    }

    proptest! {
        #[test]
        fn nothing_that_lies_there_does_harm(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            first in 0..300_u32, next in 0..300_u32,
            bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(24), any::<u8>()], 256),
        ) {
            let mut memory = memory(kind, first, next);
            memory[BUFFER..BUFFER + 256].copy_from_slice(&bytes);
            let _ = texts(kind, &memory);
        }
    }
}
