//! The ring buffer of kernels since 5.10: descriptors, each with a state and the place of its text
//! in a ring of data blocks (`kernel/printk/printk_ringbuffer.c`).

use super::vmcoreinfo::VmCoreInfo;
use super::{LogRecord, MOST_RECORDS, MOST_TEXT};
use crate::forensics::memory::AddressSpace;

/// Descriptors' numbers have 62 bits; above them is the state.
const ID: u64 = u64::MAX >> 2;
const COMMITTED: u64 = 1;
const FINALIZED: u64 = 2;

/// PRB_AVGBITS: the data ring has 32 bytes for each descriptor.
const AVERAGE_BITS: u32 = 5;
const COUNT_BITS: std::ops::RangeInclusive<u32> = 4..=20;

/// Records that may be being written at the same time.
const MOST_UNFINISHED: usize = 4096;

/// Where a kernel's addresses begin.
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// Where the fields lie, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    // struct printk_ringbuffer
    desc_ring: u64,
    text_data_ring: u64,
    // struct prb_desc_ring
    count_bits: u64,
    descs: u64,
    infos: u64,
    head_id: u64,
    tail_id: u64,
    // struct prb_desc
    desc_size: u64,
    state_var: u64,
    begin: u64,
    next: u64,
    // struct printk_info
    info_size: u64,
    seq: u64,
    ts_nsec: u64,
    text_len: u64,
    // struct prb_data_ring
    size_bits: u64,
    data: u64,
}

const SINCE_5_10: Layout = Layout {
    desc_ring: 0,
    text_data_ring: 40,
    count_bits: 0,
    descs: 8,
    infos: 16,
    head_id: 24,
    tail_id: 32,
    desc_size: 24,
    state_var: 0,
    begin: 8,
    next: 16,
    info_size: 88,
    seq: 0,
    ts_nsec: 8,
    text_len: 16,
    size_bits: 0,
    data: 8,
};

impl Layout {
    /// The layouts that there have been on x86-64. 6.9 added `last_finalized_seq` to the descriptors'
    /// ring.
    pub(super) const KNOWN: [Layout; 2] = [SINCE_5_10, Layout { text_data_ring: 48, ..SINCE_5_10 }];

    /// The layout that the kernel itself describes.
    pub(super) fn from_vmcoreinfo(info: &VmCoreInfo) -> Option<Layout> {
        let text_blk_lpos = info.offset("prb_desc.text_blk_lpos")?;
        Some(Layout {
            desc_ring: info.offset("printk_ringbuffer.desc_ring")?,
            text_data_ring: info.offset("printk_ringbuffer.text_data_ring")?,
            count_bits: info.offset("prb_desc_ring.count_bits")?,
            descs: info.offset("prb_desc_ring.descs")?,
            infos: info.offset("prb_desc_ring.infos")?,
            head_id: info.offset("prb_desc_ring.head_id")?,
            tail_id: info.offset("prb_desc_ring.tail_id")?,
            desc_size: info.size("prb_desc")?,
            state_var: info.offset("prb_desc.state_var")?,
            begin: text_blk_lpos + info.offset("prb_data_blk_lpos.begin")?,
            next: text_blk_lpos + info.offset("prb_data_blk_lpos.next")?,
            info_size: info.size("printk_info")?,
            seq: info.offset("printk_info.seq")?,
            ts_nsec: info.offset("printk_info.ts_nsec")?,
            text_len: info.offset("printk_info.text_len")?,
            size_bits: info.offset("prb_data_ring.size_bits")?,
            data: info.offset("prb_data_ring.data")?,
        })
    }
}

/// A ring buffer.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    layout: Layout,
    count_bits: u32,
    descs: u64,
    infos: u64,
    head_id: u64,
    tail_id: u64,
    size_bits: u32,
    data: u64,
}

impl Ring {
    /// Whether a ring buffer could begin with this word: the number of bits, and padding.
    pub(super) fn may_begin_with(word: u64) -> bool {
        (u64::from(*COUNT_BITS.start())..=u64::from(*COUNT_BITS.end())).contains(&word)
    }

