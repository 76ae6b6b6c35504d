//! What was measured, as people read it.

use std::collections::BTreeMap;

use super::plan::{Boot, Cell, Sample, Vmm};

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

/// A cell's time: to the first byte, or to init.
fn time(sample: &Sample) -> Option<u64> {
    sample.init_ns.or(sample.first_byte_ns)
}

/// Prints the times, what they cost, and how the VMMs compare.
pub(crate) fn print(samples: &Samples) {
    let empty = Vec::new();
    let of = |vmm, boot| samples.get(&Cell { vmm, boot }).unwrap_or(&empty).iter();
    let measured = || Vmm::ALL.into_iter().filter(|vmm| samples.keys().any(|c| c.vmm == *vmm));
    println!(
        "\nmilliseconds from launch, median (least-most): to the first byte, and to the guest's PID 1\n\
         {:<18}{:>22}{:>24}{:>24}{:>24}",
        "", "launch", "full log", "quiet", "quiet, no i8042 probe"
    );
    for vmm in measured() {
        print!("{:<18}", vmm.name());
        for (boot, width) in Boot::ALL.into_iter().zip([22, 24, 24, 24]) {
            let cell = Spread::of(of(vmm, boot).filter_map(time)).map_or("-".into(), |spread| {
                let [median, least, most] =
                    [spread.median, spread.least, spread.most].map(|ns| ns / 1e6);
                format!("{median:.1} ({least:.1}-{most:.1})")
            });
            print!("{cell:>width$}");
        }
        println!();
    }
    for vmm in [Vmm::Direct, Vmm::Native] {
        let ratio = |boot| {
            let ours = Spread::of(of(vmm, boot).filter_map(time))?;
            let theirs = Spread::of(of(Vmm::Microvm, boot).filter_map(time))?;
            Some(format!("{:.2}", ours.median / theirs.median))
        };
        let ratios = Boot::ALL.map(|boot| ratio(boot).unwrap_or("-".into()));
        if ratios.iter().any(|ratio| ratio != "-") {
            let [launch, full, quiet, tuned] = ratios;
            println!("{:<18}{launch:>22}{full:>24}{quiet:>24}{tuned:>24}", "  / microvm");
        }
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
}
