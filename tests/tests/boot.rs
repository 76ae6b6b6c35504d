//! Real kernels under real KVM: on this machine's own where it can run Linux, else in an outer
//! Linux under QEMU's emulation.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use vmbisect::cancel::Cancel;
use vmbisect::tools::Purpose;
use vmbisect::trial::launcher::OuterKernel;
use vmbisect_tests::fixture::{self, Kernels};
use vmbisect_tests::program::{Ran, Running, cache, run, vmbisect};

/// Whether this host can run trials; if not, that is printed.
fn runs_trials() -> bool {
    let ready = fixture::ensure(&[Purpose::OuterMachine, Purpose::Workload]);
    if let Err(error) = &ready {
        eprintln!("skipped: nowhere to run trials: {error}");
    }
    ready.is_ok()
}

/// The kernels, on a host that can run trials.
fn kernels() -> Option<&'static Kernels> {
    if runs_trials() { fixture::kernels() } else { None }
}

/// The workload that contends for a spinlock, for so many seconds.
fn contention(seconds: u32) -> [String; 4] {
    static SOURCE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SOURCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spinlock.c");
        std::fs::write(&path, guest_init::SPINLOCK_C).unwrap();
        (dir, path)
    });
    ["--workload-c".into(), path.display().to_string(), "--arg".into(), seconds.to_string()]
}

fn boot(kernel: &std::path::Path, vcpus: u8, arguments: &[String]) -> (Ran, Value) {
    let mut command = vmbisect();
    command.args(["boot", "--json", "--memory", "256", "--timeout", "300"]);
    command.args(["--vcpus", &vcpus.to_string()]).args(arguments).arg(kernel);
    let ran = run(&mut command);
    let value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}\n{}", ran.stdout, ran.stderr));
    (ran, value)
}

#[test]
fn a_clean_kernel_with_pv_spinlocks_on_two_and_on_four_vcpus() {
    let Some(kernels) = kernels() else { return };
    for vcpus in [2, 4] {
        let (ran, report) = boot(&kernels.good.path, vcpus, &contention(3));
        assert_eq!(ran.status, Some(0), "{report:#}\n{}", ran.stderr);
        assert_eq!(report["outcome"], "clean", "{report:#}");
        assert_eq!(report["cpus_online"], vcpus, "{report:#}");
        assert_eq!(report["pv_spinlocks"], true, "{report:#}");
        // Read from the guest's memory, by the symbols of the vmlinux beside the image.
        assert_eq!(report["machine"]["pv_spinlocks"], true, "{report:#}");
        assert_eq!(report["crashes"], Value::Array(vec![]), "{report:#}");
        assert!(ran.stderr.contains("kvm-guest: PV spinlocks enabled"), "{}", ran.stderr);
    }
}

#[test]
fn without_pv_unhalt_the_guest_has_no_pv_spinlocks_and_no_bug() {
    let Some(kernels) = kernels() else { return };
    let mut arguments = contention(3).to_vec();
    arguments.extend(["--pv".into(), "all,-pv-unhalt".into()]);
    let (ran, report) = boot(&kernels.bad.path, 4, &arguments);
    assert_eq!(ran.status, Some(0), "{report:#}\n{}", ran.stderr);
    assert_eq!(report["pv_spinlocks"], false, "{report:#}");
    assert_eq!(report["machine"]["pv_spinlocks"], false, "{report:#}");
}

#[test]
fn the_old_kvm_wait_warns_and_the_trial_ends_with_it() {
    let Some(kernels) = kernels() else { return };
    // The warning is a matter of chance, and ends the trial: the more time it has, the surer it is.
    let (ran, report) = boot(&kernels.bad.path, 4, &contention(60));
    assert_eq!(ran.status, Some(1), "{report:#}\n{}", ran.stderr);
    let crash = &report["crashes"][0];
    assert_eq!(crash["title"], "WARNING in kvm_wait", "{report:#}");
    let text = crash["report"].as_str().unwrap();
    assert!(text.contains("raw_local_irq_restore() called with IRQs enabled"), "{text}");
    assert!(text.contains("__pv_queued_spin_lock_slowpath"), "{text}");
}

