//! What was measured, as people read it.

use std::collections::BTreeMap;

use super::cells::{Boot, Cell, LaunchTimes, Sample, Vmm};
use super::peers::Peer;

/// What all are compared to: it is there wherever the benchmark is.
const MICROVM: Vmm = Vmm::Peer(Peer::Microvm);

/// All samples of each cell.
pub(crate) type Samples = BTreeMap<Cell, Vec<Sample>>;

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = u64>) -> Option<Spread> {
        let mut values: Vec<u64> = values.collect();
        values.sort_unstable();
        let half = values.len() / 2;
        let (upper, lower) = (*values.get(half)?, *values.get(values.len().div_ceil(2) - 1)?);
        Some(Spread {
            median: (lower + upper) as f64 / 2.0,
            least: *values.first()? as f64,
            most: *values.last()? as f64,
        })
    }
}

/// What is compared: a name, and how it is found.
type Column = (&'static str, Boot, fn(&Sample) -> Option<u64>);

const COLUMNS: [Column; 4] = [
    ("first byte", Boot::Full, |sample| sample.first_byte_ns),
    ("full log", Boot::Full, |sample| sample.init_ns),
    ("quiet", Boot::Quiet, |sample| sample.init_ns),
    ("quiet, no i8042 probe", Boot::Tuned, |sample| sample.init_ns),
];

/// Prints the times, what they cost, and how the VMMs compare.
pub(crate) fn print(samples: &Samples) {
    let empty = Vec::new();
    let of = |vmm, boot| samples.get(&Cell { vmm, boot }).unwrap_or(&empty).iter();
    let measured = || Vmm::all().filter(|vmm| samples.keys().any(|c| c.vmm == *vmm));
    let ours = || measured().filter(|vmm| !matches!(vmm, Vmm::Peer(_)));
    let time = |vmm, (_, boot, value): Column| Spread::of(of(vmm, boot).filter_map(value));
    println!(
        "\nmilliseconds from launch to the first byte of the log, and to PID 1: median (least-most)"
    );
    print!("{:<18}", "");
    COLUMNS.iter().for_each(|(name, ..)| print!("{name:>24}"));
    println!();
    for vmm in measured() {
        print!("{:<18}", vmm.name());
        for column in COLUMNS {
            let cell = time(vmm, column).map_or("-".into(), |spread| {
                let [median, least, most] =
                    [spread.median, spread.least, spread.most].map(|ns| ns / 1e6);
                format!("{median:.1} ({least:.1}-{most:.1})")
            });
            print!("{cell:>24}");
        }
        println!();
    }
    for vmm in ours() {
        print!("{:<18}", format!("{} / microvm", vmm.name().trim_start_matches("vmbisect ")));
        for column in COLUMNS {
            let ratio = time(vmm, column).zip(time(MICROVM, column));
            let ratio = ratio.map(|(ours, theirs)| format!("{:.2}", ours.median / theirs.median));
            print!("{:>24}", ratio.unwrap_or("-".into()));
        }
        println!();
    }
    println!(
        "\nfull log, medians\n{:<18}{:>12}{:>16}{:>16}{:>22}{:>14}",
        "", "KVM exits", "console bytes", "exits per byte", "beyond the guest, KiB", "anonymous"
    );
    for vmm in measured() {
        let median = |of_sample: fn(&Sample) -> Option<u64>| {
            Spread::of(of(vmm, Boot::Full).filter_map(of_sample)).map(|spread| spread.median)
        };
        let (exits, bytes) = (median(|s| s.exits), median(|s| s.console_bytes));
        let per_byte = exits.zip(bytes).map(|(exits, bytes)| exits / bytes);
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
        println!(
            "{:<18}{:>12}{:>16}{:>16}{:>22}{:>14}",
            vmm.name(),
            number(exits),
            number(bytes),
            per_byte.map_or("-".into(), |value| format!("{value:.2}")),
            number(median(|s| s.beyond_kib)),
            number(median(|s| s.anonymous_kib)),
        );
    }
    let median = |boot, of_sample: fn(&Sample) -> Option<u64>| {
        Spread::of(of(Vmm::Direct, boot).filter_map(of_sample)).map(|spread| spread.median)
    };
    let more = |of_sample| Some(median(Boot::Logging, of_sample)? - median(Boot::Full, of_sample)?);
    if let Some((exits, bytes)) = more(|s| s.exits).zip(more(|s| s.console_bytes)) {
        println!(
            "logged once a program has opened the console: {:.3} exits per byte ({bytes:.0} bytes)",
            exits / bytes
        );
    }
    println!(
        "\nfull log, medians in ms from the start of the program's own code\n{:<18}{:>12}{:>16}{:>16}{:>22}",
        "", "image read", "machine made", "guest entered", "first byte"
    );
    for vmm in ours() {
        let at = |moment: fn(&LaunchTimes) -> u64| {
            let times = of(vmm, Boot::Full).filter_map(|sample| sample.launch_us.as_ref());
            Spread::of(times.map(moment)).map_or("-".into(), |it| format!("{:.1}", it.median / 1e3))
        };
        println!(
            "{:<18}{:>12}{:>16}{:>16}{:>22}",
            vmm.name(),
            at(|times| times.read),
            at(|times| times.made),
            at(|times| times.entered),
            at(|times| times.first_byte),
        );
    }
}
