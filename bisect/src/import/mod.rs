//! Other tools' logs: what they tested and saw, as the events that a session of ours would have
//! recorded.

mod order;
mod syzbot;

pub use order::implied_order;
pub use syzbot::{BisectLog, ImportError, Run, Tested, Word, parse};
