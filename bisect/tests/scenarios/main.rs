//! Whole bisections on real repositories, with builds and trials that do at once what they are
//! told: what should come of the situations in which bisections of kernels are known to go wrong.
//!
//! Syzkaller tests its own bisection on a repository of this shape. What its tests set up is set up
//! here too, with what should come of it in this program. Its *baseline* configurations are those of
//! [`baseline`]. Where it also searches for a *minimised* one of its own, the user gives several
//! baselines here; so no such search can fail. Of two last commits of one image it blames the second,
//! and this program the first.

#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy knows only test functions for tests

mod baseline;
mod bases;
mod blame;
mod cause;
mod contradictory;
mod ends;
mod fix;
mod misled;
mod one_revision;
mod replayed;
mod world;
