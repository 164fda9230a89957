//! A worker: lanes, slots and the handler's service in one task.
//!
//! The path of a message whose handler is ready at its first poll is: free slot, call, poll, outcome; no lane, no hash
//! and no allocation. Only a message that stays *pending* (or meets a busy key, or no permit) enters the lane table. The
//! future lives in a slot that is reused, and the slot keeps the delivery, so that nothing that happens to the future
//! can lose the message.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::task::coop::has_budget_remaining;
use tower_service::Service;

use super::lanes::{AwayName, LaneId, LaneState, Lanes};
use super::permits::Permits;
use super::ready::ReadySet;
use super::ticket::{Report, Ticket};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::middleware::{Away, Outcome};
use crate::router::Ordering;

/// Dispatches in one poll before the task yields to others.
const DISPATCHES_PER_POLL: usize = 1_024;

/// A message on its way to a worker.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) stream: Arc<Stream>,
    pub(crate) record: Record,
    pub(crate) ticket: Ticket,
    /// Set aside without a call of the handler, for this reason.
    pub(crate) condemned: Option<&'static str>,
}

struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    waker: Waker,
    delivery: Delivery,
    ticket: Ticket,
    lane: Option<LaneId>,
}

impl<F: Future<Output = Result<Outcome, Infallible>>> Slot<F> {
    /// Polls a call for the first time.
    #[inline]
    fn start(&mut self, call: F) -> Poll<Outcome> {
        self.future.as_mut().set(Some(call));
        self.poll()
    }

    #[inline]
    fn poll(&mut self) -> Poll<Outcome> {
        let Some(future) = self.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        match future.poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => {
                self.future.as_mut().set(None);
                Poll::Ready(outcome)
            }
            Poll::Ready(Err(never)) => match never {},
        }
    }
}

/// A stopped partition whose running handlers are being awaited.
struct Stopping {
    partition: u32,
    ownership: u32,
    running: usize,
}

/// How lanes are formed and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LanePolicy {
    /// Which messages wait for each other.
    pub(crate) ordering: Ordering,
    /// Followers wait while their head is away.
    pub(crate) keep: bool,
    /// Seed of the lane hash.
    pub(crate) hash_seed: u64,
}

