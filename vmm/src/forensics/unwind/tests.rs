//! Stacks of a kernel of three functions, and tables for them.

use proptest::prelude::*;

use super::*;
use crate::forensics::fake::{
    IN_INNER, IN_MIDDLE, IN_OUTER, Kind, ORC_ADDRESSES, OrcEntry, TEXT, code, code_symbols, put,
    put_orc,
};
use crate::forensics::memory::IMAGE_START;

const STACK_TOP: u64 = 0x10000;

struct Memory(Vec<u8>);

impl Memory {
    fn new() -> Memory {
        Memory(code(Kind::Long, 0x12000))
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        put(&mut self.0, at, bytes);
    }

    fn push(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn tables(&mut self, entries: &[OrcEntry]) {
        put_orc(&mut self.0, entries);
    }
}

fn symbols(entries: u64) -> KernelSymbols {
    let known = code_symbols(entries);
    KernelSymbols::collect(|name| {
        let symbol = known.iter().find(|(known, _)| *known == name);
        symbol.map(|(_, address)| IMAGE_START + address)
    })
}

fn registers(rsp: u64, rbp: u64) -> Registers {
    Registers {
        rip: IMAGE_START + IN_INNER,
        rsp: IMAGE_START + rsp,
        rbp: IMAGE_START + rbp,
        cs: 0x10,
        ..Registers::default()
    }
}

fn trace(
    memory: &Memory,
    symbols: &KernelSymbols,
    registers: &Registers,
) -> Vec<(u64, FrameSource)> {
    let space = AddressSpace::new(&memory.0, Kind::Long.paging());
    let code = Code::new(&space, symbols, 0);
    let frames = backtrace(&space, &code, registers);
    frames.iter().map(|frame| (frame.address.wrapping_sub(IMAGE_START), frame.source)).collect()
}

const SP_BASE: u8 = 5;

#[test]
fn orc_tables_of_both_kinds() {
    for (call, end) in [(0, 0), (2, 1)] {
        let mut memory = Memory::new();
        memory.push(STACK_TOP - 16, IMAGE_START + 0xdead); // a remain of an earlier call
        memory.push(STACK_TOP - 24, IMAGE_START + IN_OUTER);
        memory.push(STACK_TOP - 48, IMAGE_START + IN_MIDDLE);
        memory.tables(&[
            (TEXT, 16, 0, if end == 1 { SP_BASE } else { 0 }, end),
            (TEXT + 0x100, 24, 0, SP_BASE, call),
            (TEXT + 0x200, 16, 0, SP_BASE, call),
        ]);
        let frames = trace(&memory, &symbols(3), &registers(STACK_TOP - 56, 0));
        assert_eq!(
            frames,
            [
                (IN_INNER, FrameSource::Register),
                (IN_MIDDLE, FrameSource::Orc),
                (IN_OUTER, FrameSource::Orc),
            ]
        );
    }
}

#[test]
fn an_interrupt_leads_to_what_it_interrupted_and_not_into_user_space() {
    let mut memory = Memory::new();
    // inner is an interrupt's entry: pt_regs lie at the stack pointer.
    let frame = STACK_TOP - 0x200;
    memory.push(frame + 128, IMAGE_START + TEXT + 0x100);
    memory.push(frame + 136, 0x10);
    memory.push(frame + 152, IMAGE_START + STACK_TOP - 32);
    memory.push(STACK_TOP - 32, IMAGE_START + IN_OUTER);
    let call = (TEXT + 0x100, 8, 0, SP_BASE, 2);
    memory.tables(&[(TEXT, 0, 0, 0, 1), call, (TEXT + 0x200, 0, 0, SP_BASE, 3)]);
    let frames = trace(&memory, &symbols(3), &registers(frame, 0));
    let addresses: Vec<_> = frames.iter().map(|(address, _)| *address).collect();
    assert_eq!(addresses, [IN_INNER, TEXT + 0x100, IN_OUTER]);

    memory.push(frame + 136, 0x33);
    assert_eq!(trace(&memory, &symbols(3), &registers(frame, 0)).len(), 1);
    let user = Registers { cs: 0x33, ..registers(frame, 0) };
    assert_eq!(trace(&memory, &symbols(3), &user).len(), 1);
}

#[test]
fn frame_pointers_and_then_a_scan() {
    let mut memory = Memory::new();
    let frame = STACK_TOP - 64;
    memory.push(frame, IMAGE_START + frame + 32);
    memory.push(frame + 8, IMAGE_START + IN_MIDDLE);
    memory.push(frame + 32, 0);
    memory.push(frame + 40, 7); // the chain ends here
    memory.push(frame + 56, IMAGE_START + IN_OUTER);
    let frames = trace(&memory, &KernelSymbols::default(), &registers(frame - 8, frame));
    assert_eq!(
        frames,
        [
            (IN_INNER, FrameSource::Register),
            (IN_MIDDLE, FrameSource::FramePointer),
            (IN_OUTER, FrameSource::Scan),
        ]
    );
}

#[test]
fn a_scan_takes_what_follows_a_call() {
    let mut memory = Memory::new();
    memory.push(STACK_TOP - 32, IMAGE_START + IN_OUTER + 1);
    memory.push(STACK_TOP - 16, IMAGE_START + IN_OUTER);
    memory.push(STACK_TOP + 16, IMAGE_START + IN_MIDDLE); // another stack
    let frames = trace(&memory, &KernelSymbols::default(), &registers(STACK_TOP - 40, 0));
    assert_eq!(frames, [(IN_INNER, FrameSource::Register), (IN_OUTER, FrameSource::Scan)]);
}

#[test]
fn a_moved_kernels_addresses_are_those_of_its_symbols() {
    let memory = Memory::new();
    let space = AddressSpace::new(&memory.0, Kind::Long.paging());
    let code = Code::new(&space, &KernelSymbols::default(), 0x1000);
    let frames = backtrace(&space, &code, &registers(STACK_TOP - 8, 0));
    assert_eq!(frames[0].address, IMAGE_START + IN_INNER - 0x1000);
}

/// A 32-bit kernel's memory, and what its stack holds: words, by where they lie.
fn i386(kind: Kind, stack: &[(u64, u64)]) -> Memory {
    let mut memory = Memory(code(kind, 0x12000));
    memory.put(IN_MIDDLE - 7, &[0xff, 0x14, 0x85, 0, 0, 0, 0]); // call *table(,%eax,4)
    for (at, word) in stack {
        memory.put(*at, &kind.pointer(*word));
    }
    memory
}

fn trace_i386(
    kind: Kind,
    memory: &Memory,
    rsp: u64,
    rbp: u64,
    slide: u64,
) -> Vec<(u64, FrameSource)> {
    let base = kind.base();
    // What the upper halves hold means nothing to a 32-bit kernel.
    let whole = |address: u64| base + address + (7 << 32);
    let paging = kind.paging();
    let registers = Registers {
        rip: whole(IN_INNER),
        rsp: whole(rsp),
        rbp: whole(rbp),
        cs: 0x60,
        cr0: paging.cr0,
        cr3: paging.cr3,
        cr4: paging.cr4,
        ..Registers::default()
    };
    let space = AddressSpace::new(&memory.0, paging);
    let code = Code::new(&space, &KernelSymbols::default(), slide);
    let frames = backtrace(&space, &code, &registers);
    frames.iter().map(|frame| (frame.address.wrapping_sub(base), frame.source)).collect()
}

const KINDS_32: [Kind; 2] = [Kind::Pae, Kind::Legacy];

#[test]
fn i386_has_frame_pointers_and_then_a_scan() {
    for kind in KINDS_32 {
        let base = kind.base();
        let frame = STACK_TOP - 64;
        let memory = i386(
            kind,
            &[
                (frame, base + frame + 16),
                (frame + 4, base + IN_MIDDLE),
                (frame + 16, 0),
                (frame + 20, 7), // the chain ends here
                (frame + 28, base + IN_OUTER),
                (STACK_TOP + 4, base + IN_MIDDLE), // another stack
            ],
        );
        let wanted = [
            (IN_INNER, FrameSource::Register),
            (IN_MIDDLE, FrameSource::FramePointer),
            (IN_OUTER, FrameSource::Scan),
        ];
        assert_eq!(trace_i386(kind, &memory, frame - 4, frame, 0), wanted, "{kind:?}");
        let moved = wanted.map(|(address, source)| (address - 0x1000, source));
        assert_eq!(trace_i386(kind, &memory, frame - 4, frame, 0x1000), moved, "{kind:?}");
    }
}

#[test]
fn i386_interrupts_stack_leads_to_the_interrupted_one() {
    for kind in KINDS_32 {
        let base = kind.base();
        // A soft interrupt's stack below the task's, each of 8 KiB.
        let softirq_top = STACK_TOP - STACK_32;
        let task = STACK_TOP - 48;
        let mut words = vec![
            (softirq_top - 16, base + IN_MIDDLE),
            (softirq_top - STACK_32, base + task),
            (task + 8, base + IN_OUTER),
            (STACK_TOP - STACK_32, 0x57ac_6e9d), // STACK_END_MAGIC
        ];
        let wanted = [
            (IN_INNER, FrameSource::Register),
            (IN_MIDDLE, FrameSource::Scan),
            (IN_OUTER, FrameSource::Scan),
        ];
        let memory = i386(kind, &words);
        assert_eq!(trace_i386(kind, &memory, softirq_top - 32, 0, 0), wanted, "{kind:?}");
        // One that leads to itself has an end all the same.
        words[1].1 = base + softirq_top - 32;
        let memory = i386(kind, &words);
        assert_eq!(trace_i386(kind, &memory, softirq_top - 32, 0, 0).len(), 4, "{kind:?}");
    }
}

proptest! {
    /// Any stack of an i386 kernel.
    #[test]
    fn every_i386_backtrace_ends(
        kind in prop::sample::select(KINDS_32.to_vec()),
        stack in prop::collection::vec(prop_oneof![
            Just(IN_OUTER), Just(IN_MIDDLE),
            STACK_TOP - STACK_32..STACK_TOP,
            any::<u64>(),
        ], STACK_32 as usize / 4),
        rsp in prop_oneof![STACK_TOP - STACK_32..STACK_TOP, any::<u64>().prop_map(|at| at >> 8)],
        rbp in prop_oneof![STACK_TOP - STACK_32..STACK_TOP, any::<u64>().prop_map(|at| at >> 8)],
    ) {
        let places = (STACK_TOP - STACK_32..).step_by(4);
        let stack: Vec<_> = places.zip(stack.into_iter().map(|word| kind.base().wrapping_add(word))).collect();
        let frames = trace_i386(kind, &i386(kind, &stack), rsp, rbp, 0);
        prop_assert!(!frames.is_empty() && frames.len() <= MOST_FRAMES);
    }
}

proptest! {
    /// Tables that lead anywhere, and any stack.
    #[test]
    fn every_backtrace_ends(
        entries in prop::collection::vec((0..0x1000_u64, -64..64_i16, any::<i16>(), any::<u8>(), any::<u8>()), 1..40),
        stack in prop::collection::vec(prop_oneof![
            (TEXT..TEXT + 0x1000).prop_map(|at| IMAGE_START + at),
            (STACK_TOP - 0x400..STACK_TOP).prop_map(|at| IMAGE_START + at),
            any::<u64>(),
        ], 128),
        rsp in STACK_TOP - 0x400..STACK_TOP, rbp: u64, rip: u64, is_text: bool,
    ) {
        let mut memory = Memory::new();
        let mut entries = entries;
        entries.iter_mut().for_each(|entry| entry.0 += TEXT);
        entries.sort_unstable();
        memory.tables(&entries);
        for (at, word) in (STACK_TOP - 0x400..).step_by(8).zip(stack) {
            memory.push(at, word);
        }
        let rip = if is_text { IMAGE_START + TEXT + rip % 0x1000 } else { rip };
        let registers = Registers { rip, rbp, ..registers(rsp, 0) };
        let frames = trace(&memory, &symbols(entries.len() as u64), &registers);
        prop_assert!(frames.len() <= MOST_FRAMES);
        // Sorted or not: a table is believed in no more than it says.
        memory.put(ORC_ADDRESSES, &rbp.to_le_bytes());
        let _ = trace(&memory, &symbols(entries.len() as u64), &registers);
    }
}