    /// The ring buffer at `address`, if there is one: sizes and addresses make sense, and the newest
    /// descriptor bears its number.
    pub(super) fn open(space: &AddressSpace<'_>, address: u64, layout: &Layout) -> Option<Ring> {
        let desc_ring = address.checked_add(layout.desc_ring)?;
        let data_ring = address.checked_add(layout.text_data_ring)?;
        let field = |base: u64, offset: u64| base.checked_add(offset);
        let count_bits = space.u32(field(desc_ring, layout.count_bits)?)?;
        let pointer = |at: Option<u64>| space.u64(at?).filter(|address| *address >= KERNEL);
        let descs = pointer(field(desc_ring, layout.descs))?;
        let infos = pointer(field(desc_ring, layout.infos))?;
        let data = pointer(field(data_ring, layout.data))?;
        let size_bits = space.u32(field(data_ring, layout.size_bits)?)?;
        if !COUNT_BITS.contains(&count_bits) || size_bits != count_bits + AVERAGE_BITS {
            return None;
        }
        let head_id = space.u64(field(desc_ring, layout.head_id)?)? & ID;
        let tail_id = space.u64(field(desc_ring, layout.tail_id)?)? & ID;
        let layout = *layout;
        let ring = Ring { layout, count_bits, descs, infos, head_id, tail_id, size_bits, data };
        let span = head_id.wrapping_sub(tail_id) & ID;
        let (id, _) = ring.state(space, head_id)?;
        (span < ring.count() && id == head_id).then_some(ring)
    }

    fn count(&self) -> u64 {
        1 << self.count_bits
    }

    fn descriptor(&self, id: u64) -> Option<u64> {
        self.descs.checked_add((id % self.count()).checked_mul(self.layout.desc_size)?)
    }

    /// The number that the descriptor in the place of `id` bears, and its state.
    fn state(&self, space: &AddressSpace<'_>, id: u64) -> Option<(u64, u64)> {
        let word = space.u64(self.descriptor(id)?.checked_add(self.layout.state_var)?)?;
        Some((word & ID, word >> 62))
    }

    /// Sequence number of the newest record, if one of the newest descriptors has one: those of records
    /// that are being written do not, and there is one of them for each CPU and context at most.
    pub(super) fn last_sequence(&self, space: &AddressSpace<'_>) -> Option<u64> {
        self.newest_first()
            .take(MOST_UNFINISHED)
            .find_map(|id| self.record(space, id))
            .map(|record| record.sequence)
    }

    fn newest_first(&self) -> impl Iterator<Item = u64> {
        let span = self.head_id.wrapping_sub(self.tail_id) & ID;
        let head = self.head_id;
        (0..=span).map(move |back| head.wrapping_sub(back) & ID)
    }

    /// The last records, oldest first.
    pub(super) fn records(&self, space: &AddressSpace<'_>) -> Vec<LogRecord> {
        let mut records = Vec::new();
        let mut text = 0;
        for record in self.newest_first().filter_map(|id| self.record(space, id)) {
            text += record.text.len();
            if text > MOST_TEXT || records.len() == MOST_RECORDS {
                break;
            }
            records.push(record);
        }
        records.reverse();
        records
    }

    /// The record of a descriptor, if it was written to the end and not been replaced.
    fn record(&self, space: &AddressSpace<'_>, id: u64) -> Option<LogRecord> {
        let (found, state) = self.state(space, id)?;
        if found != id || !matches!(state, COMMITTED | FINALIZED) {
            return None;
        }
        let offset = (id % self.count()).checked_mul(self.layout.info_size)?;
        let info = self.infos.checked_add(offset)?;
        // text_len, facility, flags and level: 2, 1 and 1 bytes.
        let [low, high, _, flags] = space.array(info.checked_add(self.layout.text_len)?)?;
        Some(LogRecord {
            sequence: space.u64(info.checked_add(self.layout.seq)?)?,
            time_ns: space.u64(info.checked_add(self.layout.ts_nsec)?)?,
            level: flags >> 5,
            text: self.text(space, id, usize::from(u16::from_le_bytes([low, high])))?,
        })
    }

