//! What the whole-path tests share.

pub mod corpus;
pub mod fixture;
pub mod logs;
pub mod program;
pub mod toy;
