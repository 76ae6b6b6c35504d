//! KVM's paravirtual features, as the guest is shown them.

use serde::{Deserialize, Serialize};

/// A mask over CPUID 0x40000001 EAX (features) and EDX (hints).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PvFeatures {
    /// Feature bits (EAX) that are passed through where KVM offers them.
    pub features: u32,
    /// Hint bits (EDX) that are set.
    pub hints: u32,
}

impl Default for PvFeatures {
    /// Everything that KVM offers, and no hints.
    fn default() -> PvFeatures {
        PvFeatures { features: u32::MAX, hints: 0 }
    }
}
