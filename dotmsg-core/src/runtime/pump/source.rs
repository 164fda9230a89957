//! The source: room, pauses, batches, and what is staged until a commit allows its dispatch.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::{Pump, Shutdown, add, owned, running};
use crate::backend::{BatchLimits, Record};
use crate::delivery::{Delivery, Stream};
use crate::error::Result;
use crate::middleware::Outcome;
use crate::router::DeliverySemantics as Semantics;
use crate::runtime::lanes::AwayName;
use crate::runtime::partition::{Partition, Phase, Staged};
use crate::runtime::reports::Reports;
use crate::runtime::ticket::Item;
use crate::runtime::worker::Worker;
use crate::runtime::workers::Workers;

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn poll_source(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        self.source_pending = false;
        if self.stage != Shutdown::No {
            return Ok(false);
        }
        self.steer_source();
        let Some(limits) = self.room() else {
            return Ok(false);
        };
        match self.source.poll_batch(cx, limits, &mut self.batch)? {
            Poll::Pending => {
                self.source_pending = true;
                Ok(false)
            }
            Poll::Ready(()) => {
                self.take_batch(cx);
                Ok(true)
            }
        }
    }

    /// What may be fetched now; `None` at a limit, and while no permit is free: more messages would only wait longer, in
    /// memory. Followers of a busy key are no reason to stop, since others may run beside them.
    pub(super) fn room(&self) -> Option<BatchLimits> {
        if self.workers.is_saturated() {
            return None;
        }
        let limits = &self.route.limits;
        let messages = limits.max_held_messages.saturating_sub(self.held);
        let bytes = limits.max_held_bytes.saturating_sub(self.held_bytes);
        (messages > 0 && bytes > 0).then(|| BatchLimits {
            messages: messages.min(limits.batch_messages),
            bytes,
        })
    }

    /// Pauses partitions at a cap, and resumes them below it. The cap never drops and never reorders.
    pub(super) fn steer_source(&mut self) {
        let park = &self.route.limits.park;
        let (mut parked, mut parked_bytes, mut away) = (0, 0, 0);
        for partition in self.partitions.iter().flatten() {
            parked += partition.parked;
            parked_bytes += partition.parked_bytes;
            away += partition.away();
        }
        let full = parked >= park.max_held_messages as i64
            || parked_bytes >= park.max_held_bytes as i64
            || away >= park.max_keys;
        for partition in self.partitions.iter_mut().flatten() {
            if partition.phase != Phase::Running {
                continue;
            }
            // Here because every partition is passed here in each turn.
            if let Some(took) = partition.timed_settlement() {
                self.stats.metrics().settlements.record(took, 1);
            }
            let pause = !partition.staged.is_empty()
                || partition.too_large
                || (full && partition.away() > 0);
            if pause == partition.paused {
                continue;
            }
            partition.paused = pause;
            if pause {
                if partition.staged.is_empty() {
                    tracing::warn!(topic = %self.topology.source, partition = partition.number, parked, away, "paused: too much waits behind retries (park.*)");
                }
                self.control.pause(partition.number);
            } else {
                self.control.resume(partition.number, None);
            }
        }
    }

    pub(super) fn take_batch(&mut self, cx: &mut Context<'_>) {
        let Self {
            partitions,
            workers,
            batch,
            reports,
            route,
            stats,
            held,
            held_bytes,
            looks,
            ..
        } = self;
        let index = batch.partition as usize;
        let Some(partition) = running(partitions, index) else {
            batch.records.clear();
            return;
        };
        if partition.grant != batch.grant {
            batch.records.clear();
            return;
        }
        add(&stats.delivered, batch.records.len() as u64);
        looks.stir();
        if partition.timed.is_none()
            && let Some(first) = batch.records.first()
        {
            partition.timed = Some((first.offset, Instant::now()));
        }
        let before = (partition.held, partition.held_bytes);
        // What is staged comes first, also when single-message mode has just ended.
        let staged = route.delivery == Semantics::AtMostOnce
            || partition.single
            || !partition.staged.is_empty();
        if staged {
            for record in batch.records.drain(..) {
                stage_source(partition, record);
            }
            *held += partition.held - before.0;
            *held_bytes += partition.held_bytes - before.1;
            self.commit_within(Duration::ZERO);
            return;
        }
        let handled = offer_all(cx, partition, workers, &mut batch.records, reports);
        *held += partition.held - before.0;
        *held_bytes += partition.held_bytes - before.1;
        add(&stats.handled, handled);
        if handled > 0 && !std::mem::replace(&mut partition.dirty, true) {
            self.commit_within(self.route.commit_interval);
        }
    }

    /// Dispatches a retry or a replay, or stages it: while the partition runs one message at a time, and a replay under
    /// `at_most_once`. (A retry there is left from a time before: it ran more than once already.)
    pub(super) fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        item: Item,
        name: Option<AwayName>,
    ) {
        add(&self.stats.delivered, 1);
        self.looks.stir();
        let Some(partition) = running(&mut self.partitions, index) else {
            return;
        };
        let waits = match self.route.delivery {
            Semantics::AtMostOnce => name.is_none(),
            Semantics::AtLeastOnce | Semantics::ExactlyOnce => partition.single,
        };
        if waits {
            partition.staged.push_back(Staged { item, name });
            partition.dirty = true;
            self.commit_within(Duration::ZERO);
            return;
        }
        self.dispatch(cx, item, name);
    }

    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>, item: Item, name: Option<AwayName>) {
        match name {
            Some(_) => self.workers.offer_head(cx, item, &mut self.reports),
            None => self.workers.offer(cx, item, &mut self.reports),
        }
    }

    /// Dispatches what a confirmed commit has settled (`at_most_once`).
    pub(super) fn dispatch_covered(&mut self, cx: &mut Context<'_>, number: u32) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        for Staged { item, name } in partition.settle_covered() {
            self.dispatch(cx, item, name);
        }
    }

    /// Dispatches what a confirmed commit allows in single-message mode: the one message that it notes, a few when it notes none,
    /// or everything once the mode is over.
    pub(super) fn dispatch_staged(&mut self, cx: &mut Context<'_>, index: usize) -> bool {
        let Some(partition) = running(&mut self.partitions, index) else {
            return false;
        };
        if partition.staged.is_empty() {
            return false;
        }
        if !partition.single {
            let staged = std::mem::take(&mut partition.staged);
            for Staged { item, name } in staged {
                self.dispatch(cx, item, name);
            }
            return true;
        }
        if !partition.noted {
            return false;
        }
        partition.noted = false;
        let mut next = partition.take_next();
        for Staged { item, .. } in &mut next {
            if partition.begin_noted(&item.ticket) {
                item.condemned = Some("crash_loop");
            }
        }
        for Staged { item, name } in next {
            self.dispatch(cx, item, name);
        }
        true
    }
}

