//! The devices behind I/O ports, and the bus that finds them.

pub(crate) mod agent_port;
pub(crate) mod bus;
pub(crate) mod cmos;
pub(crate) mod i8042;
pub(crate) mod serial;
