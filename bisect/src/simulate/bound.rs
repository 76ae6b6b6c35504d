//! What no rule can beat.

/// Trials that any rule takes in the mean, at least, to name one of `candidates` commits with
/// probability `confidence`, even if it knew both rates and every build were free.
///
/// A trial is a binary channel that hits with `hit_rate` or with `false_rate`; it carries at most
/// its capacity, and naming a commit takes, by Fano's inequality, `(1-d) log2 n - h(d)` bits for an
/// error of `d`. A share of `foreign` of the trials carries nothing. Infinite where hits tell
/// nothing.
///
/// ```
/// let trials = vmbisect::simulate::least_trials(5932, 0.1, 0.0, 0.0, 0.95);
/// assert!((211.0..213.0).contains(&trials));
/// ```
pub fn least_trials(
    candidates: usize,
    hit_rate: f64,
    false_rate: f64,
    foreign: f64,
    confidence: f64,
) -> f64 {
    let error = 1.0 - confidence;
    let bits = (1.0 - error) * (candidates.max(1) as f64).log2() - entropy(error);
    bits.max(0.0) / (capacity(hit_rate, false_rate) * (1.0 - foreign))
}

/// The most that one trial can tell, in bits: mutual information is concave in how likely the tried
/// revision is to be bad, so a search by thirds finds its maximum.
fn capacity(hit_rate: f64, false_rate: f64) -> f64 {
    let information = |bad: f64| {
        let hit = bad * hit_rate + (1.0 - bad) * false_rate;
        entropy(hit) - bad * entropy(hit_rate) - (1.0 - bad) * entropy(false_rate)
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if information(a) < information(b) {
            low = a;
        } else {
            high = b;
        }
    }
    information(f64::midpoint(low, high)).max(0.0)
}

fn entropy(probability: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    term(probability) + term(1.0 - probability)
}

#[cfg(test)]
mod tests {
    use super::{capacity, least_trials};

    #[test]
    fn known_channels() {
        // The Z channel, and the binary symmetric one.
        let z = |p: f64| (1.0 + p * (1.0 - p).powf((1.0 - p) / p)).log2();
        for p in [0.05, 0.3, 0.9] {
            assert!((capacity(p, 0.0) - z(p)).abs() < 1e-9);
        }
        assert!((capacity(0.9, 0.1) - (1.0 - super::entropy(0.1))).abs() < 1e-9);
        assert_eq!(capacity(1.0, 0.0), 1.0);
    }

    #[test]
    fn foreign_crashes_stretch_it_and_useless_trials_make_it_endless() {
        let alone = least_trials(8192, 0.3, 0.01, 0.0, 0.95);
        assert!((82.0..84.0).contains(&alone), "{alone}");
        assert!((least_trials(8192, 0.3, 0.01, 0.5, 0.95) / alone - 2.0).abs() < 1e-9);
        assert!(least_trials(8192, 0.3, 0.3, 0.0, 0.95) > 1e12);
        assert_eq!(least_trials(1, 0.3, 0.0, 0.0, 0.95), 0.0);
    }
}
