//! Boots one image over and over: how often something shows, what, and how long a boot takes.
//!
//! Every run is a trial of a machine of its own whose target is any crash. What shows in it is
//! counted by title ([`Seen`]), and how often with the exact interval of Clopper and Pearson
//! ([`Interval`]), which holds for small counts and for rates near 0 as well.

mod interval;
mod run;
mod seen;
mod tally;

pub use interval::Interval;
pub use run::{Finished, Limits, Progress, Stop, run};
pub use seen::Seen;
pub use tally::{BootTimes, Counted, Shown, Summary, Tally};

#[cfg(test)]
mod tests;
