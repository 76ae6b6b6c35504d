//! What the benchmark and the program that stands for vmbisect agree on.

/// Where the outer machine has what is booted.
pub(crate) const KERNEL: &str = "/bench/bzImage";
/// The same kernel as its build links it.
pub(crate) const VMLINUX: &str = "/bench/vmlinux";
/// The initramfs that it is booted with.
pub(crate) const INITRAMFS: &str = "/bench/initramfs";
/// One whose workload has the kernel log much before it waits, and writes [`WRITTEN`] in the end.
pub(crate) const LOGGING_INITRAMFS: &str = "/bench/logging";
/// The last line of that.
pub(crate) const WRITTEN: &str = "written";
/// One without a workload: its boot is over when PID 1 runs.
pub(crate) const EMPTY_INITRAMFS: &str = "/bench/empty";
/// Guest memory in MiB.
pub(crate) const GUEST_MIB: u64 = 256;
/// What the guest's reports carry.
pub(crate) const NONCE: &str = "bench";
/// What stands for vmbisect writes when the first byte has come, whose line may end much later.
pub(crate) const FIRST_BYTE: &str = "first byte";

/// What the program that stands for vmbisect is told.
#[derive(Clone, Debug)]
pub(crate) struct MachineArguments {
    /// The kernel's image, in the outer machine.
    pub(crate) image: String,
    /// Whether the image's own decompressor is to run.
    pub(crate) native: bool,
    pub(crate) vcpus: u8,
    pub(crate) initramfs: String,
    pub(crate) command_line: String,
}

impl MachineArguments {
    /// As arguments of the program: a parser of anything richer would be a part of what is measured.
    pub(crate) fn words(self) -> [String; 5] {
        let (native, vcpus) = (self.native.to_string(), self.vcpus.to_string());
        [self.image, native, vcpus, self.initramfs, self.command_line]
    }

    /// From the program's arguments.
    #[allow(dead_code)] // it alone needs this
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Option<MachineArguments> {
        let words: Vec<String> = words.collect();
        let [image, native, vcpus, initramfs, command_line] = words.try_into().ok()?;
        let (native, vcpus) = (native.parse().ok()?, vcpus.parse().ok()?);
        Some(MachineArguments { image, native, vcpus, initramfs, command_line })
    }
}
