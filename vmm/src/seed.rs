//! What the guest's random generator is seeded with.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of a seed, as many as the kernel takes from a boot loader without a warning.
pub(crate) const SEED_BYTES: usize = 32;

/// What the guest's random generator is seeded with, through `setup_data` (SETUP_RNG_SEED,
/// boot.rst). Kernels before 6.0 do not know it and skip it; an image of a boot protocol before 2.09
/// has no place for it.
///
/// As text it is `fresh`, `none`, or a decimal number. A number makes a trial more alike another, not
/// the same: the kernel also mixes in the time and what the CPU's own generator gives.
///
/// ```
/// use vmm::RandomSeed;
///
/// assert_eq!("42".parse(), Ok(RandomSeed::Fixed(42)));
/// assert_eq!(RandomSeed::default().to_string(), "fresh");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum RandomSeed {
    /// Random bytes of the host's, new ones for each machine.
    #[default]
    Fresh,
    /// This number, little-endian, and zeroes up to 32 bytes.
    Fixed(u64),
    /// No seed: the guest is left to find its own entropy.
    None,
}

/// A text that is no seed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no seed: give `fresh`, `none` or a number below 2^64")]
pub struct NotASeed(String);

impl RandomSeed {
    /// The bytes for one machine; none if it gets no seed.
    pub(crate) fn bytes(self) -> io::Result<Option<[u8; SEED_BYTES]>> {
        let mut seed = [0; SEED_BYTES];
        match self {
            RandomSeed::None => return Ok(None),
            RandomSeed::Fixed(number) => {
                seed.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
            }
            RandomSeed::Fresh => {
                // SAFETY: the buffer is valid for its length. Requests of up to 256 bytes are never
                // cut short.
                let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
                if got < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        Ok(Some(seed))
    }
}

impl FromStr for RandomSeed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<RandomSeed, NotASeed> {
        match text {
            "fresh" => Ok(RandomSeed::Fresh),
            "none" => Ok(RandomSeed::None),
            _ => text.parse().map(RandomSeed::Fixed).map_err(|_| NotASeed(text.to_owned())),
        }
    }
}

impl fmt::Display for RandomSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RandomSeed::Fresh => f.write_str("fresh"),
            RandomSeed::None => f.write_str("none"),
            RandomSeed::Fixed(number) => number.fmt(f),
        }
    }
}

impl From<RandomSeed> for String {
    fn from(seed: RandomSeed) -> String {
        seed.to_string()
    }
}

impl TryFrom<String> for RandomSeed {
    type Error = NotASeed;

    fn try_from(text: String) -> Result<RandomSeed, NotASeed> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fresh_seeds_differ_and_fixed_ones_do_not() {
        let bytes = |seed: RandomSeed| seed.bytes().unwrap();
        assert_ne!(bytes(RandomSeed::Fresh), bytes(RandomSeed::Fresh));
        assert_eq!(bytes(RandomSeed::Fixed(258)).unwrap()[..3], [2, 1, 0]);
        assert_eq!(bytes(RandomSeed::None), None);
    }

    proptest! {
        #[test]
        fn every_seed_survives_its_text(number: u64) {
            for seed in [RandomSeed::Fresh, RandomSeed::None, RandomSeed::Fixed(number)] {
                prop_assert_eq!(seed.to_string().parse(), Ok(seed));
            }
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<RandomSeed>();
        }
    }
}
