//! Makes a machine: a VM, its memory and what lies in it, its devices and its vCPUs.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::timerfd::TimerFd;

use crate::agent::Agent;
use crate::console::Console;
use crate::control::Control;
use crate::devices::agent_port::AgentPort;
use crate::devices::bus::{self, Bus};
use crate::devices::i8042::{self, I8042};
use crate::devices::serial::{self, PostedRing, PostedWrites, Serial};
use crate::error::{StartError, VcpuSetupError};
use crate::hub::Hub;
use crate::kernel::Entry;
use crate::memory::{self, Ram};
use crate::plan::Plan;
use crate::queue::Queue;
use crate::supervisor::Supervisor;
use crate::sync::lock;
use crate::vcpu::Vcpu;
use crate::vm::give_memory;
use crate::watch::{Awaited, PULSE};
use crate::x86_64::boot_params::BootParams;
use crate::x86_64::gdt::Segments;
use crate::x86_64::{acpi, cpuid, gdt, lapic, layout, mptable, msr, page_tables, registers};
use crate::{ConsoleInput, CpuFacts, MachineConfig, host};

/// Ten years.
const LONGEST_DEADLINE: Duration = Duration::from_secs(315_360_000);
/// How long a guest's last byte may lie about unseen: none that a kernel prints does, since it looks
/// whether each has left.
const TICK: Duration = Duration::from_millis(50);
const MIB: u64 = 1 << 20;
/// Bytes that a kernel allocates early beside its map of the memory, at least.
const OTHER_EARLY: u64 = 2 * MIB;

/// The guest's memory with everything in it that the guest starts from, and where it starts.
#[derive(Debug)]
pub(crate) struct Prepared {
    memory: Arc<Ram>,
    boot: Boot,
    /// Memory that the guest will write to all of.
    early: [Range<u64>; 2],
}

impl Prepared {
    /// Gets the guest memory that it will need at once, as far as there is time for that.
    pub(crate) fn populate(&self, is_enough: impl Fn() -> bool) {
        self.early.iter().for_each(|range| self.memory.populate(range.clone(), &is_enough));
    }
}

/// What the boot vCPU starts with.
#[derive(Debug)]
struct Boot {
    entry: Entry,
    /// CR3 in long mode.
    cr3: u64,
    segments: Segments,
}

