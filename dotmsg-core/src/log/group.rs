//! Who owns which partition, and under which grant.
//!
//! This is the seam of the group protocol: everything else asks [`Groups`] and hears through an [`Inbox`]. Today a
//! group has one member per topic in one process, which owns every partition; a second one is refused. What must stay
//! true with any protocol: a grant is never given twice, and a position is accepted under the current grant only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::signal::Signal;
use crate::backend::{AssignmentEvent, Granted, Subscription};
use crate::error::{Error, ErrorKind, Result};

/// What a member's source is told, by the group and by its control.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) event_signal: Arc<Signal>,
    pub(super) batch_signal: Arc<Signal>,
    events: Mutex<VecDeque<AssignmentEvent>>,
    commands: Mutex<Vec<Command>>,
    /// Whether there are commands: saves the lock on every poll without one.
    commanded: AtomicBool,
    closed: AtomicBool,
}

/// A change to what a source reads; takes effect at its next poll.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Owned from now on, paused.
    Own(Granted),
    /// No longer owned.
    Disown(u32),
    /// No batches until resumed.
    Pause(u32),
    /// Batches from here on, or from where it stopped.
    Resume(u32, Option<u64>),
}

impl Inbox {
    pub(super) fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.commanded.store(true, Ordering::Release);
        self.batch_signal.raise();
    }

    /// Gives the waiting commands to `apply`, oldest first.
    pub(super) fn drain_commands(&self, mut apply: impl FnMut(Command)) {
        if !self.commanded.swap(false, Ordering::AcqRel) {
            return;
        }
        for command in lock(&self.commands).drain(..) {
            apply(command);
        }
    }

    pub(super) fn next_event(&self) -> Option<AssignmentEvent> {
        lock(&self.events).pop_front()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn event(&self, event: AssignmentEvent) {
        lock(&self.events).push_back(event);
        self.event_signal.raise();
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.event_signal.raise();
        self.batch_signal.raise();
    }
}

type Seat = (Arc<str>, Arc<str>);

/// The membership of one process in a group for one topic.
#[derive(Debug)]
struct Member {
    id: u64,
    inbox: Arc<Inbox>,
    /// The current grant by partition; `None` where it is not owned.
    grants: Vec<Option<u64>>,
}

/// All memberships.
#[derive(Debug)]
pub(super) struct Groups {
    seats: BTreeMap<Seat, Member>,
    next: u64,
}

impl Groups {
    /// No memberships; member and grant numbers count from `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            seats: BTreeMap::new(),
            next: first,
        }
    }

    /// Joins; gives the member's number. Its first event assigns every partition.
    pub(super) fn join(
        &mut self,
        subscription: &Subscription,
        partitions: u32,
        inbox: Arc<Inbox>,
    ) -> Result<u64> {
        let seat = seat(&subscription.group, &subscription.topic);
        if self.seats.contains_key(&seat) {
            return Err(
                Error::new(
                    ErrorKind::Fenced,
                    "subscribe",
                    "the group already has a member for this topic, and a log has one per group and topic",
                )
                .with("group", &subscription.group)
                .with("topic", &subscription.topic)
                .remedy("Close the other subscription first, or use another group"),
            );
        }
        let id = self.number();
        let mut member = Member {
            id,
            inbox,
            grants: vec![None; partitions as usize],
        };
        self.assign(&mut member, 0..partitions);
        self.seats.insert(seat, member);
        Ok(id)
    }

    /// The current grant of a partition in the hands of this member.
    pub(super) fn grant(&self, of: &Subscription, id: u64, partition: u32) -> Option<u64> {
        let member = self.seats.get(&seat(&of.group, &of.topic))?;
        (member.id == id).then_some(())?;
        *member.grants.get(partition as usize)?
    }

    /// Ends ownership of some partitions of this member.
    pub(super) fn release(&mut self, of: &Subscription, id: u64, partitions: &[u32]) {
        if let Some(member) = self.seats.get_mut(&seat(&of.group, &of.topic))
            && member.id == id
        {
            member.disown(partitions);
        }
    }

    /// Ends the membership; no effect when it has ended.
    pub(super) fn leave(&mut self, of: &Subscription, id: u64) {
        let seat = seat(&of.group, &of.topic);
        if self.seats.get(&seat).is_some_and(|member| member.id == id)
            && let Some(member) = self.seats.remove(&seat)
        {
            member.inbox.close();
        }
    }

    /// Takes partitions away without asking, as a session timeout would; false when there is no member.
    pub(super) fn lose(&mut self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        let Some(member) = self.seats.get_mut(&seat(group, topic)) else {
            return false;
        };
        member.disown(partitions);
        member
            .inbox
            .event(AssignmentEvent::Lost(partitions.to_vec()));
        true
    }

    /// Asks for partitions back, as a rebalance would; false when there is no member.
    pub(super) fn revoke(
        &mut self,
        group: &str,
        topic: &str,
        partitions: &[u32],
        within: Duration,
    ) -> bool {
        let Some(member) = self.seats.get(&seat(group, topic)) else {
            return false;
        };
        member.inbox.event(AssignmentEvent::Revoking {
            partitions: partitions.to_vec(),
            within,
        });
        true
    }

    /// Gives partitions that nobody owns to the member, under new grants; false when there is none.
    pub(super) fn reassign(&mut self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        let seat = seat(group, topic);
        let Some(mut member) = self.seats.remove(&seat) else {
            return false;
        };
        let free: Vec<u32> = partitions
            .iter()
            .copied()
            .filter(|&partition| member.grants.get(partition as usize) == Some(&None))
            .collect();
        self.assign(&mut member, free.into_iter());
        self.seats.insert(seat, member);
        true
    }

    fn assign(&mut self, member: &mut Member, partitions: impl Iterator<Item = u32>) {
        let mut granted = Vec::new();
        for partition in partitions {
            let grant = Granted {
                partition,
                grant: self.number(),
            };
            member.grants[partition as usize] = Some(grant.grant);
            member.inbox.command(Command::Own(grant));
            granted.push(grant);
        }
        member.inbox.event(AssignmentEvent::Assigned(granted));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Member {
    fn disown(&mut self, partitions: &[u32]) {
        for &partition in partitions {
            if let Some(grant) = self.grants.get_mut(partition as usize) {
                *grant = None;
                self.inbox.command(Command::Disown(partition));
            }
        }
    }
}

fn seat(group: &str, topic: &str) -> Seat {
    (group.into(), topic.into())
}
