//! What the kernel log tells that the console may not show: a `quiet` kernel still logs.

/// What `__pv_init_lock_hash()` in kernel/locking/qspinlock_paravirt.h logs.
const HASH_TABLE: &[u8] = b"PV qspinlock hash table entries";

/// Whether the kernel says that it uses KVM's paravirt spinlocks, if it says anything.
///
/// The words are those of `kvm_spinlock_init()` in arch/x86/kernel/kvm.c: `PV spinlocks enabled`
/// or, where something keeps them off, `PV spinlocks disabled` and the reason. Kernels from 4.2 to
/// 5.8 only say that they made the hash table that these locks need.
pub(crate) fn pv_spinlocks(log: &[u8]) -> Option<bool> {
    if log.split(|&byte| byte == b'\n').any(|line| after(line, HASH_TABLE).is_some()) {
        return Some(true);
    }
    let line = log.split(|&byte| byte == b'\n').find_map(|line| after(line, b"PV spinlocks "))?;
    if line.starts_with(b"enabled") {
        Some(true)
    } else if line.starts_with(b"disabled") {
        Some(false)
    } else {
        None
    }
}

/// The line that repeats the kernel command line, which every x86 kernel logs early.
pub(crate) fn command_line(log: &[u8]) -> Option<&[u8]> {
    log.split(|&byte| byte == b'\n').find_map(|line| after(line, b"Command line: "))
}

fn after<'a>(line: &'a [u8], words: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(words.len()).position(|window| window == words)?;
    line.get(at + words.len()..)
}

#[cfg(test)]
mod tests {
    use super::{command_line, pv_spinlocks};

    const LOG: &[u8] = b"<6>[    0.000000] Linux version 6.1.192\n\
        <6>[    0.000000] Command line: console=ttyS0 vmbisect.nonce=abc\n\
        <6>[    0.012000] kvm-guest: PV spinlocks enabled\n";

    #[test]
    fn both_words_of_the_kernel_are_known() {
        assert_eq!(pv_spinlocks(LOG), Some(true));
        assert_eq!(
            pv_spinlocks(b"kvm-guest: PV spinlocks disabled, no host support\n"),
            Some(false)
        );
        assert_eq!(pv_spinlocks(b"kvm-guest: PV spinlocks\n"), None);
        assert_eq!(pv_spinlocks(b""), None);
        assert_eq!(
            pv_spinlocks(b"<6>[    0.010000] PV qspinlock hash table entries: 256 (order: 0)\n"),
            Some(true)
        );
    }

    #[test]
    fn the_command_line_is_found_without_its_stamp() {
        assert_eq!(command_line(LOG), Some(&b"console=ttyS0 vmbisect.nonce=abc"[..]));
        assert_eq!(command_line(b"nothing of the kind"), None);
    }
}
