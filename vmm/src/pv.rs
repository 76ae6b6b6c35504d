//! KVM's paravirtual features, as the guest is shown them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Feature bits of CPUID 0x40000001 EAX by the kernel's names (`KVM_FEATURE_*` in
/// arch/x86/include/uapi/asm/kvm_para.h), in kebab case.
const FEATURES: &[(&str, u32)] = &[
    ("clocksource", 0),
    ("nop-io-delay", 1),
    ("mmu-op", 2),
    ("clocksource2", 3),
    ("async-pf", 4),
    ("steal-time", 5),
    ("pv-eoi", 6),
    ("pv-unhalt", 7),
    ("pv-tlb-flush", 9),
    ("async-pf-vmexit", 10),
    ("pv-send-ipi", 11),
    ("poll-control", 12),
    ("pv-sched-yield", 13),
    ("async-pf-int", 14),
    ("msi-ext-dest-id", 15),
    ("hc-map-gpa-range", 16),
    ("migration-control", 17),
    ("clocksource-stable", 24),
];

/// Hint bits of CPUID 0x40000001 EDX (`KVM_HINTS_*`).
const HINTS: &[(&str, u32)] = &[("realtime", 0)];

/// KVM_FEATURE_PV_UNHALT: without it a kernel does not turn its paravirtual spinlocks on.
const PV_UNHALT: u32 = 1 << 7;

/// A mask over CPUID 0x40000001 EAX (features) and EDX (hints).
///
/// As text it is a list that begins with `all` (every feature that KVM offers, no hints) or `none`
/// and goes on with the kernel's names for single bits; `-` in front takes a bit away. Bits without
/// a name are `feature-N` and `hint-N`.
///
/// ```
/// use vmm::PvFeatures;
///
/// let features: PvFeatures = "all,-pv-unhalt,realtime".parse()?;
/// assert!(!features.pv_unhalt());
/// assert_eq!(features.to_string(), "all,-pv-unhalt,realtime");
/// # Ok::<(), vmm::PvFeaturesError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PvFeatures {
    /// Feature bits (EAX) that are passed through where KVM offers them.
    pub features: u32,
    /// Hint bits (EDX) that are set.
    pub hints: u32,
}

/// Why a text is not a set of paravirtual features.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PvFeaturesError {
    /// The list has no `all` or `none` to start from.
    #[error("{0:?} is no set of paravirtual features: begin with `all` or `none`")]
    NoBase(String),
    /// An entry that is none of the names.
    #[error("{0:?} is no paravirtual feature; the names are {names}", names = names())]
    Unknown(String),
}

impl PvFeatures {
    /// Everything that KVM offers, and no hints.
    pub const ALL: PvFeatures = PvFeatures { features: u32::MAX, hints: 0 };
    /// Nothing.
    pub const NONE: PvFeatures = PvFeatures { features: 0, hints: 0 };

    /// Whether `pv-unhalt`, on which the kernel's paravirtual spinlocks depend, is among them.
    pub fn pv_unhalt(self) -> bool {
        self.features & PV_UNHALT != 0
    }
}

impl Default for PvFeatures {
    fn default() -> PvFeatures {
        PvFeatures::ALL
    }
}

impl FromStr for PvFeatures {
    type Err = PvFeaturesError;

    fn from_str(text: &str) -> Result<PvFeatures, PvFeaturesError> {
        let mut entries = text.split(',').map(str::trim);
        let mut set = match entries.next() {
            Some("all") => PvFeatures::ALL,
            Some("none") => PvFeatures::NONE,
            _ => return Err(PvFeaturesError::NoBase(text.to_owned())),
        };
        for entry in entries {
            let (name, on) = match entry.strip_prefix('-') {
                Some(name) => (name, false),
                None => (entry.strip_prefix('+').unwrap_or(entry), true),
            };
            let (word, bit) = if let Some(bit) = bit_of(name, FEATURES, "feature-") {
                (&mut set.features, bit)
            } else if let Some(bit) = bit_of(name, HINTS, "hint-") {
                (&mut set.hints, bit)
            } else {
                return Err(PvFeaturesError::Unknown(name.to_owned()));
            };
            if on {
                *word |= 1 << bit;
            } else {
                *word &= !(1 << bit);
            }
        }
        Ok(set)
    }
}

impl fmt::Display for PvFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from_all = self.features.count_ones() > u32::BITS / 2;
        f.write_str(if from_all { "all" } else { "none" })?;
        let (sign, listed) = if from_all { ("-", !self.features) } else { ("", self.features) };
        write_bits(f, listed, FEATURES, "feature-", sign)?;
        write_bits(f, self.hints, HINTS, "hint-", "")
    }
}

impl From<PvFeatures> for String {
    fn from(features: PvFeatures) -> String {
        features.to_string()
    }
}

impl TryFrom<String> for PvFeatures {
    type Error = PvFeaturesError;

    fn try_from(text: String) -> Result<PvFeatures, PvFeaturesError> {
        text.parse()
    }
}

fn bit_of(name: &str, names: &[(&str, u32)], prefix: &str) -> Option<u32> {
    if let Some((_, bit)) = names.iter().find(|(known, _)| *known == name) {
        return Some(*bit);
    }
    name.strip_prefix(prefix)?.parse().ok().filter(|bit| *bit < u32::BITS)
}

fn write_bits(
    f: &mut fmt::Formatter<'_>,
    word: u32,
    names: &[(&str, u32)],
    prefix: &str,
    sign: &str,
) -> fmt::Result {
    for bit in (0..u32::BITS).filter(|bit| word & (1 << bit) != 0) {
        match names.iter().find(|(_, known)| *known == bit) {
            Some((name, _)) => write!(f, ",{sign}{name}")?,
            None => write!(f, ",{sign}{prefix}{bit}")?,
        }
    }
    Ok(())
}

fn names() -> String {
    let names: Vec<&str> = FEATURES.iter().chain(HINTS).map(|(name, _)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PvFeatures, PvFeaturesError};

    #[test]
    fn names_are_the_kernels() {
        let parse = |text: &str| text.parse::<PvFeatures>();
        assert_eq!(parse("all"), Ok(PvFeatures::ALL));
        assert_eq!(parse("none"), Ok(PvFeatures::NONE));
        assert_eq!(parse("all,-pv-unhalt").map(|set| set.features), Ok(!(1 << 7)));
        assert_eq!(
            parse("none, pv-unhalt,+steal-time,realtime"),
            Ok(PvFeatures { features: 0xa0, hints: 1 })
        );
        assert_eq!(parse("pv-unhalt"), Err(PvFeaturesError::NoBase("pv-unhalt".into())));
        assert_eq!(parse("all,unhalt"), Err(PvFeaturesError::Unknown("unhalt".into())));
        assert_eq!(parse("all,feature-32"), Err(PvFeaturesError::Unknown("feature-32".into())));
    }

    proptest! {
        #[test]
        fn every_value_survives_its_text(features: u32, hints: u32) {
            let set = PvFeatures { features, hints };
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<PvFeatures>();
        }
    }
}
