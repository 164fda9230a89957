//! The end of a message, and of a partition: what is reported, and what its lane does next.

use std::convert::Infallible;

use tower_service::Service;

use super::{Worker, name_of};
use crate::delivery::Delivery;
use crate::middleware::Outcome;
use crate::runtime::lanes::{LaneId, LaneState};
use crate::runtime::reports::Reports;
use crate::runtime::slots::Turn;
use crate::runtime::ticket::Ticket;

impl<S> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
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
                let turn = slot.turn;
                self.tell_batch(index, Outcome::Interrupted);
                match turn {
                    Turn::Unkeyed => {}
                    Turn::Alone(hash) => self.lanes.end_alone(hash, index),
                    Turn::Lane(lane) => self.lanes.leave(lane),
                }
                self.vacate(index);
            }
        }
        self.stopping.end(partition, reports);
    }

    /// Reports an outcome and decides about the slot. `true`: the slot and its permit stay for the lane's next message.
    #[inline(always)]
    pub(super) fn conclude(
        &mut self,
        slot: usize,
        outcome: Outcome,
        reports: &mut Reports,
    ) -> bool {
        let ended = &self.slots[slot];
        let (ticket, turn) = (ended.ticket, ended.turn);
        if self.policy.batch.is_some() || matches!(outcome, Outcome::PutBack) {
            self.conclude_apart(slot, outcome, reports);
            return false;
        }
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

    /// The end of a message of a batch, or of one that has not ended: it is put back.
    #[cold]
    #[inline(never)]
    fn conclude_apart(&mut self, slot: usize, outcome: Outcome, reports: &mut Reports) {
        match self.policy.batch {
            Some(_) => self.conclude_together(slot, outcome, reports),
            None => self.take_back(slot, reports),
        }
    }

    /// Puts a message back at the front of its lane, behind all lanes that wait.
    fn take_back(&mut self, index: usize, reports: &mut Reports) {
        let partition = self.slots[index].ticket.partition;
        self.put_in_front(index, partition);
        if !self.stopping.is_empty() {
            self.stopping.count_down(partition, reports);
        }
        self.vacate(index);
    }

    fn put_in_front(&mut self, index: usize, partition: u32) {
        let lane = match self.slots[index].turn {
            Turn::Lane(lane) => lane,
            Turn::Alone(hash) => self.widen(hash, index),
            Turn::Unkeyed => {
                let lane = self.lanes.open(0, partition, None, LaneState::Running);
                self.lanes.get(lane).stopped = self.stopping.has(partition);
                lane
            }
        };
        if self.lanes.get(lane).stopped {
            self.lanes.close(lane);
            return;
        }
        let item = self.slots[index].item();
        let size = item.ticket.size as usize;
        self.lanes.push_front(lane, item, size);
        self.lanes.get(lane).state = LaneState::Ready;
        self.ready.push_back(lane);
    }

    /// Moves a lane on after its head's outcome; whether its next message runs in the same slot.
    pub(super) fn after(
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
            Outcome::PutBack => unreachable!("its lane has it back"),
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
                self.lanes.detach(lane, |item| item.record.message.detach());
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

    #[inline]
    pub(super) fn vacate(&mut self, slot: usize) {
        self.slots.give_back(slot);
        self.permits.release();
    }
}
