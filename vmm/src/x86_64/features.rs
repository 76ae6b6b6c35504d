//! CPU features that guests are not shown, by their place in CPUID.

use kvm_bindings::kvm_cpuid_entry2;

use self::Register::{Eax, Ebx, Ecx, Edx};

/// A register of a CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

/// A bit of CPUID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feature {
    function: u32,
    index: u32,
    register: Register,
    bit: u32,
    /// As /proc/cpuinfo has it.
    pub(crate) name: &'static str,
}

const fn feature(
    function: u32,
    index: u32,
    register: Register,
    bit: u32,
    name: &'static str,
) -> Feature {
    Feature { function, index, register, bit, name }
}

/// What the host's KVM offers and guests can't really use there. Each stands for the features that go
/// with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unusable {
    /// XSAVE, and what can't be without it.
    pub(crate) xsave: bool,
    /// POPCNT.
    pub(crate) popcnt: bool,
    /// CMPXCHG16B.
    pub(crate) cmpxchg16b: bool,
    /// STAC and CLAC, which kernels execute around each access to a program's memory.
    pub(crate) smap: bool,
}

impl Unusable {
    /// The features to be hidden.
    pub(crate) fn features(self) -> impl Iterator<Item = &'static Feature> {
        let sets = [
            (self.xsave, NEEDS_XSAVE),
            (self.popcnt, POPCNT),
            (self.cmpxchg16b, CMPXCHG16B),
            (self.smap, SMAP),
        ];
        sets.into_iter().filter(|(unusable, _)| *unusable).flat_map(|(_, features)| features)
    }
}

const POPCNT: &[Feature] = &[feature(0x1, 0, Ecx, 23, "popcnt")];
const CMPXCHG16B: &[Feature] = &[feature(0x1, 0, Ecx, 13, "cx16")];
const SMAP: &[Feature] = &[feature(0x7, 0, Ebx, 20, "smap")];

/// PDCM says that the performance monitor's capabilities can be read from an MSR, which not every
/// KVM that offers it lets a guest do.
pub(crate) const NEVER_SHOWN: &[Feature] = &[feature(0x1, 0, Ecx, 15, "pdcm")];

/// XSAVE and what can't be without it: registers that it alone saves, and their instructions (SDM
/// volume 2, CPUID; APM volume 3, appendix E).
const NEEDS_XSAVE: &[Feature] = &[
    feature(0x1, 0, Ecx, 26, "xsave"),
    feature(0x1, 0, Ecx, 27, "osxsave"),
    feature(0x1, 0, Ecx, 28, "avx"),
    feature(0x1, 0, Ecx, 12, "fma"),
    feature(0x1, 0, Ecx, 29, "f16c"),
    feature(0x7, 0, Ebx, 5, "avx2"),
    feature(0x7, 0, Ebx, 14, "mpx"),
    feature(0x7, 0, Ebx, 16, "avx512f"),
    feature(0x7, 0, Ebx, 17, "avx512dq"),
    feature(0x7, 0, Ebx, 21, "avx512ifma"),
    feature(0x7, 0, Ebx, 26, "avx512pf"),
    feature(0x7, 0, Ebx, 27, "avx512er"),
    feature(0x7, 0, Ebx, 28, "avx512cd"),
    feature(0x7, 0, Ebx, 30, "avx512bw"),
    feature(0x7, 0, Ebx, 31, "avx512vl"),
    feature(0x7, 0, Ecx, 1, "avx512vbmi"),
    feature(0x7, 0, Ecx, 3, "pku"),
    feature(0x7, 0, Ecx, 4, "ospke"),
    feature(0x7, 0, Ecx, 6, "avx512_vbmi2"),
    feature(0x7, 0, Ecx, 9, "vaes"),
    feature(0x7, 0, Ecx, 10, "vpclmulqdq"),
    feature(0x7, 0, Ecx, 11, "avx512_vnni"),
    feature(0x7, 0, Ecx, 12, "avx512_bitalg"),
    feature(0x7, 0, Ecx, 14, "avx512_vpopcntdq"),
    feature(0x7, 0, Edx, 2, "avx512_4vnniw"),
    feature(0x7, 0, Edx, 3, "avx512_4fmaps"),
    feature(0x7, 0, Edx, 8, "avx512_vp2intersect"),
    feature(0x7, 0, Edx, 22, "amx_bf16"),
    feature(0x7, 0, Edx, 23, "avx512_fp16"),
    feature(0x7, 0, Edx, 24, "amx_tile"),
    feature(0x7, 0, Edx, 25, "amx_int8"),
    feature(0x7, 1, Eax, 0, "sha512"),
    feature(0x7, 1, Eax, 1, "sm3"),
    feature(0x7, 1, Eax, 2, "sm4"),
    feature(0x7, 1, Eax, 4, "avx_vnni"),
    feature(0x7, 1, Eax, 5, "avx512_bf16"),
    feature(0x7, 1, Eax, 21, "amx_fp16"),
    feature(0x7, 1, Eax, 23, "avx_ifma"),
    feature(0x7, 1, Edx, 4, "avx_vnni_int8"),
    feature(0x7, 1, Edx, 5, "avx_ne_convert"),
    feature(0x7, 1, Edx, 8, "amx_complex"),
    feature(0x7, 1, Edx, 10, "avx_vnni_int16"),
    feature(0x7, 1, Edx, 19, "avx10"),
    feature(0x8000_0001, 0, Ecx, 11, "xop"),
    feature(0x8000_0001, 0, Ecx, 15, "lwp"),
    feature(0x8000_0001, 0, Ecx, 16, "fma4"),
];

impl Feature {
    /// Whether `leaf` has it.
    pub(crate) fn is_in(&self, leaf: &kvm_cpuid_entry2) -> bool {
        let word = match self.register {
            Eax => leaf.eax,
            Ebx => leaf.ebx,
            Ecx => leaf.ecx,
            Edx => leaf.edx,
        };
        self.belongs_to(leaf) && word & (1 << self.bit) != 0
    }

    /// Takes it away from `leaf`.
    pub(crate) fn clear(&self, leaf: &mut kvm_cpuid_entry2) {
        if self.belongs_to(leaf) {
            let word = match self.register {
                Eax => &mut leaf.eax,
                Ebx => &mut leaf.ebx,
                Ecx => &mut leaf.ecx,
                Edx => &mut leaf.edx,
            };
            *word &= !(1 << self.bit);
        }
    }

    fn belongs_to(&self, leaf: &kvm_cpuid_entry2) -> bool {
        leaf.function == self.function && leaf.index == self.index
    }
}
