//! A kernel image on disk to what is loaded and where it is entered.
//!
//! Two kinds of image are read: the bzImage that `make` leaves in `arch/x86/boot` (the x86 boot
//! protocol, `Documentation/arch/x86/boot.rst`), and the ELF `vmlinux` that it is made from. An
//! image comes from a file that anybody may have written: nothing in it is believed before it is
//! checked, and no size in it makes this module allocate more than the file really holds, or than
//! a kernel can be.
//!
//! # What is booted
//! | image | entered |
//! | --- | --- |
//! | bzImage, boot protocol 2.08 (Linux 2.6.26) and newer, any of the seven compressions | [`BootMode::Direct`]: its payload, at the ELF file's entry point, in the mode of its code |
//! | bzImage, 2.06 (2.6.22) and newer | [`BootMode::Native`]: its decompressor, by the 64-bit entry point where XLF_KERNEL_64 says that there is one (2.12, 3.8), else by the 32-bit one |
//! | vmlinux, x86-64 and i386 | as with direct boot |
//!
//! Direct boot wants no memory beyond the kernel's own segments and, as far as the header names it,
//! init_size from its runtime start on. Native boot puts the code at pref_address, aligned to
//! kernel_alignment if it is relocatable; before 2.10, at code32_start. The initrd lies below
//! initrd_addr_max, and a command line longer than cmdline_size is refused.
//!
//! Stock kernels of Debian 12 and its updates, unmodified, that were booted to PID 1, their workload and
//! a reset (`vmbisect boot`, in QEMU's emulation of SVM; the 32-bit one with shadow paging, since that
//! emulation's nested paging fails with PAE; `cargo run -p vmbisect-tests --example stock` does it again
//! with 1 and 2 vCPUs). Protocols before 2.15 are tested with images made by hand alone.
//!
//! | package | payload | entered in | processors by | vCPUs |
//! | --- | --- | --- | --- | --- |
//! | linux-image-6.1.0-56-amd64 | xz | long mode | MP table | 1, 2 |
//! | linux-image-6.1.0-56-cloud-amd64 | lz4 | long mode | ACPI | 1, 2, 8 (with 5.5 GiB) |
//! | linux-image-6.1.0-56-rt-amd64 | xz | long mode | MP table | 1, 2 |
//! | linux-image-6.1.0-50-686-pae | xz | protected mode | MP table | 1, 2 |
//! | linux-image-6.12.117+deb12-amd64 | zstd | long mode | MP table | 1, 2 |
//! | linux-image-6.12.117+deb12-cloud-amd64 | zstd | long mode | ACPI | 1, 2 |
//!
//! # How images are read
//! The header is read through linux-loader's definition of `struct setup_header`. Its loaders are
//! not used: `BzImage::load` looks at neither the boot flag, nor XLF_KERNEL_64, nor init_size, nor
//! pref_address, and copies whatever follows the kernel in the file as well; `Elf::load` accepts
//! any class and machine and can't read from a decompressor. What it lets through would end as a
//! guest that dies without a word, which in a bisection is a wrong answer.

mod bzimage;
mod elf;
mod identify;
mod lz4;
mod lzo;
mod payload;
mod vmlinux;

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryMmap};

pub use self::bzimage::HeaderError;
pub use self::elf::ElfError;
pub use self::identify::{Looks, compression};
pub use self::payload::{Compression, PayloadError};

use self::bzimage::BzImage;
use self::elf::{Layout, Program};
use self::vmlinux::Vmlinux;
use crate::BootMode;

/// Bytes from the start of an image by which it is told what it is.
const HEAD: usize = 4096;

/// What arch/x86/kernel/mpparse.c prints in every version, with the version of the table behind it.
const MP_TABLE_MESSAGE: &[u8] = b"Intel MultiProcessor Specification v1.";

/// COMMAND_LINE_SIZE of x86 less its NUL: what a vmlinux takes, which has no header to say so.
const VMLINUX_CMDLINE_SIZE: usize = 2047;

/// Where an initrd may end for a vmlinux: what every 64-bit kernel's header says.
const VMLINUX_INITRD_ADDR_MAX: u64 = 0x7fff_ffff;

/// The same for 32-bit kernels, which map less than 1 GiB of memory.
const VMLINUX_32_INITRD_ADDR_MAX: u64 = 0x37ff_ffff;

