//! What a stock kernel executes at CPL0 sooner or later, one small piece of code for each.
//!
//! Each piece starts in long mode with the registers of [`super::guest`]: `rdi` points to zeroed
//! data, `ebx` is zero, the IDT is loaded. It ends with the zero flag set if what it did had the
//! effect it should have; the common tail reports that on [`RESULT_PORT`]. The handlers of int3,
//! ud2 and the page fault leave their vector in `ebx`; every other exception is reported on
//! [`EXCEPTION_PORT`].

use std::arch::global_asm;
use std::slice;

/// Where a piece of code reports whether it worked: 1 or 0.
pub(super) const RESULT_PORT: u16 = 0xf4;
/// Where an exception that nothing expects reports its vector.
pub(super) const EXCEPTION_PORT: u16 = 0xf5;

/// A piece of code and when a kernel would execute it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The instructions that it is about.
    pub(super) name: &'static str,
    /// The CPUID bit without which a kernel does without them.
    pub(super) needs: Option<Feature>,
    /// The code.
    pub(super) code: &'static [u8],
}

/// A CPUID bit, as the guest's own CPUID instruction shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    /// CPUID.01H:ECX.
    Leaf1Ecx(u8),
    /// CPUID.(07H,0):EBX.
    Leaf7Ebx(u8),
}

/// Assembles the pieces one after the other, each with its length before it, and gives their names
/// and features in the same order.
macro_rules! pieces {
    (
        $begin:ident, $end:ident, $list:ident;
        $($name:literal, $needs:expr, [$($line:literal),+ $(,)?];)+
    ) => {
        global_asm!(
            concat!(".pushsection .rodata.", stringify!($begin), ", \"a\""),
            concat!(".globl ", stringify!($begin)),
            concat!(".globl ", stringify!($end)),
            concat!(stringify!($begin), ":"),
            $(".long 9f - 8f", "8:", $($line,)+ "9:",)+
            concat!(stringify!($end), ":"),
            ".popsection",
        );
        unsafe extern "C" {
            static $begin: u8;
            static $end: u8;
        }
        const $list: &[(&str, Option<Feature>)] = &[$(($name, $needs)),+];
    };
}

use Feature::{Leaf1Ecx, Leaf7Ebx};

pieces! {
    vmm_host_probe_begin, vmm_host_probe_end, NAMES;

    // Every WARN() and the jump labels' text patching depend on these two.
    "int3 (breakpoint through the IDT)", None, ["int3", "cmp ebx, 3"];
    "ud2 (invalid opcode through the IDT)", None, ["ud2", "cmp ebx, 6"];
    "#PF (page fault through the IDT)", None, [
        "lea r8, [rip + 2f]", // where the handler returns to
        "mov ecx, 0x40000000", // the first address that isn't mapped
        "mov al, [rcx]",
        "2: cmp ebx, 14",
    ];
    "lock cmpxchg", None, [
        "xor eax, eax",
        "mov ecx, 5",
        "lock cmpxchg [rdi], ecx",
        "cmp dword ptr [rdi], 5",
    ];
    "cmpxchg16b", Some(Leaf1Ecx(13)), [
        "xor eax, eax",
        "xor edx, edx",
        "mov ebx, 1",
        "mov ecx, 2",
        "lock cmpxchg16b [rdi + 0x10]",
        "cmp qword ptr [rdi + 0x18], 2",
    ];
    "popcnt", Some(Leaf1Ecx(23)), ["mov ecx, 0xf0f1", "popcnt eax, ecx", "cmp eax, 9"];
    "rep movsb", None, [
        "lea rsi, [rip + 2f]",
        "lea rdi, [rdi + 0x20]",
        "mov ecx, 8",
        "2: rep movsb",
        "cmp word ptr [rdi - 8], 0xa4f3", // the code of rep movsb itself
    ];
    "fxsave/fxrstor", None, ["fxsave64 [rdi + 0x200]", "fxrstor64 [rdi + 0x200]", "cmp eax, eax"];
    "xsetbv/xsave/xrstor", Some(Leaf1Ecx(26)), [
        "mov rax, cr4",
        "or eax, 0x40000", // OSXSAVE
        "mov cr4, rax",
        "xor ecx, ecx",
        "xor edx, edx",
        "mov eax, 3", // x87 and SSE
        "xsetbv",
        "xsave64 [rdi + 0x400]",
        "xrstor64 [rdi + 0x400]",
        "cmp eax, 3",
    ];
    "stac/clac", Some(Leaf7Ebx(20)), ["stac", "clac", "cmp eax, eax"];
    "cpuid", None, [
        "xor eax, eax",
        "xor ecx, ecx",
        "cpuid",
        "test ebx, ebx", // the vendor's first letters
        "setz al",
        "test al, al",
    ];
    "rdtsc", None, ["rdtsc", "cmp eax, eax"];
    "mov cr3/invlpg", None, ["mov rax, cr3", "mov cr3, rax", "invlpg [rdi]", "cmp eax, eax"];
    "lgdt/lidt", None, [
        "sgdt [rdi + 0x40]",
        "lgdt [rdi + 0x40]",
        "sidt [rdi + 0x50]",
        "lidt [rdi + 0x50]",
        "cmp eax, eax",
    ];
    "rdmsr/wrmsr", None, [
        "mov ecx, 0xc0000082", // LSTAR
        "mov eax, 0x12345678",
        "xor edx, edx",
        "wrmsr",
        "xor eax, eax",
        "rdmsr",
        "cmp eax, 0x12345678",
    ];
    "swapgs", None, [
        "mov ecx, 0xc0000102", // KERNEL_GS_BASE
        "mov eax, 0x12345000",
        "xor edx, edx",
        "wrmsr",
        "swapgs",
        "mov ecx, 0xc0000101", // GS_BASE
        "rdmsr",
        "cmp eax, 0x12345000",
    ];
    "iretq to user mode and syscall", None, [
        "mov ecx, 0xc0000080", // EFER.SCE
        "rdmsr",
        "or eax, 1",
        "wrmsr",
        "mov ecx, 0xc0000081", // STAR: the kernel's selectors from 0x10, the user's from 0x20
        "xor eax, eax",
        "mov edx, 0x200010",
        "wrmsr",
        "mov ecx, 0xc0000082", // LSTAR
        "lea rax, [rip + 3f]",
        "xor edx, edx",
        "wrmsr",
        "lea rax, [rip + 2f]",
        "push 0x2b",
        "push rsp",
        "push 2",
        "push 0x33",
        "push rax",
        "iretq",
        "2: mov ebx, 77",
        "syscall",
        "3: cmp ebx, 77",
    ];
}

