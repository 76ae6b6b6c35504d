//! Boots Debian's own kernels as they are and prints the table of `vmm/src/kernel/mod.rs`.
//!
//! `cargo build -p vmbisect && cargo run -p vmbisect-tests --example stock -- [PACKAGE…]`; without
//! packages, those of the table, in the versions that apt finds: Debian 12 has all six, if its lists are
//! of late (`apt-get update`). They are downloaded (some 60 MB each) and unpacked below
//! `target/fixtures/stock`, those for i386 by way of lists of their own there, so that nothing of the
//! system's changes. What was unpacked is not fetched again. In QEMU's emulation a boot takes half a
//! minute to some minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde_json::Value;
use vmbisect::tools::Purpose;
use vmbisect_tests::{fixture, program};
use vmm::kernel::Kernel;

/// Packages that stand for the newest kernel of each kind, with their architecture.
const PACKAGES: [&str; 6] = [
    "linux-image-amd64",
    "linux-image-cloud-amd64",
    "linux-image-rt-amd64",
    "linux-image-686-pae:i386",
    "linux-image-6.12-amd64",
    "linux-image-6.12-cloud-amd64",
];

/// Boots Debian's own kernels, and says how each fared.
#[derive(Debug, Parser)]
struct Args {
    /// These packages instead of the table's; NAME:i386 is one of that architecture
    packages: Vec<String>,

    /// Boot each with so many vCPUs
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    vcpus: Vec<u8>,

    /// Seconds for a boot
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    fixture::ensure(&[Purpose::OuterMachine])?;
    let packages = match args.packages.as_slice() {
        [] => PACKAGES.map(str::to_owned).to_vec(),
        packages => packages.to_vec(),
    };
    let apt = Apt::new(&fixture::directory()?.join("stock"))?;
    let mut rows = Vec::new();
    let mut failed = 0;
    for package in &packages {
        let row = apt.fetch(package).and_then(|(name, image)| {
            let kernel = Kernel::open(&image)?;
            let payload = kernel.compression()?.map_or("none".into(), |it| it.to_string());
            let mode = if kernel.is_32_bit()? { "protected mode" } else { "long mode" };
            let boots: Vec<Boot> = args
                .vcpus
                .iter()
                .map(|vcpus| Boot::of(&image, *vcpus, args.timeout))
                .collect::<Result<_, _>>()?;
            failed += boots.iter().filter(|boot| boot.trouble.is_some()).count();
            let by = boots.first().map_or("", |boot| boot.processors);
            let booted: Vec<String> = boots.iter().map(Boot::cell).collect();
            Ok(format!("| {name} | {payload} | {mode} | {by} | {} |", booted.join(", ")))
        });
        rows.push(row.unwrap_or_else(|error| {
            failed += 1;
            format!("| {package} | | | | {error:#} |")
        }));
        eprintln!("{}", rows.last().map_or("", String::as_str));
    }
    println!("| package | payload | entered in | processors by | vCPUs |");
    println!("| --- | --- | --- | --- | --- |");
    rows.iter().for_each(|row| println!("{row}"));
    ensure!(failed == 0, "{failed} failed");
    Ok(())
}

/// A boot, and what was seen of it.
struct Boot {
    vcpus: u8,
    processors: &'static str,
    /// Why it does not count.
    trouble: Option<String>,
}

impl Boot {
    fn of(image: &Path, vcpus: u8, timeout: u64) -> anyhow::Result<Boot> {
        eprintln!("booting {} with {vcpus} vCPUs", image.display());
        let mut command = program::vmbisect();
        command.args(["boot", "--json", "--memory", "1024", "--vcpus", &vcpus.to_string()]);
        let ran = program::run(command.args(["--timeout", &timeout.to_string()]).arg(image));
        let report: Value = serde_json::from_str(&ran.stdout)
            .with_context(|| format!("vmbisect says {:?}: {}", ran.stdout, ran.stderr))?;
        let processors = match () {
            () if ran.stderr.contains("Using ACPI (MADT)") => "ACPI",
            () if ran.stderr.contains("Intel MultiProcessor Specification") => "MP table",
            () => "?",
        };
        let trouble = match (report["outcome"].as_str(), report["cpus_online"].as_u64()) {
            (Some("clean"), Some(online)) if online == u64::from(vcpus) => None,
            // A kernel on one CPU need not say how many it brought up.
            (Some("clean"), None) if vcpus == 1 => None,
            (Some("clean"), online) => Some(format!("{online:?} CPUs")),
            (outcome, _) => Some(outcome.unwrap_or("no outcome").to_owned()),
        };
        Ok(Boot { vcpus, processors, trouble })
    }

