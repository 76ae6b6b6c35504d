//! From a vCPU's registers to the functions that led there.
//!
//! Three ways, the best that the kernel has: its ORC tables (since 4.14,
//! `Documentation/arch/x86/orc-unwinder.rst`), frame pointers, and, where neither leads on, a scan of
//! the stack for whatever looks like a return address. A scan finds every caller that there is, and
//! remains of earlier calls as well; its frames say that they come from one. 32-bit kernels have no ORC
//! tables.
//!
//! All of it lies in the guest's memory, which may hold anything: a backtrace has an end, whatever the
//! tables and the stack say.

mod orc;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::orc::{Next, Orc};
use super::Registers;
use super::memory::AddressSpace;
use super::symbols::KernelSymbols;

/// Frames of a backtrace at most.
const MOST_FRAMES: usize = 64;

/// THREAD_SIZE of x86-64, to which stacks are aligned. (With KASAN it is twice that; who needs the
/// rest has called more functions than a backtrace holds.)
const STACK: u64 = 16 << 10;
/// What is at the bottom of a task's stack (include/uapi/linux/magic.h). With VMSPLIT_1G it could be an
/// address of the kernel.
const STACK_END_MAGIC: u64 = 0x57ac_6e9d;
/// THREAD_SIZE of i386.
const STACK_32: u64 = 8 << 10;

/// Stacks of an i386 kernel that one interrupted the other of: a task's, and those of soft and of
/// hard interrupts.
const STACKS_32: usize = 3;

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameSource {
    /// The vCPU's instruction pointer.
    Register,
    /// The kernel's ORC tables.
    Orc,
    /// A chain of frame pointers.
    FramePointer,
    /// An address on the stack that looks like one to return to: it may be left from an earlier call.
    Scan,
}

/// A frame of a backtrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where it will go on: for all but the first frame the address behind a call. Virtual, less what
    /// the kernel was moved by (KASLR), so that it is the one that symbols have.
    pub address: u64,
    /// How it was found.
    pub source: FrameSource,
}

/// Where the kernel's code lies, and its unwind tables.
#[derive(Clone, Debug)]
pub struct Code {
    text: Vec<Range<u64>>,
    orc: Option<Orc>,
    slide: u64,
}

impl Code {
    /// What `symbols` tell of it, in a kernel that was moved by `slide`. Without symbols all of the
    /// kernel's image counts as code.
    pub fn new(space: &AddressSpace<'_>, symbols: &KernelSymbols, slide: u64) -> Code {
        let moved =
            |range: Range<u64>| range.start.wrapping_add(slide)..range.end.wrapping_add(slide);
        let range = |start, end| symbols.range(start, end).map(moved);
        let mut text: Vec<_> = [range("_stext", "_etext"), range("_sinittext", "_einittext")]
            .into_iter()
            .flatten()
            .collect();
        if text.is_empty() {
            text.push(space.image());
        }
        let orc = range("__start_orc_unwind_ip", "__stop_orc_unwind_ip")
            .zip(range("__start_orc_unwind", "__stop_orc_unwind"))
            .and_then(|(ip, entries)| Orc::open(space, ip, entries));
        Code { text, orc, slide }
    }

    fn holds(&self, address: u64) -> bool {
        self.text.iter().any(|range| range.contains(&address))
    }

    /// Whether a call ends at `address`, so that it may be returned to.
    fn follows_call(&self, space: &AddressSpace<'_>, address: u64) -> bool {
        if !self.holds(address) || !self.holds(address.wrapping_sub(1)) {
            return false;
        }
        let Some([z, a, b, c, d, e, f]) = space.array::<7>(address.wrapping_sub(7)) else {
            return false;
        };
        // call rel32; call r/m with a register (and REX), [register], disp8, disp32 or SIB and disp32.
        let indirect = |modrm: u8, mode: u8| modrm >> 3 & 7 == 2 && modrm >> 6 == mode;
        b == 0xe8
            || e == 0xff && (indirect(f, 3) || indirect(f, 0))
            || d == 0xff && (indirect(e, 1) || indirect(e, 0))
            || c == 0xff && indirect(d, 1)
            || a == 0xff && (indirect(b, 2) || indirect(b, 0))
            || z == 0xff && (indirect(a, 2) || indirect(a, 0))
    }
}