/// Lanes, slots and the service.
pub(crate) struct Worker<S: Service<Delivery>> {
    service: S,
    policy: LanePolicy,
    hasher: foldhash::fast::FixedState,
    permits: Arc<Permits>,
    ready_set: Arc<ReadySet>,
    slots: Vec<Slot<S::Future>>,
    free: Vec<usize>,
    /// A permit is held for the next offered message; the last free slot may still hold the record of the one before.
    /// Both end with [`Worker::poll`], so that they last no longer than a batch.
    spare: bool,
    lanes: Lanes<Item>,
    ready: VecDeque<LaneId>,
    stopping: Vec<Stopping>,
    /// Woken slots that are not polled yet, the longest waiting first.
    woken: VecDeque<usize>,
    /// The task's cooperative budget is used up: a call begun now would find every timer and channel *pending*, only to
    /// be polled once more, and ever the same slots would be served.
    spent: bool,
}

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    /// A worker that shares `permits` (their limit is `concurrency`) with others.
    pub(crate) fn new(
        service: S,
        policy: LanePolicy,
        permits: Arc<Permits>,
        concurrency: usize,
    ) -> Self {
        Self {
            service,
            policy,
            hasher: foldhash::fast::FixedState::with_seed(policy.hash_seed),
            permits,
            ready_set: Arc::new(ReadySet::new(concurrency)),
            slots: Vec::new(),
            free: Vec::new(),
            spare: false,
            lanes: Lanes::new(),
            ready: VecDeque::new(),
            stopping: Vec::new(),
            woken: VecDeque::new(),
            spent: false,
        }
    }

    /// Takes a message: runs it if its key is idle and a permit is free, else queues it. The outcome, when the handler
    /// was ready at its first poll.
    pub(crate) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Arc<Stream>,
        record: &mut Record,
        ticket: &Ticket,
        condemned: Option<&'static str>,
        reports: &mut Vec<Report>,
    ) -> Option<Outcome> {
        let mut hash = None;
        if !self.lanes.no_keys()
            && let Some(key) = lane_key(self.policy.ordering, record)
        {
            let computed = self.hash(ticket.partition, key);
            hash = Some(computed);
            if let Some(lane) = self.lanes.find(computed, ticket.partition, key) {
                self.enqueue(lane, stream, record, ticket, condemned, reports);
                return None;
            }
        }
        if self.ready.is_empty() && !self.spent && self.admit_spare(cx) {
            let index = match self.free.last() {
                Some(index) => *index,
                None => self.add_slot(),
            };
            return match self.start_new(index, stream, record, condemned) {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => {
                    self.keep_running(index, *ticket, hash);
                    None
                }
            };
        }
        let (hash, key) = self.owned_key(record, ticket.partition, hash);
        let lane = self
            .lanes
            .open(hash, ticket.partition, key, LaneState::Ready);
        self.enqueue(lane, stream, record, ticket, condemned, reports);
        self.ready.push_back(lane);
        None
    }

    /// Takes an away head that is due: it runs before everything else of its lane, and before lanes that only wait for
    /// a permit, so that retries never wait for the source's limits.
    pub(crate) fn offer_head(
        &mut self,
        cx: &mut Context<'_>,
        item: Item,
        reports: &mut Vec<Report>,
    ) -> Option<Outcome> {
        let lane = lane_key(self.policy.ordering, &item.record)
            .filter(|_| self.policy.keep)
            .and_then(|key| {
                let hash = self.hash(item.ticket.partition, key);
                self.lanes.find(hash, item.ticket.partition, key)
            });
        let Some(lane) = lane else {
            let mut item = item;
            let record = &mut item.record;
            return self.offer(
                cx,
                &item.stream,
                record,
                &item.ticket,
                item.condemned,
                reports,
            );
        };
        let found = self.lanes.get(lane);
        if let LaneState::Away(_) = found.state {
            found.state = LaneState::Ready;
            let (messages, bytes) = (found.len, found.bytes);
            push_parked(reports, &item.ticket, messages, bytes, -1);
            self.ready.push_front(lane);
        }
        // Else another head of the key, away since its order was relaxed, runs or is about to: this one is next.
        let size = item.ticket.size as usize;
        self.lanes.push_front(lane, item, size);
        None
    }

    /// Makes the lane of an away head that a takeover found. A key has several when its order was relaxed before: the
    /// first makes the lane, and they run one at a time as they become due.
    pub(crate) fn restore_away(&mut self, partition: u32, key: Option<Bytes>, name: AwayName) {
        if !self.policy.keep {
            return;
        }
        let Some(key) = key else { return };
        let hash = self.hash(partition, &key);
        if self.lanes.find(hash, partition, &key).is_none() {
            self.lanes
                .open(hash, partition, Some(key), LaneState::Away(name));
        }
    }

    /// Starts nothing more of a partition and drops what waits; [`Report::Drained`] follows when nothing of it runs.
    pub(crate) fn stop_partition(
        &mut self,
        partition: u32,
        ownership: u32,
        reports: &mut Vec<Report>,
    ) {
        self.lanes.stop_partition(partition);
        let lanes = &self.lanes;
        self.ready.retain(|lane| lanes.contains(*lane));
        let mut running = 0;
        for slot in &self.slots {
            if slot.future.is_some() && slot.ticket.partition == partition {
                running += 1;
                // A future that sleeps before a repeat looks at its stream's stop flag when it is polled.
                slot.waker.wake_by_ref();
            }
        }
        if running == 0 {
            reports.push(Report::Drained {
                partition,
                ownership,
            });
        } else {
            self.stopping.push(Stopping {
                partition,
                ownership,
                running,
            });
        }
    }

    /// Drops what still runs of a stopped partition; [`Report::Drained`] follows at once, if it is still due.
    pub(crate) fn abandon_partition(&mut self, partition: u32, reports: &mut Vec<Report>) {
        self.cool_down();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.future.is_some() && slot.ticket.partition == partition {
                slot.future.as_mut().set(None);
                slot.delivery.clear();
                let lane = slot.lane.take();
                self.free.push(index);
                self.permits.release();
                if let Some(lane) = lane {
                    self.lanes.close(lane);
                }
            }
        }
        let of_partition = |stopping: &mut Stopping| stopping.partition == partition;
        for stopping in self.stopping.extract_if(.., of_partition) {
            reports.push(Report::Drained {
                partition,
                ownership: stopping.ownership,
            });
        }
    }

    /// Polls what was woken and starts what waits for a permit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) {
        self.cool_down();
        self.ready_set.register(cx.waker());
        self.spent = !has_budget_remaining();
        let mut budget = DISPATCHES_PER_POLL;
        while budget > 0 && has_budget_remaining() {
            if self.woken.is_empty() {
                let woken = &mut self.woken;
                self.ready_set.take(|slot| woken.push_back(slot));
            }
            let idle = self.woken.is_empty();
            while budget > 0 && has_budget_remaining() {
                let Some(slot) = self.woken.pop_front() else {
                    break;
                };
                self.poll_slot(cx, slot, reports, &mut budget);
            }
            if !self.dispatch(cx, reports, &mut budget) && idle {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Starts lanes that wait for a permit; whether it started any.
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        reports: &mut Vec<Report>,
        budget: &mut usize,
    ) -> bool {
        let mut started = false;
        while *budget > 0 && has_budget_remaining() && !self.ready.is_empty() && self.admit(cx) {
            let lane = self.ready.pop_front().expect("it was not empty");
            let slot = self.free_slot();
            self.slots[slot].lane = Some(lane);
            self.run_lane(cx, slot, lane, reports, budget);
            started = true;
        }
        started
    }

    /// Runs the next message of a lane in `slot`, and the one after it as long as they are ready at once.
    fn run_lane(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        lane: LaneId,
        reports: &mut Vec<Report>,
        budget: &mut usize,
    ) {
        while self.lanes.get(lane).len > 0 {
            if self.service.poll_ready(cx).is_pending() {
                self.lanes.get(lane).state = LaneState::Ready;
                self.ready.push_front(lane);
                self.vacate(slot);
                return;
            }
            let item = self.lanes.pop(lane).expect("its length is not zero");
            *budget = budget.saturating_sub(1);
            self.lanes.get(lane).state = LaneState::Running;
            self.fill(slot, &item.stream, item.record, item.ticket, item.condemned);
            match self.call(slot) {
                Poll::Pending => return,
                Poll::Ready(outcome) => {
                    if !self.conclude(slot, outcome, reports) {
                        return;
                    }
                }
            }
        }
    }

    fn poll_slot(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        reports: &mut Vec<Report>,
        budget: &mut usize,
    ) {
        *budget = budget.saturating_sub(1);
        let Poll::Ready(outcome) = self.poll_future(slot) else {
            return;
        };
        let lane = self.slots[slot].lane;
        if self.conclude(slot, outcome, reports) {
            let lane = lane.expect("only a lane has a next message");
            self.run_lane(cx, slot, lane, reports, budget);
        }
    }

    /// Reports an outcome and decides about the slot. `true`: the slot and its permit stay for the lane's next message.
    fn conclude(&mut self, slot: usize, outcome: Outcome, reports: &mut Vec<Report>) -> bool {
        let ticket = self.slots[slot].ticket;
        let lane = self.slots[slot].lane;
        reports.push(Report::Finished(ticket, outcome));
        let goes_on = lane.is_some_and(|lane| self.after(lane, ticket, outcome, reports));
        if !self.stopping.is_empty() {
            self.count_down(ticket, reports);
        }
        if !goes_on {
            self.vacate(slot);
        }
        goes_on
    }

    /// Moves a lane on after its head's outcome; whether its next message runs in the same slot.
    fn after(
        &mut self,
        lane: LaneId,
        ticket: Ticket,
        outcome: Outcome,
        reports: &mut Vec<Report>,
    ) -> bool {
        let keep = self.policy.keep;
        let found = self.lanes.get(lane);
        match outcome {
            _ if found.stopped => {}
            Outcome::Interrupted => {
                // The stop itself has yet to arrive here. Until then nothing of this key may start.
                found.stopped = true;
                found.state = LaneState::Ready;
                return false;
            }
            Outcome::Away(away) if keep && found.is_keyed() => {
                found.state = LaneState::Away(name_of(away));
                let (messages, bytes) = (found.len, found.bytes);
                push_parked(reports, &ticket, messages, bytes, 1);
                return false;
            }
            Outcome::Away(_) | Outcome::Settled(_) if found.len > 0 => {
                if self.ready.is_empty() {
                    return true;
                }
                found.state = LaneState::Ready;
                self.ready.push_back(lane);
                return false;
            }
            Outcome::Away(_) | Outcome::Settled(_) => {}
        }
        self.lanes.close(lane);
        false
    }

    fn count_down(&mut self, ticket: Ticket, reports: &mut Vec<Report>) {
        let Some(index) = self
            .stopping
            .iter()
            .position(|stopping| stopping.partition == ticket.partition)
        else {
            return;
        };
        self.stopping[index].running -= 1;
        if self.stopping[index].running == 0 {
            let drained = self.stopping.remove(index);
            reports.push(Report::Drained {
                partition: drained.partition,
                ownership: drained.ownership,
            });
        }
    }

    /// A permit, and a service that is ready: asked only with a message in hand, since readiness may hold a resource.
    fn admit(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.permits.acquire(cx.waker()) {
            return false;
        }
        if self.service.poll_ready(cx).is_pending() {
            self.permits.release();
            return false;
        }
        true
    }

    /// The same for a message that is offered: the permit is kept as the spare one, to be used or kept again.
    #[inline]
    fn admit_spare(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.spare {
            self.spare = self.permits.acquire(cx.waker());
        }
        self.spare && self.service.poll_ready(cx).is_ready()
    }

    /// Gives back what the last offered message left warm: its slot's record and the spare permit.
    fn cool_down(&mut self) {
        if std::mem::take(&mut self.spare) {
            if let Some(slot) = self.free.last() {
                self.slots[*slot].delivery.clear();
            }
            self.permits.release();
        }
    }

    /// Runs the handler on a record, if nothing at all stands in its way; `None`, and nothing done, if something may.
    ///
    /// The slot's number comes with the outcome, or with [`Poll::Pending`]: [`Worker::keep_running`] must follow then. It
    /// is the whole path of most messages, so it knows neither keys nor tickets.
    #[inline(always)]
    pub(crate) fn try_at_once(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Arc<Stream>,
        record: &mut Record,
    ) -> Option<(usize, Poll<Outcome>)> {
        if self.spent || !self.lanes.no_keys() || !self.ready.is_empty() || !self.admit_spare(cx) {
            return None;
        }
        let index = match self.free.last() {
            Some(index) => *index,
            None => self.add_slot(),
        };
        Some((index, self.start_new(index, stream, record, None)))
    }

    /// Whether a further message would have to wait for a permit.
    pub(crate) fn is_saturated(&self) -> bool {
        !self.ready.is_empty() || self.permits.are_exhausted()
    }

    /// Bytes of the message that a slot was given last.
    pub(crate) fn size_in(&self, slot: usize) -> usize {
        self.slots[slot].delivery.message().size()
    }

    /// Calls the handler with the spare permit, in a free slot; both stay where they are when it is ready at once.
    #[inline(always)]
    fn start_new(
        &mut self,
        index: usize,
        stream: &Arc<Stream>,
        record: &mut Record,
        condemned: Option<&'static str>,
    ) -> Poll<Outcome> {
        let slot = &mut self.slots[index];
        let at = record.appended_at;
        slot.delivery
            .exchange(stream, record.offset, at, &mut record.message);
        if let Some(kind) = condemned {
            slot.delivery.condemn(kind);
        }
        let future = self.service.call(slot.delivery.clone());
        let poll = slot.start(future);
        match poll {
            Poll::Pending | Poll::Ready(Outcome::Settled(_)) => {}
            Poll::Ready(unsettled) => self.block_key(index, stream.partition, unsettled),
        }
        poll
    }

    /// After a first poll that did not settle the message: nothing of its key may start before it.
    #[cold]
    fn block_key(&mut self, slot: usize, partition: u32, outcome: Outcome) {
        let key = self.slots[slot].delivery.key().cloned();
        match outcome {
            Outcome::Settled(_) => {}
            Outcome::Away(away) => self.restore_away(partition, key, name_of(away)),
            Outcome::Interrupted => {
                let key = match self.policy.ordering {
                    Ordering::Key => key,
                    Ordering::Partition => Some(Bytes::new()),
                    Ordering::None => None,
                };
                if let Some(key) = key {
                    let hash = self.hash(partition, &key);
                    let lane = self
                        .lanes
                        .open(hash, partition, Some(key), LaneState::Ready);
                    self.lanes.get(lane).stopped = true;
                }
            }
        }
    }

    /// A call is pending: its key is busy from now on.
    pub(crate) fn keep_running(&mut self, index: usize, ticket: Ticket, hash: Option<u64>) {
        self.spare = false;
        self.spent = !has_budget_remaining();
        let popped = self.free.pop();
        debug_assert_eq!(popped, Some(index), "it was the last free one");
        let key = match self.policy.ordering {
            Ordering::Key => self.slots[index].delivery.key().cloned(),
            Ordering::Partition => Some(Bytes::new()),
            Ordering::None => None,
        };
        let lane = key.map(|key| {
            let hash = hash.unwrap_or_else(|| self.hash(ticket.partition, &key));
            self.lanes
                .open(hash, ticket.partition, Some(key), LaneState::Running)
        });
        self.slots[index].ticket = ticket;
        self.slots[index].lane = lane;
    }

    fn free_slot(&mut self) -> usize {
        if self.free.is_empty() {
            self.add_slot();
        }
        self.free.pop().expect("one was just added")
    }

    /// Adds a slot, free.
    #[cold]
    fn add_slot(&mut self) -> usize {
        let index = self.slots.len();
        self.slots.push(Slot {
            future: Box::pin(None),
            waker: self.ready_set.waker(index),
            delivery: Delivery::vacant(),
            ticket: Ticket::vacant(),
            lane: None,
        });
        self.free.push(index);
        index
    }

    fn fill(
        &mut self,
        slot: usize,
        stream: &Arc<Stream>,
        record: Record,
        ticket: Ticket,
        condemned: Option<&'static str>,
    ) {
        let slot = &mut self.slots[slot];
        slot.ticket = ticket;
        slot.delivery
            .refill(stream, record.offset, record.appended_at, record.message);
        if let Some(kind) = condemned {
            slot.delivery.condemn(kind);
        }
    }

    /// Calls the service, which was found ready with this message in hand.
    fn call(&mut self, slot: usize) -> Poll<Outcome> {
        let slot = &mut self.slots[slot];
        let future = self.service.call(slot.delivery.clone());
        slot.start(future)
    }

    fn poll_future(&mut self, slot: usize) -> Poll<Outcome> {
        self.slots[slot].poll()
    }

    fn vacate(&mut self, slot: usize) {
        self.slots[slot].lane = None;
        self.slots[slot].delivery.clear();
        self.free.push(slot);
        self.permits.release();
    }

    fn enqueue(
        &mut self,
        lane: LaneId,
        stream: &Arc<Stream>,
        record: &mut Record,
        ticket: &Ticket,
        condemned: Option<&'static str>,
        reports: &mut Vec<Report>,
    ) {
        let size = ticket.size as usize;
        if let LaneState::Away(_) = self.lanes.get(lane).state {
            // It may wait for hours: a slice would keep the whole chunk it was read with.
            record.message.detach();
            push_parked(reports, ticket, 1, size, 1);
        }
        let item = Item {
            stream: Arc::clone(stream),
            record: record.take(),
            ticket: *ticket,
            condemned,
        };
        self.lanes.push_back(lane, item, size);
    }

    fn owned_key(
        &self,
        record: &Record,
        partition: u32,
        hash: Option<u64>,
    ) -> (u64, Option<Bytes>) {
        let key = match self.policy.ordering {
            Ordering::Key => record.message.key.clone(),
            Ordering::Partition => Some(Bytes::new()),
            Ordering::None => None,
        };
        let hash = match (&key, hash) {
            (_, Some(hash)) => hash,
            (Some(key), None) => self.hash(partition, key),
            (None, None) => 0,
        };
        (hash, key)
    }

    fn hash(&self, partition: u32, key: &[u8]) -> u64 {
        self.hasher.hash_one(key) ^ u64::from(partition).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The bytes that a message's lane is found by; `None`: it has no order.
fn lane_key(ordering: Ordering, record: &Record) -> Option<&[u8]> {
    match ordering {
        Ordering::Key => record.message.key.as_deref(),
        Ordering::Partition => Some(&[]),
        Ordering::None => None,
    }
}

fn name_of(away: Away) -> AwayName {
    AwayName {
        delay_ms: u64::try_from(away.delay.as_millis()).unwrap_or(u64::MAX),
        offset: away.offset,
    }
}

fn push_parked(
    reports: &mut Vec<Report>,
    ticket: &Ticket,
    messages: usize,
    bytes: usize,
    sign: i64,
) {
    if messages > 0 {
        reports.push(Report::Parked {
            partition: ticket.partition,
            ownership: ticket.ownership,
            messages: sign * messages as i64,
            bytes: sign * bytes as i64,
        });
    }
}

impl<S: Service<Delivery>> std::fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("slots", &self.slots.len())
            .field("free", &self.free.len())
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}
