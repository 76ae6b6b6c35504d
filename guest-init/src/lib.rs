//! PID 1 inside the guest, the archive it is booted from, and how it reports.
//!
//! The host side of the crate: the wire format that the agent speaks ([`protocol`]), the initramfs
//! writer ([`cpio`]) and the archive with everything in it ([`initramfs`]).

pub mod protocol;