    fn cell(&self) -> String {
        match &self.trouble {
            None => self.vcpus.to_string(),
            Some(trouble) => format!("{}: {trouble}", self.vcpus),
        }
    }
}

/// The system's apt; for i386, with a state of its own.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    fn new(directory: &Path) -> anyhow::Result<Apt> {
        fs::create_dir_all(directory)?;
        Ok(Apt { directory: directory.to_owned() })
    }

    /// The configuration for i386 alone, with lists that are up to date.
    fn i386(&self) -> anyhow::Result<PathBuf> {
        let state = self.directory.join("i386");
        let conf = state.join("conf");
        if conf.is_file() {
            return Ok(conf);
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(part))?;
        }
        fs::write(state.join("status"), "")?;
        let path = state.display();
        let text = format!(
            "APT::Architecture \"i386\";\n#clear APT::Architectures;\n\
             APT::Architectures {{ \"i386\"; }};\nAPT::Sandbox::User \"root\";\n\
             Dir::State \"{path}\";\nDir::State::lists \"{path}/lists\";\n\
             Dir::State::status \"{path}/status\";\nDir::Cache \"{path}/cache\";\n"
        );
        let making = state.join("conf.new");
        fs::write(&making, text)?;
        // A source that fails, of those that a system has beside Debian's, does not matter here: a
        // package that is in no list is missed below.
        if let Err(error) = run("apt-get", &["-qq", "update"], &state, Some(&making)) {
            eprintln!("{error:#}");
        }
        fs::rename(&making, &conf)?;
        Ok(conf)
    }

    /// The kernel that a package stands for: the package that holds it, and the image in that.
    fn fetch(&self, package: &str) -> anyhow::Result<(String, PathBuf)> {
        let (package, conf) = match package.split_once(':') {
            Some((package, "i386")) => (package, Some(self.i386()?)),
            Some((_, other)) => bail!("{other} is no architecture of these kernels"),
            None => (package, None),
        };
        let conf = conf.as_deref();
        let depends =
            run("apt-cache", &["depends", "--important", package], &self.directory, conf)?;
        let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        // A package that holds a kernel itself stands for that one.
        let wanted = names.find(|name| name.starts_with("linux-image-")).unwrap_or(package);
        let name = wanted.to_owned();
        let root = self.directory.join(&name);
        if !root.is_dir() {
            eprintln!("fetching {name}");
            let work = tempfile::tempdir_in(&self.directory)?;
            // Without this, apt as root warns that its sandbox user can't write here.
            let download = ["-o", "APT::Sandbox::User=root", "-qq", "download", &name];
            run("apt-get", &download, work.path(), conf)?;
            let files = fs::read_dir(work.path())?.flatten().map(|file| file.path());
            let Some(file) = files.into_iter().next() else { bail!("{name} was not downloaded") };
            let file = file.display().to_string();
            run("dpkg-deb", &["-x", &file, "root"], work.path(), None)?;
            fs::rename(work.path().join("root"), &root)?;
        }
        let images = fs::read_dir(root.join("boot"))?.flatten().map(|file| file.path());
        let is_image = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        };
        let image = images.into_iter().find(is_image);
        Ok((name, image.with_context(|| format!("there is no kernel in {}", root.display()))?))
    }
}

fn run(
    program: &str,
    arguments: &[&str],
    directory: &Path,
    apt_config: Option<&Path>,
) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env("LC_ALL", "C");
    if let Some(path) = apt_config {
        command.env("APT_CONFIG", path);
    }
    let output =
        command.output().with_context(|| format!("{program} can't be run: this takes Debian"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
