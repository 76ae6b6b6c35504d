//! The kernel builder at work for a session.

use super::{Build, BuildFault, BuildOutcome};
use crate::cancel::Cancel;
use crate::history::CommitId;
use crate::kernel::{BuildError, Builder, Built};
use crate::trial::with_causes;

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
            // Which commit it was, the journal says beside it.
            Err(BuildError::Host { reason, .. }) => Err(BuildFault::Host(reason)),
            Err(error) if error.is_host() => Err(BuildFault::Host(with_causes(&error))),
            Err(error) => Err(BuildFault::Fatal(error.into())),
        }
    }
}
