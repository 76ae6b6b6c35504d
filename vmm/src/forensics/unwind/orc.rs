//! The ORC unwinder's tables (`arch/x86/include/asm/orc_types.h`): for each stretch of code, where the
//! caller's stack pointer is, and the frame pointer.

use std::ops::Range;

use crate::forensics::Registers;
use crate::forensics::memory::AddressSpace;

/// `struct orc_entry`: two offsets, and two bytes of bits.
const ENTRY: u64 = 6;

/// More code than a kernel can have.
const MOST_ENTRIES: u64 = 1 << 26;

/// Entries that are looked at to see which kind they are.
const SAMPLES: u64 = 256;

/// `struct pt_regs`.
const PT_REGS: usize = 168;
/// The part of it that an interrupt pushes: RIP, CS, RFLAGS, RSP, SS.
const INTERRUPT_FRAME: u64 = 40;

// Base registers (ORC_REG_*).
const UNDEFINED: u8 = 0;
const PREVIOUS_SP: u8 = 1;
const DX: u8 = 2;
const DI: u8 = 3;
const BP: u8 = 4;
const SP: u8 = 5;
const R10: u8 = 6;
const R13: u8 = 7;
const BP_INDIRECT: u8 = 8;
const SP_INDIRECT: u8 = 9;

/// The tables.
#[derive(Clone, Debug)]
pub(super) struct Orc {
    /// Where each stretch begins, as a distance from the place that says so; sorted.
    addresses: Range<u64>,
    entries: u64,
    /// Since 6.4 the end of the stack and the undefined have types of their own.
    has_end_type: bool,
}

/// What a stretch of code has on its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Call,
    Registers,
    PartialRegisters,
    End,
    Undefined,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sp_offset: i64,
    bp_offset: i64,
    sp_base: u8,
    bp_base: u8,
    kind: Type,
}

/// Where an unwinder stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) ip: u64,
    pub(super) sp: u64,
    bp: u64,
    /// DX, DI, R10 and R13, where all registers are known.
    others: Option<[u64; 4]>,
    /// Whether `ip` is the next instruction, not one to return to behind a call.
    exact: bool,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// A caller.
    Frame(State),
    /// Nothing: the stack's end, or user space.
    End,
    /// The tables don't lead on.
    Lost,
}

impl State {
    /// At a vCPU's registers.
    pub(super) fn new(registers: &Registers) -> State {
        State {
            ip: registers.rip,
            sp: registers.rsp,
            bp: registers.rbp,
            others: Some([registers.rdx, registers.rdi, registers.r10, registers.r13]),
            exact: true,
        }
    }
}

impl Orc {
    /// The tables there, if they can be ones.
    pub(super) fn open(
        space: &AddressSpace<'_>,
        addresses: Range<u64>,
        entries: Range<u64>,
    ) -> Option<Orc> {
        let count = addresses.end.checked_sub(addresses.start)? / 4;
        if count == 0
            || count > MOST_ENTRIES
            || entries.end.checked_sub(entries.start)? / ENTRY != count
        {
            return None;
        }
        let mut orc = Orc { addresses, entries: entries.start, has_end_type: false };
        // Nearly all code is called and keeps its frame by the stack pointer, and that has number 0
        // in the one kind and 2 in the other.
        let step = (count / SAMPLES).max(1);
        let (mut old, mut new) = (0, 0);
        for index in (0..count).step_by(usize::try_from(step).ok()?) {
            let [.., bases, bits] = orc.raw(space, index)?;
            if bases & 0xf == SP {
                old += usize::from(bits & 7 == 0);
                new += usize::from(bits & 7 == 2);
            }
        }
        orc.has_end_type = new > old;
        Some(orc)
    }

    fn raw(&self, space: &AddressSpace<'_>, index: u64) -> Option<[u8; ENTRY as usize]> {
        space.array(self.entries.checked_add(index.checked_mul(ENTRY)?)?)
    }

