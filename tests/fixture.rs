//! Real kernels to test with, made once under the build directory and shared by all tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, bail, ensure};
use vmbisect::cancel::Cancel;
use vmbisect::demo::{self, Change, Imported, Linux};
use vmbisect::kernel::{Builder, Built, Fragment, Image};
use vmbisect::lock::Locked;
use vmbisect::tools::{self, LINUX_SOURCE, Purpose};

/// A kernel source in git, and two kernels of it.
#[derive(Debug)]
pub struct Kernels {
    /// The bare repository.
    pub repo: PathBuf,
    /// Linux 6.1 as Debian ships it, with [`demo::KERNEL_CONFIG`], debug information, and able to lie
    /// anywhere.
    pub good: Image,
    /// The same with the old body of `kvm_wait()`.
    pub bad: Image,
}

impl Kernels {
    /// A builder for more revisions of the repository, which shares the objects of those that are
    /// built already.
    ///
    /// # Errors
    /// See [`Builder::new`].
    pub fn builder(&self) -> anyhow::Result<Builder> {
        builder(&self.repo)
    }
}

/// The option of prctl(2) by which the [`mortal`] kernel dies.
pub const DIE: u32 = 0x76_6d62;

/// `prctl(DIE, TAKE_A_LOCK, lock)` takes lock 0 or 1, which nobody gives back: all but the first caller
/// wait for it with interrupts off, and for a kick that does not come.
pub const TAKE_A_LOCK: u32 = 8;

/// `prctl(DIE, LOCK_BYTE, lock)` is the low byte of that lock: 0 if it is free, 1 if it is taken, and 3
/// from when on the first that waits for it goes to sleep (`_Q_SLOW_VAL`).
pub const LOCK_BYTE: u32 = 9;

/// System calls that do not come back: with interrupts off or on, spinning or halted; with a `BUG()` in
/// a function that is inlined; and waiting for a spinlock.
const DEATHS: &str = "\
static noinline void lose_the_cpu(unsigned long how)
{
	preempt_disable();
	if (how & 1)
		local_irq_disable();
	for (;;) {
		if (how & 2)
			asm volatile(\"hlt\");
		else
			cpu_relax();
	}
}

static __always_inline void expect_less(unsigned long how)
{
	BUG_ON(how >= 4);
}

static noinline void die_of(unsigned long how)
{
	expect_less(how);
	lose_the_cpu(how);
}

static arch_spinlock_t locks[2];

static noinline void take_a_lock(unsigned long lock)
{
	local_irq_disable();
	arch_spin_lock(&locks[lock]);
	local_irq_enable();
}

";

/// A kernel in which `prctl(DIE, how)` loses the CPU, where `how` is less than 4, with interrupts
/// off if it is odd and halted from 2 on; from 4 on it runs into a `BUG()`. And see [`TAKE_A_LOCK`] and
/// [`LOCK_BYTE`].
///
/// # Errors
/// Fails if it can't be built.
pub fn mortal(kernels: &Kernels) -> anyhow::Result<Image> {
    const SYS_C: &str = "kernel/sys.c";
    const PRCTL: &str = "SYSCALL_DEFINE5(prctl, ";
    const CHECK: &str = "\terror = security_task_prctl(option";
    let base = &kernels.good.commit;
    let text = demo::read(&kernels.repo, base, SYS_C)?;
    ensure!(text.matches(PRCTL).count() == 1 && text.matches(CHECK).count() == 1, "{SYS_C}");
    let text = text.replace(PRCTL, &format!("{DEATHS}{PRCTL}"));
    let call = format!(
        "\tif (option == {DIE:#x} && arg2 == {LOCK_BYTE})\n\t\treturn READ_ONCE(locks[arg3].locked);\n\
         \tif (option == {DIE:#x} && arg2 == {TAKE_A_LOCK})\n\t\ttake_a_lock(arg3);\n\
         \telse if (option == {DIE:#x})\n\t\tdie_of(arg2);\n\n{CHECK}"
    );
    let changes = [Change { path: SYS_C.into(), text: Some(text.replace(CHECK, &call)) }];
    let message = "sys: Add a system call that does not come back\n";
    let commit = demo::commit(&kernels.repo, &[base], &changes, message)?;
    image(&kernels.builder()?, &commit)
}

/// The kernels, built if they are not there: some four minutes the first time, nothing later.
///
/// Missing tools are installed where that is possible. `None`, with the reason printed, is a host
/// on which they are missing and can't be installed.
///
/// # Panics
/// If a kernel can't be built, since nothing that needs it can be tested then.
pub fn kernels() -> Option<&'static Kernels> {
    static KERNELS: OnceLock<Option<Kernels>> = OnceLock::new();
    let make = || {
        if let Err(error) = ensure(&[Purpose::History, Purpose::Kernel, Purpose::LinuxSource]) {
            eprintln!("skipped: no kernels to test with: {error}");
            return None;
        }
        Some(make_kernels().unwrap_or_else(|error| panic!("no kernels to test with: {error:?}")))
    };
    KERNELS.get_or_init(make).as_ref()
}

