//! KVM's part of a machine, as far as it does not depend on what is booted.

use std::io;
use std::thread;

use kvm_bindings::{
    KVM_API_VERSION, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::StartError;
use crate::host::CAPABILITIES;
use crate::x86_64::layout;

/// Stack of a thread that closes a VM.
const STACK: usize = 64 << 10;

fn open_kvm() -> Result<Kvm, StartError> {
    let kvm = Kvm::new().map_err(|error| match error.errno() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => StartError::NoKvm,
        libc::EACCES | libc::EPERM => StartError::KvmPermission,
        errno => StartError::OpenKvm(io::Error::from_raw_os_error(errno)),
    })?;
    let version = kvm.get_api_version();
    if u32::try_from(version) != Ok(KVM_API_VERSION) {
        return Err(StartError::KvmApiVersion(version));
    }
    for (name, capability, required) in CAPABILITIES {
        if required && !kvm.check_extension(capability) {
            return Err(StartError::MissingCapability(name));
        }
    }
    Ok(kvm)
}

/// Makes a VM with nothing in it but interrupt controllers and a timer.
///
/// It takes KVM some ten milliseconds, in most of which it waits until no CPU uses any more what it
/// replaces.
pub(crate) fn create() -> Result<(Kvm, VmFd), StartError> {
    let kvm = open_kvm()?;
    let kvm_error = |ioctl| move |source| StartError::Kvm { ioctl, source };
    let vm = empty_vm(&kvm).map_err(kvm_error("KVM_CREATE_VM"))?;
    vm.set_identity_map_address(layout::KVM_IDENTITY_MAP)
        .map_err(kvm_error("KVM_SET_IDENTITY_MAP_ADDR"))?;
    vm.set_tss_address(layout::KVM_TSS).map_err(kvm_error("KVM_SET_TSS_ADDR"))?;
    vm.create_irq_chip().map_err(kvm_error("KVM_CREATE_IRQCHIP"))?;
    // With the dummy speaker port 0x61 is KVM's as well; kernels poll it to calibrate the TSC.
    let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(pit).map_err(kvm_error("KVM_CREATE_PIT2"))?;
    Ok((kvm, vm))
}

/// A VM with nothing in it.
pub(crate) fn empty_vm(kvm: &Kvm) -> Result<VmFd, kvm_ioctls::Error> {
    loop {
        match kvm.create_vm() {
            // A signal came while KVM registered its MMU notifier.
            Err(error) if error.errno() == libc::EINTR => {}
            other => return other,
        }
    }
}

/// Makes the guest's memory known to KVM.
///
/// # Safety
/// The memory is only for the guest, and there for as long as a vCPU of the VM can run.
pub(crate) unsafe fn give_memory(
    vm: &VmFd,
    memory: &GuestMemoryMmap,
) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the range is a mapping of this size, and the caller keeps it while KVM touches it.
        unsafe { vm.set_user_memory_region(region) }?;
    }
    Ok(())
}

/// Closes a VM that has no vCPU any more. KVM takes some forty milliseconds for that, in which it waits
/// until no CPU uses any more what it frees; nobody has to wait with it.
pub(crate) fn leave(vm: VmFd) {
    // Where there is no thread for it, it is closed here.
    let _ = thread::Builder::new().name("close".to_owned()).stack_size(STACK).spawn(|| drop(vm));
}
