//! A worker: dispatch of messages to slots, by key, in one task.
//!
//! The path of a message whose handler is ready at its first poll is: free slot, call, poll, outcome; no lane, no
//! allocation, and no hash unless another key is in hand. A message that stays *pending* puts its slot into the table of
//! keys; only one that meets a busy key, or no permit, needs a lane.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::coop::has_budget_remaining;
use tower_service::Service;

use super::lanes::{AwayName, Holder, LaneId, LaneState, Lanes};
use super::permits::Permits;
use super::ready::ReadySet;
use super::reports::Reports;
use super::slots::{Slots, Turn};
use super::stopping::Stopping;
use super::ticket::{Item, Ticket};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::message::Message;
use crate::middleware::{Away, Outcome};
use crate::router::Ordering;

/// Dispatches in one poll before the task yields to others.
const DISPATCHES_PER_POLL: usize = 1_024;

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

/// A first call that was made; [`Worker::keep_running`] must follow when it is pending.
pub(crate) struct Called {
    pub(crate) poll: Poll<Outcome>,
    slot: usize,
    /// The hash of the message's key, if it had to be known.
    hash: Option<u64>,
}

/// Lanes, slots and the service.
pub(crate) struct Worker<S: Service<Delivery>> {
    service: S,
    policy: LanePolicy,
    hasher: foldhash::fast::FixedState,
    permits: Arc<Permits>,
    ready_set: Arc<ReadySet>,
    slots: Slots<S::Future>,
    /// A permit is held for the next offered message; the next free slot may still hold the record of the one before.
    /// Both end with [`Worker::poll`], so that they last no longer than a batch.
    spare: bool,
    lanes: Lanes<Item>,
    /// Lanes whose head waits for a permit.
    ready: VecDeque<LaneId>,
    stopping: Stopping,
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
        let ready_set = Arc::new(ReadySet::new(concurrency));
        Self {
            service,
            policy,
            hasher: foldhash::fast::FixedState::with_seed(policy.hash_seed),
            permits,
            slots: Slots::new(Arc::clone(&ready_set)),
            ready_set,
            spare: false,
            lanes: Lanes::new(),
            ready: VecDeque::new(),
            stopping: Stopping::default(),
            woken: VecDeque::new(),
            spent: false,
        }
    }

    /// Calls the handler with a record, if nothing stands in its way; `None`, and nothing done, if something does.
    ///
    /// It is the whole path of most messages, so it knows no tickets.
    #[inline(always)]
    pub(crate) fn try_at_once(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Arc<Stream>,
        record: &mut Record,
    ) -> Option<Called> {
        if self.spent || !self.ready.is_empty() {
            return None;
        }
        let mut hash = None;
        if !self.lanes.no_keys()
            && let Some(key) = lane_key(self.policy.ordering, &record.message)
        {
            let computed = self.hash(stream.partition, key);
            if self.holder(computed, stream.partition, key).is_some() {
                return None;
            }
            hash = Some(computed);
        }
        if !self.admit_spare(cx) {
            return None;
        }
        let (slot, poll) = self.call_next(stream, record, None);
        Some(Called { poll, slot, hash })
    }

    /// Takes a message: calls the handler if its key is idle and a permit is free, else queues it.
    pub(crate) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Arc<Stream>,
        record: &mut Record,
        ticket: &Ticket,
        condemned: Option<&'static str>,
        reports: &mut Reports,
    ) {
        let hash = lane_key(self.policy.ordering, &record.message)
            .map(|key| self.hash(ticket.partition, key));
        if let Some(lane) = hash.and_then(|hash| self.lane_of(hash, ticket.partition, record)) {
            self.enqueue(lane, stream, record, ticket, condemned, reports);
        } else if self.ready.is_empty() && !self.spent && self.admit_spare(cx) {
            let (slot, poll) = self.call_next(stream, record, condemned);
            match poll {
                Poll::Ready(outcome) => reports.finished(ticket, outcome),
                Poll::Pending => self.keep_running(Called { poll, slot, hash }, *ticket),
            }
        } else {
            let key = owned_key(self.policy.ordering, &record.message);
            let hash = hash.unwrap_or_default();
            let lane = self
                .lanes
                .open(hash, ticket.partition, key, LaneState::Ready);
            self.enqueue(lane, stream, record, ticket, condemned, reports);
            self.ready.push_back(lane);
        }
    }

    /// Takes an away head that is due: it runs before everything else of its lane, and before lanes that only wait for
    /// a permit, so that retries never wait for the source's limits.
    pub(crate) fn offer_head(&mut self, cx: &mut Context<'_>, item: Item, reports: &mut Reports) {
        let lane = lane_key(self.policy.ordering, &item.record.message)
            .filter(|_| self.policy.keep)
            .map(|key| self.hash(item.ticket.partition, key))
            .and_then(|hash| self.lane_of(hash, item.ticket.partition, &item.record));
        let Some(lane) = lane else {
            let Item {
                stream,
                mut record,
                ticket,
                condemned,
            } = item;
            self.offer(cx, &stream, &mut record, &ticket, condemned, reports);
            return;
        };
        let found = self.lanes.get(lane);
        let name = item.ticket.away_name();
        if let LaneState::Away(head) = found.state {
            found.state = LaneState::Ready;
            found.behind = Some(head).filter(|head| Some(*head) != name);
            reports.parked(&item.ticket, found.len, found.bytes, -1);
            self.ready.push_front(lane);
        } else if found.behind == name {
            found.behind = None;
        }
        // Else another head of the key, away since its order was relaxed, runs or is about to: this one is next.
        let size = item.ticket.size as usize;
        self.lanes.push_front(lane, item, size);
    }

    /// Makes the lane of an away head that a takeover found. A key has several when its order was relaxed before: the
    /// first makes the lane, and they run one at a time as they become due.
    pub(crate) fn restore_away(&mut self, partition: u32, key: Option<Bytes>, name: AwayName) {
        if !self.policy.keep {
            return;
        }
        let Some(key) = key else { return };
        let hash = self.hash(partition, &key);
        if self.holder(hash, partition, &key).is_none() {
            self.lanes
                .open(hash, partition, Some(key), LaneState::Away(name));
        }
    }

    /// Starts nothing more of a partition and drops what waits; it is reported as drained when nothing of it runs.
    pub(crate) fn stop_partition(&mut self, partition: u32, ownership: u32, reports: &mut Reports) {
        self.lanes.stop_partition(partition);
        let lanes = &self.lanes;
        self.ready.retain(|lane| lanes.contains(*lane));
        let mut running = 0;
        for slot in self.slots.iter() {
            if slot.is_running() && slot.ticket.partition == partition {
                running += 1;
                // A future that sleeps before a repeat looks at its stream's stop flag when it is polled.
                slot.wake();
            }
        }
        self.stopping.begin(partition, ownership, running, reports);
    }

    /// Drops what still runs of a stopped partition; it is reported as drained at once, if that is still due.
    pub(crate) fn abandon_partition(&mut self, partition: u32, reports: &mut Reports) {
        self.cool_down();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.is_running() && slot.ticket.partition == partition {
                slot.abandon();
                match slot.turn {
                    Turn::Unkeyed => {}
                    Turn::Alone(hash) => self.lanes.end_alone(hash, index),
                    Turn::Lane(lane) => self.lanes.close(lane),
                }
                self.vacate(index);
            }
        }
        self.stopping.end(partition, reports);
    }

    /// Polls what was woken and starts what waits for a permit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Reports) {
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

    /// Whether a further message would have to wait for a permit.
    pub(crate) fn is_saturated(&self) -> bool {
        !self.ready.is_empty() || self.permits.are_exhausted()
    }

    /// Bytes of the message that was given to this call.
    #[inline]
    pub(crate) fn size_of(&self, called: &Called) -> usize {
        self.slots[called.slot].delivery.message().size()
    }

    /// A call is pending: its key is busy from now on.
    #[inline]
    pub(crate) fn keep_running(&mut self, called: Called, ticket: Ticket) {
        self.spare = false;
        self.spent = !has_budget_remaining();
        let slot = self.slots.take();
        debug_assert_eq!(slot, called.slot, "it was the next free one");
        let message = self.slots[slot].delivery.message();
        let turn = match lane_key(self.policy.ordering, message) {
            None => Turn::Unkeyed,
            Some(key) => {
                let hash = called
                    .hash
                    .unwrap_or_else(|| self.hash(ticket.partition, key));
                self.lanes.begin_alone(hash, slot);
                Turn::Alone(hash)
            }
        };
        self.slots[slot].ticket = ticket;
        self.slots[slot].turn = turn;
    }

    /// Starts lanes that wait for a permit; whether it started any.
    fn dispatch(
        &mut self,
        cx: &mut Context<'_>,
        reports: &mut Reports,
        budget: &mut usize,
    ) -> bool {
        let mut started = false;
        while *budget > 0 && has_budget_remaining() && !self.ready.is_empty() && self.admit(cx) {
            let lane = self.ready.pop_front().expect("it was not empty");
            let slot = self.slots.take();
            self.slots[slot].turn = Turn::Lane(lane);
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
        reports: &mut Reports,
        budget: &mut usize,
    ) {
        while self.lanes.get(lane).len > 0 {
            let spent = *budget == 0 || !has_budget_remaining();
            if spent || self.service.poll_ready(cx).is_pending() {
                self.lanes.get(lane).state = LaneState::Ready;
                self.ready.push_front(lane);
                self.vacate(slot);
                return;
            }
            let item = self.lanes.pop(lane).expect("its length is not zero");
            *budget = budget.saturating_sub(1);
            self.lanes.get(lane).state = LaneState::Running;
            match self.call(slot, item) {
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
        reports: &mut Reports,
        budget: &mut usize,
    ) {
        *budget = budget.saturating_sub(1);
        let Poll::Ready(outcome) = self.slots[slot].poll() else {
            return;
        };
        let turn = self.slots[slot].turn;
        if self.conclude(slot, outcome, reports) {
            let Turn::Lane(lane) = turn else {
                unreachable!("only a lane has a next message");
            };
            self.run_lane(cx, slot, lane, reports, budget);
        }
    }

    /// Reports an outcome and decides about the slot. `true`: the slot and its permit stay for the lane's next message.
    #[inline]
    fn conclude(&mut self, slot: usize, outcome: Outcome, reports: &mut Reports) -> bool {
        let ended = &self.slots[slot];
        let (ticket, turn) = (ended.ticket, ended.turn);
        reports.finished(&ticket, outcome);
        let goes_on = match (turn, outcome) {
            (Turn::Unkeyed, _) => false,
            (Turn::Alone(hash), Outcome::Settled(_)) => {
                self.lanes.end_alone(hash, slot);
                false
            }
            (Turn::Alone(hash), _) => {
                let lane = self.widen(hash, slot);
                self.after(lane, &ticket, outcome, reports)
            }
            (Turn::Lane(lane), _) => self.after(lane, &ticket, outcome, reports),
        };
        if !self.stopping.is_empty() {
            self.stopping.count_down(ticket.partition, reports);
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
        ticket: &Ticket,
        outcome: Outcome,
        reports: &mut Reports,
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
                let head = found.behind.take().unwrap_or(name_of(away));
                found.state = LaneState::Away(head);
                reports.parked(ticket, found.len, found.bytes, 1);
                return false;
            }
            Outcome::Settled(_) if let Some(head) = found.behind.take() => {
                found.state = LaneState::Away(head);
                reports.parked(ticket, found.len, found.bytes, 1);
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
    #[inline(always)]
    fn admit_spare(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.spare {
            self.spare = self.permits.acquire(cx.waker());
        }
        self.spare && self.service.poll_ready(cx).is_ready()
    }

    /// Gives back what the last offered message left warm: its slot's record and the spare permit.
    fn cool_down(&mut self) {
        if std::mem::take(&mut self.spare) {
            if let Some(slot) = self.slots.warm() {
                slot.delivery.clear();
            }
            self.permits.release();
        }
    }

    /// Calls the handler with the spare permit, in the next free slot; both stay free when it is ready at once.
    #[inline(always)]
    fn call_next(
        &mut self,
        stream: &Arc<Stream>,
        record: &mut Record,
        condemned: Option<&'static str>,
    ) -> (usize, Poll<Outcome>) {
        let index = self.slots.peek();
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
        (index, poll)
    }

    /// After a first poll that did not settle the message: nothing of its key may start before it.
    #[cold]
    fn block_key(&mut self, slot: usize, partition: u32, outcome: Outcome) {
        let message = self.slots[slot].delivery.message();
        match outcome {
            Outcome::Settled(_) => {}
            Outcome::Away(away) => {
                self.restore_away(partition, message.key.clone(), name_of(away));
            }
            Outcome::Interrupted => {
                if let Some(key) = owned_key(self.policy.ordering, message) {
                    let hash = self.hash(partition, &key);
                    let lane = self
                        .lanes
                        .open(hash, partition, Some(key), LaneState::Ready);
                    self.lanes.get(lane).stopped = true;
                }
            }
        }
    }

    /// Calls the service with a lane's message; it was found ready with this message in hand.
    fn call(&mut self, slot: usize, item: Item) -> Poll<Outcome> {
        let Item {
            stream,
            record,
            ticket,
            condemned,
        } = item;
        let slot = &mut self.slots[slot];
        slot.ticket = ticket;
        slot.delivery
            .refill(&stream, record.offset, record.appended_at, record.message);
        if let Some(kind) = condemned {
            slot.delivery.condemn(kind);
        }
        let future = self.service.call(slot.delivery.clone());
        slot.start(future)
    }

    #[inline]
    fn vacate(&mut self, slot: usize) {
        self.slots.give_back(slot);
        self.permits.release();
    }

    fn enqueue(
        &mut self,
        lane: LaneId,
        stream: &Arc<Stream>,
        record: &mut Record,
        ticket: &Ticket,
        condemned: Option<&'static str>,
        reports: &mut Reports,
    ) {
        let size = ticket.size as usize;
        if let LaneState::Away(_) = self.lanes.get(lane).state {
            // It may wait for hours: a slice would keep the whole chunk it was read with.
            record.message.detach();
            reports.parked(ticket, 1, size, 1);
        }
        let item = Item {
            stream: Arc::clone(stream),
            record: record.take(),
            ticket: *ticket,
            condemned,
        };
        self.lanes.push_back(lane, item, size);
    }

    /// Who has a key.
    #[inline]
    fn holder(&self, hash: u64, partition: u32, key: &[u8]) -> Option<Holder> {
        self.lanes.find(hash, partition, key, |slot| {
            let slot = &self.slots[slot];
            slot.ticket.partition == partition
                && lane_key(self.policy.ordering, slot.delivery.message()) == Some(key)
        })
    }

    /// The lane of a record's key, if the key is in hand; made, if a slot has stood for it.
    fn lane_of(&mut self, hash: u64, partition: u32, record: &Record) -> Option<LaneId> {
        let key = lane_key(self.policy.ordering, &record.message)?;
        match self.holder(hash, partition, key)? {
            Holder::Lane(lane) => Some(lane),
            Holder::Slot(slot) => Some(self.widen(hash, slot)),
        }
    }

    /// Makes the lane of a key that a slot has stood for.
    #[cold]
    fn widen(&mut self, hash: u64, index: usize) -> LaneId {
        let slot = &mut self.slots[index];
        let partition = slot.ticket.partition;
        let key = owned_key(self.policy.ordering, slot.delivery.message())
            .expect("a slot stands for a key");
        let lane = self
            .lanes
            .widen(hash, index, partition, key, LaneState::Running);
        self.lanes.get(lane).stopped = self.stopping.has(partition);
        slot.turn = Turn::Lane(lane);
        lane
    }

    #[inline]
    fn hash(&self, partition: u32, key: &[u8]) -> u64 {
        self.hasher.hash_one(key) ^ u64::from(partition).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The bytes that a message's lane is found by; `None`: it has no order.
#[inline]
fn lane_key(ordering: Ordering, message: &Message) -> Option<&[u8]> {
    match ordering {
        Ordering::Key => message.key.as_deref(),
        Ordering::Partition => Some(&[]),
        Ordering::None => None,
    }
}

/// The same, to be kept.
fn owned_key(ordering: Ordering, message: &Message) -> Option<Bytes> {
    match ordering {
        Ordering::Key => message.key.clone(),
        Ordering::Partition => Some(Bytes::new()),
        Ordering::None => None,
    }
}

fn name_of(away: Away) -> AwayName {
    AwayName {
        delay_ms: u64::try_from(away.delay.as_millis()).unwrap_or(u64::MAX),
        offset: away.offset,
    }
}

impl<S: Service<Delivery>> std::fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("slots", &self.slots.len())
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
