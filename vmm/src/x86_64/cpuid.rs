//! What each vCPU says of itself by CPUID.
//!
//! It starts from what KVM supports on this host and is then made to agree with the MP table: one
//! package, as many cores as vCPUs, one thread a core, APIC ids counting from 0. KVM's own leaves
//! are passed through as far as [`PvFeatures`] lets them.

use std::arch::x86_64::__cpuid;

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use thiserror::Error;

use super::features::{Feature, NEVER_SHOWN, Unusable};
use crate::PvFeatures;

const KVM_FEATURES: u32 = 0x4000_0001;

// Leaf 1 ECX.
const VMX: u32 = 1 << 5;
const TSC_DEADLINE: u32 = 1 << 24;
const HYPERVISOR: u32 = 1 << 31;
// Leaf 1 EDX.
const HTT: u32 = 1 << 28;
// Leaf 0x80000001 ECX.
const CMP_LEGACY: u32 = 1 << 1;
const SVM: u32 = 1 << 2;

/// Level types of leaf 0xB ECX.
const LEVEL_THREAD: u32 = 1 << 8;
const LEVEL_CORE: u32 = 2 << 8;

/// The list of leaves became longer than KVM takes.
#[derive(Debug, Error)]
#[error("too many CPUID leaves")]
pub struct CpuidError;

/// What is asked of the leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Number of vCPUs.
    pub(crate) vcpus: u8,
    /// Which of KVM's features are shown.
    pub(crate) pv_features: PvFeatures,
    /// What is hidden, since it can't be used here.
    pub(crate) unusable: Unusable,
}

/// The paravirtual features and hints among `leaves`.
pub(crate) fn pv_features(leaves: &CpuId) -> PvFeatures {
    leaves
        .as_slice()
        .iter()
        .find(|leaf| leaf.function == KVM_FEATURES)
        .map_or(PvFeatures::NONE, |leaf| PvFeatures { features: leaf.eax, hints: leaf.edx })
}

/// How many bits a physical address has: leaf 0x80000008, or 36 where there is none (SDM volume 2,
/// CPUID).
pub(crate) fn physical_address_bits(leaves: &CpuId) -> u32 {
    let leaf = leaves.as_slice().iter().find(|leaf| leaf.function == 0x8000_0008);
    leaf.map_or(36, |leaf| leaf.eax & 0xff).clamp(32, 52)
}

/// Names of what the host's KVM offers and `wanted` hides from the guest, as /proc/cpuinfo has them.
pub(crate) fn hidden(supported: &CpuId, wanted: &Wanted) -> Vec<&'static str> {
    let offered = |feature: &&Feature| supported.as_slice().iter().any(|leaf| feature.is_in(leaf));
    hidden_features(wanted).filter(offered).map(|feature| feature.name).collect()
}

/// What no guest is shown, and what this one is not.
fn hidden_features(wanted: &Wanted) -> impl Iterator<Item = &'static Feature> {
    NEVER_SHOWN.iter().chain(wanted.unusable.features())
}

/// Whether this host's own CPU is emulated by QEMU's TCG, as it is when virtualization is nested in
/// an emulator. Its XSAVE is not complete enough to be passed on: a guest finds that the size of its
/// state does not add up and warns of an "XSAVE consistency problem".
pub(crate) fn is_emulated() -> bool {
    let features = __cpuid(1);
    if features.ecx & HYPERVISOR == 0 {
        return false;
    }
    let vendor = __cpuid(0x4000_0000);
    let name = [vendor.ebx, vendor.ecx, vendor.edx].map(u32::to_le_bytes);
    name.as_flattened() == b"TCGTCGTCGTCG"
}

/// Whether this host's CPU virtualizes: by VMX or by SVM. A KVM on one that does not executes or
/// interprets its guests in software.
pub(crate) fn host_virtualizes() -> bool {
    __cpuid(1).ecx & VMX != 0
        || __cpuid(0x8000_0000).eax > 0x8000_0000 && __cpuid(0x8000_0001).ecx & SVM != 0
}

/// The leaves of vCPU `id`, made from those that KVM supports.
pub(crate) fn for_vcpu(supported: &CpuId, wanted: &Wanted, id: u8) -> Result<CpuId, CpuidError> {
    let mut leaves = supported.as_slice().to_vec();
    // The core level of the topology leaves is ours to write; KVM gives none or the host's.
    leaves.retain(|leaf| !matches!(leaf.function, 0xb | 0x1f) || leaf.index == 0);
    let vcpus = u32::from(wanted.vcpus);
    let width = vcpus.next_power_of_two().trailing_zeros();
    for leaf in &mut leaves {
        adjust(leaf, wanted, u32::from(id), width);
    }
    let topology: Vec<u32> =
        leaves.iter().map(|leaf| leaf.function).filter(|leaf| matches!(leaf, 0xb | 0x1f)).collect();
    for function in topology {
        for (index, eax, ebx, level) in [(1, width, vcpus, LEVEL_CORE), (2, 0, 0, 0)] {
            leaves.push(kvm_cpuid_entry2 {
                function,
                index,
                flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                eax,
                ebx,
                ecx: level | index,
                edx: u32::from(id),
                ..Default::default()
            });
        }
    }
    if wanted.unusable.xsave {
        leaves.retain(|leaf| !(leaf.function == 0xd && leaf.index > 0));
        for leaf in leaves.iter_mut().filter(|leaf| leaf.function == 0xd) {
            (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, 0, 0);
        }
    }
    for feature in hidden_features(wanted) {
        leaves.iter_mut().for_each(|leaf| feature.clear(leaf));
    }
    CpuId::from_entries(&leaves).map_err(|_| CpuidError)
}

