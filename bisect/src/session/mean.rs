//! What builds and trials take.

/// A mean in which older values count less: the first build is from scratch, later ones are not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    /// Takes in a value, unless it is that of something nobody timed.
    pub(super) fn add(&mut self, value: f64) {
        const KEPT: f64 = 0.7;
        if value <= 0.0 {
            return;
        }
        self.sum = self.sum * KEPT + value;
        self.count = self.count * KEPT + 1.0;
    }

    pub(super) fn or(&self, unknown: f64) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { unknown }
    }
}
