//! Messages of one key that run together, because their handler takes batches.
//!
//! A message may start beside earlier ones of its key as long as all of these are in the batch that is still being filled:
//! it joins them, behind them. Once that batch is called, its keys are busy until all their messages in it have ended. What
//! is put back waits at the front of its lane, in the order of before.
//!
//! So here every message has a lane, also one without a key: a lane of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::coop::has_budget_remaining;
use tower_service::Service;

use super::Worker;
use super::keys::{lane_key, owned_key};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::middleware::Outcome;
use crate::middleware::batch::Gathering;
use crate::runtime::lanes::{LaneId, LaneState};
use crate::runtime::reports::Reports;
use crate::runtime::slots::Turn;
use crate::runtime::ticket::{Item, Settles, Ticket};

/// The number of a batch that nobody joins; the others count from 1.
const NOBODYS: u64 = 0;

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    /// See [`offer`](Self::offer).
    #[cold]
    pub(super) fn offer_to_batch(
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
        let known = hash.and_then(|hash| self.lane_of(hash, ticket.partition, record));
        let lane = known.unwrap_or_else(|| {
            let key = owned_key(self.policy.ordering, &record.message);
            let hash = hash.unwrap_or_default();
            self.lanes
                .open(hash, ticket.partition, key, LaneState::Ready)
        });
        self.enqueue(lane, stream, record, ticket, condemned, reports);
        let starts = match known {
            Some(_) => self.may_join(lane),
            None => self.ready.is_empty(),
        };
        if starts && !self.spent && self.admit(cx) {
            let slot = self.slots.take();
            self.start_together(slot, lane, reports);
        } else if known.is_none() {
            self.ready.push_back(lane);
        }
    }

    /// Starts the next message of a lane in `slot`, and those behind it that may join it.
    pub(super) fn run_together(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        lane: LaneId,
        reports: &mut Reports,
        budget: &mut usize,
    ) {
        self.start_together(slot, lane, reports);
        *budget = budget.saturating_sub(1);
        while *budget > 0
            && has_budget_remaining()
            && self.lanes.contains(lane)
            && self.may_join(lane)
            && self.admit(cx)
        {
            let slot = self.slots.take();
            self.start_together(slot, lane, reports);
            *budget -= 1;
        }
    }

    /// Whether the next message of a lane may start beside those of it that run: it will be in one call with them.
    fn may_join(&mut self, lane: LaneId) -> bool {
        if self.lanes.first(lane).is_none_or(is_called_alone) {
            return false;
        }
        let open = self
            .gathering
            .as_ref()
            .is_some_and(|gathering| gathering.is_open());
        let current = self.gatherings;
        let found = self.lanes.get(lane);
        open && found.state == LaneState::Running
            && found.gathering == current
            && !found.stopped
            && found.behind.is_none()
    }

    fn start_together(&mut self, slot: usize, lane: LaneId, reports: &mut Reports) {
        let item = self.lanes.pop(lane).expect("a message of it waits");
        let (number, gathering) = match is_called_alone(&item) {
            true => (NOBODYS, Arc::new(Gathering::new(1))),
            false => self.open_gathering(),
        };
        let found = self.lanes.get(lane);
        if found.running == 0 {
            found.started = 0;
        }
        found.running += 1;
        found.started += 1;
        found.gathering = number;
        found.state = LaneState::Running;
        self.slots[slot].place = found.started;
        self.slots[slot].turn = Turn::Lane(lane);
        if let Poll::Ready(outcome) = self.call(slot, item, Some(gathering)) {
            self.conclude_together(slot, outcome, reports);
        }
    }

    /// The batch that is being filled, and its number.
    fn open_gathering(&mut self) -> (u64, Arc<Gathering>) {
        let gathering = match self.gathering.take() {
            Some(gathering) if gathering.is_open() => gathering,
            _ => {
                self.gatherings += 1;
                let size = self.policy.batch.expect("its handler takes batches");
                Arc::new(Gathering::heard(size))
            }
        };
        self.gathering = Some(Arc::clone(&gathering));
        (self.gatherings, gathering)
    }

    /// Reports an outcome and frees the slot; with the last of those that ran together, their lane moves on.
    pub(super) fn conclude_together(
        &mut self,
        slot: usize,
        outcome: Outcome,
        reports: &mut Reports,
    ) {
        self.tell_batch(slot, outcome);
        let ended = &self.slots[slot];
        let ticket = ended.ticket;
        let Turn::Lane(lane) = ended.turn else {
            unreachable!("every message of a batch has a lane");
        };
        let found = self.lanes.get(lane);
        found.running -= 1;
        match outcome {
            Outcome::PutBack if found.stopped => {}
            // As below: put back into its lane it would only start again, and be put back.
            Outcome::PutBack if ended.delivery.stream().is_stopping() => {
                (found.stopped, found.interrupted) = (true, true);
            }
            Outcome::PutBack => {
                let item: Item = ended.item();
                self.lanes
                    .put_back(lane, ended.place, item, ticket.size as usize);
            }
            ended => {
                reports.finished(&ticket, ended);
                match ended {
                    Outcome::Away(away) => found.away = Some(away),
                    // The stop itself has yet to arrive here. Until then nothing of this key may start.
                    Outcome::Interrupted if !found.stopped => {
                        (found.stopped, found.interrupted) = (true, true);
                    }
                    _ => {}
                }
            }
        }
        if self.lanes.get(lane).running == 0 {
            self.after_together(lane, &ticket, reports);
        }
        if !self.stopping.is_empty() {
            self.stopping.count_down(ticket.partition, reports);
        }
        self.vacate(slot);
    }

    /// Tells the batch of a message what that came to: what is behind it in its lane may wait for it.
    pub(super) fn tell_batch(&self, slot: usize, outcome: Outcome) {
        let delivery = &self.slots[slot].delivery;
        let well = match outcome {
            Outcome::Settled(_) => true,
            Outcome::Away(_) => !self.policy.keep,
            Outcome::Interrupted | Outcome::PutBack => false,
        };
        if let Some(gathering) = delivery.companion_ref::<Gathering>() {
            gathering.ended(delivery, well);
        }
    }

    /// Moves a lane on after all that ran together.
    fn after_together(&mut self, lane: LaneId, ticket: &Ticket, reports: &mut Reports) {
        let found = self.lanes.get(lane);
        if found.interrupted {
            found.state = LaneState::Ready;
            return;
        }
        let outcome = match found.away.take() {
            Some(away) => Outcome::Away(away),
            None => Outcome::HANDLED,
        };
        if self.after(lane, ticket, outcome, reports) {
            self.lanes.get(lane).state = LaneState::Ready;
            self.ready.push_back(lane);
        }
    }
}

/// Whether a message is not called with others: it failed before.
fn is_called_alone(item: &Item) -> bool {
    matches!(item.ticket.settles, Settles::Tier { .. })
}