fn adjust(leaf: &mut kvm_cpuid_entry2, wanted: &Wanted, id: u32, width: u32) {
    let vcpus = u32::from(wanted.vcpus);
    match leaf.function {
        0x1 => {
            leaf.ebx = leaf.ebx & 0xffff | (1 << width) << 16 | id << 24;
            // KVM_GET_SUPPORTED_CPUID never names the TSC deadline timer (KVM api.rst), which a
            // capability does. A guest without it gives up its APIC timer where that fails
            // verification.
            leaf.ecx |= HYPERVISOR | TSC_DEADLINE;
            set_bit(&mut leaf.edx, HTT, vcpus > 1);
        }
        0x4 if leaf.eax & 0x1f != 0 => {
            let sharing = cache_sharing(leaf.eax, width);
            leaf.eax = leaf.eax & 0x3fff | sharing << 14 | ((1 << width) - 1) << 26;
        }
        0xb | 0x1f => {
            leaf.eax = 0;
            leaf.ebx = 1;
            leaf.ecx = LEVEL_THREAD | leaf.index;
            leaf.edx = id;
            leaf.flags |= KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        }
        KVM_FEATURES => {
            leaf.eax &= wanted.pv_features.features;
            leaf.edx = wanted.pv_features.hints;
        }
        // Set by AMD alone: HTT counts cores, not threads.
        0x8000_0001 if vcpus == 1 => leaf.ecx &= !CMP_LEGACY,
        0x8000_0008 => leaf.ecx = leaf.ecx & !0xf0ff | width << 12 | (vcpus - 1) & 0xff,
        0x8000_001d if leaf.eax & 0x1f != 0 => {
            leaf.eax = leaf.eax & 0x3fff | cache_sharing(leaf.eax, width) << 14;
        }
        0x8000_001e => {
            leaf.eax = id;
            leaf.ebx = id & 0xff;
            leaf.ecx = 0;
        }
        // AMD's extended topology would have to agree with leaf 0xB; without it that one counts.
        0x8000_0026 => (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, leaf.index & 0xff, 0),
        _ => {}
    }
}

/// Highest id among the cores that share a cache: the third level is the package's, the others a
/// core's own.
fn cache_sharing(eax: u32, width: u32) -> u32 {
    if eax >> 5 & 0b111 >= 3 { (1 << width) - 1 } else { 0 }
}

