//! The loop: belief, next action, do it, record it.
//!
//! What a session knows is a fold over the records of its journal ([`Fold`]). Live work writes a
//! record and applies it, `--resume` applies the records that are there, and then both go on the
//! same way; so a resumed session believes and decides what an uninterrupted one would have.

mod baseline;
mod crash_hint;
mod fold;
mod hints;
mod inert;
mod kernel;
mod mean;
mod presence;
mod releases;
mod retarget;
mod reverted;
mod rewritten;
mod run;
mod step;
mod tried;
mod work;

pub use baseline::{Dropped, WhyDropped};
pub use fold::Fold;
pub use hints::Hints;
pub use releases::Releases;
pub use retarget::retarget;
pub use reverted::Reverted;
pub use rewritten::Rewritten;
pub use run::{Progress, Session, SessionError};
pub use step::{FoldError, Step};
pub use tried::{Image, Skip, Trial, Tried};
pub use work::{Build, BuildFault, BuildOutcome};
