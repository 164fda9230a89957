//! Time and idleness: when to look again, and whether there is anything left to do.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;

use tokio::time::Instant;
use tower_service::Service;

use super::transaction::Transaction;
use super::{Pump, Shutdown, add};
use crate::delivery::Delivery;
use crate::middleware::Outcome;
use crate::runtime::partition::{Partition, Phase};

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Sleeps until the next thing that is due; `true` when it is due already.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let room = self.retry_room();
        let waits = self
            .transaction
            .as_ref()
            .is_some_and(Transaction::is_ending);
        let mut next = self
            .commit_at
            .filter(|_| self.committing.is_none() && !waits);
        for partition in self.partitions.iter().flatten() {
            let at = match partition.phase {
                Phase::Running if room.allows_tiers(partition) => partition
                    .tiers
                    .iter()
                    .filter_map(|(tier, _)| tier.next_wake())
                    .min(),
                Phase::RunningOut(deadline)
                | Phase::Draining(deadline)
                | Phase::Dropping(deadline)
                | Phase::Leaving(deadline) => Some(deadline),
                Phase::Running | Phase::Left => None,
            };
            next = earlier(next, at);
        }
        next = earlier(next, self.end_at);
        next = earlier(next, self.looks.at);
        next = earlier(next, self.wait_told_at);
        next = earlier(next, self.watch_spare());
        let Some(next) = next else {
            self.timer_at = None;
            return false;
        };
        if self.timer_at != Some(next) {
            self.timer_at = Some(next);
            self.timer.as_mut().reset(next);
        }
        let due = self.timer.as_mut().poll(cx).is_ready();
        if due {
            self.timer_at = None;
            self.looks.due = self.looks.at.is_some_and(|at| at <= next);
            if self.wait_told_at.is_some_and(|at| at <= next) {
                self.tell_wait();
            }
            self.tell_spare(next);
        }
        due
    }

    /// Said once: whoever has just started a process that does nothing wants to know what it waits for.
    #[cold]
    fn tell_wait(&mut self) {
        self.wait_told_at = None;
        if self.stage == Shutdown::No {
            tracing::info!(topic = %self.topology.source, "the group has given no partitions yet; it may wait until the session of a member that is gone is over");
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let partitions_idle = self.partitions.iter().flatten().all(|partition| {
            partition.phase == Phase::Running && partition.only_parked() && !partition.dirty
        });
        let fetched = self.source_pending || self.room().is_none();
        partitions_idle
            && fetched
            && self.reader_pending
            && self.taking_over.is_none()
            && self.granted.is_empty()
            && self.committing.is_none()
            && self.transaction.as_ref().is_none_or(Transaction::is_quiet)
            && self.reports.is_empty()
            && self.stage == Shutdown::No
            && self.assigned
    }

    pub(super) fn publish_stats(&mut self) {
        let void = self.partitions.iter_mut().flatten();
        add(&self.stats.void, void.map(Partition::take_void).sum());
        let partitions = || self.partitions.iter().flatten();
        let sum = |of: fn(&Partition) -> u64| partitions().map(of).sum::<u64>();
        let stats = &self.stats;
        stats.held.store(self.held as u64, Relaxed);
        stats.running.store(self.workers.running() as u64, Relaxed);
        stats.owned.store(partitions().count() as u64, Relaxed);
        stats
            .ready
            .store(self.assigned && self.stage == Shutdown::No, Relaxed);
        stats.parked.store(sum(|p| p.parked.max(0) as u64), Relaxed);
        stats.away.store(sum(|p| p.away() as u64), Relaxed);
        stats.paused.store(sum(|p| u64::from(p.paused)), Relaxed);
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
