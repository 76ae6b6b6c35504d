//! The answer, for people, for programs, and as a log in the form of syzbot's.

mod answer;
mod ending;
mod ending_text;
mod log;
mod text;
mod told;

pub use answer::{
    Answer, DroppedBaseline, Report, ReportError, RevisionReport, StandIn, Standing, Suspect,
};
pub use ending::{
    Contradiction, MergeReport, RevertReport, RevertResult, Seen, Side, TitleReport,
    contradictions, titles,
};
pub use ending_text::doubts;
pub use log::log;
pub use text::{describe, percent};
pub use told::recipients;