pieces! {
    vmm_host_parts_begin, vmm_host_parts_end, PARTS;

    "tail", None, ["setz al", "out 0xf4, al", "2: hlt", "jmp 2b"];
    "calibration", None, ["2: dec ecx", "jnz 2b"]; // the last dec sets the zero flag
    "features", None, [
        "mov eax, 1",
        "xor ecx, ecx",
        "cpuid",
        "mov [rdi], ecx",
        "mov eax, 7",
        "xor ecx, ecx",
        "cpuid",
        "mov [rdi + 4], ebx",
        "cmp eax, eax",
    ];
    // From 0 on, eight bytes a vector.
    "stub", None, ["out 0xf5, al", "2: hlt", "jmp 2b"];
    "int3", None, ["mov ebx, 3", "iretq"];
    "ud2", None, ["mov ebx, 6", "add qword ptr [rsp], 2", "iretq"];
    "page fault", None, ["mov ebx, 14", "add rsp, 8", "mov [rsp], r8", "iretq"];
}

/// The pieces of code that are tried, in this order.
pub(super) fn steps() -> Vec<Step> {
    // SAFETY: both symbols are defined above, in this order, around read-only data.
    let code = unsafe { between(&raw const vmm_host_probe_begin, &raw const vmm_host_probe_end) };
    let codes = split(code);
    NAMES.iter().zip(codes).map(|(&(name, needs), code)| Step { name, needs, code }).collect()
}

/// What the pieces need around them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Follows each piece: reports the zero flag.
    pub(super) tail: &'static [u8],
    /// Executes two instructions `ecx` times.
    pub(super) calibration: &'static [u8],
    /// Stores what CPUID says: leaf 1 ECX, then leaf 7 EBX.
    pub(super) features: &'static [u8],
    /// Reports `al` as the vector of an exception.
    pub(super) stub: &'static [u8],
    /// Handlers of int3, ud2 and the page fault.
    pub(super) handlers: [(u8, &'static [u8]); 3],
}

/// What the pieces need around them.
pub(super) fn parts() -> Parts {
    // SAFETY: both symbols are defined above, in this order, around read-only data.
    let code = unsafe { between(&raw const vmm_host_parts_begin, &raw const vmm_host_parts_end) };
    let part = |wanted| {
        let mut named = PARTS.iter().zip(split(code));
        named.find(|((name, _), _)| *name == wanted).map(|(_, code)| code).unwrap_or_default()
    };
    Parts {
        tail: part("tail"),
        calibration: part("calibration"),
        features: part("features"),
        stub: part("stub"),
        handlers: [(3, part("int3")), (6, part("ud2")), (14, part("page fault"))],
    }
}

/// # Safety
/// `begin` and `end` must delimit static data that is never written.
unsafe fn between(begin: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(begin, end.offset_from_unsigned(begin)) }
}

/// The pieces of code, each of which has its length before it.
fn split(mut code: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = code.split_first_chunk()?;
        let (piece, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        code = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_code() {
        let steps = steps();
        assert_eq!(steps.len(), NAMES.len());
        let first = steps.first().unwrap();
        assert_eq!(first.code, [0xcc, 0x83, 0xfb, 0x03]);
        assert!(steps.iter().all(|step| !step.code.is_empty()));
        let parts = parts();
        for code in [parts.tail, parts.calibration, parts.features, parts.stub] {
            assert!(!code.is_empty());
        }
        assert_eq!(parts.tail.get(..5), Some(&[0x0f, 0x94, 0xc0, 0xe6, 0xf4][..]));
        assert!(parts.handlers.iter().all(|(_, code)| code.ends_with(&[0x48, 0xcf])));
    }
}
