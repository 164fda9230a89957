//! What a partition says of itself when its lag is looked at.

use std::time::Duration;

use tokio::time::Instant;

use super::Partition;
use crate::lag::{Standing, Why};

/// What only the workers and the route know of the message at a watermark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// Its handler runs; `None`: not known of workers in tasks of their own.
    pub(crate) runs: Option<bool>,
    /// The route may fetch.
    pub(crate) room: bool,
}

impl Partition {
    /// What is settled of it, and who is away.
    pub(crate) fn standing(&self) -> Standing {
        let names = self.tiers.iter().flat_map(|(tier, _)| tier.names());
        let early = self.settled_early as u64;
        Standing::new(self.number, self.source.map(), names, early)
    }

    /// What the message at the watermark waits for; `when` turns what is due into a time of day.
    pub(crate) fn why(
        &self,
        around: Around,
        when: impl Fn(Instant) -> crate::clock::Timestamp,
    ) -> Why {
        let delivered = self.source.watermark() < self.source.end();
        if delivered && around.runs == Some(true) {
            return Why::Handler;
        }
        if !self.staged.is_empty() || self.too_large {
            return Why::Commit;
        }
        if !delivered {
            let held_back = self.paused || !around.room;
            return if held_back {
                Why::Limits
            } else {
                Why::NotFetched
            };
        }
        match self.next_due() {
            Some((tier, due)) if self.parked > 0 => Why::Away {
                keys: self.away() as u64,
                tier,
                due: when(due),
            },
            // Retries that have come back run ahead of the followers of their keys.
            _ if around.runs.is_none() || self.retried > 0 => Why::Handler,
            _ => Why::Limits,
        }
    }

    /// The away head that is due next: its tier's delay, and when.
    fn next_due(&self) -> Option<(Duration, Instant)> {
        let next = |tier: usize| {
            let due = self.tiers[tier].0.next_due()?;
            Some((Duration::from_millis(self.delay_ms(tier)), due))
        };
        (0..self.tiers.len())
            .filter_map(next)
            .min_by_key(|(_, due)| *due)
    }
}
