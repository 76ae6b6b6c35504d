//! A console log of any bytes, handed over in any pieces: the same crashes as in one piece.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmbisect::crash::{Event, Scanner};

fuzz_target!(|data: &[u8]| {
    let Some((cuts, log)) = data.split_first_chunk::<8>() else { return };
    let titles = |pieces: &mut dyn Iterator<Item = &[u8]>| -> Vec<(u64, String)> {
        let mut scanner = Scanner::new();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(scanner.push(piece));
        }
        events.extend(scanner.finish());
        let crash = |event| match event {
            Event::Crash(crash) => Some((crash.start, crash.title)),
            _ => None,
        };
        events.into_iter().filter_map(crash).collect()
    };
    let whole = titles(&mut std::iter::once(log));
    let (mut rest, mut turn) = (log, 0);
    let mut cut = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let size = (usize::from(cuts[turn % cuts.len()]) + 1).min(rest.len());
        turn += 1;
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        Some(piece)
    });
    assert_eq!(titles(&mut cut), whole);
});
