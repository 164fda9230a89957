//! Shutdown and assignment: partitions come, are given up, or are lost.
//!
//! Nothing is dispatched for a partition before its takeover is through, and nothing is committed for one that is lost.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::transaction::gone_with_messages;
use super::{
    ABANDON_WITHIN, DROP_WITHIN, Fate, LEAVE_WITHIN, Pump, Shutdown, Taking, add, owned, running,
};
use crate::backend::{AssignmentEvent, Granted};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::middleware::Outcome;
use crate::router::{DeliverySemantics, LogMismatch};
use crate::runtime::lanes::AwayName;
use crate::runtime::partition::{Partition, Phase};
use crate::runtime::takeover::{OutOfRange, Taken, crash_policy, take_over, take_over_patiently};

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            let stage = *self.shutdown.borrow_and_update();
            if stage > self.stage {
                self.stage = stage;
                self.start_stop(stage);
                progress = true;
            }
            let future = self.shutdown_changed.get_or_insert_with(|| {
                let mut shutdown = self.shutdown.clone();
                Box::pin(async move {
                    // An error means that nobody is left to ask for it: then this never resolves.
                    if shutdown.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            if future.as_mut().poll(cx).is_pending() {
                return progress;
            }
            self.shutdown_changed = None;
        }
    }

    pub(super) fn start_stop(&mut self, stage: Shutdown) {
        let drain = self.route.drain_timeout;
        let (timeout, limit) = match stage {
            Shutdown::Abandon => (Duration::ZERO, ABANDON_WITHIN),
            Shutdown::No | Shutdown::Drain => {
                let commit = self.last_commit_within();
                (drain, drain + DROP_WITHIN + commit + LEAVE_WITHIN)
            }
        };
        let end_at = Instant::now() + limit;
        self.end_at = Some(self.end_at.map_or(end_at, |before| before.min(end_at)));
        let numbers: Vec<u32> = (0..).take(self.partitions.len()).collect();
        self.give_up(&numbers, timeout);
    }

    pub(super) fn poll_events(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if self.closing.is_some() {
            // The group may have let this member go before the answer is here; its source then only says so.
            return Ok(false);
        }
        let mut progress = false;
        while let Poll::Ready(event) = self.source.poll_event(cx)? {
            progress = true;
            match event {
                AssignmentEvent::Assigned(granted) => {
                    self.assigned = true;
                    self.wait_told_at = None;
                    self.granted.extend(granted);
                }
                AssignmentEvent::Revoking { partitions, within } => {
                    self.revoke_early(&partitions);
                    // A fifth of the time is kept for the last commit.
                    let timeout = self.route.drain_timeout.min(within * 4 / 5);
                    self.give_up(&partitions, timeout);
                }
                AssignmentEvent::Lost(partitions) => {
                    self.granted
                        .retain(|granted| !partitions.contains(&granted.partition));
                    self.unwanted
                        .retain(|granted| !partitions.contains(&granted.partition));
                    self.mark(&partitions, Fate::Lost);
                    for number in partitions {
                        self.lose(number);
                    }
                }
                AssignmentEvent::OutOfRange {
                    partition,
                    grant,
                    position,
                    start,
                } => self.out_of_range(OutOfRange {
                    partition,
                    grant,
                    position,
                    start,
                })?,
            }
        }
        Ok(progress)
    }

    /// The source has stopped before records that are gone: never silently goes on behind them. What is in hand of the
    /// partition, and what waits in lanes and tiers, is not concerned.
    fn out_of_range(&mut self, found: OutOfRange) -> Result<()> {
        let Some(partition) = running(&mut self.partitions, found.partition as usize)
            .filter(|partition| partition.grant == found.grant)
        else {
            return Ok(());
        };
        let OutOfRange {
            position, start, ..
        } = found;
        if start <= position {
            return Err(self.takeover.out_of_range(found));
        }
        let lost = partition.source.unsettled_in(&(position..start));
        if lost > 0 {
            if self.route.on_log_mismatch == LogMismatch::Error {
                return Err(self.takeover.out_of_range(found));
            }
            tracing::warn!(topic = %self.topology.source, partition = found.partition, position, start, lost, "records that were never settled have been removed by retention; going on at the first record");
            add(&self.stats.removed, lost);
        }
        partition.source.pass(start);
        partition.dirty = true;
        self.control.resume(found.partition, Some(start));
        if partition.paused {
            self.control.pause(found.partition);
        }
        self.commit_within(self.route.commit_interval);
        Ok(())
    }

    /// Partitions that are asked back before they were installed: those whose takeover has not begun are released at once; one
    /// whose takeover is under way follows when that has ended.
    fn revoke_early(&mut self, numbers: &[u32]) {
        let early = |granted: &mut Granted| numbers.contains(&granted.partition);
        let granted = self.granted.extract_if(.., early);
        self.unwanted.extend(granted);
        self.mark(numbers, Fate::Revoked);
    }

    /// Notes what became of partitions whose takeover is under way; what is lost stays lost.
    fn mark(&mut self, numbers: &[u32], fate: Fate) {
        for taking in &mut self.taking {
            if numbers.contains(&taking.granted.partition) && taking.fate != Fate::Lost {
                taking.fate = fate;
            }
        }
    }

    /// Starts nothing more of these partitions and lets what runs end within `timeout`.
    pub(super) fn give_up(&mut self, numbers: &[u32], timeout: Duration) {
        let deadline = Instant::now() + timeout;
        // Nothing runs any more of one that is leaving: it only needs its commit, which no haste may take away.
        let leave_by = deadline.max(Instant::now() + self.last_commit_within());
        for &number in numbers {
            let Some(partition) = owned(&mut self.partitions, number) else {
                continue;
            };
            match &mut partition.phase {
                Phase::Running => {
                    self.control.pause(number);
                    if self.route.delivery == DeliverySemantics::AtMostOnce {
                        partition.phase = Phase::RunningOut(deadline);
                        let covered = partition.covered;
                        self.unstage(number, covered);
                    } else {
                        self.drain(number, deadline);
                    }
                }
                Phase::RunningOut(until) | Phase::Draining(until) => *until = deadline.min(*until),
                Phase::Leaving(until) => *until = leave_by.min(*until),
                Phase::Dropping(_) | Phase::Left => {}
            }
        }
        self.workers.flush();
    }

    /// Starts nothing more of a partition; what waits in it stays unsettled, what runs may end until `deadline`.
    pub(super) fn drain(&mut self, number: u32, deadline: Instant) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        partition.phase = Phase::Draining(deadline);
        partition.stop_streams();
        let ownership = partition.ownership;
        self.workers
            .stop_partition(number, ownership, &mut self.reports);
    }

    /// Leaves what waits for a commit, behind the first `keep`, to the next owner.
    pub(super) fn unstage(&mut self, number: u32, keep: usize) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        let before = (partition.held, partition.held_bytes);
        partition.unstage(keep);
        self.held -= before.0 - partition.held;
        self.held_bytes -= before.1 - partition.held_bytes;
    }

    /// Messages that were settled before they ran and will not end: nobody gets them again.
    pub(super) fn count_lost(&self, number: u32, messages: u64) {
        if messages > 0 {
            tracing::warn!(topic = %self.topology.source, partition = number, messages, "at_most_once: given up after their progress was confirmed; nobody gets them again");
            add(&self.stats.lost, messages);
        }
    }

    /// A partition that is gone: nothing of it may be committed.
    pub(super) fn lose(&mut self, number: u32) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        tracing::warn!(topic = %self.topology.source, partition = number, "partition lost; its progress since the last commit is repeated elsewhere");
        let lost = partition.settled_early;
        self.count_lost(number, lost as u64);
        self.end_ownership(number);
    }

    /// Whatever still runs of a partition counts for nothing any more.
    pub(super) fn end_ownership(&mut self, number: u32) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        partition.annul_streams();
        let ownership = partition.ownership;
        self.workers
            .stop_partition(number, ownership, &mut self.reports);
        self.workers.abandon_partition(number, &mut self.reports);
        self.forget(number);
    }

    pub(super) fn forget(&mut self, number: u32) {
        let Some(partition) = self
            .partitions
            .get_mut(number as usize)
            .and_then(Option::take)
        else {
            return;
        };
        self.held -= partition.held;
        self.held_bytes -= partition.held_bytes;
        if let Some(transaction) = &mut self.transaction
            && partition.enlisted
        {
            transaction.doom(gone_with_messages());
        }
        for (tier, _) in &partition.tiers {
            self.reader.unassign(&tier.topic, number);
        }
        if partition.replay_reading {
            self.reader.unassign(&self.topology.replay, number);
        }
    }

    pub(super) fn poll_takeover(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if self.taking_over.is_none() && !self.granted.is_empty() && self.stage == Shutdown::No {
            let granted = std::mem::take(&mut self.granted);
            let kept = |granted: &Granted| Taking {
                granted: *granted,
                fate: Fate::Kept,
            };
            self.taking = granted.iter().map(kept).collect();
            let context = self.takeover.clone();
            self.taking_over = Some(match self.transaction {
                Some(_) => Box::pin(take_over_patiently(context, granted)),
                None => Box::pin(take_over(context, granted)),
            });
        }
        let Some(future) = &mut self.taking_over else {
            return Ok(false);
        };
        let Poll::Ready(taken) = future.as_mut().poll(cx) else {
            return Ok(false);
        };
        self.taking_over = None;
        let taking = std::mem::take(&mut self.taking);
        let mut taken = taken?;
        self.log_start(taken.len());
        let single_before = self.single();
        for Taking { granted, fate } in taking {
            let index = taken.iter().position(|taken| taken.granted == granted);
            match (index.map(|index| taken.swap_remove(index)), fate) {
                (Some(taken), Fate::Kept) => self.install(taken),
                // What is left to do is what any partition that is given up gets: the clean record, then the release.
                (Some(taken), Fate::Revoked) => {
                    self.install(taken);
                    self.give_up(&[granted.partition], Duration::ZERO);
                }
                (None, Fate::Revoked) => self.unwanted.push(granted),
                (None, Fate::Kept) | (_, Fate::Lost) => {}
            }
        }
        let partitions = self.single();
        if partitions > single_before {
            // One line for the route: which of its partitions holds the message that ends the process is not known yet.
            tracing::warn!(topic = %self.topology.source, partitions, "crash loop: one message at a time");
        }
        Ok(true)
    }

    /// How many partitions run one message at a time.
    fn single(&self) -> usize {
        let partitions = self.partitions.iter().flatten();
        partitions.filter(|one| one.single).count()
    }

    /// Only now: the takeover may have refused to start.
    fn log_start(&mut self, partitions: usize) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        tracing::info!(
            topic = %self.topology.source,
            backend = %self.route.backend,
            partitions,
            concurrency = self.route.limits.concurrency,
            tiers = self.route.retry.tiers.len(),
            "route started"
        );
    }

    pub(super) fn install(&mut self, taken: Taken) {
        let Granted { partition, grant } = taken.granted;
        self.ownerships += 1;
        let from = taken.record.watermark();
        if taken.census_open {
            self.learn_later();
        }
        let mut owned = Partition::new(
            partition,
            grant,
            self.ownerships,
            taken.record,
            &self.topology,
            self.provided.as_ref(),
            crash_policy(&self.route),
        );
        let now = Instant::now();
        owned.committed = Some(now);
        self.looks.moved(now);
        let wall = self.clock.now();
        for head in taken.heads {
            let delay = Duration::from_millis(head.name.tier.0);
            let tier = owned.tier(delay, &self.topology);
            // At most "first seen + delay" when clocks disagree, and never early for a stamp cut to milliseconds.
            let left = head.appended_at.after(delay).since(wall) + Duration::from_millis(1);
            let due = now + left.min(delay);
            owned.tiers[tier]
                .0
                .name(head.name.offset, head.name.origin, due);
            let name = AwayName {
                delay_ms: head.name.tier.0,
                offset: head.name.offset,
            };
            self.workers.restore_away(partition, head.key, name);
        }
        if self.route.delivery == DeliverySemantics::AtMostOnce {
            // What ends the process was settled before it ran: there is nobody to find.
            owned.single = false;
        }
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.partitions[index] = Some(owned);
        if self.stage == Shutdown::No {
            self.control.resume(partition, Some(from));
        } else {
            self.give_up(&[partition], Duration::ZERO);
        }
    }
}