/// Notes a source record as delivered and keeps it until a commit allows its dispatch.
fn stage_source(partition: &mut Partition, record: Record) {
    let Some(ticket) = partition.source_item(&record) else {
        return;
    };
    partition.dirty = true;
    let item = Item {
        stream: Arc::clone(&partition.stream),
        record,
        ticket,
        condemned: None,
    };
    partition.staged.push_back(Staged { item, name: None });
}

/// Offers records to the workers; how many were handled at once. These are settled here and need no report: nothing but
/// the tracker has to know of them.
fn offer_all<S>(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    workers: &mut Workers<S>,
    records: &mut Vec<Record>,
    reports: &mut Reports,
) -> u64
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let stream = Arc::clone(&partition.stream);
    let mut handled = 0;
    match workers {
        Workers::Inline(worker) => {
            for record in records.iter_mut() {
                handled += u64::from(offer(cx, partition, worker, &stream, record, reports));
            }
        }
        Workers::Spawned(spawned) => {
            for record in records.iter_mut() {
                let Some((seq, size)) = partition.begin_source(record) else {
                    continue;
                };
                spawned.hand_over(&stream, partition.ownership, seq, size, record);
            }
        }
    }
    records.clear();
    handled
}

/// Offers a record to the worker in this task; whether it was handled at once.
#[inline(always)]
fn offer<S>(
    cx: &mut Context<'_>,
    partition: &mut Partition,
    worker: &mut Worker<S>,
    stream: &Arc<Stream>,
    record: &mut Record,
    reports: &mut Reports,
) -> bool
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    if let Some(seq) = partition.peek_source(record.offset)
        && let Some(called) = worker.try_at_once(cx, stream, record)
    {
        if called.poll == Poll::Ready(Outcome::HANDLED) {
            partition.source_handled(record.offset);
            return true;
        }
        let ticket = partition.source_held(record.offset, seq, worker.size_of(&called));
        match called.poll {
            Poll::Ready(outcome) => reports.finished(&ticket, outcome),
            Poll::Pending => worker.keep_running(called, ticket),
        }
    } else if let Some(ticket) = partition.source_item(record) {
        worker.offer(cx, stream, record, &ticket, None, reports);
    }
    false
}
