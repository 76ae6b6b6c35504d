//! The bug: `kvm_wait()` as it was before f4e61f0c9add ("x86/kvm: Fix broken irq restoration in
//! kvm_wait", Linux 5.12).

/// The file that `kvm_wait()` is in.
pub const KVM_C: &str = "arch/x86/kernel/kvm.c";

const SIGNATURE: &str = "static void kvm_wait(u8 *ptr, u8 val)\n{\n";

/// `safe_halt()` enables interrupts, so that `local_irq_restore()` then runs with interrupts on,
/// which a kernel with `CONFIG_DEBUG_IRQFLAGS` reports.
const OLD_BODY: &str = "\
\tunsigned long flags;

\tif (in_nmi())
\t\treturn;

\tlocal_irq_save(flags);

\tif (READ_ONCE(*ptr) != val)
\t\tgoto out;

\tif (arch_irqs_disabled_flags(flags))
\t\thalt();
\telse
\t\tsafe_halt();

out:
\tlocal_irq_restore(flags);
";

/// The text of [`KVM_C`] with the old body of `kvm_wait()`; `None` if there is no such function.
pub fn with_old_kvm_wait(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(SIGNATURE)?;
    let (_, after) = rest.split_once("\n}\n")?;
    Some(format!("{before}{SIGNATURE}{OLD_BODY}}}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::{OLD_BODY, with_old_kvm_wait};

    #[test]
    fn the_body_and_nothing_else_is_replaced() {
        let text = "int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{\n\tif (in_nmi()) {\n\t\t\
                    return;\n\t}\n}\n\nint b(void)\n{\n}\n";
        let old = with_old_kvm_wait(text).unwrap();
        assert_eq!(
            old,
            format!(
                "int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{{\n{OLD_BODY}}}\n\n\
                 int b(void)\n{{\n}}\n"
            )
        );
        assert_eq!(with_old_kvm_wait(&old).as_deref(), Some(old.as_str()));
        assert_eq!(with_old_kvm_wait("int kvm_wait;"), None);
    }
}
