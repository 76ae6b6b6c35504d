//! The bug: `kvm_wait()` of arch/x86/kernel/kvm.c as it was before commit f4e61f0c9add ("x86/kvm:
//! Fix broken irq restoration in kvm_wait").
//!
//! It saves the interrupt flag, disables interrupts and, if they had been enabled, waits in
//! `safe_halt()`, which enables them; the restore at its end then runs with interrupts on, which
//! `CONFIG_DEBUG_IRQFLAGS` reports.

pub(super) const PATH: &str = "arch/x86/kernel/kvm.c";

const START: &str = "static void kvm_wait(u8 *ptr, u8 val)\n{\n";
const END: &str = "\n}\n";
/// What the body must have, or it is not the one that this change undoes.
const EXPECTED: [&str; 3] = ["if (irqs_disabled()) {", "local_irq_enable();", "safe_halt();"];

const OLD_BODY: &str = "\tunsigned long flags;

\tif (in_nmi())
\t\treturn;

\tlocal_irq_save(flags);

\tif (READ_ONCE(*ptr) != val)
\t\tgoto out;

\t/*
\t * halt until it's our turn and kicked. Note that we do safe halt
\t * for irq enabled case to avoid hang when lock info is overwritten
\t * in irq spinlock slowpath and no spurious interrupt occur to save us.
\t */
\tif (arch_irqs_disabled_flags(flags))
\t\thalt();
\telse
\t\tsafe_halt();

out:
\tlocal_irq_restore(flags);";

/// The file with the old body in it, or `None` if its `kvm_wait()` is not as expected.
pub(super) fn plant(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(START)?;
    let (body, after) = rest.split_once(END)?;
    EXPECTED
        .iter()
        .all(|line| body.contains(line))
        .then(|| [before, START, OLD_BODY, END, after].concat())
}

#[cfg(test)]
mod tests {
    use super::plant;

    #[test]
    fn only_the_known_body_is_replaced() {
        let fixed = "int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{\n\tif (irqs_disabled()) {\n\
                     \t} else {\n\t\tsafe_halt();\n\t\tlocal_irq_enable();\n\t}\n}\n\nint b;\n";
        let planted = plant(fixed).unwrap();
        assert!(planted.starts_with("int a;\n\nstatic void kvm_wait(u8 *ptr, u8 val)\n{\n"));
        assert!(planted.ends_with("\tlocal_irq_restore(flags);\n}\n\nint b;\n"));
        assert_eq!(plant(&planted), None, "it is there already");
        assert_eq!(plant("static void kvm_wait(u8 *ptr, u8 val)\n{\n}\n"), None);
        assert_eq!(plant(""), None);
    }
}
