//! What compiled code calls by name and a C library would have: rustc emits calls to these four,
//! and the precompiled `core` names the two unwinding symbols although nothing here unwinds.
//!
//! String instructions instead of loops, since LLVM would turn a loop back into the call.

use core::arch::asm;
use core::ffi::c_int;

/// C's memcpy.
///
/// # Safety
/// As in C: both ranges valid and not overlapping.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's ranges are valid; the ABI has the direction flag clear.
    unsafe {
        asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// C's memmove.
///
/// # Safety
/// As in C: both ranges valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: copying upwards is right where the target does not begin inside the source.
        return unsafe { memcpy(to, from, count) };
    }
    // SAFETY: the caller's ranges are valid; from the last byte downwards, and the direction flag
    // is cleared again, as the ABI wants it.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") count => _,
            inout("rdi") to.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(count).wrapping_sub(1) => _,
            options(nostack));
    }
    to
}

/// C's memset.
///
/// # Safety
/// As in C: the range valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: c_int, count: usize) -> *mut u8 {
    let [byte, ..] = value.to_le_bytes();
    // SAFETY: the caller's range is valid; the ABI has the direction flag clear.
    unsafe {
        asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
    to
}

/// C's memcmp, which also serves as bcmp.
///
/// # Safety
/// As in C: both ranges valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    let mut at = 0;
    while at < count {
        // SAFETY: `at` is inside both of the caller's ranges.
        let (l, r) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if l != r {
            return c_int::from(l) - c_int::from(r);
        }
        at += 1;
    }
    0
}

/// LLVM's name for a memcmp of which only the sign of being zero matters.
///
/// # Safety
/// As for [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> c_int {
    // SAFETY: the caller's ranges are valid.
    unsafe { memcmp(left, right, count) }
}

/// Named by the precompiled `core`; never called with panic=abort.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the precompiled `core`; never called with panic=abort.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}
