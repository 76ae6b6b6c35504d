//! The ring buffer of kernels since 5.10: descriptors, each with a state and the place of its text
//! in a ring of data blocks (`kernel/printk/printk_ringbuffer.c`).

use super::vmcoreinfo::VmCoreInfo;
use super::{LogRecord, MOST_RECORDS, MOST_TEXT};
use crate::forensics::memory::AddressSpace;

/// States of a descriptor: the two topmost bits of the word that has its number in the others.
const COMMITTED: u64 = 1;
const FINALIZED: u64 = 2;

/// PRB_AVGBITS: the data ring has 32 bytes for each descriptor.
const AVERAGE_BITS: u32 = 5;
const COUNT_BITS: std::ops::RangeInclusive<u32> = 4..=20;

/// Records that may be being written at the same time.
const MOST_UNFINISHED: usize = 4096;

/// Records that are looked at to see whether the layout is the right one.
const SAMPLES: usize = 4;

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

impl Layout {
    /// The layouts that there have been on x86, of 64-bit or of 32-bit kernels. 6.9 added
    /// `last_finalized_seq` to the descriptors' ring.
    pub(super) fn known(space: &AddressSpace<'_>) -> [Layout; 2] {
        let word = space.word_size();
        let since_5_10 = Layout {
            desc_ring: 0,
            text_data_ring: 5 * word,
            count_bits: 0,
            descs: word,
            infos: 2 * word,
            head_id: 3 * word,
            tail_id: 4 * word,
            desc_size: 3 * word,
            state_var: 0,
            begin: word,
            next: 2 * word,
            info_size: 88,
            seq: 0,
            ts_nsec: 8,
            text_len: 16,
            size_bits: 0,
            data: word,
        };
        [since_5_10, Layout { text_data_ring: 6 * word, ..since_5_10 }]
    }

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
    /// Bytes of a `long`, and the largest one.
    word: u64,
    longest: u64,
    count_bits: u32,
    descs: u64,
    infos: u64,
    head_id: u64,
    tail_id: u64,
    size_bits: u32,
    data: u64,
}

impl Ring {
    /// Whether a ring buffer could begin with this word: nearly none is so small a number.
    #[inline]
    pub(super) fn may_begin_with_word(word: &[u8]) -> bool {
        matches!(word, [bits, 0, 0, 0, ..] if COUNT_BITS.contains(&u32::from(*bits)))
    }

