//! What a user of [`Traces`](crate::Traces) may choose.

/// Choices that hold for a whole app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// A call belongs to a trace of its own, which links to the producer's.
    pub(crate) own_traces: bool,
    /// Of so many messages of 2³² without a context the sampler is asked.
    roots: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            own_traces: false,
            roots: ALL,
        }
    }
}

const ALL: u64 = 1 << 32;

impl Settings {
    /// Asks the sampler about this share of the messages without a context.
    pub(crate) fn set_roots(&mut self, share: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let roots = (share.clamp(0.0, 1.0) * ALL as f64) as u64;
        self.roots = roots;
    }

    /// Whether the sampler is to be asked about a message without a context.
    pub(crate) fn asks_for_root(&self) -> bool {
        match self.roots {
            0 => false,
            ALL => true,
            roots => u64::from(fastrand::u32(..)) < roots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_asked_about() {
        let asked = |share: f64| {
            let mut settings = Settings::default();
            settings.set_roots(share);
            (0..10_000).filter(|_| settings.asks_for_root()).count()
        };
        fastrand::seed(1);
        assert_eq!(asked(0.0), 0);
        assert_eq!(asked(-1.0), 0);
        assert_eq!(asked(f64::NAN), 0);
        assert_eq!(asked(1.0), 10_000);
        assert_eq!(asked(2.0), 10_000);
        assert!((800..1_200).contains(&asked(0.1)));
    }
}
