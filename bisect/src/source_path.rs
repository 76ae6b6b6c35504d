//! Paths of source files, as compilers write them.

/// A path without `.` and `..`, as far as that can be told without looking at the disk.
pub(crate) fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, "" | "..")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(cleaned("/b/out/../linux/./lib/x.c"), "/b/linux/lib/x.c");
        assert_eq!(cleaned("arch/x86/kvm/../../../virt/kvm/x.c"), "virt/kvm/x.c");
        assert_eq!(cleaned("./include/linux/mm.h"), "include/linux/mm.h");
        assert_eq!(cleaned("../x.c"), "../x.c");
        assert_eq!(cleaned("/../x.c"), "/../x.c");
    }
}
