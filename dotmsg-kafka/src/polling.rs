//! The polling thread of a member (ADR 0011).
//!
//! It alone serves librdkafka's callbacks and takes what was fetched. Messages come into a queue of their own, so the group's
//! events are served also when nobody takes messages: a slow handler is never evicted, and nothing has to be paused, which would
//! throw away what was fetched. What it must keep: it never blocks on the runtime, and it answers a rebalance only when
//! [`Ownership`](crate::ownership::Ownership) says so.
//!
//! `max.poll.interval.ms` keeps its meaning, within a half: the thread stops polling when the source was not polled for half of
//! it, so a route that is stuck loses its partitions as with any other Kafka client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use dotmsg_core::backend::AssignmentEvent;
use dotmsg_core::error::{Error, ErrorKind};
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::context::{Context, Rebalance};
use crate::error;
use crate::fetch::{Fetch, Trouble};
use crate::lock;
use crate::member::{Command, Member};
use crate::native::{self, Queue};
use crate::now;

/// The longest wait: also how often librdkafka is polled when nothing happens.
const IDLE: Duration = Duration::from_millis(200);
/// Polls in a row for events: each takes at most one.
const EVENTS: usize = 16;
/// How long a seek may take; it is answered by librdkafka's own threads.
const SEEK: Duration = Duration::from_secs(1);
/// The pause before a start that was refused is tried again.
const AGAIN: Duration = Duration::from_millis(10);

/// Whether the source of the member is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumed {
    Yes,
    /// Not for so long that librdkafka is not polled either.
    NotLately,
    /// librdkafka has given up the membership by now. The rebalance that says so is heard and not answered: an answer would
    /// make it join again, for nobody.
    No,
}

/// A partition whose reading is to start.
#[derive(Clone, Copy, Debug)]
struct Start {
    partition: u32,
    grant: u64,
    from: (u64, u64),
}

/// The thread's own state.
pub(crate) struct Polling {
    pub(crate) member: Arc<Member>,
    pub(crate) consumer: Arc<BaseConsumer<Context>>,
    /// What is fetched.
    pub(crate) messages: Queue<Context>,
    /// Answers to commits.
    pub(crate) replies: Arc<Queue<Context>>,
    /// librdkafka has events for the group.
    pub(crate) events: Arc<AtomicBool>,
    pub(crate) commands: Receiver<Command>,
    /// How long the group waits for the answer to a revocation.
    pub(crate) rebalance_timeout: Duration,
    pub(crate) fetch: Fetch,
    state: State,
}

#[derive(Default)]
struct State {
    polled: Option<Instant>,
    /// Revocations that are not answered yet.
    revoked: Vec<Vec<u32>>,
    starts: Vec<Start>,
    /// Partitions that librdkafka does not read any more, after their position was not in the log.
    stopped: BTreeSet<u32>,
    troubles: Vec<Trouble>,
    closing: Option<(Instant, Option<oneshot::Sender<()>>)>,
}

impl Polling {
    pub(crate) fn new(
        member: Arc<Member>,
        consumer: Arc<BaseConsumer<Context>>,
        messages: Queue<Context>,
        replies: Arc<Queue<Context>>,
        events: Arc<AtomicBool>,
        commands: Receiver<Command>,
        rebalance_timeout: Duration,
    ) -> Self {
        Self {
            member,
            consumer,
            messages,
            replies,
            events,
            commands,
            rebalance_timeout,
            fetch: Fetch::new(),
            state: State::default(),
        }
    }

    /// Polls until the member has left.
    pub(crate) fn run(mut self) {
        self.member.bell.mine();
        loop {
            self.obey();
            if self.may_leave() {
                break;
            }
            let had_some = match self.consumed() {
                Consumed::Yes => {
                    self.serve();
                    self.hear_commits();
                    self.notice_loss();
                    self.answer();
                    self.start_reading();
                    let had_some = self.read();
                    self.report_troubles();
                    had_some
                }
                Consumed::NotLately => false,
                Consumed::No => {
                    self.serve();
                    self.hear_commits();
                    self.notice_loss();
                    false
                }
            };
            if !had_some {
                let wait = match self.state.starts.is_empty() {
                    true => IDLE,
                    false => AGAIN,
                };
                self.member.bell.wait(wait);
            }
        }
        self.leave();
    }

