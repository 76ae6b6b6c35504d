//! The kernels that other tests boot are what those tests take them for.

use std::fs;

use vmbisect_tests::fixture;

#[test]
fn the_two_kernels_differ_and_are_granted_what_was_asked_for() {
    let Some(kernels) = fixture::kernels() else { return };
    assert_ne!(kernels.good.signature, kernels.bad.signature);
    for image in [&kernels.good, &kernels.bad] {
        assert_eq!(image.notes, Vec::<String>::new());
        assert!(fs::metadata(&image.path).unwrap().len() > 1 << 20);
        assert!(image.vmlinux.as_ref().is_some_and(|path| path.is_file()));
    }
    let again = kernels.builder().unwrap().lookup("bad").unwrap();
    assert!(again.cached());
}
