//! The memory of kernels made by hand: their page tables, their code, and the log that they keep.
//!
//! Nothing here is shared with the code that reads it.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses its part")]

use std::collections::VecDeque;

/// Kernels of each kind of page tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Long,
    Pae,
    Legacy,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Long, Kind::Pae, Kind::Legacy];

    /// CR0, CR3, CR4 and EFER.
    pub fn control_registers(self) -> [u64; 4] {
        let (pse, pae, long) = (1 << 4, 1 << 5, 1 << 10);
        let (cr4, efer) = match self {
            Kind::Long => (pae, long),
            Kind::Pae => (pae, 0),
            Kind::Legacy => (pse, 0),
        };
        [1 << 31, 0x1000, cr4, efer]
    }

    /// Where the image is mapped.
    pub fn base(self) -> u64 {
        if self == Kind::Long { 0xffff_ffff_8000_0000 } else { 0xc000_0000 }
    }

    /// Bytes of a pointer.
    pub fn word(self) -> u64 {
        if self == Kind::Long { 8 } else { 4 }
    }

    /// A pointer, or a `long`.
    pub fn pointer(self, value: u64) -> Vec<u8> {
        value.to_le_bytes()[..self.word() as usize].to_vec()
    }

    /// Memory with a top-level table at 0x1000 that maps the kernel's image at physical 0 on, in pages
    /// of 4 KiB: writable from 0x8000 on.
    pub fn memory(self, size: usize) -> Vec<u8> {
        let mut memory = vec![0; size];
        let entry = if self == Kind::Legacy { 4 } else { 8 };
        let mut put = |table: usize, index: usize, value: u64| {
            memory[table + index * entry..][..entry].copy_from_slice(&value.to_le_bytes()[..entry]);
        };
        match self {
            Kind::Long => {
                put(0x1000, 511, 0x2003);
                put(0x2000, 510, 0x3003);
                put(0x3000, 0, 0x4003);
            }
            Kind::Pae => {
                put(0x1000, 3, 0x2001);
                put(0x2000, 0, 0x4003);
            }
            Kind::Legacy => put(0x1000, 768, 0x4003),
        }
        for page in 0..(size / 4096).min(512) {
            let flags = if page < 8 { 1 } else { 3 };
            put(0x4000, page, (page as u64 * 4096) | flags);
        }
        memory
    }
}

/// The code of a kernel of three functions: `outer` calls `middle`, and that `inner`.
pub const TEXT: u64 = 0x5000;
/// Where `outer` and `middle` go on when what they called returns, and a place in `inner`.
pub const IN_OUTER: u64 = TEXT + 0x16;
pub const IN_MIDDLE: u64 = TEXT + 0x108;
pub const IN_INNER: u64 = TEXT + 0x210;
/// The tables by which its stack is unwound.
pub const ORC_ADDRESSES: u64 = 0x6000;
pub const ORC_ENTRIES: u64 = 0x7000;

/// Where a stretch of code begins, sp_offset, bp_offset, bases, bits.
pub type OrcEntry = (u64, i16, i16, u8, u8);

/// Memory with that code, and so many bytes in all.
pub fn code(kind: Kind, size: usize) -> Vec<u8> {
    let mut memory = kind.memory(size);
    put(&mut memory, IN_OUTER - 5, &[0xe8, 0, 0, 0, 0]); // call
    put(&mut memory, IN_MIDDLE - 2, &[0xff, 0xd0]); // call *%rax
    memory
}

/// Puts the tables there.
pub fn put_orc(memory: &mut [u8], entries: &[OrcEntry]) {
    for (index, (start, sp, bp, bases, bits)) in (0..).zip(entries) {
        let at = ORC_ADDRESSES + 4 * index;
        put(memory, at, &(*start as i32 - at as i32).to_le_bytes());
        let [[a, b], [c, d]] = [sp, bp].map(|offset| offset.to_le_bytes());
        put(memory, ORC_ENTRIES + 6 * index, &[a, b, c, d, *bases, *bits]);
    }
}

