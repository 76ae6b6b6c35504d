//! `vmbisect doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use vmbisect::cancel::Cancel;
use vmbisect::kernel::Fragment;
use vmbisect::tools::{self, Found, Purpose};
use vmbisect::trial::LaunchError;
use vmbisect::trial::launcher::{Choice, Cost, InProcess, Tcg, TcgConfig, measure, select};
use vmm::PvFeatures;
use vmm::host::{HostReport, KvmState, StepOutcome, Verdict, inspect};

use super::args::select_hint;
use super::interrupt::{cancel_on_signals, interrupted};
use super::{Output, WithHint};

/// Says what this machine's KVM can run, where trials will run because of that, what a trial costs
/// there, and which tools are missing and in which packages they are.
///
/// Exit status: 0 trials can run here, 1 they can't or a tool is missing that every kernel's build needs.
/// Those that only some configurations need are named, and count where --config says that one does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --json: host (kvm, backend, capabilities, max_vcpus, pv_features, hidden, probe, verdict), \
launcher, costs (milliseconds, by launcher), tools, install.")]
pub(crate) struct Args {
    /// Start every launcher there is, an outer machine too, and say what it costs: some seconds.
    /// Without, only trials in this process are measured
    #[arg(long)]
    measure: bool,

    /// The configuration of the kernels that are to be built: of the tools that only some need, look
    /// for those that it does
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What kernels are built, workloads compiled and trials run with.
const PURPOSES: [Purpose; 3] = [Purpose::History, Purpose::Kernel, Purpose::Workload];

/// Runs the subcommand.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let cancel = cancel_on_signals()?;
    let host = inspect();
    let selected = select(&Choice::Auto, TcgConfig::default(), || host.clone());
    let mut purposes = PURPOSES.to_vec();
    if host.verdict != Verdict::RunsLinux {
        purposes.push(Purpose::OuterMachine);
    }
    let mut needed = tools::needed_for(&purposes);
    match &args.config {
        Some(path) => {
            let config = Fragment::read(path).hint("give the .config of a kernel")?;
            needed.extend(tools::needed_by_config(&config.text));
        }
        None => needed.extend(tools::needed_for(&[Purpose::KernelOption])),
    }
    let found = tools::check(&needed);
    let counts = |tool: &tools::Tool| args.config.is_some() || tool.options.is_empty();
    let is_missing = |found: &&Found| found.path.is_none() && counts(found.tool);
    let missing: Vec<_> = found.iter().filter(is_missing).map(|found| found.tool).collect();
    let install = (!missing.is_empty()).then(|| tools::install_line(&missing));
    let launcher = match &selected {
        Ok(selected) => Ok((selected.launcher.describe(), selected.why.clone())),
        Err(error) => Err((error.to_string(), select_hint(error))),
    };
    let costs = costs(&host, args.measure, &cancel);
    if cancel.is_cancelled() {
        return Ok(interrupted());
    }
    if output.json {
        let launcher = match &launcher {
            Ok((launcher, why)) => json!({ "launcher": launcher, "why": why }),
            Err((error, hint)) => json!({ "error": error, "hint": hint }),
        };
        output.line(format!(
            "{}",
            json!({
                "host": host, "launcher": launcher, "costs": costs, "tools": found,
                "install": install,
            })
        ));
    } else {
        print_host(&host, output);
        match &launcher {
            Ok((launcher, why)) => output.line(format!("trials run: {launcher} ({why})")),
            Err((error, hint)) => output.line(format!("trials run: nowhere ({error})\n  {hint}")),
        }
        print_costs(&costs, output);
        print_tools(&found, install.as_deref(), output);
    }
    Ok(match launcher.is_ok() && missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// What each launcher costs that can be started here; why not, of one that fails.
#[derive(Serialize)]
#[serde(untagged)]
enum Costs {
    Measured(Cost),
    Failed { launcher: &'static str, error: String },
}

fn costs(host: &HostReport, all: bool, cancel: &Cancel) -> Vec<Costs> {
    let measured = |launcher, result: Result<Cost, LaunchError>| match result {
        Ok(cost) => Costs::Measured(cost),
        Err(error) => Costs::Failed { launcher, error: error.to_string() },
    };
    let mut costs = Vec::new();
    if let KvmState::Ok { .. } = host.kvm {
        costs.push(measured("in process", measure(&InProcess::new(), cancel)));
    }
    if all {
        costs.push(match Tcg::new(TcgConfig { machines: 1, ..TcgConfig::default() }) {
            Ok(tcg) => measured("tcg", measure(&tcg, cancel)),
            Err(error) => Costs::Failed { launcher: "tcg", error: error.to_string() },
        });
    }
    costs
}

fn print_costs(costs: &[Costs], output: &Output) {
    for cost in costs {
        output.line(match cost {
            Costs::Measured(Cost { launcher, first_trial_ms, trial_ms, first_byte_ms }) => {
                format!(
                    "cost: {launcher}: {first_trial_ms:.0} ms for the first trial of a guest that \
                     does nothing, {trial_ms:.1} ms for the next ({first_byte_ms:.1} ms from the \
                     machine's start to its first byte)"
                )
            }
            Costs::Failed { launcher, error } => format!("cost: {launcher}: {error}"),
        });
    }
}

fn print_host(host: &HostReport, output: &Output) {
    let kvm = match (&host.kvm, &host.backend) {
        (KvmState::Ok { api_version }, Some(backend)) => {
            format!("{} (API {api_version})", backend.module)
        }
        (KvmState::Ok { api_version }, None) => format!("built in (API {api_version})"),
        (KvmState::Missing, _) => "there is no /dev/kvm".into(),
        (KvmState::NoPermission, _) => "no permission on /dev/kvm".into(),
        (KvmState::Failed { reason }, _) => reason.clone(),
    };
    output.line(format!("KVM: {kvm}"));
    output.line(format!("verdict: {}", host.verdict));
    if let Some(probe) = &host.probe {
        for step in &probe.steps {
            if let StepOutcome::Fails { reason } = &step.outcome {
                output.line(format!("  {}: {reason}", step.instruction));
            }
        }
        let works = probe.steps.iter().filter(|step| step.outcome == StepOutcome::Works).count();
        output.line(format!("instructions tried: {works} of {} work", probe.steps.len()));
        if let Some(speed) = probe.instructions_per_us {
            output.line(format!("kernel code: {speed:.1} instructions per microsecond"));
        }
    }
    if let Some(nested) = host.backend.as_ref().and_then(|backend| backend.nested) {
        let word = if nested { "can" } else { "can't" };
        output.line(format!("guests {word} run guests themselves"));
    }
    if let Some(most) = host.max_vcpus {
        output.line(format!("vCPUs: {most} at most, of which a machine gets up to 64"));
    }
    for lacking in host.capabilities.iter().filter(|capability| !capability.present) {
        let weight = if lacking.required { "required" } else { "not required" };
        output.line(format!("KVM lacks: KVM_CAP_{} ({weight})", lacking.name));
    }
    if let Some(features) = host.pv_features {
        let offered = PvFeatures { features, hints: 0 };
        let names = offered.to_string();
        output.line(format!("PV features offered: {}", names.trim_start_matches("none,")));
        if !offered.pv_unhalt() {
            output.line("  without pv-unhalt no guest turns its paravirtual spinlocks on");
        }
    }
    if !host.hidden.is_empty() {
        output.line(format!("CPU features hidden from guests: {}", host.hidden.join(", ")));
    }
    if let Some(ns) = host.halt_poll_ns {
        output.line(format!("halt_poll_ns: {ns}"));
    }
    let memory = host.memory_available.map_or_else(String::new, |b| format!(", {} MiB", b >> 20));
    output.line(format!("free for trials: {} CPUs{memory}", host.cpus));
}

fn print_tools(found: &[Found], install: Option<&str>, output: &Output) {
    for Found { tool, path, version } in found {
        match path {
            Some(path) => {
                let version = version.as_deref().unwrap_or_default();
                output.line(format!("tool: {:<20} {} {version}", tool.name, path.display()));
            }
            None => {
                let only: Vec<_> = tool.options.iter().map(|it| format!("CONFIG_{it}")).collect();
                let only = match only.is_empty() {
                    true => String::new(),
                    false => format!(", for {} only", only.join(" or ")),
                };
                output.line(format!(
                    "tool: {:<20} missing: {} (package {}{only})",
                    tool.name, tool.why, tool.debian
                ));
            }
        }
    }
    if let Some(install) = install {
        output.line(format!("install what is missing:\n  {install}"));
    }
}
