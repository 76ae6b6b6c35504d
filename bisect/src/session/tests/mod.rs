//! Whole sessions on real repositories and real journals. Builds and trials are fakes here, which
//! do at once what they are told; the real ones are tested where they are.

mod images;
mod resume;
mod search;
mod untestable;
mod world;