/// The symbols of the code and of so many entries of the tables, from where the image is mapped.
pub fn code_symbols(entries: u64) -> [(&'static str, u64); 6] {
    [
        ("_stext", TEXT),
        ("_etext", TEXT + 0x1000),
        ("__start_orc_unwind_ip", ORC_ADDRESSES),
        ("__stop_orc_unwind_ip", ORC_ADDRESSES + 4 * entries),
        ("__start_orc_unwind", ORC_ENTRIES),
        ("__stop_orc_unwind", ORC_ENTRIES + 6 * entries),
    ]
}

pub fn put(memory: &mut [u8], at: u64, bytes: &[u8]) {
    memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
}

pub const RING: u64 = 0x8100;
pub const DESCS: u64 = 0x9000;
pub const INFOS: u64 = 0xa000;
pub const DATA: u64 = 0xc000;
pub const NOTE: u64 = 0xd000;
pub const PRB: u64 = 0xf000;
pub const BITS: u32 = 5;
pub const COUNT: u64 = 1 << BITS;
pub const SIZE: u64 = 1 << (BITS + 5);

/// A kernel that logs, as `prb_reserve` and `prb_commit` do it.
pub struct Logger {
    pub memory: Vec<u8>,
    pub kind: Kind,
    /// Bytes of `printk_info`.
    info_size: u64,
    /// Words of the descriptors' ring.
    desc_ring: u64,
    next_id: u64,
    pub next_lpos: u64,
    sequence: u64,
    /// Numbers and places of what is not overwritten yet.
    pub blocks: VecDeque<(u64, u64)>,
}

impl Logger {
    pub fn new(kind: Kind, desc_ring: u64) -> Logger {
        Logger::with_info(kind, desc_ring, 88)
    }

    pub fn with_info(kind: Kind, desc_ring: u64, info_size: u64) -> Logger {
        let mut logger = Logger {
            memory: kind.memory(0x10000),
            kind,
            info_size,
            desc_ring,
            // As DESC0_ID and BLK0_LPOS do, so that numbers wrap soon.
            next_id: 0,
            next_lpos: SIZE.wrapping_neg(),
            sequence: 0,
            blocks: VecDeque::new(),
        };
        logger.next_id = COUNT.wrapping_neg() & logger.numbers();
        logger.put(RING, &BITS.to_le_bytes());
        logger.put_word(RING + kind.word(), kind.base() + DESCS);
        logger.put_word(RING + 2 * kind.word(), kind.base() + INFOS);
        let data_ring = RING + desc_ring * kind.word();
        logger.put(data_ring, &(BITS + 5).to_le_bytes());
        logger.put_word(data_ring + kind.word(), kind.base() + DATA);
        logger.put_word(RING + 4 * kind.word(), logger.next_id);
        logger
    }

    pub fn numbers(&self) -> u64 {
        self.longest() >> 2
    }

    pub fn longest(&self) -> u64 {
        u64::MAX >> (64 - 8 * self.kind.word())
    }

    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        put(&mut self.memory, at, bytes);
    }

    pub fn put_word(&mut self, at: u64, value: u64) {
        self.put(at, &self.kind.pointer(value));
    }

    pub fn log(&mut self, text: &str) {
        let (id, seq, word) = (self.next_id, self.sequence, self.kind.word());
        let state = |state: u64| state << (8 * word - 2);
        self.next_id = (id + 1) & self.numbers();
        self.sequence += 1;
        let size = (word + text.len() as u64).next_multiple_of(word);
        let begin = self.next_lpos;
        let mut next = begin.wrapping_add(size);
        let mut at = begin % SIZE;
        if at + size > SIZE {
            at = 0;
            next = (begin / SIZE * SIZE).wrapping_add(SIZE + size);
        }
        self.next_lpos = next;
        // A descriptor is used again only after its block was given up.
        if self.blocks.len() as u64 == COUNT {
            self.blocks.pop_front();
        }
        self.blocks.push_back((id, begin));
        while let Some((old, begin)) = self.blocks.pop_front() {
            if next.wrapping_sub(begin) <= SIZE {
                self.blocks.push_front((old, begin));
                break;
            }
            self.put_word(DESCS + old % COUNT * 3 * word, old | state(3));
        }
        self.put_word(DATA + at, id);
        self.put(DATA + at + word, text.as_bytes());
        let slot = id % COUNT;
        let descriptor = DESCS + slot * 3 * word;
        self.put_word(descriptor, id | state(2 /* desc_finalized */));
        self.put_word(descriptor + word, begin);
        self.put_word(descriptor + 2 * word, next);
        let info = INFOS + slot * self.info_size;
        self.put(info, &seq.to_le_bytes());
        self.put(info + 8, &(seq * 1_500_000).to_le_bytes());
        self.put(info + 16, &(text.len() as u16).to_le_bytes());
        self.put(info + 19, &[4 << 5]);
        self.put_word(RING + 3 * word, id);
        let oldest = id.wrapping_sub(seq.min(COUNT - 1)) & self.numbers();
        self.put_word(RING + 4 * word, oldest);
    }

    /// Leaves the note that describes all that.
    pub fn note(&mut self) {
        let word = self.kind.word();
        let sizes = [("prb_desc", 3 * word), ("printk_info", self.info_size)];
        let offsets = [
            ("printk_ringbuffer.desc_ring", 0),
            ("printk_ringbuffer.text_data_ring", self.desc_ring * word),
            ("prb_desc_ring.count_bits", 0),
            ("prb_desc_ring.descs", word),
            ("prb_desc_ring.infos", 2 * word),
            ("prb_desc_ring.head_id", 3 * word),
            ("prb_desc_ring.tail_id", 4 * word),
            ("prb_desc.state_var", 0),
            ("prb_desc.text_blk_lpos", word),
            ("prb_data_blk_lpos.begin", 0),
            ("prb_data_blk_lpos.next", word),
            ("printk_info.seq", 0),
            ("printk_info.ts_nsec", 8),
            ("printk_info.text_len", 16),
            ("prb_data_ring.size_bits", 0),
            ("prb_data_ring.data", word),
        ];
        let prb = self.prb();
        let mut note = format!("OSRELEASE=6.19.0\nPAGESIZE=4096\nSYMBOL(prb)={prb:x}\n");
        note.extend(sizes.map(|(name, size)| format!("SIZE({name})={size}\n")));
        note.extend(offsets.map(|(name, offset)| format!("OFFSET({name})={offset}\n")));
        self.put(NOTE, note.as_bytes());
    }

    /// Where a pointer to the ring lies, as `prb` does.
    pub fn prb(&mut self) -> u64 {
        self.put_word(PRB, self.kind.base() + RING);
        self.kind.base() + PRB
    }
}
