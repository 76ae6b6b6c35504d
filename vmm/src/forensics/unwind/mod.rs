//! From a vCPU's registers to the functions that led there.
//!
//! Three ways, the best that the kernel has: its ORC tables (since 4.14,
//! `Documentation/arch/x86/orc-unwinder.rst`), frame pointers, and, where neither leads on, a scan of
//! the stack for whatever looks like a return address. A scan finds every caller that there is, and
//! remains of earlier calls as well; its frames say that they come from one.
//!
//! All of it lies in the guest's memory, which may hold anything: a backtrace has an end, whatever the
//! tables and the stack say.

mod orc;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::orc::{Next, Orc};
use super::Registers;
use super::memory::{AddressSpace, IMAGE_END, IMAGE_START};
use super::symbols::KernelSymbols;

/// Frames of a backtrace at most.
const MOST_FRAMES: usize = 64;

/// THREAD_SIZE of x86-64, to which stacks are aligned. (With KASAN it is twice that; who needs the
/// rest has called more functions than a backtrace holds.)
const STACK: u64 = 16 << 10;

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
            text.push(IMAGE_START..IMAGE_END);
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
        let Some([a, b, c, d, e, f]) = space.array::<6>(address.wrapping_sub(6)) else {
            return false;
        };
        // call rel32; call r/m64 with a register (and REX), [register], disp8 or disp32.
        let indirect = |modrm: u8, mode: u8| modrm >> 3 & 7 == 2 && modrm >> 6 == mode;
        b == 0xe8
            || e == 0xff && (indirect(f, 3) || indirect(f, 0))
            || d == 0xff && (indirect(e, 1) || indirect(e, 0))
            || c == 0xff && indirect(d, 1)
            || a == 0xff && (indirect(b, 2) || indirect(b, 0))
    }
}

/// The backtrace of a vCPU with these registers, from the innermost function outwards. Of one that is
/// in user mode there is the instruction pointer alone.
pub fn backtrace(space: &AddressSpace<'_>, code: &Code, registers: &Registers) -> Vec<Frame> {
    let mut trace = Trace { frames: Vec::new(), slide: code.slide };
    trace.push(registers.rip, FrameSource::Register);
    if registers.is_user() || !space.is_readable() {
        return trace.frames;
    }
    let mut sp = registers.rsp;
    if let Some(orc) = &code.orc {
        let mut state = orc::State::new(registers);
        loop {
            match orc.next(space, &state) {
                Next::Frame(next) if code.holds(next.ip) => {
                    if !trace.push(next.ip, FrameSource::Orc) {
                        return trace.frames;
                    }
                    state = next;
                }
                Next::End => return trace.frames,
                Next::Frame(_) | Next::Lost => break,
            }
        }
        sp = state.sp;
    }
    // Where frame pointers are in use the first one leads to an address to return to.
    if trace.frames.len() == 1 {
        let mut bp = registers.rbp;
        while bp >= sp && bp - sp < STACK && bp.is_multiple_of(8) {
            let next = space.u64(bp).zip(bp.checked_add(8).and_then(|at| space.u64(at)));
            let Some((next, back)) = next.filter(|(_, back)| code.follows_call(space, *back))
            else {
                break;
            };
            if !trace.push(back, FrameSource::FramePointer) {
                return trace.frames;
            }
            sp = bp.saturating_add(16);
            bp = next;
        }
    }
    let end = sp.saturating_add(1).checked_next_multiple_of(STACK).unwrap_or(u64::MAX);
    let mut at = sp.next_multiple_of(8);
    while at < end {
        let Some(word) = space.u64(at) else { break };
        if code.follows_call(space, word) && !trace.push(word, FrameSource::Scan) {
            break;
        }
        at += 8;
    }
    trace.frames
}

struct Trace {
    frames: Vec<Frame>,
    slide: u64,
}

impl Trace {
    /// False if it is full.
    fn push(&mut self, address: u64, source: FrameSource) -> bool {
        // Only addresses of the image move with it.
        let is_image = (IMAGE_START..IMAGE_END).contains(&address);
        let address = if is_image { address.wrapping_sub(self.slide) } else { address };
        self.frames.push(Frame { address, source });
        self.frames.len() < MOST_FRAMES
    }
}

#[cfg(test)]
mod tests;