/// The backtrace of a vCPU with these registers, from the innermost function outwards. Of one that is
/// in user mode there is the instruction pointer alone.
pub fn backtrace(space: &AddressSpace<'_>, code: &Code, registers: &Registers) -> Vec<Frame> {
    let mut trace = Trace { space, code, frames: Vec::new() };
    // Outside of long mode the upper halves of registers mean nothing.
    let longest = space.longest();
    let registers = &Registers {
        rip: registers.rip & longest,
        rsp: registers.rsp & longest,
        rbp: registers.rbp & longest,
        ..*registers
    };
    trace.push(registers.rip, FrameSource::Register);
    if !registers.is_user()
        && let Some(sp) = trace.orc(registers)
        // Where frame pointers are in use the first one leads to an address to return to.
        && let Some(sp) =
            if trace.frames.len() == 1 { trace.frame_pointers(sp, registers.rbp) } else { Some(sp) }
    {
        trace.scan(sp);
    }
    trace.frames
}

struct Trace<'a> {
    space: &'a AddressSpace<'a>,
    code: &'a Code,
    frames: Vec<Frame>,
}

impl Trace<'_> {
    /// False if it is full.
    fn push(&mut self, address: u64, source: FrameSource) -> bool {
        // Only addresses of the image move with it.
        let is_image = self.space.image().contains(&address);
        let address = if is_image { address.wrapping_sub(self.code.slide) } else { address };
        self.frames.push(Frame { address, source });
        self.frames.len() < MOST_FRAMES
    }

    /// Follows the ORC tables, if there are any. Gives the stack pointer where they don't lead on; none
    /// if the trace is at its end.
    fn orc(&mut self, registers: &Registers) -> Option<u64> {
        let mut state = orc::State::new(registers);
        let Some(orc) = &self.code.orc else { return Some(state.sp) };
        loop {
            match orc.next(self.space, &state) {
                Next::Frame(next) if self.code.holds(next.ip) => {
                    if !self.push(next.ip, FrameSource::Orc) {
                        return None;
                    }
                    state = next;
                }
                Next::End => return None,
                Next::Frame(_) | Next::Lost => return Some(state.sp),
            }
        }
    }

    /// The same for frame pointers: each leads to the caller's, and behind it is where to return to.
    fn frame_pointers(&mut self, mut sp: u64, mut bp: u64) -> Option<u64> {
        let (space, word) = (self.space, self.space.word_size());
        while bp >= sp && bp - sp < self.stack_size() && bp.is_multiple_of(word) {
            let next = space.word(bp).zip(bp.checked_add(word).and_then(|at| space.word(at)));
            let Some((next, back)) = next.filter(|(_, back)| self.code.follows_call(space, *back))
            else {
                break;
            };
            if !self.push(back, FrameSource::FramePointer) {
                return None;
            }
            sp = bp.saturating_add(2 * word);
            bp = next;
        }
        Some(sp)
    }

    /// Takes whatever looks like an address to return to, up to the end of the stack.
    fn scan(&mut self, mut sp: u64) {
        let (space, word) = (self.space, self.space.word_size());
        let stacks = if word == 4 { STACKS_32 } else { 1 };
        for _ in 0..stacks {
            let size = self.stack_size();
            let end = sp.saturating_add(1).checked_next_multiple_of(size).unwrap_or(u64::MAX);
            let mut next = sp.checked_next_multiple_of(word);
            while let Some(at) = next.filter(|at| *at < end) {
                let Some(found) = space.word(at) else { return };
                if self.code.follows_call(space, found) && !self.push(found, FrameSource::Scan) {
                    return;
                }
                next = at.checked_add(word);
            }
            // An interrupt's stack has the interrupted one's pointer at its bottom
            // (`execute_on_irq_stack()`, arch/x86/kernel/irq_32.c); the tasks' have a number there.
            let bottom = end.saturating_sub(size);
            match space
                .word(bottom)
                .filter(|before| *before != STACK_END_MAGIC && space.is_kernel(*before))
            {
                Some(before) => sp = before,
                None => return,
            }
        }
    }

    fn stack_size(&self) -> u64 {
        if self.space.word_size() == 4 { STACK_32 } else { STACK }
    }
}

#[cfg(test)]
mod tests;
