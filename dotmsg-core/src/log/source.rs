//! A group member: the source that one task owns, and the control that is shared.
//!
//! The source owns everything it reads with; control and group only leave commands in its inbox, so a poll takes no
//! lock of theirs. Ownership ends with `close`, or when both halves are dropped: a member that is gone never blocks the
//! next one.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::cursor::{Cursor, Read};
use super::group::{Command, Inbox, replaced};
use super::lock;
use super::positions::{PositionKey, Stored};
use super::shared::Shared;
use super::topic::Topic;
use crate::backend::{
    AssignmentEvent, Batch, BatchLimits, BoxFuture, CommitOutcome, Control, Granted, Progress,
    Source, Subscription,
};
use crate::error::{Error, ErrorKind, Result};

/// What both halves of a membership share; dropping the last of them leaves the group.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) subscription: Subscription,
    pub(super) id: u64,
    pub(super) inbox: Arc<Inbox>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.shared.groups).leave(&self.subscription, self.id);
    }
}

/// One partition as the source sees it.
#[derive(Debug, Default)]
struct Owned {
    grant: Option<u64>,
    running: bool,
    cursor: Cursor,
}

/// The half that one task owns.
#[derive(Debug)]
pub(super) struct LogSource {
    seat: Arc<Seat>,
    topic: Arc<Topic>,
    partitions: Vec<Owned>,
    /// The partition that is looked at first: the one after the last that gave records.
    turn: usize,
    /// Partitions that retention overtook, to be told as events.
    overtaken: VecDeque<AssignmentEvent>,
    /// When the group is to hear next that this member lives; `None` while nobody else is in it.
    beat: Option<Pin<Box<Sleep>>>,
}

impl LogSource {
    pub(super) fn new(seat: Arc<Seat>, topic: Arc<Topic>) -> Self {
        topic.watch(&seat.inbox.batch_signal);
        seat.shared.health.watch(&seat.inbox.batch_signal);
        seat.shared.health.watch(&seat.inbox.event_signal);
        let partitions = (0..topic.partitions).map(|_| Owned::default()).collect();
        Self {
            seat,
            topic,
            partitions,
            turn: 0,
            overtaken: VecDeque::new(),
            beat: None,
        }
    }

    /// What the group needs of a member that polls: that it joins, and that it shows from time to time that it lives. Only a
    /// member that is not alone has a timer.
    #[inline]
    fn keep_membership(&mut self, cx: &mut Context<'_>) -> Result<()> {
        if self.beat.is_none() && !self.seat.inbox.needs_care() {
            return Ok(());
        }
        self.care_for_membership(cx)
    }

    fn care_for_membership(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let seat = &self.seat;
        if seat.inbox.take_awaited() {
            let mut groups = lock(&seat.shared.groups);
            groups.rejoin(&seat.subscription, &self.topic, seat.id, &seat.inbox)?;
        }
        if !seat.inbox.is_watched() {
            self.beat = None;
            return Ok(());
        }
        let beat = self
            .beat
            .get_or_insert_with(|| Box::pin(sleep(Duration::ZERO)));
        while beat.as_mut().poll(cx).is_ready() {
            let mut groups = lock(&seat.shared.groups);
            groups.beat(&seat.subscription, seat.id);
            beat.as_mut().reset(Instant::now() + groups.beat_every());
        }
        Ok(())
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        self.seat.shared.health.check(operation)?;
        if self.seat.inbox.is_closed() {
            return Err(match self.seat.inbox.is_replaced() {
                true => replaced(&self.seat.subscription),
                false => left(operation, &self.seat.subscription),
            });
        }
        self.topic.check(operation)
    }

    fn obey(&mut self) {
        let partitions = &mut self.partitions;
        self.seat.inbox.drain_commands(|command| match command {
            Command::Own(granted) => {
                if let Some(owned) = partitions.get_mut(granted.partition as usize) {
                    *owned = Owned {
                        grant: Some(granted.grant),
                        ..Owned::default()
                    };
                }
            }
            Command::Disown(partition) => {
                if let Some(owned) = partitions.get_mut(partition as usize) {
                    *owned = Owned::default();
                }
            }
            Command::Pause(partition) => {
                if let Some(owned) = partitions.get_mut(partition as usize) {
                    owned.running = false;
                }
            }
            Command::Resume(partition, from) => {
                if let Some(owned) = partitions.get_mut(partition as usize) {
                    owned.running = true;
                    if let Some(from) = from {
                        owned.cursor = Cursor::at(from);
                    }
                }
            }
        });
    }

