//! How much memory a VMM takes beyond its guest's.

use std::io;

use super::plan::GUEST_MIB;

/// Resident memory of a process without the guest's, and the part of it that no file backs, in KiB
/// (/proc/PID/smaps, proc(5)).
pub(crate) fn beyond_guest(process: u32) -> io::Result<(u64, u64)> {
    let smaps = std::fs::read_to_string(format!("/proc/{process}/smaps"))?;
    Ok(sum(&smaps))
}

/// The guest's memory is the mapping of at least its size; nothing else is as large.
fn sum(smaps: &str) -> (u64, u64) {
    let (mut resident, mut anonymous, mut guest) = (0, 0, false);
    for line in smaps.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let kib = value.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok());
        let Some(kib) = kib else { continue };
        match key {
            // The first field of each mapping.
            "Size" => guest = kib >= GUEST_MIB << 10,
            "Rss" if !guest => resident += kib,
            "Anonymous" if !guest => anonymous += kib,
            _ => {}
        }
    }
    (resident, anonymous)
}