/// Makes the machine that `config` describes of `vm` and what was prepared for it, ready to run.
///
/// The order is KVM's: the interrupt controllers exist before the first vCPU, so that each vCPU gets
/// its local APIC; the pages that Intel's real mode needs are set before that as well. CPUID comes
/// before the MSRs, since KVM checks these against it.
pub(crate) fn make(
    (kvm, vm): (Kvm, VmFd),
    config: &MachineConfig,
    Prepared { memory, boot, .. }: Prepared,
    queue: Arc<Queue>,
    stop: Arc<EventFd>,
    start: Instant,
) -> Result<(Supervisor, ConsoleInput, CpuFacts), StartError> {
    let most = u8::try_from(kvm.get_max_vcpus()).unwrap_or(u8::MAX).min(layout::MAX_VCPUS);
    if config.vcpus > most {
        return Err(StartError::Vcpus { asked: config.vcpus, most });
    }
    let supported = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|source| StartError::Kvm { ioctl: "KVM_GET_SUPPORTED_CPUID", source })?;
    check_addresses(memory.guest(), &supported)?;
    // SAFETY: it is only for the guest. Each vCPU, through which alone KVM touches it, keeps it for as
    // long as it can run.
    unsafe { give_memory(&vm, memory.guest()) }
        .map_err(|source| StartError::Kvm { ioctl: "KVM_SET_USER_MEMORY_REGION", source })?;

    let hub = Arc::new(Hub::new().map_err(|source| StartError::Host { what: "an event", source })?);
    let agent = Arc::new(Agent::new(config.nonce.clone(), queue.clone(), start));
    let console = Console::new(queue.clone(), agent.clone(), start, config.console_limit)
        .raw(config.raw_console);
    let bus = Arc::new(Bus::new(
        Serial::new(interrupt(&vm, serial::IRQ)?, console),
        I8042::new(interrupt(&vm, i8042::IRQ)?),
        AgentPort::new(agent.clone()),
    ));

    let wanted = cpuid::Wanted {
        vcpus: config.vcpus,
        pv_features: config.pv_features,
        unusable: host::unusable(),
    };
    let mut facts = CpuFacts {
        pv_offered: cpuid::pv_features(&supported),
        pv_shown: config.pv_features,
        hidden: cpuid::hidden(&supported, &wanted).into_iter().map(str::to_owned).collect(),
    };
    let mut posted = None;
    let mut vcpus = Vec::with_capacity(usize::from(config.vcpus));
    for index in 0..config.vcpus {
        let failed = |source| StartError::Vcpu { vcpu: index, source };
        let (fd, shown) = make_vcpu(&vm, &supported, &wanted, index, &boot).map_err(failed)?;
        facts.pv_shown = cpuid::pv_features(&shown);
        let control = Control::new(&fd).map_err(VcpuSetupError::Control).map_err(failed)?;
        if index == 0 && kvm.check_extension(Cap::CoalescedPio) {
            let writes = PostedWrites::new(&vm, &fd, bus::SERIAL).map_err(|source| {
                StartError::Kvm { ioctl: "KVM_REGISTER_COALESCED_MMIO", source }
            })?;
            lock(bus.serial()).post(writes);
            let ring = PostedRing::map(&fd)
                .map_err(|source| StartError::Host { what: "KVM's ring of writes", source })?;
            posted = Some((ring, timer(TICK, Some(TICK))?));
        }
        vcpus.push(Vcpu {
            fd,
            index,
            control: Arc::new(control),
            bus: bus.clone(),
            agent: agent.clone(),
            hub: hub.clone(),
            _memory: memory.clone(),
        });
    }

    let input = ConsoleInput::new(&bus);
    let supervisor = Supervisor {
        vm,
        vcpus,
        bus,
        queue,
        awaited: Awaited {
            hub,
            agent,
            stop,
            timer: timer(config.deadline, None)?,
            pulse: timer(PULSE, Some(PULSE))?,
            posted,
            deadline: config.deadline,
            hang_after: config.hang_after,
        },
        symbols: config.symbols.clone(),
        memory,
        start,
        facts: facts.clone(),
    };
    Ok((supervisor, input, facts))
}

/// Does what can be done without KVM.
pub(crate) fn prepare(config: &MachineConfig) -> Result<Prepared, StartError> {
    let plan = Plan::new(config)?;
    let bytes = config.memory;
    match memory::of_host() {
        Some(most) if bytes > most => {
            let what = "it has, swap included,";
            return Err(StartError::MoreThanHost { asked: bytes, most, what });
        }
        _ => {}
    }
    let memory = Ram::new(usize::try_from(bytes).unwrap_or(usize::MAX))
        .map_err(|source| StartError::AllocateMemory { bytes, source })?;
    let (boot, kernel) = fill_memory(config, plan, memory.guest())?;
    let early = [kernel, allocated_early(plan, memory.guest())];
    Ok(Prepared { memory: Arc::new(memory), boot, early })
}

/// What a kernel allocates first of all: from the top of its memory down, below the initramfs where that
/// is (memblock), one `struct page` of 64 bytes for each of its pages, page tables and hash tables.
fn allocated_early(plan: Plan, memory: &GuestMemoryMmap) -> Range<u64> {
    let top = memory.last_addr().0.saturating_add(1);
    let size: u64 = memory.iter().map(|region| region.len()).sum();
    let below = match plan.initramfs {
        Some((start, length)) if top - (start + length) < MIB => start,
        _ => top,
    };
    below.saturating_sub(size / 64 + OTHER_EARLY)..below
}

