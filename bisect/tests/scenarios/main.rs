//! Whole bisections on real repositories, with builds and trials that do at once what they are
//! told: what should come of the situations in which bisections of kernels are known to go wrong.

#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy knows only test functions for tests

mod cause;
mod contradictory;
mod ends;
mod fix;
mod misled;
mod one_revision;
mod world;
