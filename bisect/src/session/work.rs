//! The two kinds of work: building a revision and trying it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use crate::cancel::Cancel;
use crate::history::CommitId;
use crate::trial::{Job, KeptConsole, LaunchError, Launcher, TrialEvent, TrialReport};

/// Builds revisions.
pub trait Build {
    /// Builds a revision, or finds that it was built before. Hands over what the build prints,
    /// line by line.
    ///
    /// # Errors
    /// Fails where nothing was learned about the revision.
    fn build(
        &self,
        commit: CommitId,
        on_line: &mut dyn FnMut(&str),
        cancel: &Cancel,
    ) -> Result<BuildOutcome, BuildFault>;
}

/// What became of a build.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildOutcome {
    /// There is an image.
    Image {
        /// What will run, hashed.
        signature: String,
        /// The bzImage.
        path: PathBuf,
        /// Compiler and linker, as they call themselves.
        compiler: String,
        /// Seconds that the build took when it was done.
        seconds: f64,
        /// Whether it was there already.
        cached: bool,
    },
    /// The revision does not build.
    Failed {
        /// The lines that say why.
        reason: String,
        /// All that the build printed.
        log: PathBuf,
        /// Seconds that the build took when it was done.
        seconds: f64,
        /// Whether that was known already.
        cached: bool,
    },
}

/// Why nothing was learned about a revision.
#[derive(Debug)]
pub enum BuildFault {
    /// The user asked to stop.
    Cancelled,
    /// The host failed; another try may succeed.
    Host(String),
    /// Another try would end the same way.
    Fatal(Box<dyn std::error::Error + Send + Sync>),
}

/// A trial that is over.
pub(super) struct Finished {
    pub(super) result: Result<TrialReport, LaunchError>,
    pub(super) seconds: f64,
    pub(super) console: String,
}

/// What comes out of a batch of trials while it runs.
pub(super) enum Message {
    Event(TrialEvent),
    Finished(Box<Finished>),
}

/// Runs a batch at once. What happens is handed to `on_message` on this thread, as it happens;
/// when that returns an error the rest of the batch is stopped, and the error returned.
///
/// A hit does not stop the others, even where it decides what is next. Hits come early and end a
/// trial, so those stopped would mostly have stayed clean, and the bug would seem to show more often
/// than it does. A batch is no larger than what runs at a time, so it costs one trial's time at most.
pub(super) fn run_batch<E>(
    launcher: &dyn Launcher,
    jobs: &[Job],
    cancel: &Cancel,
    mut on_message: impl FnMut(Message) -> Result<(), E>,
) -> Result<(), E> {
    let stop = Cancel::new();
    let stopper = stop.clone();
    let _passed_on = cancel.on_cancel(move || stopper.cancel());
    std::thread::scope(|scope| {
        let (sender, receiver): (Sender<Message>, Receiver<Message>) = channel();
        for job in jobs {
            let (sender, stop) = (sender.clone(), &stop);
            scope.spawn(move || run_one(launcher, job, &sender, stop));
        }
        drop(sender);
        let mut failed = None;
        for message in receiver {
            if failed.is_none()
                && let Err(error) = on_message(message)
            {
                stop.cancel();
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    })
}

fn run_one(launcher: &dyn Launcher, job: &Job, sender: &Sender<Message>, stop: &Cancel) {
    let started = Instant::now();
    let mut console = KeptConsole::default();
    let mut on_event = |event: TrialEvent| {
        match &event {
            TrialEvent::Line(line) => console.push(line),
            // Another machine's console begins.
            TrialEvent::Restarted { .. } => console = KeptConsole::default(),
            _ => {}
        }
        // Nobody listens any more only when the session is being torn down.
        let _ = sender.send(Message::Event(event));
    };
    let result = launcher.run(job, &mut on_event, stop);
    if let Ok(report) = &result {
        console.end(report);
    }
    let seconds = started.elapsed().as_millis() as f64 / 1e3;
    let finished = Finished { result, seconds, console: console.text() };
    let _ = sender.send(Message::Finished(Box::new(finished)));
}
