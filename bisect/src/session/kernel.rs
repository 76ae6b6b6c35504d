//! The kernel builder at work for a session.

use super::{Build, BuildFault, BuildOutcome};
use crate::cancel::Cancel;
use crate::history::CommitId;
use crate::kernel::{BuildError, Builder, Built};

impl Build for Builder {
    fn build(
        &self,
        commit: CommitId,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<BuildOutcome, BuildFault> {
        match Builder::build(self, &commit.to_string(), on_line, cancel) {
            Ok(Built::Image(image)) => Ok(BuildOutcome::Image {
                signature: image.signature,
                path: image.path,
                compiler: image.compiler,
                seconds: image.build_seconds,
                cached: image.cached,
            }),
            Ok(Built::Failed(failure)) => Ok(BuildOutcome::Failed {
                reason: failure.errors.join("\n"),
                log: failure.log,
                seconds: failure.build_seconds,
                cached: failure.cached,
            }),
            Err(BuildError::Cancelled) => Err(BuildFault::Cancelled),
            Err(error) if error.is_host() => Err(BuildFault::Host(super::run::chain(&error))),
            Err(error) => Err(BuildFault::Fatal(error.into())),
        }
    }
}