    /// Whether a ring buffer could begin with these bytes, as far as there are any: the number of
    /// bits, padding where a word has more than 4 bytes, and two pointers.
    pub(super) fn may_begin_with(space: &AddressSpace<'_>, bytes: &[u8]) -> bool {
        let mut words = bytes
            .chunks_exact(usize::try_from(space.word_size()).unwrap_or(1))
            .map(|word| word.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)));
        words.next().is_some_and(|bits| bits <= u64::from(*COUNT_BITS.end()))
            && words.take(2).all(|pointer| space.is_kernel(pointer))
    }

    /// The ring buffer at `address`, if there is one: sizes and addresses make sense, and the newest
    /// descriptor bears its number. Whether the layout is its own, [`Ring::has_sense`] says.
    pub(super) fn open(space: &AddressSpace<'_>, address: u64, layout: &Layout) -> Option<Ring> {
        let desc_ring = address.checked_add(layout.desc_ring)?;
        let data_ring = address.checked_add(layout.text_data_ring)?;
        let field = |base: u64, offset: u64| base.checked_add(offset);
        let count_bits = space.u32(field(desc_ring, layout.count_bits)?)?;
        if !COUNT_BITS.contains(&count_bits) {
            return None;
        }
        let pointer = |at: Option<u64>| space.word(at?).filter(|to| space.is_kernel(*to));
        let descs = pointer(field(desc_ring, layout.descs))?;
        let infos = pointer(field(desc_ring, layout.infos))?;
        let data = pointer(field(data_ring, layout.data))?;
        let size_bits = space.u32(field(data_ring, layout.size_bits)?)?;
        if size_bits != count_bits + AVERAGE_BITS {
            return None;
        }
        let number = space.longest() >> 2;
        let head_id = space.word(field(desc_ring, layout.head_id)?)? & number;
        let tail_id = space.word(field(desc_ring, layout.tail_id)?)? & number;
        let layout = *layout;
        let ring = Ring {
            layout,
            word: space.word_size(),
            longest: space.longest(),
            count_bits,
            descs,
            infos,
            head_id,
            tail_id,
            size_bits,
            data,
        };
        let (id, _) = ring.state(space, head_id)?;
        (ring.span() < ring.count() && id == head_id).then_some(ring)
    }

    /// Whether the newest records' sequence numbers are those of their places: the first record of
    /// all was in the first one (`prb_reserve()`). In the wrong layout they are anything.
    pub(super) fn has_sense(&self, space: &AddressSpace<'_>) -> bool {
        self.newest_first()
            .take(MOST_UNFINISHED)
            .filter_map(|id| Some((id, self.info(space, id)?)))
            .take(SAMPLES)
            .all(|(id, info)| {
                let place = |number: u64| number % self.count();
                space.u64(info.saturating_add(self.layout.seq)).map(place) == Some(place(id))
            })
    }

    fn count(&self) -> u64 {
        1 << self.count_bits
    }

    fn descriptor(&self, id: u64) -> Option<u64> {
        self.descs.checked_add((id % self.count()).checked_mul(self.layout.desc_size)?)
    }

    /// The number that the descriptor in the place of `id` bears, and its state.
    fn state(&self, space: &AddressSpace<'_>, id: u64) -> Option<(u64, u64)> {
        let word = space.word(self.descriptor(id)?.checked_add(self.layout.state_var)?)?;
        Some((word & self.numbers(), word >> (8 * self.word - 2) & 3))
    }

    /// The largest number of a descriptor: all bits of a word but the two of the state.
    fn numbers(&self) -> u64 {
        self.longest >> 2
    }

    /// From the oldest descriptor to the newest one.
    fn span(&self) -> u64 {
        self.head_id.wrapping_sub(self.tail_id) & self.numbers()
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
        let (head, numbers) = (self.head_id, self.numbers());
        (0..=self.span()).map(move |back| head.wrapping_sub(back) & numbers)
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

    /// The `printk_info` of a descriptor whose record was written to the end and not been replaced.
    fn info(&self, space: &AddressSpace<'_>, id: u64) -> Option<u64> {
        let (found, state) = self.state(space, id)?;
        if found != id || !matches!(state, COMMITTED | FINALIZED) {
            return None;
        }
        let offset = (id % self.count()).checked_mul(self.layout.info_size)?;
        self.infos.checked_add(offset)
    }

    /// The record of a descriptor, if it has one.
    fn record(&self, space: &AddressSpace<'_>, id: u64) -> Option<LogRecord> {
        let info = self.info(space, id)?;
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
        let begin = space.word(descriptor.checked_add(self.layout.begin)?)?;
        let next = space.word(descriptor.checked_add(self.layout.next)?)?;
        // A record without text, or for whose text there was no room.
        if begin & next & 1 == 1 {
            return Some(String::new());
        }
        let size = 1_u64 << self.size_bits;
        let (from, to) = (begin % size, next % size);
        let same_wrap = begin >> self.size_bits == next >> self.size_bits;
        let wrapped = begin.wrapping_add(size) & self.longest;
        let next_wrap = wrapped >> self.size_bits == next >> self.size_bits;
        let block = match (same_wrap, next_wrap) {
            (true, _) if from < to => from..to,
            // To the very end of the ring.
            (_, true) if to == 0 => from..size,
            // One that does not fit there is at the start, as a whole.
            (_, true) => 0..to,
            _ => return None,
        };
        let at = self.data.checked_add(block.start)?;
        let room = (block.end - block.start).checked_sub(self.word)?;
        if space.word(at)? & self.numbers() != id {
            return None;
        }
        let mut bytes = vec![0; length.min(usize::try_from(room).ok()?)];
        space
            .read(at.checked_add(self.word)?, &mut bytes)
            .then(|| String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forensics::fake::{BITS, Kind, Logger, RING, SIZE};
    use crate::forensics::memory::AddressSpace;
    use crate::forensics::printk::{KernelLog, LogError, LogSource, read};
    use crate::forensics::symbols::KernelSymbols;

    /// With a pointer `prb` to the ring, and the symbol of one, if it is wanted.
    fn read_by(logger: &mut Logger, symbol: bool) -> Result<KernelLog, LogError> {
        let prb = logger.prb();
        let symbols = KernelSymbols::collect(|name| (symbol && name == "prb").then_some(prb));
        read(&AddressSpace::new(&logger.memory, logger.kind.paging()), &symbols, 0)
    }

    fn search(logger: &Logger) -> Option<KernelLog> {
        let space = AddressSpace::new(&logger.memory, logger.kind.paging());
        read(&space, &KernelSymbols::default(), 0).ok()
    }

    #[test]
    fn every_layout_is_found_and_read() {
        for (kind, desc_ring) in Kind::ALL.into_iter().flat_map(|kind| [(kind, 5), (kind, 6)]) {
            let mut logger = Logger::new(kind, desc_ring);
            assert!(search(&logger).is_none(), "nothing is there yet");
            logger.log("Linux version 6.1");
            logger.log("two\nlines");
            let log = search(&logger).unwrap();
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
        let mut logger = Logger::new(Kind::Long, 5);
        logger.log("hello");
        let base = logger.kind.base();
        logger.put(0xf000, &(base + RING).to_le_bytes());
        let symbols = KernelSymbols::collect(|name| (name == "prb").then_some(base));
        let space = AddressSpace::new(&logger.memory, logger.kind.paging());
        let log = read(&space, &symbols, 0xf000).unwrap();
        assert_eq!((log.source, log.records.len()), (LogSource::Symbols, 1));
    }

    /// A kernel that no list of layouts has yet.
    #[test]
    fn what_the_kernel_says_of_its_layout_is_believed_and_no_other_one_is_guessed() {
        for kind in Kind::ALL {
            let mut logger = Logger::with_info(kind, 6, 112);
            (0..5).for_each(|number| logger.log(&format!("message {number}")));
            assert_eq!(read_by(&mut logger, true), Err(LogError::NotFound), "{kind:?}");
            logger.note();
            for symbol in [true, false] {
                let log = read_by(&mut logger, symbol).unwrap();
                assert_eq!(log.source, LogSource::VmCoreInfo, "{kind:?}");
                let texts: Vec<_> = log.records.iter().map(|record| &*record.text).collect();
                let wanted: Vec<_> = (0..5).map(|number| format!("message {number}")).collect();
                assert_eq!(texts, wanted, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_kernel_that_fills_its_memory_with_what_a_ring_begins_with_is_given_up() {
        let mut logger = Logger::new(Kind::Pae, 5);
        logger.log("hello");
        // The ring at the end of 32 MiB, all of it mapped in large pages.
        logger.memory.resize(32 << 20, 0);
        for page in 1..16_u64 {
            logger.put(0x2000 + page * 8, &(page << 21 | 0x83).to_le_bytes());
        }
        let ring: Vec<u8> = logger.memory.drain(RING as usize..RING as usize + 64).collect();
        logger.memory.splice(RING as usize..RING as usize, [0; 64]);
        logger.put(31 << 20, &ring);
        assert_eq!(search(&logger).unwrap().records[0].text, "hello");
        let begin: Vec<u8> =
            [BITS, 0xc000_8100, 0xc000_8100].into_iter().flat_map(u32::to_le_bytes).collect();
        for place in logger.memory[2 << 20..30 << 20].chunks_exact_mut(begin.len()) {
            place.copy_from_slice(&begin);
        }
        assert_eq!(search(&logger), None);
    }

    proptest! {
        /// Whatever is logged, what is left in the buffers is read as it was written.
        #[test]
        fn what_is_left_is_what_was_written_last(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            texts in prop::collection::vec("[a-z]{0,60}", 1..200),
        ) {
            let mut logger = Logger::new(kind, 5);
            for text in &texts {
                logger.log(text);
            }
            let records = search(&logger).unwrap().records;
            let read: Vec<&String> = records.iter().map(|record| &record.text).collect();
            let last: Vec<&String> = texts[texts.len() - logger.blocks.len()..].iter().collect();
            prop_assert_eq!(read, last);
        }

        /// Whatever lies there is read without harm.
        #[test]
        fn damage_does_no_harm(
            kind in prop::sample::select(Kind::ALL.to_vec()),
            noted: bool,
            damage in prop::collection::vec((0x1000..0x10000_u64, any::<u8>()), 0..40),
        ) {
            let mut logger = Logger::new(kind, 5);
            for number in 0..50 {
                logger.log(&format!("message {number}"));
            }
            if noted {
                logger.note();
            }
            for (at, byte) in damage {
                logger.put(at, &[byte]);
            }
            if let Ok(log) = read_by(&mut logger, noted) {
                prop_assert!(log.records.len() <= MOST_RECORDS);
            }
        }
    }

    #[test]
    fn lpos_wrap_where_a_long_ends() {
        // 32 KiB of text: its places wrap from the last of a `long` to the first.
        for kind in Kind::ALL {
            let mut logger = Logger::new(kind, 5);
            (0..70).for_each(|_| logger.log("fifteen letters"));
            let log = search(&logger).unwrap();
            assert_eq!(log.records.len(), logger.blocks.len());
            assert!(logger.next_lpos & logger.longest() < SIZE * 4, "{kind:?}");
        }
    }
}