/// Makes sure of tools, installing them where that is possible; one test at a time.
///
/// # Errors
/// Says what is missing and how to install it by hand.
pub fn ensure(purposes: &[Purpose]) -> anyhow::Result<()> {
    let _lock = lock("tools")?;
    tools::ensure(&tools::needed_for(purposes), &mut print, &Cancel::new())
        .map_err(|error| anyhow::anyhow!("{error}; {}", error.hint()))
}

/// Where fixtures are kept: `fixtures` in cargo's build directory, which `cargo clean` removes.
///
/// # Errors
/// Fails if it can't be made.
pub fn directory() -> anyhow::Result<PathBuf> {
    // Tests lie below it; cargo marks it as a cache. A build directory elsewhere has no mark if
    // somebody made it by hand.
    let program = std::env::current_exe().context("where this program is")?;
    let marked = program.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
    let target = match marked {
        Some(target) => target.to_owned(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    let directory = target.join("fixtures");
    fs::create_dir_all(&directory).with_context(|| format!("{}", directory.display()))?;
    Ok(directory.canonicalize()?)
}

/// Waits for the lock of this name, which tests of other processes take as well. It is free again
/// when it is dropped or its process dies.
///
/// # Errors
/// Fails if the lock file can't be made.
pub fn lock(name: &str) -> anyhow::Result<Locked> {
    let path = directory()?.join(name).with_extension("lock");
    let file = File::create(&path).with_context(|| format!("{}", path.display()))?;
    Ok(Locked::wait(file)?)
}

fn make_kernels() -> anyhow::Result<Kernels> {
    let _lock = lock("kernels")?;
    let cancel = Cancel::new();
    let linux = Linux::at(Path::new(LINUX_SOURCE))?;
    let Imported { repo, base: imported, .. } =
        demo::import_cached(&linux, &directory()?, &mut print, &cancel)?;
    demo::set_branch(&repo, "good", &imported)?;

    let text = demo::read(&repo, &imported, demo::KVM_C)?;
    let text = demo::with_old_kvm_wait(&text).context("no kvm_wait() in this source")?;
    let change = Change { path: demo::KVM_C.into(), text: Some(text) };
    let message = "x86/kvm: Save and restore interrupts in kvm_wait()\n";
    let bad = demo::commit(&repo, &[&imported], &[change], message)?;
    demo::set_branch(&repo, "bad", &bad)?;

    let builder = builder(&repo)?;
    Ok(Kernels { good: image(&builder, &imported)?, bad: image(&builder, &bad)?, repo })
}

fn image(builder: &Builder, commit: &str) -> anyhow::Result<Image> {
    match builder.build(commit, &mut print, &Cancel::new())? {
        Built::Image(image) => Ok(image),
        Built::Failed(failure) => bail!("{commit} does not build: {}", failure.errors.join("\n")),
    }
}

/// What reports are symbolized with, and what makes that harder.
const SYMBOLS_CONFIG: &str = "\
CONFIG_DEBUG_INFO_DWARF5=y
CONFIG_RELOCATABLE=y
CONFIG_RANDOMIZE_BASE=y
";

fn builder(repo: &Path) -> anyhow::Result<Builder> {
    let directory = directory()?;
    let mut config = demo::build_config()?;
    config.fragments.push(Fragment::new("symbols.config", SYMBOLS_CONFIG)?);
    config.keep_vmlinux = true;
    Ok(Builder::new(repo, config, &directory.join("images"), &directory.join("build"))?)
}

/// What the tools print; the test harness shows it where a test fails.
fn print(line: &str) {
    println!("{line}");
}
