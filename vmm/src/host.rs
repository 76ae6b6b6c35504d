//! What this machine's KVM can do.

mod guest;
mod probe;
mod steps;
mod unusable;

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use kvm_bindings::{CpuId, KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm};
use serde::{Deserialize, Serialize};

pub(crate) use self::unusable::unusable;
use crate::PvFeatures;
use crate::x86_64::cpuid;

/// KVM's CPUID leaf of paravirtual features (`Documentation/virt/kvm/x86/cpuid.rst`).
const KVM_CPUID_FEATURES: u32 = 0x4000_0001;

/// The modules that KVM for x86 can be backed by.
const BACKENDS: [&str; 3] = ["kvm_intel", "kvm_amd", "kvm_pvm"];

/// What the VMM asks of KVM: its name without the KVM_CAP_, and whether no machine can be made
/// without.
pub(crate) const CAPABILITIES: [(&str, Cap, bool); 10] = [
    ("USER_MEMORY", Cap::UserMemory, true),
    ("SET_TSS_ADDR", Cap::SetTssAddr, true),
    ("EXT_CPUID", Cap::ExtCpuid, true),
    ("IRQCHIP", Cap::Irqchip, true),
    ("PIT2", Cap::Pit2, true),
    ("IRQFD", Cap::Irqfd, true),
    ("MP_STATE", Cap::MpState, true),
    ("IMMEDIATE_EXIT", Cap::ImmediateExit, true),
    ("TSC_DEADLINE_TIMER", Cap::TscDeadlineTimer, true),
    ("COALESCED_PIO", Cap::CoalescedPio, false),
];

/// What this machine's KVM can do, and what is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// Whether it can be used at all.
    pub kvm: KvmState,
    /// What is behind it.
    pub backend: Option<Backend>,
    /// What the VMM asks of KVM. Empty where `kvm` is not [`KvmState::Ok`].
    pub capabilities: Vec<Capability>,
    /// KVM_CAP_MAX_VCPUS: the most vCPUs that a machine can have.
    pub max_vcpus: Option<usize>,
    /// The paravirtual features that KVM offers: CPUID 0x40000001 EAX.
    pub pv_features: Option<u32>,
    /// CPU features that this KVM offers and that guests are not shown, since they could not really use
    /// them here: `xsave`, with all that needs it, where the host's CPU is emulated by QEMU's TCG;
    /// there and `popcnt`, `cx16` and `smap` where the host's CPU has neither VMX nor SVM and a small
    /// guest found out that their instructions fail, and that hiding them works.
    pub hidden: Vec<String>,
    /// How long KVM polls before it lets a halted vCPU sleep, in nanoseconds. It hides short halts.
    pub halt_poll_ns: Option<u64>,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// MemAvailable, in bytes.
    pub memory_available: Option<u64>,
    /// What a small guest found out; none if none could be run.
    pub probe: Option<Probe>,
    /// What it comes to.
    pub verdict: Verdict,
}

/// What /dev/kvm says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum KvmState {
    /// It can be used.
    Ok {
        /// KVM_GET_API_VERSION; always 12.
        api_version: i32,
    },
    /// There is no /dev/kvm.
    Missing,
    /// This user may not open it.
    NoPermission,
    /// It can't be used.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The kernel module behind /dev/kvm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// kvm_intel, kvm_amd or kvm_pvm.
    pub module: String,
    /// Whether guests get virtualization themselves (its parameter `nested`).
    pub nested: Option<bool>,
}

/// Something that the VMM asks of KVM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// KVM's name for it, without the KVM_CAP_.
    pub name: String,
    /// Whether KVM has it.
    pub present: bool,
    /// Whether no machine can be made without.
    pub required: bool,
}

/// What a small guest found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What became of each thing tried, in this order.
    pub steps: Vec<StepReport>,
    /// Instructions per microsecond that kernel code runs at, in a loop of two for 10 ms. Thousands
    /// where the hardware runs it; about one where KVM interprets it.
    pub instructions_per_us: Option<f64>,
}

/// What became of instructions that a stock kernel executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The instructions.
    pub instruction: String,
    /// What became of them.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

/// What became of instructions that a stock kernel executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum StepOutcome {
    /// They did what they should.
    Works,
    /// KVM doesn't offer them, so no kernel executes them.
    NotOffered,
    /// They can't be executed.
    Fails {
        /// How it showed.
        reason: String,
    },
}

/// Whether a stock kernel can be booted here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was tried works.
    RunsLinux,
    /// Guests run, but not a stock kernel.
    CannotRunLinux {
        /// The instructions or capabilities that fail, separated by commas.
        failed: String,
        /// How the first of them failed.
        reason: String,
    },
    /// No guest can be run.
    NoKvm {
        /// Why not, and what to do.
        reason: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::RunsLinux => f.write_str("KVM runs stock Linux kernels"),
            Verdict::CannotRunLinux { failed, reason } => {
                write!(f, "KVM can't run a stock Linux kernel, it fails at {failed} ({reason})")
            }
            Verdict::NoKvm { reason } => write!(f, "no KVM: {reason}"),
        }
    }
}

