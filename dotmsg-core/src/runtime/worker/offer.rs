//! Taking a message: calling its handler at once, or queueing it behind what is ahead of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::task::coop::has_budget_remaining;
use tower_service::Service;

use super::keys::{lane_key, owned_key};
use super::{Worker, name_of};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::middleware::Outcome;
use crate::runtime::lanes::{AwayName, LaneId, LaneState};
use crate::runtime::reports::Reports;
use crate::runtime::slots::Turn;
use crate::runtime::ticket::{Item, Ticket};

/// A first call that was made; [`Worker::keep_running`] must follow when it is pending.
pub(crate) struct Called {
    pub(crate) poll: Poll<Outcome>,
    slot: usize,
    /// The hash of the message's key, if it had to be known.
    hash: Option<u64>,
}

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
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
        if self.spent || self.policy.batch.is_some() || !self.ready.is_empty() {
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
        if self.policy.batch.is_some() {
            return self.offer_to_batch(cx, stream, record, ticket, condemned, reports);
        }
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

    /// Calls the handler with the spare permit, in the next free slot; both stay free when it is ready at once.
    #[inline(always)]
    pub(super) fn call_next(
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
            Poll::Pending | Poll::Ready(Outcome::HANDLED) => {}
            Poll::Ready(other) => self.after_first_poll(index, stream.partition, other),
        }
        (index, poll)
    }

    /// After a first poll that ended in something else than a handled message. One that is not settled: nothing of its key may
    /// start before it.
    #[cold]
    pub(super) fn after_first_poll(&mut self, slot: usize, partition: u32, outcome: Outcome) {
        let message = self.slots[slot].delivery.message();
        match outcome {
            // What the service was ready for may still be there.
            Outcome::Settled(ended) => self.asked |= ended.is_without_call(),
            Outcome::PutBack => unreachable!("what is put back was pending before"),
            Outcome::Away(away) => {
                let key = message.key.as_deref().map(Bytes::copy_from_slice);
                self.restore_away(partition, key, name_of(away));
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

    pub(super) fn enqueue(
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

    /// The same for a message that is offered: the permit is kept as the spare one, to be used or kept again.
    #[inline(always)]
    pub(super) fn admit_spare(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.spare {
            self.spare = self.permits.acquire(cx.waker());
        }
        if !self.spare {
            return false;
        }
        // A service that is ready is called now.
        self.asked = self.service.poll_ready(cx).is_pending();
        !self.asked
    }
}
