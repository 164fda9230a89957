//! Tier and replay partitions: read by name when due, dispatched from a reserve of their own.
//!
//! They never wait for the source's limits: followers that fill the held cap wait for exactly these records. Their own
//! limit in bytes is on what is *read*: what has been read costs its memory whether it is dispatched or not.

use std::convert::Infallible;
use std::ops::Range;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower_service::Service;

use super::{Pump, READ_LIMITS, RETRY_BYTES_PART, RETRY_RESERVE, Shutdown, add, running};
use crate::backend::ReadBatch;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::middleware::Outcome;
use crate::runtime::partition::Partition;
use crate::runtime::takeover::lost_head;
use crate::runtime::tiers::Reading;

/// Bytes of tier and replay records that the route may still read.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryRoom {
    tiers: usize,
    replays: usize,
}

impl RetryRoom {
    /// Whether more of a partition's tiers may be read now.
    pub(super) fn allows_tiers(self, partition: &Partition) -> bool {
        let most = if self.tiers > 0 { RETRY_RESERVE } else { 1 };
        partition.may_retry(most)
    }

    fn allows_replays(self, partition: &Partition) -> bool {
        let most = if self.replays > 0 { RETRY_RESERVE } else { 1 };
        partition.replayed < most
    }
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn poll_retries(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if self.stage != Shutdown::No {
            return Ok(false);
        }
        let mut progress = false;
        let now = Instant::now();
        for index in 0..self.partitions.len() {
            progress |= self.dispatch_due(cx, index, now);
        }
        let room = self.retry_room();
        for index in 0..self.partitions.len() {
            self.steer_reader(index, now, room)?;
        }
        self.reader_pending = false;
        let mut limits = READ_LIMITS;
        limits.bytes = limits.bytes.min(room.tiers);
        // It is not known beforehand whose records come.
        if self
            .partitions
            .iter()
            .flatten()
            .any(|one| one.replay_reading)
        {
            limits.bytes = limits.bytes.min(room.replays);
        }
        match self.reader.poll_batch(cx, limits, &mut self.read)? {
            Poll::Pending => {
                self.reader_pending = true;
                Ok(progress)
            }
            Poll::Ready(()) => {
                let mut read = std::mem::take(&mut self.read);
                self.take_read(cx, &mut read, now, room)?;
                self.read = read;
                Ok(true)
            }
        }
    }

    pub(super) fn dispatch_due(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        now: Instant,
    ) -> bool {
        let mut progress = false;
        loop {
            let Some(partition) = running(&mut self.partitions, index) else {
                return progress;
            };
            let mut due = None;
            for tier in 0..partition.tiers.len() {
                if !partition.may_retry(RETRY_RESERVE) {
                    break;
                }
                if let Some(record) = partition.tiers[tier].0.pop_due(now) {
                    due = Some(partition.tier_item(tier, record));
                    break;
                }
            }
            let Some((item, name)) = due else {
                return progress;
            };
            progress = true;
            self.hand_over(cx, index, item, Some(name));
        }
    }

    /// Bytes that may still be read.
    pub(super) fn retry_room(&self) -> RetryRoom {
        let reserve = self.route.limits.max_held_bytes / RETRY_BYTES_PART;
        let partitions = || self.partitions.iter().flatten();
        let tiers: usize = partitions().map(Partition::retry_bytes).sum();
        let replays: usize = partitions().map(|one| one.replayed_bytes).sum();
        RetryRoom {
            tiers: reserve.saturating_sub(tiers),
            replays: reserve.saturating_sub(replays),
        }
    }

    pub(super) fn steer_reader(
        &mut self,
        index: usize,
        now: Instant,
        room: RetryRoom,
    ) -> Result<()> {
        let Some(partition) = running(&mut self.partitions, index) else {
            return Ok(());
        };
        let number = partition.number;
        let may_read = room.allows_tiers(partition);
        for (tier, _) in &mut partition.tiers {
            if !may_read {
                if tier.stop_reading() {
                    self.reader.unassign(&tier.topic, number);
                }
                continue;
            }
            match tier.next_reading(now) {
                Reading::Keep => {}
                Reading::From(offset) => self.reader.assign(&tier.topic, number, offset)?,
                Reading::Stop => self.reader.unassign(&tier.topic, number),
            }
        }
        let want = room.allows_replays(partition) && partition.staged.is_empty();
        if want != partition.replay_reading {
            partition.replay_reading = want;
            if want {
                let from = partition.replay.end();
                self.reader.assign(&self.topology.replay, number, from)?;
            } else {
                self.reader.unassign(&self.topology.replay, number);
            }
        }
        Ok(())
    }

    /// Replays were removed before they were read. Their dead letters are still there to be replayed again, so the route
    /// goes on; it says so, and counts.
    fn replays_removed(&mut self, index: usize, removed: &Range<u64>) {
        let Some(partition) = running(&mut self.partitions, index) else {
            return;
        };
        let lost = partition.replay.unsettled_in(removed);
        if lost > 0 {
            tracing::warn!(topic = %self.topology.replay, partition = partition.number, from = removed.start, to = removed.end, lost, "replayed messages were removed by retention before they were handled; replay their dead letters again, with Replay::again and a condition that chooses them");
            add(&self.stats.removed, lost);
        }
        partition.replay.pass(removed.end);
        partition.dirty = true;
        self.commit_within(self.route.commit_interval);
    }

    pub(super) fn take_read(
        &mut self,
        cx: &mut Context<'_>,
        read: &mut ReadBatch,
        now: Instant,
        room: RetryRoom,
    ) -> Result<()> {
        let index = read.partition as usize;
        let Some(partition) = running(&mut self.partitions, index) else {
            read.records.clear();
            return Ok(());
        };
        let topic = read.topic.take().unwrap_or_default();
        if topic == self.topology.replay {
            if let Some(removed) = read.removed.take() {
                self.replays_removed(index, &removed);
            }
            for record in read.records.drain(..) {
                if let Some(partition) = running(&mut self.partitions, index)
                    && let Some(item) = partition.replay_item(record)
                {
                    self.hand_over(cx, index, item, None);
                }
            }
            return Ok(());
        }
        let Some((tier, _)) = partition
            .tiers
            .iter_mut()
            .find(|(tier, _)| tier.topic == topic)
        else {
            read.records.clear();
            return Ok(());
        };
        let removed = read.removed.take().map(|removed| removed.end);
        tier.take_read(&mut read.records, removed, now, room.tiers)
            .map_err(|offset| {
                Error::new(
                    ErrorKind::PositionLost,
                    "read retry topic",
                    "a message that waits for its retry is not there any more",
                )
                .with("topic", &topic)
                .with("partition", read.partition)
                .with("offset", offset)
                .remedy(lost_head())
            })
    }
}
