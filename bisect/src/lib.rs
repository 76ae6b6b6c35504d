//! The library behind `vmbisect`: from a history, a configuration and a workload to the commit
//! that broke the kernel.
//!
//! The data goes one way: [`history`] gives candidates, [`search`] says what to try, [`kernel`]
//! builds it, [`trial`] boots it, [`crash`] reads what it printed, and [`journal`] keeps what
//! happened; [`session`] is the loop around them. [`boot_loop`] boots one image over and over.

pub mod boot_loop;
pub mod cache;
pub mod cancel;
pub mod crash;
pub mod demo;
mod git;
mod group;
mod hex;
pub mod history;
pub mod import;
pub mod journal;
pub mod kernel;
pub mod lock;
pub mod maintainers;
pub mod report;
mod rng;
pub mod search;
pub mod session;
pub mod simulate;
mod source_path;
pub mod symbols;
pub mod temp;
pub mod tools;
pub mod trial;