    /// The text of a descriptor: `length` bytes, unless its block is shorter.
    fn text(&self, space: &AddressSpace<'_>, id: u64, length: usize) -> Option<String> {
        let descriptor = self.descriptor(id)?;
        let begin = space.u64(descriptor.checked_add(self.layout.begin)?)?;
        let next = space.u64(descriptor.checked_add(self.layout.next)?)?;
        // A record without text, or for whose text there was no room.
        if begin & next & 1 == 1 {
            return Some(String::new());
        }
        let size = 1_u64 << self.size_bits;
        let (from, to) = (begin % size, next % size);
        let same_wrap = begin >> self.size_bits == next >> self.size_bits;
        let next_wrap = begin.wrapping_add(size) >> self.size_bits == next >> self.size_bits;
        let block = match (same_wrap, next_wrap) {
            (true, _) if from < to => from..to,
            // To the very end of the ring.
            (_, true) if to == 0 => from..size,
            // One that does not fit there is at the start, as a whole.
            (_, true) => 0..to,
            _ => return None,
        };
        let at = self.data.checked_add(block.start)?;
        let room = (block.end - block.start).checked_sub(8)?;
        if space.u64(at)? & ID != id {
            return None;
        }
        let mut bytes = vec![0; length.min(usize::try_from(room).ok()?)];
        space
            .read(at.checked_add(8)?, &mut bytes)
            .then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::forensics::memory::tests::{image_memory, long_mode};
    use crate::forensics::memory::{AddressSpace, IMAGE_START};
    use crate::forensics::printk::{LogSource, read};
    use crate::forensics::symbols::KernelSymbols;

    const RING: u64 = 0x8100;
    const DESCS: u64 = 0x9000;
    const INFOS: u64 = 0xa000;
    const DATA: u64 = 0xc000;
    const BITS: u32 = 5;
    const SIZE: u64 = 1 << (BITS + AVERAGE_BITS);

    /// A kernel that logs, as `prb_reserve` and `prb_commit` do it.
    struct Logger {
        memory: Vec<u8>,
        data_ring: u64,
        next_id: u64,
        next_lpos: u64,
        sequence: u64,
        /// Numbers and places of what is not overwritten yet.
        blocks: VecDeque<(u64, u64)>,
    }

    impl Logger {
        fn new(data_ring: u64) -> Logger {
            let mut logger = Logger {
                memory: image_memory(0x10000),
                data_ring: RING + data_ring,
                // As DESC0_ID does, so that numbers wrap soon.
                next_id: ID - 3,
                next_lpos: SIZE.wrapping_neg(),
                sequence: 0,
                blocks: VecDeque::new(),
            };
            logger.put(RING, &BITS.to_le_bytes());
            logger.put(RING + 8, &(IMAGE_START + DESCS).to_le_bytes());
            logger.put(RING + 16, &(IMAGE_START + INFOS).to_le_bytes());
            logger.put(logger.data_ring, &(BITS + AVERAGE_BITS).to_le_bytes());
            logger.put(logger.data_ring + 8, &(IMAGE_START + DATA).to_le_bytes());
            logger.put(RING + 32, &(ID - 3).to_le_bytes());
            logger
        }

        fn put(&mut self, at: u64, bytes: &[u8]) {
            self.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        fn log(&mut self, text: &str) {
            let (id, seq) = (self.next_id, self.sequence);
            self.next_id = (id + 1) & ID;
            self.sequence += 1;
            let size = (8 + text.len() as u64).next_multiple_of(8);
            let begin = self.next_lpos;
            let mut next = begin.wrapping_add(size);
            let mut at = begin % SIZE;
            if at + size > SIZE {
                at = 0;
                next = (begin / SIZE * SIZE).wrapping_add(SIZE + size);
            }
            self.next_lpos = next;
            // A descriptor is used again only after its block was given up.
            if self.blocks.len() == 1 << BITS {
                self.blocks.pop_front();
            }
            self.blocks.push_back((id, begin));
            while let Some((old, begin)) = self.blocks.pop_front() {
                if next.wrapping_sub(begin) <= SIZE {
                    self.blocks.push_front((old, begin));
                    break;
                }
                let reusable = old | 3 << 62;
                self.put(DESCS + old % (1 << BITS) * 24, &reusable.to_le_bytes());
            }
            self.put(DATA + at, &id.to_le_bytes());
            self.put(DATA + at + 8, text.as_bytes());
            let slot = id % (1 << BITS);
            let descriptor = DESCS + slot * 24;
            self.put(descriptor, &(id | FINALIZED << 62).to_le_bytes());
            self.put(descriptor + 8, &begin.to_le_bytes());
            self.put(descriptor + 16, &next.to_le_bytes());
            let info = INFOS + slot * 88;
            self.put(info, &seq.to_le_bytes());
            self.put(info + 8, &(seq * 1_500_000).to_le_bytes());
            self.put(info + 16, &(text.len() as u16).to_le_bytes());
            self.put(info + 19, &[4 << 5]);
            self.put(RING + 24, &id.to_le_bytes());
            let tail = if seq < 1 << BITS { ID - 3 } else { id.wrapping_sub((1 << BITS) - 1) & ID };
            self.put(RING + 32, &tail.to_le_bytes());
        }

        fn read(&self) -> Option<crate::forensics::printk::KernelLog> {
            let space = AddressSpace::new(&self.memory, long_mode(0x1000));
            read(&space, &KernelSymbols::default(), 0).ok()
        }
    }

    #[test]
    fn both_layouts_are_found_and_read() {
        for data_ring in [40, 48] {
            let mut logger = Logger::new(data_ring);
            assert!(logger.read().is_none(), "nothing is there yet");
            logger.log("Linux version 6.1");
            logger.log("two\nlines");
            let log = logger.read().unwrap();
            assert_eq!(log.source, LogSource::Search);
            let lines: Vec<_> = log.records.iter().flat_map(LogRecord::lines).collect();
            assert_eq!(
                lines,
                ["[    0.000000] Linux version 6.1", "[    0.001500] two", "[    0.001500] lines"]
            );
            assert!(log.records.iter().all(|record| record.level == 4));
        }
    }

    #[test]
    fn a_symbol_leads_there_even_if_the_kernel_was_moved() {
        let mut logger = Logger::new(40);
        logger.log("hello");
        logger.put(0xf000, &(IMAGE_START + RING).to_le_bytes());
        let symbols = KernelSymbols::collect(|name| (name == "prb").then_some(IMAGE_START));
        let space = AddressSpace::new(&logger.memory, long_mode(0x1000));
        let log = read(&space, &symbols, 0xf000).unwrap();
        assert_eq!((log.source, log.records.len()), (LogSource::Symbols, 1));
    }

    proptest! {
        /// Whatever is logged, what is left in the buffers is read as it was written.
        #[test]
        fn what_is_left_is_what_was_written_last(texts in prop::collection::vec("[a-z]{0,60}", 1..200)) {
            let mut logger = Logger::new(40);
            for text in &texts {
                logger.log(text);
            }
            let records = logger.read().unwrap().records;
            let read: Vec<&String> = records.iter().map(|record| &record.text).collect();
            let last: Vec<&String> = texts[texts.len() - logger.blocks.len()..].iter().collect();
            prop_assert_eq!(read, last);
        }

        /// Whatever lies there is read without harm.
        #[test]
        fn damage_does_no_harm(damage in prop::collection::vec((RING..0x10000, any::<u8>()), 0..40)) {
            let mut logger = Logger::new(40);
            for number in 0..50 {
                logger.log(&format!("message {number}"));
            }
            for (at, byte) in damage {
                logger.put(at, &[byte]);
            }
            if let Some(log) = logger.read() {
                prop_assert!(log.records.len() <= MOST_RECORDS);
            }
        }
    }
}