    fn entry(&self, space: &AddressSpace<'_>, index: u64) -> Option<Entry> {
        let [a, b, c, d, bases, bits] = self.raw(space, index)?;
        let kind = match (self.has_end_type, bits & 7, bits & 3) {
            (true, 1, _) => Type::End,
            (true, 2, _) | (false, _, 0) => Type::Call,
            (true, 3, _) | (false, _, 1) => Type::Registers,
            (true, 4, _) | (false, _, 2) => Type::PartialRegisters,
            _ => Type::Undefined,
        };
        Some(Entry {
            sp_offset: i16::from_le_bytes([a, b]).into(),
            bp_offset: i16::from_le_bytes([c, d]).into(),
            sp_base: bases & 0xf,
            bp_base: bases >> 4,
            kind,
        })
    }

    /// The entry of the stretch that `address` lies in.
    fn find(&self, space: &AddressSpace<'_>, address: u64) -> Option<Entry> {
        let (mut low, mut high) = (0, (self.addresses.end - self.addresses.start) / 4);
        // The stretches before `low` begin at or before the address, those from `high` on behind it.
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.addresses.start + middle * 4;
            let distance = i32::from_le_bytes(space.array(at)?);
            if at.wrapping_add_signed(distance.into()) <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.entry(space, low.checked_sub(1)?)
    }

    /// The caller, as `unwind_next_frame()` in `arch/x86/kernel/unwind_orc.c` finds it.
    pub(super) fn next(&self, space: &AddressSpace<'_>, state: &State) -> Next {
        // What is returned to may belong to the next function already.
        let address = if state.exact { state.ip } else { state.ip.wrapping_sub(1) };
        let Some(entry) = self.find(space, address) else { return Next::Lost };
        match entry.kind {
            Type::End => return Next::End,
            Type::Undefined => return Next::Lost,
            // Older kernels mark so whatever has no caller.
            _ if entry.sp_base == UNDEFINED => return Next::End,
            _ => {}
        }
        self.caller(space, state, &entry).unwrap_or(Next::Lost)
    }

    fn caller(&self, space: &AddressSpace<'_>, state: &State, entry: &Entry) -> Option<Next> {
        let other = |index: usize| state.others.and_then(|others| others.get(index).copied());
        let offset = |base: u64| base.wrapping_add_signed(entry.sp_offset);
        let sp = match entry.sp_base {
            SP => offset(state.sp),
            BP => offset(state.bp),
            SP_INDIRECT => offset(space.u64(state.sp)?),
            BP_INDIRECT => space.u64(offset(state.bp))?,
            DX => offset(other(0)?),
            DI => offset(other(1)?),
            R10 => offset(other(2)?),
            R13 => offset(other(3)?),
            _ => return None,
        };
        let bp_at = |base: u64| space.u64(base.wrapping_add_signed(entry.bp_offset));
        let next = match entry.kind {
            Type::Call => {
                let bp = match entry.bp_base {
                    PREVIOUS_SP => bp_at(sp)?,
                    BP => bp_at(state.bp)?,
                    _ => state.bp,
                };
                let ip = space.u64(sp.wrapping_sub(8))?;
                State { ip, sp, bp, others: None, exact: false }
            }
            Type::Registers => {
                let registers: [u8; PT_REGS] = space.array(sp)?;
                let (words, _) = registers.as_chunks();
                let word = |index: usize| words.get(index).copied().map(u64::from_le_bytes);
                if word(17)? & 3 != 0 {
                    return Some(Next::End);
                }
                State {
                    ip: word(16)?,
                    sp: word(19)?,
                    bp: word(4)?,
                    others: Some([word(12)?, word(14)?, word(7)?, word(2)?]),
                    exact: true,
                }
            }
            _ => {
                if space.u64(sp.wrapping_add(8))? & 3 != 0 {
                    return Some(Next::End);
                }
                // Where it was interrupted the stack was another one, perhaps.
                let behind = sp.wrapping_add(INTERRUPT_FRAME - 16);
                let (ip, sp) = (space.u64(sp)?, space.u64(behind)?);
                State { ip, sp, bp: state.bp, others: None, exact: true }
            }
        };
        Some(Next::Frame(next))
    }
}