#[test]
fn a_loop_counts_the_warning_by_its_title_and_keeps_every_console() {
    let Some(kernels) = kernels() else { return };
    let kept = tempfile::tempdir().unwrap();
    let mut command = vmbisect();
    command.args(["loop", "--json", "--memory", "256", "--timeout", "120", "--runs", "3"]);
    command.args(["--vcpus", "4", "--keep"]).arg(kept.path());
    let ran = run(command.args(contention(3)).arg(&kernels.bad.path));
    let result: Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    assert_eq!(ran.status, Some(1), "{result:#}\n{}", ran.stderr);
    let title = &result["titles"][0];
    assert_eq!(title["title"], "WARNING in kvm_wait", "{result:#}");
    let count = title["count"].as_u64().unwrap();
    let files = kept.path().read_dir().unwrap().count() as u64;
    assert_eq!(result["failed"], files, "{result:#}");
    assert!((1..=3).contains(&count) && result["counted"] == 3, "{result:#}");
    let report = title["report"].as_str().unwrap();
    assert!(report.contains("__pv_queued_spin_lock_slowpath"), "{report}");
    assert_eq!(result["to_init_us"]["boots"], 3, "{result:#}");
}

/// Debian's cloud kernel, which the outer machine runs as well: unmodified, its own configuration, in
/// which CONFIG_X86_MPPARSE is off.
#[test]
fn a_stock_kernel_that_knows_acpi_alone_finds_both_of_its_cpus() {
    if !runs_trials() {
        return;
    }
    let stock = match OuterKernel::fetch(&cache(), &mut |line| println!("{line}"), &Cancel::new()) {
        Ok(stock) => stock,
        Err(error) => return eprintln!("skipped: no stock kernel: {error}"),
    };
    let (ran, report) = boot(&stock.image, 2, &[]);
    assert_eq!(ran.status, Some(0), "{report:#}\n{}", ran.stderr);
    assert_eq!(report["cpus_online"], 2, "{report:#}");
    assert_eq!(report["pv_spinlocks"], true, "{report:#}");
    let by_acpi = "Using ACPI (MADT) for SMP configuration information";
    assert!(ran.stderr.contains(by_acpi), "{}", ran.stderr);
    assert!(ran.stderr.contains("ttyS0 at I/O 0x3f8"), "{}", ran.stderr);
}

#[test]
fn the_images_own_decompressor_and_the_elf_kernel_reach_init() {
    let Some(kernels) = kernels() else { return };
    let (ran, report) = boot(&kernels.good.path, 1, &["--boot".into(), "native".into()]);
    assert_eq!(ran.status, Some(0), "{report:#}\n{}", ran.stderr);
    let vmlinux = kernels.good.vmlinux.as_ref().expect("the fixtures keep vmlinux");
    let (ran, report) = boot(vmlinux, 1, &[]);
    assert_eq!(ran.status, Some(0), "{report:#}\n{}", ran.stderr);
}

/// What comes through a proxy that takes every connection and answers none.
#[test]
fn a_download_that_does_not_come_is_told_of_and_ended_by_ctrl_c() {
    let Some(kernels) = kernels() else { return };
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let mut command = vmbisect();
    command.args(["boot", "--launcher", "tcg"]).arg(&kernels.good.path);
    command.env("VMBISECT_CACHE", cache.path()).env_remove("no_proxy");
    command.envs(["http_proxy", "https_proxy"].map(|variable| (variable, &address)));
    let mut running = Running::start(&mut command);
    assert!(running.says(|line| line.starts_with("apt-get download linux-image-")));
    let (mut download, _) = proxy.accept().unwrap();
    assert_eq!(running.interrupt(), (Some(130), None));
    // It ends when apt-get does.
    download.read_to_end(&mut Vec::new()).unwrap();
    let outer = std::fs::read_dir(cache.path().join("outer")).unwrap();
    assert_eq!(outer.count(), 0, "what was begun is left behind");
}
