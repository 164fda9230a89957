//! A worker: dispatch of messages to slots, by key, in one task.
//!
//! The path of a message whose handler is ready at its first poll is: free slot, call, poll, outcome; no lane, no
//! allocation, and no hash unless another key is in hand. A message that stays *pending* puts its slot into the table of
//! keys; only one that meets a busy key, or no permit, needs a lane.

mod ending;
mod keys;
mod offer;
#[cfg(test)]
mod tests;
mod together;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::coop::has_budget_remaining;
use tower_service::Service;

use super::lanes::{AwayName, LaneId, LaneState, Lanes};
use super::permits::Permits;
use super::ready::ReadySet;
use super::reports::Reports;
use super::slots::{Slots, Turn};
use super::stopping::Stopping;
use super::stuck::{InHand, Place};
use super::ticket::{Item, Settles, Ticket};
use crate::delivery::Delivery;
use crate::middleware::batch::Gathering;
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
    /// Messages in a batch at most, for a handler that takes them.
    pub(crate) batch: Option<usize>,
}

/// Lanes, slots and the service.
pub(crate) struct Worker<S: Service<Delivery>> {
    service: S,
    /// The service was asked whether it is ready and not called since, or the call ended in front of what was ready (a
    /// duplicate, say). So it may hold what others wait for, or stand in their queue.
    asked: bool,
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
    /// The batch that messages join which are started now, and how many there have been.
    gathering: Option<Arc<Gathering>>,
    gatherings: u64,
}

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
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
            asked: false,
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
            gathering: None,
            gatherings: 0,
        }
    }

    /// Polls what was woken and starts what waits for a permit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Reports) {
        self.work(cx, reports);
        if self.asked && self.ready.is_empty() {
            // The message that it was asked for is gone, with its partition.
            self.let_go();
        }
    }

    fn work(&mut self, cx: &mut Context<'_>, reports: &mut Reports) {
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

    /// Whether the handler of this source record runs. It walks all slots.
    pub(crate) fn runs(&self, partition: u32, offset: u64) -> bool {
        let is_it = |ticket: &Ticket| {
            let source = matches!(
                ticket.settles,
                Settles::Source(_) | Settles::Nothing { replay: false }
            );
            source && ticket.partition == partition && ticket.offset == offset
        };
        let mut slots = self.slots.iter();
        slots.any(|slot| slot.is_running() && is_it(&slot.ticket))
    }

    /// The messages whose handlers run. It walks all slots.
    pub(crate) fn in_hand(&self) -> Vec<InHand> {
        let running = self.slots.iter().filter(|slot| slot.is_running());
        running
            .map(|slot| {
                let (delivery, ticket) = (&slot.delivery, &slot.ticket);
                let key = delivery.key();
                InHand {
                    place: Place {
                        topic: Arc::clone(&delivery.stream().topic),
                        partition: ticket.partition,
                        ownership: ticket.ownership,
                        offset: ticket.offset,
                    },
                    key_hash: key.map(|key| self.hash(ticket.partition, key)),
                }
            })
            .collect()
    }

    /// Calls that run now, of all workers that share its permits.
    pub(crate) fn running(&self) -> usize {
        self.permits.used() - usize::from(self.spare)
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
            match self.policy.batch {
                None => self.run_lane(cx, slot, lane, reports, budget),
                Some(_) => self.run_together(cx, slot, lane, reports, budget),
            }
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
            self.asked = true;
            if spent || self.service.poll_ready(cx).is_pending() {
                self.lanes.get(lane).state = LaneState::Ready;
                self.ready.push_front(lane);
                self.vacate(slot);
                return;
            }
            let item = self.lanes.pop(lane).expect("its length is not zero");
            *budget = budget.saturating_sub(1);
            self.lanes.get(lane).state = LaneState::Running;
            match self.call(slot, item, None) {
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

    /// A permit, and a service that is ready: asked only with a message in hand, since readiness may hold a resource.
    fn admit(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.permits.acquire(cx.waker()) {
            if self.asked {
                // Who has the permit may be waiting for just what this service holds.
                self.let_go();
            }
            return false;
        }
        self.asked = true;
        if self.service.poll_ready(cx).is_pending() {
            self.permits.release();
            return false;
        }
        true
    }

    /// Drops what the service was promised. A clone was promised nothing.
    #[cold]
    fn let_go(&mut self) {
        self.service = self.service.clone();
        self.asked = false;
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

    /// Calls the service with a lane's message; it was found ready with this message in hand.
    fn call(
        &mut self,
        slot: usize,
        item: Item,
        gathering: Option<Arc<Gathering>>,
    ) -> Poll<Outcome> {
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
        if let Some(gathering) = gathering {
            slot.delivery.accompany(gathering);
        }
        self.asked = false;
        let future = self.service.call(slot.delivery.clone());
        let poll = slot.start(future);
        self.asked =
            matches!(poll, Poll::Ready(Outcome::Settled(ended)) if ended.is_without_call());
        poll
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