/// A kernel image, checked, that many machines can share.
///
/// Of a bzImage the file is read at once and not looked at again. A vmlinux stays in its file, which is
/// kept open: the first machine reads the kernel from there into its memory. What a second one takes it
/// from is kept: the decompressed kernel, or what is loaded of the vmlinux.
pub struct Kernel {
    image: Image,
    /// What is loaded, once somebody had a use for it beside one machine.
    program: Mutex<Option<Arc<Program>>>,
    /// Whether a machine was made of it.
    was_loaded: AtomicBool,
    reads_mp_table: OnceLock<bool>,
}

enum Image {
    BzImage(BzImage),
    /// In a file.
    Vmlinux(Vmlinux),
    /// In memory from the beginning.
    Program(Arc<Program>),
}

impl fmt::Debug for Kernel {
    /// Without its megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match &self.image {
            Image::BzImage(_) => "bzImage",
            Image::Vmlinux(_) | Image::Program(_) => "vmlinux",
        };
        f.debug_struct("Kernel")
            .field("format", &format)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// What a kernel asks of the machine, for one [`BootMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Guest physical address of the first byte the kernel occupies; at least 1 MiB.
    pub start: u64,
    /// Guest physical address after the last byte it needs before it manages memory itself, its
    /// bss included: init_size after the runtime start, or the end of the last segment, whichever
    /// is higher. Nothing may be placed between `start` and this.
    pub end: u64,
    /// The highest guest physical address that the initrd's last byte may have.
    pub initrd_addr_max: u64,
    /// The longest command line it takes, in bytes without the terminating NUL.
    pub cmdline_size: usize,
}

/// The mode in which the boot processor enters a kernel (boot.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryMode {
    /// Protected mode without paging: the "32-bit Boot Protocol".
    Protected,
    /// Long mode: the "64-bit Boot Protocol".
    Long,
}

/// Where and how a kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Guest physical address.
    pub(crate) address: u64,
    pub(crate) mode: EntryMode,
}

/// A kernel in guest memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Where it is entered.
    pub(crate) entry: Entry,
    /// [`Requirements::end`].
    pub(crate) end: u64,
    /// The memory that it writes to, every page of it, before it does anything else: its own.
    pub(crate) occupied: Range<u64>,
    /// What belongs into boot_params from offset 0x1f1 on: the image's own setup header, as long as
    /// it says that it is. Empty for a vmlinux, which has none.
    pub(crate) setup_header: Vec<u8>,
}

/// Why an image is not a kernel that can be booted, or not so.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The file can't be opened or read.
    #[error("can't read the kernel image {path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("not a kernel for this machine: {0}")]
    NotAKernel(Looks),
    /// A bzImage whose setup header can't be true or asks for what isn't there.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The compressed kernel inside of a bzImage can't be had.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A vmlinux that can't be loaded.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// [`BootMode::Native`] of a vmlinux.
    #[error("a vmlinux has no decompressor to enter: boot it directly, or boot the bzImage")]
    NativeVmlinux,
    /// The machine has less memory than the kernel needs to start.
    #[error(
        "the kernel needs guest memory from {} to {} MiB, the machine has {} MiB",
        .start >> 20, .end.div_ceil(1 << 20), .have >> 20
    )]
    TooLittleMemory {
        /// [`Requirements::start`].
        start: u64,
        /// [`Requirements::end`].
        end: u64,
        /// Where the machine's memory ends.
        have: u64,
    },
    /// A vmlinux is not any more what it was when it was opened.
    #[error("the kernel image {path} was changed while it was in use", path = .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Guest memory can't be written.
    #[error("can't write the kernel to guest memory")]
    Memory(#[from] GuestMemoryError),
}

