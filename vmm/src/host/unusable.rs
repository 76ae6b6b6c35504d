//! What guests can't use here although KVM offers it, and what is therefore hidden from them.
//!
//! A KVM that virtualizes by VMX or SVM has the CPU execute its guests' instructions: what it offers
//! works, and nothing is tried, so that no start of a machine waits for it. One that runs them in software
//! may fail at any instruction, as an internal error in the midst of a boot. There a small guest tries
//! those that a kernel can do without, once in a process.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::Kvm;

use super::guest::{Guest, Ran, SetUpError};
use super::probe::{DEADLINE, supervised};
use super::steps::{Feature, steps};
use crate::PvFeatures;
use crate::x86_64::cpuid;
use crate::x86_64::features::Unusable;

/// What is hidden from guests on this host.
pub(crate) fn unusable() -> Unusable {
    static UNUSABLE: OnceLock<Unusable> = OnceLock::new();
    *UNUSABLE.get_or_init(|| {
        let found = if cpuid::host_virtualizes() {
            Unusable::default()
        } else {
            // What can't be tried is left as it is: the machine's own ending says what fails.
            supervised(DEADLINE, find).ok().and_then(Result::ok).unwrap_or_default()
        };
        Unusable { xsave: found.xsave || cpuid::is_emulated(), ..found }
    })
}

/// Tries what depends on a CPUID bit. What fails counts only if a guest does not see the bit any more
/// once it is hidden: there are KVMs that show the host's CPUID all the same, and a feature is not to be
/// called hidden that isn't.
fn find(cancelled: &AtomicBool) -> Result<Unusable, SetUpError> {
    let kvm = Kvm::new().map_err(|error| SetUpError::Kvm("open", error))?;
    let mut guest = Guest::new(&kvm, cancelled)?;
    let mut failing = Vec::new();
    for step in steps() {
        let Some(feature) = step.needs.filter(|feature| guest.has(*feature)) else { continue };
        match guest.run(step.code, 0, cancelled)? {
            Ran::Right => {}
            Ran::Cancelled => return Ok(Unusable::default()),
            Ran::Wrong | Ran::Failed(_) => {
                failing.push(feature);
                guest = Guest::new(&kvm, cancelled)?;
            }
        }
    }
    if failing.is_empty() {
        return Ok(Unusable::default());
    }
    let supported = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|error| SetUpError::Kvm("KVM_GET_SUPPORTED_CPUID", error))?;
    let unusable = of(&failing);
    let wanted = cpuid::Wanted { vcpus: 1, pv_features: PvFeatures::ALL, unusable };
    // Leaves are only taken away.
    let Ok(shown) = cpuid::for_vcpu(&supported, &wanted, 0) else { return Ok(Unusable::default()) };
    let guest = Guest::showing(&kvm, &shown, cancelled)?;
    failing.retain(|feature| !guest.has(*feature));
    Ok(of(&failing))
}

fn of(failing: &[Feature]) -> Unusable {
    let fails = |feature| failing.contains(&feature);
    Unusable {
        xsave: fails(Feature::Leaf1Ecx(26)),
        popcnt: fails(Feature::Leaf1Ecx(23)),
        cmpxchg16b: fails(Feature::Leaf1Ecx(13)),
        smap: fails(Feature::Leaf7Ebx(20)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::steps::steps;
    use super::*;

    /// A step that a kernel can do without, and which nobody hides, would be a gap.
    #[test]
    fn whatever_depends_on_a_bit_can_be_hidden() {
        for step in steps() {
            if let Some(feature) = step.needs {
                assert_ne!(of(&[feature]), Unusable::default(), "{}", step.name);
            }
        }
    }

    #[test]
    fn what_is_said_to_be_hidden_is_not_seen_by_a_guest() {
        let Ok(kvm) = Kvm::new() else {
            println!("skipped: /dev/kvm can't be opened");
            return;
        };
        let started = Instant::now();
        let Ok(found) = supervised(DEADLINE, find) else {
            println!("skipped: this host is too busy to try it in {DEADLINE:?}");
            return;
        };
        let unusable = found.unwrap();
        println!("tried in {:?}, to be hidden: {unusable:?}", started.elapsed());
        let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).unwrap();
        let wanted = cpuid::Wanted { vcpus: 1, pv_features: PvFeatures::ALL, unusable };
        let shown = cpuid::for_vcpu(&supported, &wanted, 0).unwrap();
        let cancelled = AtomicBool::new(false);
        let mut guest = Guest::showing(&kvm, &shown, &cancelled).unwrap();
        for step in steps() {
            let Some(feature) = step.needs else { continue };
            let hidden = of(&[feature]);
            let is_hidden = |name| unusable.features().any(|feature| feature.name == name);
            if hidden.features().any(|feature| is_hidden(feature.name)) {
                assert!(!guest.has(feature), "{}", step.name);
            } else if guest.has(feature) {
                let ran = guest.run(step.code, 0, &cancelled).unwrap();
                println!("{}: {ran:?}", step.name);
                guest = Guest::showing(&kvm, &shown, &cancelled).unwrap();
            }
        }
    }
}