/// Checks that a vCPU can name every byte.
fn check_addresses(memory: &GuestMemoryMmap, supported: &CpuId) -> Result<(), StartError> {
    let last = memory.last_addr().0;
    let bits = cpuid::physical_address_bits(supported);
    if last >> bits == 0 {
        return Ok(());
    }
    let above_hole = (1 << bits) - layout::HOLE_END.min(1 << bits);
    Err(StartError::MoreThanHost {
        asked: memory.iter().map(|region| region.len()).sum(),
        most: layout::HOLE + above_hole,
        what: "its physical addresses reach for",
    })
}

/// Also gives the memory that is the kernel's own.
fn fill_memory(
    config: &MachineConfig,
    plan: Plan,
    memory: &GuestMemoryMmap,
) -> Result<(Boot, Range<u64>), StartError> {
    let kernel = config.kernel.load(memory, config.boot)?;
    if let (Some(initramfs), Some((address, _))) = (&config.initramfs, plan.initramfs) {
        memory.write_slice(initramfs, GuestAddress(address))?;
    }
    let mut command_line = config.command_line.clone().into_bytes();
    command_line.push(0);
    memory.write_slice(&command_line, GuestAddress(layout::COMMAND_LINE))?;
    let params = BootParams {
        setup_header: &kernel.setup_header,
        initramfs: plan.initramfs,
        memory: config.memory,
        seed: config
            .seed
            .bytes()
            .map_err(|source| StartError::Host { what: "random bytes", source })?,
    };
    params.write(memory)?;
    mptable::write(memory, config.vcpus)?;
    acpi::write(memory, config.vcpus)?;
    let cr3 = page_tables::write(memory)?;
    let segments = gdt::write(memory, kernel.entry.mode)?;
    Ok((Boot { entry: kernel.entry, cr3, segments }, kernel.occupied))
}

/// An event that raises interrupt `irq` of the guest, edge triggered.
fn interrupt(vm: &VmFd, irq: u32) -> Result<EventFd, StartError> {
    let event = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)
        .map_err(|source| StartError::Host { what: "an event", source })?;
    vm.register_irqfd(&event, irq)
        .map_err(|source| StartError::Kvm { ioctl: "KVM_IRQFD", source })?;
    Ok(event)
}

/// A vCPU, and the CPUID leaves that KVM shows on it.
fn make_vcpu(
    vm: &VmFd,
    supported: &CpuId,
    wanted: &cpuid::Wanted,
    index: u8,
    boot: &Boot,
) -> Result<(kvm_ioctls::VcpuFd, CpuId), VcpuSetupError> {
    let fd = vm.create_vcpu(u64::from(index)).map_err(VcpuSetupError::Create)?;
    let leaves = cpuid::for_vcpu(supported, wanted, index)?;
    fd.set_cpuid2(&leaves).map_err(VcpuSetupError::SetCpuid)?;
    // KVM has the last word, on PV_UNHALT above all: it takes it back where HLT does not exit.
    let shown = fd.get_cpuid2(KVM_MAX_CPUID_ENTRIES).map_err(VcpuSetupError::SetCpuid)?;
    msr::set(&fd)?;
    lapic::set_pins(&fd)?;
    if index == 0 {
        registers::set(&fd, boot.entry, boot.cr3, &boot.segments)?;
    }
    Ok((fd, shown))
}

fn timer(first: Duration, interval: Option<Duration>) -> Result<TimerFd, StartError> {
    let failed = |error: vmm_sys_util::errno::Error| StartError::Host {
        what: "a timer",
        source: error.into(),
    };
    let mut timer = TimerFd::new().map_err(failed)?;
    // Zero would disarm it, and the kernel refuses what it can't count.
    let first = first.clamp(Duration::from_nanos(1), LONGEST_DEADLINE);
    timer.reset(first, interval).map_err(failed)?;
    Ok(timer)
}