impl Kernel {
    /// Reads a bzImage or an ELF vmlinux.
    ///
    /// A bzImage's payload is not decompressed yet: [`requirements`](Kernel::requirements) does so
    /// if asked for [`BootMode::Direct`].
    ///
    /// # Errors
    /// Fails if the file can't be read, is not a kernel for this machine, or is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Kernel, KernelError> {
        let path = path.as_ref();
        let failed = |source| KernelError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(KernelError::NotAKernel(Looks::Directory));
        }
        // Anything else may have no end, or never say a word.
        if !kind.is_file() {
            return Err(KernelError::NotAKernel(Looks::NotARegularFile));
        }
        let mut head = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if identify::is_elf(&head) {
            refuse_foreign(&head)?;
            return Ok(Kernel::of(Image::Vmlinux(Vmlinux::open(path, file)?)));
        }
        if let Some(looks) = identify::not_a_bzimage(&head) {
            return Err(KernelError::NotAKernel(looks));
        }
        let extent = bzimage::extent(&head)?;
        let length = file.metadata().map_err(failed)?.len().min(extent);
        let mut image = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(extent).read_to_end(&mut image).map_err(failed)?;
        Kernel::from_bzimage(image)
    }

    /// Takes an image that is in memory already.
    ///
    /// # Errors
    /// Fails if it is not a kernel for this machine, or is damaged.
    pub fn from_bytes(image: Vec<u8>) -> Result<Kernel, KernelError> {
        if identify::is_elf(&image) {
            refuse_foreign(image.get(..HEAD).unwrap_or(&image))?;
            let part = |Range { start, end }| image.get(elf::at(start)..elf::at(end));
            let program = Program::read(Layout::read(Cursor::new(&image))?, |data, bytes| {
                bytes.extend_from_slice(part(data).ok_or(ElfError::Truncated)?);
                Ok::<_, ElfError>(())
            })?;
            return Ok(Kernel::of(Image::Program(Arc::new(program))));
        }
        if let Some(looks) = identify::not_a_bzimage(&image) {
            return Err(KernelError::NotAKernel(looks));
        }
        Kernel::from_bzimage(image)
    }

    fn from_bzimage(image: Vec<u8>) -> Result<Kernel, KernelError> {
        Ok(Kernel::of(Image::BzImage(BzImage::parse(image)?)))
    }

    fn of(image: Image) -> Kernel {
        Kernel {
            image,
            program: Mutex::new(None),
            was_loaded: AtomicBool::new(false),
            reads_mp_table: OnceLock::new(),
        }
    }

    /// The version that a bzImage's header names, as `uname -r` and the build would show it; none
    /// for a vmlinux.
    pub fn version(&self) -> Option<&str> {
        match &self.image {
            Image::BzImage(image) => image.version(),
            Image::Vmlinux(_) | Image::Program(_) => None,
        }
    }

    /// How the kernel inside of a bzImage is compressed; none for a vmlinux.
    ///
    /// # Errors
    /// Fails if there is no payload, or none that is known.
    pub fn compression(&self) -> Result<Option<Compression>, KernelError> {
        match &self.image {
            Image::BzImage(image) => Ok(Some(Compression::of(image.payload()?)?)),
            Image::Vmlinux(_) | Image::Program(_) => Ok(None),
        }
    }

    /// Whether it is a 32-bit kernel, which runs no 64-bit programs.
    ///
    /// A bzImage from before boot protocol 2.12 (Linux 3.8) does not say so; its payload is decompressed
    /// to find out.
    ///
    /// # Errors
    /// Fails if there is no payload to look at, or a damaged one.
    pub fn is_32_bit(&self) -> Result<bool, KernelError> {
        if let Image::BzImage(image) = &self.image
            && let Some(is_64_bit) = image.is_64_bit()
        {
            return Ok(!is_64_bit);
        }
        Ok(self.layout()?.entry().mode == EntryMode::Protected)
    }

    /// Whether the kernel can read an MP table (CONFIG_X86_MPPARSE), judged by the message that its
    /// code for it prints. One that can't finds its processors by ACPI alone. A kernel without
    /// printk (CONFIG_PRINTK) does not show it.
    ///
    /// The first call decompresses a bzImage's payload, or reads a vmlinux.
    ///
    /// # Errors
    /// Fails if there is no payload, or a damaged one.
    pub fn reads_mp_table(&self) -> Result<bool, KernelError> {
        if let Some(answer) = self.reads_mp_table.get() {
            return Ok(*answer);
        }
        let program = self.program()?;
        Ok(*self.reads_mp_table.get_or_init(|| program.contains(MP_TABLE_MESSAGE)))
    }

    /// What the kernel asks of a machine that boots it so.
    ///
    /// The first call with [`BootMode::Direct`] decompresses a bzImage's payload.
    ///
    /// ```no_run
    /// use vmm::{BootMode, Kernel};
    ///
    /// # fn main() -> Result<(), vmm::KernelError> {
    /// let kernel = Kernel::open("arch/x86/boot/bzImage")?;
    /// let least = kernel.requirements(BootMode::Direct)?.end.div_ceil(1 << 20);
    /// println!("{} needs {least} MiB to start", kernel.version().unwrap_or("the kernel"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the image can't be booted so: no or a damaged payload for [`BootMode::Direct`], a
    /// vmlinux for [`BootMode::Native`].
    pub fn requirements(&self, boot: BootMode) -> Result<Requirements, KernelError> {
        match (&self.image, boot) {
            (Image::BzImage(image), BootMode::Direct) => {
                let (start, end) = self.layout()?.span();
                // init_size has room for the decompressor too, which isn't used here. The little
                // that this asks for too much keeps both ways to boot on the same memory map.
                let end = end.max(image.runtime_end().unwrap_or(0));
                Ok(image.requirements(start, end))
            }
            (Image::BzImage(image), BootMode::Native) => {
                let native = image.native();
                Ok(image.requirements(native.start, native.end))
            }
            (Image::Vmlinux(_) | Image::Program(_), BootMode::Direct) => {
                let layout = self.layout()?;
                let (start, end) = layout.span();
                Ok(Requirements {
                    start,
                    end,
                    initrd_addr_max: match layout.entry().mode {
                        EntryMode::Long => VMLINUX_INITRD_ADDR_MAX,
                        EntryMode::Protected => VMLINUX_32_INITRD_ADDR_MAX,
                    },
                    cmdline_size: VMLINUX_CMDLINE_SIZE,
                })
            }
            (Image::Vmlinux(_) | Image::Program(_), BootMode::Native) => {
                Err(KernelError::NativeVmlinux)
            }
        }
    }

    /// Puts the kernel into guest memory.
    pub(crate) fn load(
        &self,
        memory: &GuestMemoryMmap,
        boot: BootMode,
    ) -> Result<Loaded, KernelError> {
        let Requirements { start, end, .. } = self.requirements(boot)?;
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        if !memory.check_range(GuestAddress(start), length) {
            let have = memory.last_addr().0.saturating_add(1);
            return Err(KernelError::TooLittleMemory { start, end, have });
        }
        let (entry, occupied, setup_header) = match (&self.image, boot) {
            (Image::BzImage(image), BootMode::Native) => {
                let native = image.native();
                memory.write_slice(image.protected_mode(), GuestAddress(native.start))?;
                (native.entry, start..end, image.setup_header_at(native.start))
            }
            (image, _) => {
                let setup_header = match image {
                    Image::BzImage(image) => image.setup_header().to_vec(),
                    Image::Vmlinux(_) | Image::Program(_) => Vec::new(),
                };
                let layout = self.load_program(memory)?;
                let (start, end) = layout.span();
                (layout.entry(), start..end, setup_header)
            }
        };
        Ok(Loaded { entry, end, occupied, setup_header })
    }

    fn load_program(&self, memory: &GuestMemoryMmap) -> Result<Layout, KernelError> {
        let again = self.was_loaded.swap(true, Ordering::Relaxed);
        match &self.image {
            Image::Vmlinux(vmlinux) if !again && self.kept().is_none() => {
                vmlinux.load(memory)?;
                Ok(vmlinux.layout().clone())
            }
            _ => {
                let program = self.program()?;
                program.load(memory)?;
                Ok(program.layout().clone())
            }
        }
    }

    /// What is loaded, and where.
    fn layout(&self) -> Result<Layout, KernelError> {
        match &self.image {
            Image::Vmlinux(vmlinux) => Ok(vmlinux.layout().clone()),
            Image::Program(program) => Ok(program.layout().clone()),
            Image::BzImage(_) => Ok(self.program()?.layout().clone()),
        }
    }

    fn kept(&self) -> Option<Arc<Program>> {
        // What is in there is whole or absent, whatever became of a thread that held the lock.
        self.program.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is loaded, decompressed or read by whoever comes first.
    fn program(&self) -> Result<Arc<Program>, KernelError> {
        let mut kept = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = &*kept {
            return Ok(Arc::clone(program));
        }
        let program = match &self.image {
            Image::BzImage(image) => {
                Arc::new(payload::decompress(image.payload()?, image.init_size())?)
            }
            Image::Vmlinux(vmlinux) => Arc::new(vmlinux.read()?),
            Image::Program(program) => Arc::clone(program),
        };
        *kept = Some(Arc::clone(&program));
        Ok(program)
    }
}

/// Fails if the ELF file that begins with `head` is something else than a kernel for this machine.
fn refuse_foreign(head: &[u8]) -> Result<(), KernelError> {
    identify::foreign_elf(head).map_or(Ok(()), |looks| Err(KernelError::NotAKernel(looks)))
}

/// Decompresses a payload; gives the size of what is to be loaded of it.
#[cfg(fuzzing)]
pub(crate) fn decompressed_size(payload: &[u8], init_size: u64) -> Option<u64> {
    payload::decompress(payload, init_size).ok().map(|program| program.size_in_file())
}

#[cfg(test)]
mod tests;
