//! The smallest guest in which kernel code can run: long mode, 1 GiB mapped, an IDT.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::steps::{EXCEPTION_PORT, Feature, Parts, RESULT_PORT, parts};
use crate::vm;
use crate::x86_64::layout;

// Where things are in the guest's 128 KiB.
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const GDT: u64 = 0x4000;
const TSS: u64 = 0x4800;
const IDT: u64 = 0x5000;
const STUBS: u64 = 0x6000;
const HANDLERS: u64 = 0x6800;
const CODE: u64 = 0x7000;
const STACK: u64 = 0x1_0000;
const DATA: u64 = 0x1_0000;
const MEMORY: usize = 0x2_0000;

const CR0_PE: u64 = 1 << 0;
const CR0_MP: u64 = 1 << 1;
const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// What became of a piece of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It did what it should.
    Right,
    /// It went through and had another effect than it should have.
    Wrong,
    /// It didn't go through.
    Failed(String),
    /// It had to be stopped.
    Cancelled,
}

/// Why the guest couldn't be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetUpError {
    #[error("{0} failed")]
    Kvm(&'static str, #[source] kvm_ioctls::Error),
    #[error("no memory for a guest")]
    Memory,
    #[error("guest memory can't be written")]
    Write(#[from] GuestMemoryError),
}

/// A guest with one vCPU.
pub(super) struct Guest {
    // The vCPU and the VM go before the memory that they use.
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: GuestMemoryMmap,
    parts: Parts,
    leaf_1_ecx: u32,
    leaf_7_ebx: u32,
}

impl Guest {
    /// A guest that is shown all that KVM supports.
    pub(super) fn new(kvm: &Kvm, cancelled: &AtomicBool) -> Result<Guest, SetUpError> {
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(|error| SetUpError::Kvm("KVM_GET_SUPPORTED_CPUID", error))?;
        Guest::showing(kvm, &cpuid, cancelled)
    }

    /// A guest that is shown this.
    pub(super) fn showing(
        kvm: &Kvm,
        cpuid: &CpuId,
        cancelled: &AtomicBool,
    ) -> Result<Guest, SetUpError> {
        let failed = |what| move |error| SetUpError::Kvm(what, error);
        let vm = vm::empty_vm(kvm).map_err(failed("KVM_CREATE_VM"))?;
        vm.set_tss_address(layout::KVM_TSS).map_err(failed("KVM_SET_TSS_ADDR"))?;
        vm.create_irq_chip().map_err(failed("KVM_CREATE_IRQCHIP"))?;
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)])
            .map_err(|_| SetUpError::Memory)?;
        // SAFETY: it is only for the guest. KVM touches it through the vCPU alone, which lives in the
        // same struct and is dropped first.
        unsafe { vm::give_memory(&vm, &memory) }.map_err(failed("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("KVM_CREATE_VCPU"))?;
        vcpu.set_cpuid2(cpuid).map_err(failed("KVM_SET_CPUID2"))?;
        let parts = parts();
        let mut guest = Guest { vcpu, _vm: vm, memory, parts, leaf_1_ecx: 0, leaf_7_ebx: 0 };
        guest.write_tables()?;
        // If this fails, so does the step that tries CPUID.
        if guest.run(parts.features, 0, cancelled)? == Ran::Right {
            guest.leaf_1_ecx = guest.memory.read_obj(GuestAddress(DATA))?;
            guest.leaf_7_ebx = guest.memory.read_obj(GuestAddress(DATA + 4))?;
        }
        guest.memory.write_obj(0_u64, GuestAddress(DATA))?;
        Ok(guest)
    }

    /// Whether the guest sees `feature`. What KVM was told to show it doesn't count: there are KVMs
    /// that let it see the host's CPUID all the same.
    pub(super) fn has(&self, feature: Feature) -> bool {
        let (register, bit) = match feature {
            Feature::Leaf1Ecx(bit) => (self.leaf_1_ecx, bit),
            Feature::Leaf7Ebx(bit) => (self.leaf_7_ebx, bit),
        };
        register >> bit & 1 == 1
    }

    /// Page tables, GDT, TSS, IDT and the handlers.
    fn write_tables(&self) -> Result<(), SetUpError> {
        const PRESENT_WRITABLE_USER: u64 = 7;
        const LARGE: u64 = 1 << 7;
        let put = |address, value: u64| self.memory.write_obj(value, GuestAddress(address));
        put(PML4, PDPT | PRESENT_WRITABLE_USER)?;
        put(PDPT, PD | PRESENT_WRITABLE_USER)?;
        for page in 0..512 {
            put(PD + 8 * page, page << 21 | PRESENT_WRITABLE_USER | LARGE)?;
        }
        // Flat segments: kernel code and data, a place for 32-bit user code, user data and code,
        // and the TSS, whose descriptor is 16 bytes long.
        for (selector, descriptor) in [
            (0x10, 0x00af_9b00_0000_ffff),
            (0x18, 0x00cf_9300_0000_ffff),
            (0x28, 0x00cf_f300_0000_ffff),
            (0x30, 0x00af_fb00_0000_ffff),
            (0x38, 0x0000_8b00_0000_0067 | TSS << 16),
        ] {
            put(GDT + selector, descriptor)?;
        }
        put(TSS + 4, STACK)?; // rsp0
        for vector in 0..32_u64 {
            // mov al, vector; then the stub.
            let [low, ..] = vector.to_le_bytes();
            let stub = [&[0xb0, low], self.parts.stub].concat();
            let at = STUBS + 16 * vector;
            self.memory.write_slice(&stub, GuestAddress(at))?;
            self.gate(vector, at)?;
        }
        for (place, (vector, code)) in (0..).zip(self.parts.handlers) {
            let at = HANDLERS + 64 * place;
            self.memory.write_slice(code, GuestAddress(at))?;
            self.gate(u64::from(vector), at)?;
        }
        Ok(())
    }

    /// Points an interrupt gate that user code may use as well to `handler`, which lies below
    /// 64 KiB.
    fn gate(&self, vector: u64, handler: u64) -> Result<(), GuestMemoryError> {
        self.memory.write_obj(0xee00_0010_0000_u64 | handler, GuestAddress(IDT + 16 * vector))?;
        self.memory.write_obj(0_u64, GuestAddress(IDT + 16 * vector + 8))
    }

    fn set_registers(&self, ecx: u32) -> Result<(), kvm_ioctls::Error> {
        let mut sregs: kvm_sregs = self.vcpu.get_sregs()?;
        let code = kvm_segment {
            base: 0,
            limit: u32::MAX,
            selector: 0x10,
            type_: 11,
            present: 1,
            s: 1,
            l: 1,
            g: 1,
            ..Default::default()
        };
        let data = kvm_segment { selector: 0x18, type_: 3, l: 0, db: 1, ..code };
        sregs.cs = code;
        (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
        sregs.tr = kvm_segment {
            base: TSS,
            limit: 0x67,
            selector: 0x38,
            type_: 11,
            present: 1,
            ..Default::default()
        };
        (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x47);
        (sregs.idt.base, sregs.idt.limit) = (IDT, 32 * 16 - 1);
        sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
        sregs.cr3 = PML4;
        sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
        sregs.efer = EFER_LME | EFER_LMA;
        self.vcpu.set_sregs(&sregs)?;
        self.vcpu.set_regs(&kvm_regs {
            rip: CODE,
            rsp: STACK - 8,
            rdi: DATA,
            rcx: ecx.into(),
            rflags: 2,
            ..Default::default()
        })
    }

    /// Runs a piece of code, with `ecx` set, until it reports.
    pub(super) fn run(
        &mut self,
        code: &[u8],
        ecx: u32,
        cancelled: &AtomicBool,
    ) -> Result<Ran, SetUpError> {
        let program = [code, self.parts.tail].concat();
        self.memory.write_slice(&program, GuestAddress(CODE))?;
        self.set_registers(ecx).map_err(|error| SetUpError::Kvm("KVM_SET_SREGS", error))?;
        loop {
            if cancelled.load(Ordering::Acquire) {
                return Ok(Ran::Cancelled);
            }
            let failed = match self.vcpu.run() {
                Ok(VcpuExit::IoOut(RESULT_PORT, [1])) => return Ok(Ran::Right),
                Ok(VcpuExit::IoOut(RESULT_PORT, _)) => return Ok(Ran::Wrong),
                Ok(VcpuExit::IoOut(EXCEPTION_PORT, &[vector])) => {
                    format!("unexpected exception, vector {vector}")
                }
                Ok(VcpuExit::InternalError) => self.internal_error(),
                Ok(VcpuExit::Shutdown) => "triple fault".to_owned(),
                Ok(exit) => format!("unexpected exit from KVM_RUN: {exit:?}"),
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => continue,
                Err(error) => format!("KVM_RUN failed: {error}"),
            };
            return Ok(Ran::Failed(failed));
        }
    }

    /// What KVM says about an internal error.
    fn internal_error(&mut self) -> String {
        // SAFETY: KVM_RUN returned KVM_EXIT_INTERNAL_ERROR, for which this is the union's valid
        // member; all of its fields are plain integers.
        let internal = unsafe { self.vcpu.get_kvm_run().__bindgen_anon_1.internal };
        let meaning = match internal.suberror {
            1 => "the instruction could not be emulated",
            2 => "simultaneous exceptions",
            3 => "an exit while an event was delivered",
            4 => "an exit for an unexpected reason",
            _ => "no known meaning",
        };
        format!("KVM internal error, suberror {}: {meaning}", internal.suberror)
    }

    /// Instructions per microsecond at CPL0, measured for about 10 ms.
    pub(super) fn speed(&mut self, cancelled: &AtomicBool) -> Result<Option<f64>, SetUpError> {
        const LONG_ENOUGH: Duration = Duration::from_millis(10);
        const MOST: u32 = 1 << 30;
        let mut count = 1 << 10;
        loop {
            let start = Instant::now();
            if self.run(self.parts.calibration, count, cancelled)? != Ran::Right {
                return Ok(None);
            }
            let elapsed = start.elapsed();
            if elapsed >= LONG_ENOUGH || count >= MOST {
                let speed = 2.0 * f64::from(count) / (elapsed.as_secs_f64() * 1e6);
                // More digits mean nothing, and not every reader of JSON keeps them.
                return Ok(Some((speed * 100.0).round() / 100.0));
            }
            count *= 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that never reports, until it is told to stop. The signal is what a kick is.
    #[test]
    fn a_guest_that_hangs_is_stopped() {
        let Ok(kvm) = Kvm::new() else {
            println!("skipped: /dev/kvm can't be opened");
            return;
        };
        let forever = [0xeb, 0xfe]; // jmp to itself
        let outcome =
            super::super::probe::supervised(Duration::from_millis(50), move |cancelled| {
                let mut guest = Guest::new(&kvm, cancelled).unwrap();
                guest.run(&forever, 0, cancelled).unwrap()
            });
        assert_eq!(outcome.unwrap(), Ran::Cancelled);
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let Ok(kvm) = Kvm::new() else {
            println!("skipped: /dev/kvm can't be opened");
            return;
        };
        let cancelled = AtomicBool::new(false);
        let mut guest = Guest::new(&kvm, &cancelled).unwrap();
        let mut run = |code: &[u8]| guest.run(code, 0, &cancelled).unwrap();
        assert_eq!(run(&[0x39, 0xc0]), Ran::Right); // cmp eax, eax
        assert_eq!(run(&[0x83, 0xfb, 0x01]), Ran::Wrong); // cmp ebx, 1
        // xor ecx, ecx; div ecx
        let divided = Ran::Failed("unexpected exception, vector 0".to_owned());
        assert_eq!(run(&[0x31, 0xc9, 0xf7, 0xf1]), divided);
        // lidt of a table without entries; ud2
        let lidt = [0x0f, 0x01, 0x5f, 0x20, 0x0f, 0x0b];
        assert_eq!(run(&lidt), Ran::Failed("triple fault".to_owned()));
    }
}
