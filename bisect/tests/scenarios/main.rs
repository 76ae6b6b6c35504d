//! Whole bisections on real repositories, with builds and trials that do at once what they are
//! told: what should come of the situations in which bisections of kernels are known to go wrong.
//!
//! Syzkaller tests its own bisection on a repository of this shape. What its tests set up is set up
//! here too, with what should come of it in this program, but for two things that it does to the
//! configuration, which have no counterpart:
//!
//! - A *baseline* configuration, tried beside the bug's own: whether the bug shows with it, does not
//!   show, or the kernel does not build or boot. There one run decides which of the two is used from
//!   then on. Here the user says which is (`--config`, `--defconfig` or `--tinyconfig`, and
//!   `--fragment`), `vmbisect loop` says what shows with either, and the journal keeps to it.
//! - A *minimised* one, which is searched for with the reproducer, and the error when the search for it
//!   fails. There fewer options mean fewer other crashes that would be taken for the bug; here other
//!   crashes do not count. What is left of it are two last commits of one image, the second of which is
//!   blamed there and the first here ([`cause`]), and logs of such bisections, which `replay` reads.

#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy knows only test functions for tests

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
