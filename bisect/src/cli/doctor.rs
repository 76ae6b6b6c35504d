//! `vmbisect doctor`.

use std::process::ExitCode;

use serde_json::json;
use vmbisect::tools::{self, Found, Purpose};
use vmbisect::trial::launcher::{Choice, TcgConfig, select};
use vmm::PvFeatures;
use vmm::host::{HostReport, KvmState, StepOutcome, Verdict, inspect};

use super::Output;
use super::args::select_hint;

/// Says what this machine's KVM can run, where trials will run because of that, and which tools are
/// missing.
///
/// Exit status: 0 trials can run here, 1 they can't or a tool is missing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What kernels are built, workloads compiled and trials run with.
const PURPOSES: [Purpose; 3] = [Purpose::History, Purpose::Kernel, Purpose::Workload];

/// Runs the subcommand.
pub(crate) fn run(_args: &Args, output: &Output) -> anyhow::Result<ExitCode> {
    let host = inspect();
    let selected = select(&Choice::Auto, TcgConfig::default(), || host.clone());
    let mut purposes = PURPOSES.to_vec();
    if host.verdict != Verdict::RunsLinux {
        purposes.push(Purpose::OuterMachine);
    }
    let found = tools::check(&tools::needed_for(&purposes));
    let missing: Vec<_> =
        found.iter().filter(|found| found.path.is_none()).map(|found| found.tool).collect();
    let install = (!missing.is_empty()).then(|| tools::install_line(&missing));
    let launcher = match &selected {
        Ok(selected) => Ok((selected.launcher.describe(), selected.why.clone())),
        Err(error) => Err((error.to_string(), select_hint(error))),
    };
    if output.json {
        let launcher = match &launcher {
            Ok((launcher, why)) => json!({ "launcher": launcher, "why": why }),
            Err((error, hint)) => json!({ "error": error, "hint": hint }),
        };
        output.line(format!(
            "{}",
            json!({ "host": host, "launcher": launcher, "tools": found, "install": install })
        ));
    } else {
        print_host(&host, output);
        match &launcher {
            Ok((launcher, why)) => output.line(format!("trials run: {launcher} ({why})")),
            Err((error, hint)) => output.line(format!("trials run: nowhere ({error})\n  {hint}")),
        }
        print_tools(&found, install.as_deref(), output);
    }
    Ok(match launcher.is_ok() && missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
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
        if let Some(speed) = probe.instructions_per_us {
            output.line(format!("kernel code: {speed:.1} instructions per microsecond"));
        }
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
            None => output.line(format!("tool: {:<20} missing: {}", tool.name, tool.why)),
        }
    }
    if let Some(install) = install {
        output.line(format!("install what is missing:\n  {install}"));
    }
}