/// Finds out what this machine's KVM can do, in a tenth of a second, or some seconds at most.
///
/// Never fails: what can't be found out is missing from the report, and the verdict says why.
///
/// ```
/// let report = vmm::host::inspect();
/// println!("{}", report.verdict);
/// ```
///
/// The probe stops a vCPU that hangs by the signal SIGRTMIN, for which it installs a handler that
/// does nothing.
pub fn inspect() -> HostReport {
    let (kvm, opened) = open();
    let probe = opened.as_ref().map(|_| probe::probe());
    let capabilities = opened.as_ref().map(capabilities).unwrap_or_default();
    let offered =
        opened.as_ref().and_then(|kvm| kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).ok());
    HostReport {
        verdict: verdict(&kvm, &capabilities, probe.as_ref()),
        backend: backend(),
        max_vcpus: opened.as_ref().map(Kvm::get_max_vcpus),
        pv_features: offered.as_ref().and_then(pv_features),
        hidden: offered.as_ref().map(hidden).unwrap_or_default(),
        halt_poll_ns: read(Path::new("/sys/module/kvm/parameters/halt_poll_ns")),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_available: memory_available(),
        probe: probe.and_then(Result::ok),
        capabilities,
        kvm,
    }
}

fn open() -> (KvmState, Option<Kvm>) {
    let kvm = match Kvm::new() {
        Ok(kvm) => kvm,
        Err(error) => return (KvmState::of_errno(error.errno()), None),
    };
    let api_version = kvm.get_api_version();
    if u32::try_from(api_version) != Ok(KVM_API_VERSION) {
        let reason = format!("/dev/kvm has API version {api_version} instead of {KVM_API_VERSION}");
        return (KvmState::Failed { reason }, None);
    }
    (KvmState::Ok { api_version }, Some(kvm))
}

impl KvmState {
    fn of_errno(errno: i32) -> KvmState {
        match errno {
            libc::ENOENT => KvmState::Missing,
            libc::EACCES | libc::EPERM => KvmState::NoPermission,
            // The device node outlives the module.
            libc::ENODEV | libc::ENXIO => KvmState::Failed {
                reason: "/dev/kvm is there, but no driver behind it: load kvm_intel or kvm_amd"
                    .to_owned(),
            },
            errno => KvmState::Failed {
                reason: format!("open /dev/kvm: {}", std::io::Error::from_raw_os_error(errno)),
            },
        }
    }

    /// Why it can't be used, and what to do.
    fn trouble(&self) -> Option<String> {
        Some(match self {
            KvmState::Ok { .. } => return None,
            KvmState::Missing => "there is no /dev/kvm: load kvm_intel or kvm_amd, and turn \
                 virtualization on in the firmware or, in a virtual machine, nesting in its host"
                .to_owned(),
            KvmState::NoPermission => {
                "no permission to open /dev/kvm: join the group that owns it (usually kvm)"
                    .to_owned()
            }
            KvmState::Failed { reason } => reason.clone(),
        })
    }
}

fn backend() -> Option<Backend> {
    BACKENDS.iter().find_map(|module| {
        let path = Path::new("/sys/module").join(module);
        path.is_dir().then(|| Backend {
            module: (*module).to_owned(),
            nested: read::<String>(&path.join("parameters/nested"))
                .map(|nested| matches!(nested.as_str(), "Y" | "y" | "1")),
        })
    })
}

fn capabilities(kvm: &Kvm) -> Vec<Capability> {
    CAPABILITIES
        .map(|(name, capability, required)| Capability {
            name: name.to_owned(),
            present: kvm.check_extension(capability),
            required,
        })
        .into()
}

fn pv_features(offered: &CpuId) -> Option<u32> {
    let leaf = offered.as_slice().iter().find(|leaf| leaf.function == KVM_CPUID_FEATURES)?;
    Some(leaf.eax)
}

/// What every guest is denied here; what one is denied by its own configuration is no matter of the
/// host's.
fn hidden(offered: &CpuId) -> Vec<String> {
    let wanted =
        cpuid::Wanted { vcpus: 1, pv_features: PvFeatures::default(), unusable: unusable() };
    cpuid::hidden(offered, &wanted).into_iter().map(str::to_owned).collect()
}

fn memory_available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn verdict(
    kvm: &KvmState,
    capabilities: &[Capability],
    probe: Option<&Result<Probe, String>>,
) -> Verdict {
    let probe = match (kvm.trouble(), probe) {
        (Some(reason), _) => return Verdict::NoKvm { reason },
        (None, Some(Ok(probe))) => probe,
        (None, Some(Err(reason))) => return Verdict::NoKvm { reason: reason.clone() },
        (None, None) => return Verdict::NoKvm { reason: "no guest was tried".to_owned() },
    };
    let absent = capabilities
        .iter()
        .filter(|capability| capability.required && !capability.present)
        .map(|capability| (format!("KVM_CAP_{}", capability.name), "KVM does not have it"));
    let failing = probe.steps.iter().filter_map(|step| match &step.outcome {
        StepOutcome::Fails { reason } => Some((step.instruction.clone(), reason.as_str())),
        StepOutcome::Works | StepOutcome::NotOffered => None,
    });
    let (failed, reasons): (Vec<_>, Vec<_>) = absent.chain(failing).unzip();
    match reasons.first() {
        None => Verdict::RunsLinux,
        Some(reason) => {
            Verdict::CannotRunLinux { failed: failed.join(", "), reason: (*reason).to_owned() }
        }
    }
}

fn read<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
