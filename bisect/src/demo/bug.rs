//! The bug: `kvm_wait()` as it was before f4e61f0c9add ("x86/kvm: Fix broken irq restoration in
//! kvm_wait", Linux 5.12).

/// The file that `kvm_wait()` is in.
pub const KVM_C: &str = "arch/x86/kernel/kvm.c";

const START: &str = "static void kvm_wait(u8 *ptr, u8 val)\n{\n";
const END: &str = "}\n";
/// What the fixed body has: without these it is another function than the one that was broken.
const FIXED: [&str; 3] = ["if (irqs_disabled()) {", "local_irq_enable();", "safe_halt();"];

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

/// The text of [`KVM_C`] with the old body of `kvm_wait()`; `None` if it has no such function, or
/// one that is not as the fix left it.
pub fn with_old_kvm_wait(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (body, after) = rest.split_once("\n}\n")?;
    let fixed = FIXED.iter().all(|line| body.contains(line));
    fixed.then(|| [before, START, OLD_BODY, END, after].concat())
}

#[cfg(test)]
mod tests {
    use super::{OLD_BODY, with_old_kvm_wait};

    #[test]
    fn the_body_and_nothing_else_is_replaced() {
        let text = "int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{\n\tif (irqs_disabled()) {\n\
                    \t} else {\n\t\tsafe_halt();\n\t\tlocal_irq_enable();\n\t}\n}\n\n\
                    int b(void)\n{\n}\n";
        let old = with_old_kvm_wait(text).unwrap();
        assert_eq!(
            old,
            format!(
                "int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{{\n{OLD_BODY}}}\n\n\
                 int b(void)\n{{\n}}\n"
            )
        );
        assert_eq!(with_old_kvm_wait(&old), None, "it is the old one already");
        assert_eq!(with_old_kvm_wait("int kvm_wait;"), None);
    }
}
