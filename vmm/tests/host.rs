//! What is said of this machine's KVM is what its guests meet.

mod support {
    pub mod guest;
    pub mod image;
}

use support::guest::{Guest, start};

#[test]
fn what_is_said_to_be_hidden_is_what_a_machine_hides() {
    let Some(machine) = start(Guest::new().halt().config()) else { return };
    let hidden = &machine.cpu_facts().hidden;
    println!("{hidden:?}");
    assert_eq!(vmm::host::inspect().hidden, *hidden);
}
