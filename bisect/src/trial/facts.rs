//! What the guest's boot log says about the preconditions of a trial.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use guest_init::protocol::fact;
use regex::Regex;

/// `smp: Brought up 1 node, 4 CPUs` since 4.11; before that `x86: Booted up 1 node, 4 CPUs`,
/// and `Brought up 4 CPUs`.
static CPUS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:Brought|Booted) up (?:[0-9]+ nodes?, )?([0-9]+) CPUs?(?:[^0-9A-Za-z]|$)").ok()
});

/// What shows that `kvm_spinlock_init()` took the PV path. The hash table's line comes from
/// `__pv_init_lock_hash()` and is there in every version; 4.19 to 5.8 print nothing else.
const PV_ON: [&str; 3] = [
    "kvm-guest: PV spinlocks enabled",
    "PV qspinlock hash table entries",
    "KVM setup paravirtual spinlock",
];

/// `disabled, no host support`, `with KVM_HINTS_REALTIME hints`, `single CPU`, or `forced by
/// "nopvspin" parameter`.
const PV_OFF: &str = "PV spinlocks disabled";

/// What the guest said about its CPUs and locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// CPUs that it brought up.
    pub(super) cpus_online: Option<u32>,
    /// Whether its spinlocks are paravirtual.
    pub(super) pv_spinlocks: Option<bool>,
}

impl Facts {
    /// Takes in a line of the boot log. Lines behind the start of the workload must not come
    /// here: it could print anything.
    pub(super) fn observe(&mut self, line: &str) {
        if let Some(online) = CPUS.as_ref().and_then(|cpus| cpus.captures(line)) {
            self.cpus_online = online.get(1).and_then(|n| n.as_str().parse().ok());
        } else if PV_ON.iter().any(|on| line.contains(on)) {
            self.pv_spinlocks = Some(true);
        } else if line.contains(PV_OFF) {
            self.pv_spinlocks = Some(false);
        }
    }

    /// Takes in what the agent itself found out in the guest, which knows better than the log: that
    /// can be quiet, and a CPU that came up can be gone again.
    pub(super) fn agent(&mut self, facts: &BTreeMap<String, String>) {
        if let Some(online) = facts.get(fact::CPUS).and_then(|count| count.parse().ok()) {
            self.cpus_online = Some(online);
        }
        match facts.get(fact::PV_SPINLOCKS).map(String::as_str) {
            Some("enabled") => self.pv_spinlocks = Some(true),
            Some("disabled") => self.pv_spinlocks = Some(false),
            _ => {}
        }
    }

    /// Takes in what the guest's memory says about its spinlocks, which is what they do whatever was
    /// printed about it.
    pub(super) fn memory(&mut self, pv_spinlocks: Option<bool>) {
        self.pv_spinlocks = pv_spinlocks.or(self.pv_spinlocks);
    }
}

#[cfg(test)]
mod tests {
    use super::{CPUS, Facts};

    fn facts(lines: &[&str]) -> Facts {
        let mut facts = Facts::default();
        lines.iter().for_each(|line| facts.observe(line));
        facts
    }

    #[test]
    fn cpus_of_every_version() {
        assert!(CPUS.is_some());
        let cpus = |line| facts(&[line]).cpus_online;
        assert_eq!(cpus("[    0.079771] smp: Brought up 1 node, 4 CPUs"), Some(4));
        assert_eq!(cpus("[    0.079771] smp: Brought up 2 nodes, 16 CPUs"), Some(16));
        assert_eq!(cpus("[    0.079771] smp: Brought up 1 node, 1 CPU"), Some(1));
        assert_eq!(cpus("[    0.079771] x86: Booted up 1 node, 2 CPUs"), Some(2));
        assert_eq!(cpus("Brought up 8 CPUs"), Some(8));
        assert_eq!(cpus("Brought up 99999999999 CPUs"), None);
        assert_eq!(cpus("smp: Bringing up secondary CPUs ..."), None);
    }

    #[test]
    fn the_agent_knows_better() {
        let mut seen = facts(&["smp: Brought up 1 node, 4 CPUs"]);
        let said = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        seen.agent(&said(&[("cpus", "four"), ("pv-spinlocks", "maybe")]));
        assert_eq!(seen, Facts { cpus_online: Some(4), pv_spinlocks: None });
        seen.agent(&said(&[("cpus", "3"), ("pv-spinlocks", "enabled")]));
        assert_eq!(seen, Facts { cpus_online: Some(3), pv_spinlocks: Some(true) });
    }

    #[test]
    fn memory_knows_best() {
        let mut seen = facts(&["kvm-guest: PV spinlocks enabled"]);
        seen.memory(None);
        assert_eq!(seen.pv_spinlocks, Some(true));
        seen.memory(Some(false));
        assert_eq!(seen.pv_spinlocks, Some(false));
    }

    #[test]
    fn pv_spinlocks_of_every_version() {
        let pv = |line| facts(&[line]).pv_spinlocks;
        assert_eq!(pv("[    0.012] kvm-guest: PV spinlocks enabled"), Some(true));
        assert_eq!(pv("[    0.012] PV qspinlock hash table entries: 256 (order: 0)"), Some(true));
        assert_eq!(pv("[    0.012] KVM setup paravirtual spinlock"), Some(true));
        assert_eq!(pv("kvm-guest: PV spinlocks disabled, no host support"), Some(false));
        assert_eq!(pv("PV spinlocks disabled, single CPU"), Some(false));
        assert_eq!(pv("kvm-guest: setup PV IPIs"), None);
    }
}