fn set_bit(word: &mut u32, bit: u32, on: bool) {
    *word = if on { *word | bit } else { *word & !bit };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supported() -> CpuId {
        let leaf = |function, index, eax, ebx, ecx, edx| kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        };
        CpuId::from_entries(&[
            leaf(0x1, 0, 0, 0x0102_0800, u32::MAX, 0),
            leaf(0x4, 0, 0x121, 0, 0, 0),
            leaf(0x4, 3, 0x163, 0, 0, 0),
            leaf(0x7, 0, 0, u32::MAX, u32::MAX, u32::MAX),
            leaf(0xb, 0, 1, 2, 0x100, 9),
            leaf(0xb, 1, 1, 2, 0x201, 9),
            leaf(0xd, 0, 7, 832, 832, 0),
            leaf(0xd, 2, 256, 576, 0, 0),
            leaf(KVM_FEATURES, 0, 0x0100_7efb, 0, 0, 0),
            leaf(0x8000_0008, 0, 0, 0, 0x7003, 0),
            leaf(0x8000_001e, 0, 77, 0x101, 0x203, 0),
        ])
        .unwrap()
    }

    fn leaf(leaves: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
        let found: Vec<_> = leaves
            .as_slice()
            .iter()
            .filter(|leaf| leaf.function == function && leaf.index == index)
            .collect();
        assert_eq!(found.len(), 1, "leaf {function:#x}.{index}");
        *found[0]
    }

    const USABLE: Unusable =
        Unusable { xsave: false, popcnt: false, cmpxchg16b: false, smap: false };
    const WANTED: Wanted = Wanted { vcpus: 6, pv_features: PvFeatures::ALL, unusable: USABLE };
    const NO_XSAVE: Wanted = Wanted { unusable: Unusable { xsave: true, ..USABLE }, ..WANTED };

    #[test]
    fn topology_agrees_in_every_leaf() {
        let leaves = for_vcpu(&supported(), &WANTED, 5).unwrap();
        assert_eq!(leaf(&leaves, 1, 0).ebx, 0x0508_0800);
        assert_ne!(leaf(&leaves, 1, 0).edx & HTT, 0);
        assert_eq!(leaf(&leaves, 4, 0).eax >> 14, 7 << 12);
        assert_eq!(leaf(&leaves, 4, 3).eax >> 14, 7 << 12 | 7);
        let thread = leaf(&leaves, 0xb, 0);
        assert_eq!((thread.eax, thread.ebx, thread.ecx, thread.edx), (0, 1, 0x100, 5));
        let core = leaf(&leaves, 0xb, 1);
        assert_eq!((core.eax, core.ebx, core.ecx, core.edx), (3, 6, 0x201, 5));
        assert_eq!(leaf(&leaves, 0xb, 2).ebx, 0);
        assert_eq!(leaf(&leaves, 0x8000_0008, 0).ecx, 0x3005);
        assert_eq!(leaf(&leaves, 0x8000_001e, 0).eax, 5);
    }

    #[test]
    fn one_vcpu_has_no_siblings() {
        let leaves = for_vcpu(&supported(), &Wanted { vcpus: 1, ..WANTED }, 0).unwrap();
        assert_eq!(leaf(&leaves, 1, 0).ebx, 0x0001_0800);
        assert_eq!(leaf(&leaves, 1, 0).edx & HTT, 0);
        assert_eq!(leaf(&leaves, 0xb, 1).eax, 0);
    }

    #[test]
    fn paravirtual_features_are_masked_and_hints_set() {
        let show = |text: &str| {
            let wanted = Wanted { pv_features: text.parse().unwrap(), ..WANTED };
            pv_features(&for_vcpu(&supported(), &wanted, 0).unwrap())
        };
        assert_eq!(show("all"), PvFeatures { features: 0x0100_7efb, hints: 0 });
        assert_eq!(show("all,-pv-unhalt").features, 0x0100_7e7b);
        assert_eq!(show("none,realtime"), PvFeatures { features: 0, hints: 1 });
        assert!(!show("none,mmu-op").pv_unhalt());
        assert_eq!(show("none,mmu-op").features, 0, "KVM does not offer it");
    }

    #[test]
    fn timer_is_shown_and_xsave_as_wanted() {
        let leaves = for_vcpu(&supported(), &WANTED, 0).unwrap();
        assert_ne!(leaf(&leaves, 1, 0).ecx & TSC_DEADLINE, 0);
        assert_ne!(leaf(&leaves, 1, 0).ecx & (1 << 26), 0);
        assert_eq!(leaf(&leaves, 1, 0).ecx & (1 << 15), 0);
        assert_eq!(hidden(&supported(), &WANTED), ["pdcm"]);

        let leaves = for_vcpu(&supported(), &NO_XSAVE, 0).unwrap();
        assert_eq!(leaf(&leaves, 1, 0).ecx & (7 << 26), 0);
        assert_eq!(leaf(&leaves, 0xd, 0).eax, 0);
        assert_eq!(leaf(&leaves, 7, 0).ebx & (1 << 5), 0);
        assert!(!leaves.as_slice().iter().any(|leaf| leaf.function == 0xd && leaf.index > 0));
        let hidden = hidden(&supported(), &NO_XSAVE);
        assert_eq!(hidden[..4], ["pdcm", "xsave", "osxsave", "avx"]);
        assert!(hidden.contains(&"pku") && !hidden.contains(&"fma4"), "{hidden:?}");
        assert_eq!(shown_xsave(&leaves), Vec::<&str>::new());
    }

    #[test]
    fn each_feature_that_can_not_be_used_is_hidden_and_named() {
        for (unusable, name, function, bit) in [
            (Unusable { popcnt: true, ..USABLE }, "popcnt", 1, 23),
            (Unusable { cmpxchg16b: true, ..USABLE }, "cx16", 1, 13),
            (Unusable { smap: true, ..USABLE }, "smap", 7, 20),
        ] {
            let wanted = Wanted { unusable, ..WANTED };
            assert_eq!(hidden(&supported(), &wanted), ["pdcm", name]);
            let leaf = leaf(&for_vcpu(&supported(), &wanted, 0).unwrap(), function, 0);
            let register = if function == 1 { leaf.ecx } else { leaf.ebx };
            assert_eq!(register & 1 << bit, 0, "{name}");
            assert_ne!(register & 1 << 26, 0, "{name}: and nothing else");
        }
    }

    /// Names of the features among `leaves` that need XSAVE.
    fn shown_xsave(leaves: &CpuId) -> Vec<&'static str> {
        let shown = |feature: &&Feature| leaves.as_slice().iter().any(|leaf| feature.is_in(leaf));
        NO_XSAVE.unusable.features().filter(shown).map(|feature| feature.name).collect()
    }
}