    /// Commands of the control.
    fn obey(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Pause(partition)) => self.pause(partition),
                Ok(Command::Resume { partition, from }) => {
                    self.state
                        .starts
                        .retain(|start| start.partition != partition);
                    let grant = lock(&self.member.ownership).grant_of(partition);
                    self.state.starts.extend(grant.map(|grant| Start {
                        partition,
                        grant,
                        from,
                    }));
                }
                Ok(Command::Release(given_up, done)) => {
                    for granted in given_up {
                        let mut ownership = lock(&self.member.ownership);
                        let held = ownership.holds(granted.partition, granted.grant);
                        ownership.released(granted);
                        drop(ownership);
                        if held {
                            self.pause(granted.partition);
                        }
                    }
                    let _ = done.send(());
                }
                Ok(Command::Close { deadline, done }) => {
                    self.state.closing = Some((deadline, Some(done)))
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    // Nobody controls it any more: it leaves, and commits nothing.
                    self.state.closing.get_or_insert((now(), None));
                    return;
                }
            }
        }
    }

    fn pause(&mut self, partition: u32) {
        self.state
            .starts
            .retain(|start| start.partition != partition);
        self.fetch.stop(&self.member.topic, partition);
        if let Err(error) = self
            .consumer
            .pause(&self.list(&[partition], Offset::Invalid))
        {
            tracing::debug!(partition, %error, "a partition is not paused");
        }
    }

    /// Whether whoever consumes is alive. librdkafka takes every look into any of its queues for a sign of life; so for the
    /// group to know, there must be none for `max.poll.interval.ms`.
    fn consumed(&self) -> Consumed {
        let (silent, limit) = (self.member.silent_for(), self.rebalance_timeout);
        if silent >= limit / 8 {
            self.member.nudge();
        }
        match () {
            () if silent < limit / 2 || self.state.closing.is_some() => Consumed::Yes,
            () if silent < limit / 2 + limit + IDLE * 2 => Consumed::NotLately,
            () => Consumed::No,
        }
    }

    /// Rebalances and errors, as often as librdkafka has to be polled for them.
    fn serve(&mut self) {
        let due = self
            .state
            .polled
            .is_none_or(|polled| polled.elapsed() >= IDLE);
        if !self.events.swap(false, Ordering::AcqRel) && !due {
            return;
        }
        self.state.polled = Some(now());
        for _ in 0..EVENTS {
            match self.consumer.poll(Duration::ZERO) {
                Some(Err(error)) => self.trouble(error),
                Some(Ok(_)) => {
                    let message = "a record arrived beside the queue of its partition";
                    self.member
                        .fail(Error::new(ErrorKind::Unexpected, "read", message));
                }
                None => {}
            }
        }
        while let Some(rebalance) = self.consumer.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(partitions) => self.assigned(&partitions),
                Rebalance::Revoke { partitions, lost } => self.revoked(partitions, lost),
            }
        }
    }

    fn trouble(&self, error: KafkaError) {
        let Some(code) = error.rdkafka_error_code() else {
            tracing::warn!(%error, "kafka consumer");
            return;
        };
        let (topic, group) = (&self.member.topic, &self.member.group);
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        match code {
            // It has left the group by then.
            Code::PollExceeded => self.lost_all(),
            Code::FencedInstanceId => self.member.fail(
                Error::new(
                    ErrorKind::Fenced,
                    "consume",
                    "another member has joined under the same instance id",
                )
                .with("topic", topic)
                .with("group", group)
                .remedy("Give each process an instance_id of its own in [backend.<name>]"),
            ),
            Code::UnreleasedInstanceId => self.member.fail(
                Error::new(
                    ErrorKind::Fenced,
                    "consume",
                    "the instance id is in use by another member",
                )
                .with("topic", topic)
                .with("group", group)
                .remedy("Give each process an instance_id of its own in [backend.<name>]"),
            ),
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::UnsupportedAssignor
            | Code::GroupMaxSizeReached => self.member.fail(
                error::of_code("consume", code)
                    .with("topic", topic)
                    .with("group", group),
            ),
            code if is_fatal => self.member.fail(
                error::of_code("consume", code)
                    .with("topic", topic)
                    .with("group", group),
            ),
            code => tracing::warn!(topic = &**topic, group = &**group, %code, "kafka consumer"),
        }
    }

    /// Takes partitions, paused and with what is fetched of them coming into the queue of messages.
    fn assigned(&mut self, partitions: &[u32]) {
        self.receive(partitions);
        // An offset of its own, so that nothing is looked up for a partition that is not read yet.
        let list = self.list(partitions, Offset::Offset(0));
        let taken =
            self.consumer
                .pause(&list)
                .and_then(|()| match self.consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
                    _ => self.consumer.assign(&list),
                });
        if let Err(error) = taken {
            self.member
                .fail(error::of_client("take partitions", error).with("group", &self.member.group));
            return;
        }
        self.receive(partitions);
        let granted = lock(&self.member.ownership).assigned(partitions);
        self.member.tell(AssignmentEvent::Assigned(granted));
    }

    /// Notes what is to be given up, or is gone; it is answered later.
    fn revoked(&mut self, partitions: Vec<u32>, lost: bool) {
        let mut ownership = lock(&self.member.ownership);
        let held: Vec<u32> = partitions
            .iter()
            .copied()
            .filter(|partition| ownership.grant_of(*partition).is_some())
            .collect();
        let leaves = self.state.closing.is_some();
        if lost || leaves {
            ownership.lost(&partitions);
        }
        drop(ownership);
        for partition in &partitions {
            self.fetch.stop(&self.member.topic, *partition);
            self.state
                .starts
                .retain(|start| start.partition != *partition);
            lock(&self.member.inbox).forget(&self.member.topic, *partition);
        }
        if !held.is_empty() && !leaves {
            self.member.tell(match lost {
                true => AssignmentEvent::Lost(held),
                false => AssignmentEvent::Revoking {
                    partitions: held,
                    within: self.rebalance_timeout * 4 / 5,
                },
            });
        }
        self.state.revoked.push(partitions);
    }

    /// The membership may end while a revocation waits for its answer. librdkafka does not call again then.
    fn notice_loss(&self) {
        if !self.state.revoked.is_empty() && self.consumer.assignment_lost() {
            self.lost_all();
        }
    }

    /// Answers the revocations that may be answered.
    fn answer(&mut self) {
        let mut index = 0;
        while index < self.state.revoked.len() {
            let partitions = &self.state.revoked[index];
            if !lock(&self.member.ownership).may_answer(partitions) {
                index += 1;
                continue;
            }
            let partitions = self.state.revoked.remove(index);
            for partition in &partitions {
                self.state.stopped.remove(partition);
            }
            let given_up = match self.consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => self
                    .consumer
                    .incremental_unassign(&self.list(&partitions, Offset::Invalid)),
                _ => self.consumer.unassign(),
            };
            if let Err(error) = given_up {
                tracing::warn!(group = &*self.member.group, %error, "a revocation is not answered");
            }
            lock(&self.member.ownership).gone(&partitions);
        }
    }

    /// The membership is over, whatever librdkafka still waits for: nothing that is owned is this member's.
    fn lost_all(&self) {
        let mut ownership = lock(&self.member.ownership);
        let held = ownership.held();
        ownership.lost(&held);
        drop(ownership);
        if !held.is_empty() {
            self.member.tell(AssignmentEvent::Lost(held));
        }
    }

    fn hear_commits(&self) {
        while let Some(reply) = self.replies.poll_commit() {
            let codes = reply.partitions.iter().filter_map(|(_, code)| *code);
            if codes
                .chain(reply.error)
                .any(|code| matches!(code, Code::UnknownMemberId | Code::FencedMemberEpoch))
            {
                // A revocation that waits for its answer hides the loss: librdkafka does not call again.
                self.lost_all();
            }
            let Some(pending) = lock(&self.member.commits).remove(&reply.token) else {
                continue;
            };
            let mut ownership = lock(&self.member.ownership);
            for partition in &pending.partitions {
                ownership.commit_ends(*partition);
            }
            drop(ownership);
            let _ = pending.answer.send(reply);
        }
    }

    /// Starts reading where it was asked for. librdkafka refuses a seek while it is still taking a partition: it is tried again.
    fn start_reading(&mut self) {
        for start in std::mem::take(&mut self.state.starts) {
            let held = lock(&self.member.ownership).holds(start.partition, start.grant);
            if held && let Err(error) = self.seek(start) {
                tracing::debug!(partition = start.partition, %error, "reading starts later");
                self.state.starts.push(start);
            }
        }
    }

    fn seek(&mut self, start: Start) -> Result<(), KafkaError> {
        let offset = i64::try_from(start.from.0).unwrap_or(i64::MAX);
        let mut list = self.list(&[start.partition], Offset::Offset(offset));
        let epoch = lock(&self.member.ownership)
            .epochs(start.partition)
            .and_then(|epochs| epochs.before(start.from.0));
        if let Some(epoch) = epoch {
            native::set_leader_epoch(&mut list, start.partition, epoch);
        }
        if self.state.stopped.contains(&start.partition) {
            self.take_anew(&list)?;
            self.state.stopped.remove(&start.partition);
        } else {
            let sought = self.consumer.seek_partitions(list, SEEK)?;
            for element in sought.elements() {
                element.error()?;
            }
        }
        self.fetch
            .start(&self.member.topic, start.partition, start.grant, start.from);
        self.consumer
            .resume(&self.list(&[start.partition], Offset::Invalid))
    }

    /// Takes a partition once more, which librdkafka does not read any more and would not seek in.
    fn take_anew(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        if let RebalanceProtocol::Cooperative = self.consumer.rebalance_protocol() {
            self.consumer.incremental_unassign(list)?;
            self.consumer.incremental_assign(list)?;
            self.receive(&partitions_of(list));
            return Ok(());
        }
        // Eager members are given all at once: the others go on where they are.
        let mut all = list.clone();
        let mut paused = Vec::new();
        for partition in lock(&self.member.ownership).held() {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            if all.find_partition(&self.member.topic, number).is_some() {
                continue;
            }
            let next = self.fetch.next(&self.member.topic, partition);
            if next.is_none() {
                paused.push(partition);
            }
            let next = i64::try_from(next.unwrap_or(0)).unwrap_or(i64::MAX);
            let mut element = all.add_partition(&self.member.topic, number);
            element.set_offset(Offset::Offset(next))?;
        }
        self.consumer.pause(&self.list(&paused, Offset::Invalid))?;
        self.consumer.assign(&all)?;
        self.receive(&partitions_of(&all));
        Ok(())
    }

    /// What is fetched of these comes into the queue of messages. librdkafka forgets that when it stops reading a partition; so
    /// it is said again after it has begun, which also moves what arrived in between.
    fn receive(&self, partitions: &[u32]) {
        for partition in partitions {
            self.messages.receive(&self.member.topic, *partition);
        }
    }

    fn read(&mut self) -> bool {
        if !lock(&self.member.inbox).has_room() {
            return false;
        }
        let Self {
            fetch,
            messages,
            member,
            state,
            ..
        } = self;
        let seen = |partition, offset, epoch| {
            if let Some(epochs) = lock(&member.ownership).epochs(partition) {
                epochs.saw(offset, epoch);
            }
        };
        fetch.turn(messages, &member.inbox, &mut state.troubles, seen)
    }

    fn report_troubles(&mut self) {
        for trouble in std::mem::take(&mut self.state.troubles) {
            match trouble {
                Trouble::Failed(error) => self.member.fail(error.with("group", &self.member.group)),
                Trouble::OutOfRange {
                    topic,
                    partition,
                    grant,
                    position,
                } => {
                    self.pause(partition);
                    self.state.stopped.insert(partition);
                    match self.first_offset(partition) {
                        Ok(start) => {
                            lock(&self.member.inbox).close(&topic, partition);
                            self.member.tell(AssignmentEvent::OutOfRange {
                                partition,
                                grant,
                                position,
                                start,
                            });
                        }
                        Err(error) => self.member.fail(error),
                    }
                }
            }
        }
    }

    fn first_offset(&self, partition: u32) -> Result<u64, Error> {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let (start, _) = self
            .consumer
            .fetch_watermarks(&self.member.topic, number, native::CALL)
            .map_err(|error| {
                error::of_client("look up the log's start", error).with("partition", partition)
            })?;
        Ok(u64::try_from(start).unwrap_or(0))
    }

    /// Whether it is to leave, and no commit is outstanding or there is no time left to wait for it.
    fn may_leave(&self) -> bool {
        self.state.closing.as_ref().is_some_and(|(deadline, _)| {
            now() >= *deadline || !lock(&self.member.ownership).commits_outstanding()
        })
    }

    /// Leaves the group. What it owns counts as lost: nothing of it is committed.
    fn leave(mut self) {
        let held = lock(&self.member.ownership).held();
        lock(&self.member.ownership).lost(&held);
        self.member.fail(Error::new(
            ErrorKind::Closed,
            "consume",
            "the member has left its group",
        ));
        if let Err(error) = self.consumer.close_queue() {
            tracing::debug!(%error, "closing");
        }
        while !self.consumer.closed() {
            self.consumer.poll(Duration::from_millis(20));
            self.hear_commits();
            while let Some(rebalance) = self.consumer.context().next_rebalance() {
                if let Rebalance::Revoke { partitions, .. } = rebalance {
                    self.revoked(partitions, true);
                }
            }
            for partitions in std::mem::take(&mut self.state.revoked) {
                let _ = match self.consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => self
                        .consumer
                        .incremental_unassign(&self.list(&partitions, Offset::Invalid)),
                    _ => self.consumer.unassign(),
                };
            }
        }
        self.hear_commits();
        lock(&self.member.commits).clear();
        lock(&self.member.client).take();
        if let Some((_, Some(done))) = self.state.closing.take() {
            let _ = done.send(());
        }
    }

    fn list(&self, partitions: &[u32], offset: Offset) -> TopicPartitionList {
        list(&self.member.topic, partitions, offset)
    }
}

/// A list of partitions of one topic, each at this offset.
pub(crate) fn list(topic: &str, partitions: &[u32], offset: Offset) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let partition = i32::try_from(*partition).unwrap_or(i32::MAX);
        let mut element = list.add_partition(topic, partition);
        // Refused only for offsets that are none.
        let _ = element.set_offset(offset);
    }
    list
}

/// The partitions of a list.
pub(crate) fn partitions_of(list: &TopicPartitionList) -> Vec<u32> {
    let elements = list.elements();
    let partitions = elements.iter().map(|element| element.partition());
    partitions
        .filter_map(|partition| u32::try_from(partition).ok())
        .collect()
}
