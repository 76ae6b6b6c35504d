//! Other tools' logs: what they tested and saw, as the events that a session of ours would have
//! recorded.

mod log;
mod order;
mod parse;

pub use log::{BisectLog, ImportError, JUDGED, Run, Tested, Weighing, Word};
pub use order::implied_order;
pub use parse::parse;