    /// Fills `batch` from the next partition in turn that has records; false when none has.
    fn fill(&mut self, limits: BatchLimits, batch: &mut Batch) -> Result<bool> {
        let count = self.partitions.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let owned = &mut self.partitions[index];
            let (Some(grant), true) = (owned.grant, owned.running) else {
                continue;
            };
            let partition = u32::try_from(index).unwrap_or(u32::MAX);
            let read = owned
                .cursor
                .read(&self.topic, partition, limits, &mut batch.records)?;
            if let Read::Overtaken { start } = read {
                owned.running = false;
                self.overtaken.push_back(AssignmentEvent::OutOfRange {
                    partition,
                    grant,
                    position: owned.cursor.next(),
                    start,
                });
                self.seat.inbox.event_signal.raise();
            }
            if !batch.records.is_empty() {
                batch.partition = partition;
                batch.grant = grant;
                self.turn = (index + 1) % count;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Source for LogSource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        loop {
            if let Err(error) = self.keep_membership(cx) {
                return Poll::Ready(Err(error));
            }
            let inbox = &self.seat.inbox;
            if let Some(event) = inbox.next_event().or_else(|| self.overtaken.pop_front()) {
                return Poll::Ready(Ok(event));
            }
            if let Err(error) = self.check("poll event") {
                return Poll::Ready(Err(error));
            }
            if self.seat.inbox.event_signal.wait(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        batch.records.clear();
        while self.seat.inbox.batch_signal.wait(cx).is_ready() {
            // Whatever comes of it, the next poll looks again: the flag only saves looking when there is nothing.
            let result = self.check("poll batch").and_then(|()| {
                self.obey();
                self.fill(limits, batch)
            });
            match result {
                Ok(false) => {}
                Ok(true) => {
                    self.seat.inbox.batch_signal.keep();
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    self.seat.inbox.batch_signal.keep();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Pending
    }
}

/// The half that is shared.
#[derive(Debug)]
pub(super) struct LogControl {
    pub(super) seat: Arc<Seat>,
}

impl LogControl {
    fn key(&self, partition: u32) -> PositionKey {
        PositionKey {
            group: Arc::clone(&self.seat.subscription.group),
            topic: Arc::clone(&self.seat.subscription.topic),
            partition,
        }
    }

    fn owns(&self, partition: u32, grant: u64) -> bool {
        let groups = lock(&self.seat.shared.groups);
        groups.grant(&self.seat.subscription, self.seat.id, partition) == Some(grant)
    }
}

impl Control for LogControl {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let seat = &self.seat;
        Box::pin(async move {
            // A commit of the owner before may still be under way; it was accepted, so it is to be seen.
            seat.shared.settle("read position").await?;
            if !self.owns(partition, grant) {
                return Err(left("read position", &seat.subscription).with("partition", partition));
            }
            match lock(&seat.shared.positions).get(&self.key(partition)) {
                Some(Stored::Record(record)) => Ok(Some(record)),
                Some(Stored::Expired) => Err(expired(&seat.subscription, partition)),
                None => Ok(None),
            }
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        let entries = progress
            .into_iter()
            .map(|entry| {
                let key = self.key(entry.partition);
                (key, entry.grant, entry.record)
            })
            .collect();
        let seat = &self.seat;
        seat.shared.commit(&seat.subscription, seat.id, entries)
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        let seat = &self.seat;
        lock(&seat.shared.groups).release(&seat.subscription, seat.id, &given_up);
        Box::pin(std::future::ready(Ok(())))
    }

    fn pause(&self, partition: u32) {
        self.seat.inbox.command(Command::Pause(partition));
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        self.seat.inbox.command(Command::Resume(partition, from));
    }

    fn close(&self, _deadline: Duration) -> BoxFuture<'_, Result<()>> {
        let seat = &self.seat;
        lock(&seat.shared.groups).leave(&seat.subscription, seat.id);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn expired(of: &Subscription, partition: u32) -> Error {
    let message =
        "the position has expired: nobody was in the group for longer than position_retention";
    Error::new(ErrorKind::PositionLost, "read position", message)
        .with("group", &of.group)
        .with("topic", &of.topic)
        .with("partition", partition)
        .remedy("Raise position_retention, and say where to go on")
}

fn left(operation: &'static str, of: &Subscription) -> Error {
    let kind = if operation == "read position" {
        ErrorKind::Fenced
    } else {
        ErrorKind::Closed
    };
    Error::new(kind, operation, "not, or no longer, owned by this member")
        .with("group", &of.group)
        .with("topic", &of.topic)
}
