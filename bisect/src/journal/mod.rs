//! What happened, on disk: a file of JSON lines that is only ever appended to.
//!
//! The first line says what the bisection is about, each further line is one [`Record`]. A record
//! is on disk before anything is done because of it, so a run that was killed at any point goes on
//! where it was. A line that was being written at that moment has no end, and is dropped.

mod error;
mod event;
mod file;
mod rename;

pub use error::JournalError;
pub use event::{Event, Header, Record, Resumption, Stage};
pub use file::{Journal, now_ms};
pub use rename::{rename, titles};
