//! `vmbisect build`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use vmbisect::kernel::{BuildError, BuildFailure, Built, Image};

use super::args::{KernelArgs, hinted};
use super::interrupt::{cancel_on_signals, interrupted};
use super::{Output, WithHint};

/// Builds one revision as a bisection would, or takes it from the store, and prints its signature:
/// a hash of what will run, equal for revisions that can't behave differently.
///
/// Exit status: 0 it was built, 1 the revision does not build, 2 something else went wrong, 130
/// interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json, one object is printed: result (image or failed), commit, tree, and the fields that the \
text has.

Examples:
  vmbisect build v6.1 --repo ~/linux --defconfig --fragment kvm_guest.config
  vmbisect build HEAD~3 --config .config --output out/")]
pub(crate) struct Args {
    /// The revision: a commit, tag or branch
    #[arg(value_name = "REV")]
    revision: String,

    #[command(flatten)]
    kernel: KernelArgs,

    /// Copy bzImage, config, log and vmlinux (if kept) to this directory
    #[arg(long, short, value_name = "DIR", help_heading = None)]
    output: Option<PathBuf>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let cancel = cancel_on_signals()?;
    let builder = args.kernel.builder()?;
    let progress = output.progress();
    progress.enable_steady_tick(std::time::Duration::from_millis(200));
    let built = builder.build(
        &args.revision,
        &mut |line| progress.set_message(line.trim().to_owned()),
        &cancel,
    );
    progress.finish_and_clear();
    let mut built = match built {
        Err(BuildError::Cancelled) => return Ok(interrupted()),
        other => hinted(other)?,
    };
    if let Some(dir) = &args.output {
        copy(&mut built, dir).hint("choose another --output")?;
    }
    if output.json {
        output.line(serde_json::to_string_pretty(&built)?);
    } else {
        print(&built, output);
    }
    Ok(ExitCode::from(u8::from(built.image().is_none())))
}

fn print(built: &Built, output: &Output) {
    let took = |cached: bool, seconds: f64| match cached {
        true => format!("from the store, built before in {seconds:.1} s"),
        false => format!("{seconds:.1} s"),
    };
    match built {
        Built::Image(image) => {
            warn(&image.notes, output);
            output.line(format!("commit     {}", image.commit));
            output.line(format!("image      {}", image.path.display()));
            if let Some(vmlinux) = &image.vmlinux {
                output.line(format!("vmlinux    {}", vmlinux.display()));
            }
            output.line(format!("config     {}", image.config.display()));
            output.line(format!("log        {}", image.log.display()));
            output.line(format!("signature  {}", image.signature));
            output.line(format!("compiler   {}", image.compiler));
            output.line(format!("build      {}", took(image.cached, image.build_seconds)));
        }
        Built::Failed(failure) => {
            warn(&failure.notes, output);
            output.line(format!("commit     {}", failure.commit));
            output.line("result     does not build");
            if let Some(guilty) = &failure.guilty {
                output.line(format!("at         {guilty}"));
            }
            for error in &failure.errors {
                output.line(format!("error      {error}"));
            }
            output.line(format!("log        {}", failure.log.display()));
            output.line(format!("compiler   {}", failure.compiler));
            output.line(format!("build      {}", took(failure.cached, failure.build_seconds)));
        }
    }
}

fn warn(notes: &[String], output: &Output) {
    for note in notes {
        output.note(format!("warning: {note}"));
    }
}

/// Copies what was built and makes the result name the copies.
fn copy(built: &mut Built, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't create {}", dir.display()))?;
    let take = |path: &mut PathBuf, name: &str| {
        let target = dir.join(name);
        std::fs::copy(&*path, &target)
            .with_context(|| format!("can't write {}", target.display()))?;
        *path = target;
        anyhow::Ok(())
    };
    match built {
        Built::Image(Image { path, vmlinux, config, log, .. }) => {
            take(path, "bzImage")?;
            vmlinux.as_mut().map_or(Ok(()), |path| take(path, "vmlinux"))?;
            take(config, "config")?;
            take(log, "build.log")
        }
        Built::Failed(BuildFailure { config, log, .. }) => {
            config.as_mut().map_or(Ok(()), |path| take(path, "config"))?;
            take(log, "build.log")
        }
    }
}
