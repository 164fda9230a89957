//! The polling thread of a member (ADR 0011).
//!
//! It alone serves librdkafka's callbacks and takes what was fetched. Messages come into a queue of their own, so the group's
//! events are served also when nobody takes messages: a slow handler is never evicted, and nothing has to be paused, which would
//! throw away what was fetched. What it must keep: it never blocks on the runtime, and it answers a rebalance only when
//! [`Ownership`](crate::ownership::Ownership) says so.
//!
//! `max.poll.interval.ms` keeps its meaning, within a half: the thread stops polling when the source was not polled for half of
//! it, so a route that is stuck loses its partitions as with any other Kafka client.

mod consumed;
mod joining;
mod reading;
mod rebalance;
mod unheard;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use dotmsg_core::error::{Error, ErrorKind};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use self::consumed::{Consumed, consumed};
use self::joining::Out;
use self::unheard::Unheard;
use crate::admin::KafkaAdmin;
use crate::consumer::{PolledConsumer, list};
use crate::context::{Context, Rebalance};
use crate::error;
use crate::fetch::{Fetch, Trouble};
use crate::inbox::Begin;
use crate::lock;
use crate::member::{Command, Member};
use crate::native::Queue;
use crate::now;
use crate::settings::is_by_broker;

/// A partition whose reading is to start.
#[derive(Clone, Copy, Debug)]
struct Start {
    partition: u32,
    grant: u64,
    from: Begin,
}

/// The thread's own state.
pub(crate) struct Polling {
    pub(crate) member: Arc<Member>,
    /// Before the consumer, to be dropped before it: it holds messages of its, and librdkafka waits for them.
    pub(crate) fetch: Fetch,
    pub(crate) consumer: PolledConsumer,
    /// Answers to commits.
    pub(crate) replies: Arc<Queue<Context>>,
    pub(crate) commands: Receiver<Command>,
    /// How long the group waits for the answer to a revocation.
    pub(crate) rebalance_timeout: Duration,
    /// What the consumer was made of.
    config: ClientConfig,
    /// Whether the broker assigns: `group.protocol = "consumer"`.
    is_assigned_by_broker: bool,
    admin: Arc<KafkaAdmin>,
    state: State,
}

#[derive(Default)]
struct State {
    /// Revocations that are not answered yet.
    revoked: Vec<Vec<u32>>,
    starts: Vec<Start>,
    /// Partitions that librdkafka does not read any more, after their position was not in the log.
    stopped: BTreeSet<u32>,
    troubles: Vec<Trouble>,
    /// The group does not let this member in under its instance id.
    out: Option<Out>,
    /// (static) Every id under which the group has known this member.
    ids: BTreeSet<String>,
    closing: Option<(Instant, Option<oneshot::Sender<()>>)>,
    /// When librdkafka was last looked into.
    looked: Option<Instant>,
    unheard: Unheard,
    /// It leaves, to join again with a new client.
    is_renewing: bool,
}

impl Polling {
    pub(crate) fn new(
        member: Arc<Member>,
        consumer: PolledConsumer,
        replies: Arc<Queue<Context>>,
        commands: Receiver<Command>,
        (config, rebalance_timeout): (ClientConfig, Duration),
        admin: Arc<KafkaAdmin>,
    ) -> Self {
        Self {
            member,
            fetch: Fetch::new(),
            consumer,
            replies,
            commands,
            rebalance_timeout,
            is_assigned_by_broker: is_by_broker(config.get("group.protocol")),
            config,
            admin,
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
            let consumed = self.consumed();
            let had_some = match consumed {
                Consumed::Yes => {
                    self.serve();
                    self.join_again();
                    self.hear_commits();
                    self.notice_loss();
                    self.answer();
                    self.find_unheard();
                    self.join_renewed();
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
            if consumed != Consumed::NotLately {
                self.state.looked = Some(now());
            }
            if !had_some {
                self.consumer.wait(!self.state.starts.is_empty());
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
            .client
            .pause(&self.list(&[partition], Offset::Invalid))
        {
            tracing::debug!(partition, %error, "a partition is not paused");
        }
    }

    /// Whether whoever consumes is alive; asks for a sign of it in time.
    fn consumed(&self) -> Consumed {
        let (silent, limit) = (self.member.silent_for(), self.rebalance_timeout);
        if silent >= limit / 8 {
            self.member.nudge();
        }
        if self.state.closing.is_some() {
            return Consumed::Yes;
        }
        let looked = self.state.looked.map(|looked| looked.elapsed());
        consumed(silent, looked.unwrap_or(Duration::MAX), limit)
    }

    /// Rebalances and errors, as often as librdkafka has to be polled for them.
    fn serve(&mut self) {
        if !self.consumer.is_due() {
            return;
        }
        for _ in 0..self.consumer.polls() {
            if self.is_fenced() {
                return;
            }
            match self.consumer.client.poll(Duration::ZERO) {
                Some(Err(error)) => self.trouble(error),
                Some(Ok(_)) => {
                    let message = "a record arrived beside the queue of its partition";
                    self.member
                        .fail(Error::new(ErrorKind::Unexpected, "read", message));
                }
                None => {}
            }
        }
        self.consumer.polled();
        if self.is_fenced() {
            return;
        }
        while let Some(rebalance) = self.consumer.client.context().next_rebalance() {
            match rebalance {
                Rebalance::Assign(partitions) => self.assigned(&partitions),
                Rebalance::Revoke { partitions, lost } => self.revoked(partitions, lost),
            }
        }
    }

    fn trouble(&mut self, error: KafkaError) {
        let Some(code) = error.rdkafka_error_code() else {
            tracing::warn!(%error, "kafka consumer");
            return;
        };
        let member = Arc::clone(&self.member);
        let (topic, group) = (&member.topic, &member.group);
        let is_fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        match code {
            // It has left the group by then.
            Code::PollExceeded => self.lost_all(),
            Code::FencedInstanceId => self.fenced(),
            Code::UnreleasedInstanceId => self.refused(),
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::InconsistentGroupProtocol
            | Code::UnsupportedAssignor
            | Code::GroupMaxSizeReached => member.fail(
                error::of_code("consume", code)
                    .with("topic", topic)
                    .with("group", group),
            ),
            code if is_fatal => member.fail(
                error::of_code("consume", code)
                    .with("topic", topic)
                    .with("group", group),
            ),
            code => tracing::warn!(topic = &**topic, group = &**group, %code, "kafka consumer"),
        }
    }

    /// Whether it is to leave, and no commit is outstanding or there is no time left to wait for it.
    fn may_leave(&self) -> bool {
        self.state.closing.as_ref().is_some_and(|(deadline, _)| {
            now() >= *deadline || !lock(&self.member.ownership).commits_outstanding()
        })
    }

    /// Leaves the group. What it owns counts as lost: nothing of it is committed.
    fn leave(mut self) {
        self.state.unheard.end();
        let held = lock(&self.member.ownership).held();
        lock(&self.member.ownership).lost(&held);
        self.member.fail(Error::new(
            ErrorKind::Closed,
            "consume",
            "the member has left its group",
        ));
        self.close_client();
        self.forget_commits();
        lock(&self.member.client).take();
        if let Some((_, Some(done))) = self.state.closing.take() {
            let _ = done.send(());
        }
    }

    /// Ends a client that librdkafka has not given up.
    fn close_client(&mut self) {
        if !self.state.is_renewing
            && let Err(error) = self.consumer.client.close_queue()
        {
            // It is fatal, and calls back no more.
            tracing::debug!(%error, "closing");
            return;
        }
        while !self.consumer.client.closed() {
            self.consumer.client.poll(Duration::from_millis(20));
            self.hear_commits();
            while let Some(rebalance) = self.consumer.client.context().next_rebalance() {
                if let Rebalance::Revoke { partitions, .. } = rebalance {
                    self.revoked(partitions, true);
                }
            }
            for partitions in self.forget_revoked() {
                // librdkafka ends whatever it answers.
                let _ = self.give_up(&partitions);
            }
        }
    }

    /// Whatever the client answers from now on, nobody hears it: commits that are outstanding are unknown.
    fn forget_commits(&mut self) {
        self.hear_commits();
        let unanswered = std::mem::take(&mut *lock(&self.member.commits));
        let mut ownership = lock(&self.member.ownership);
        for partition in unanswered
            .into_values()
            .flat_map(|pending| pending.partitions)
        {
            ownership.commit_ends(partition);
        }
    }

    /// Nothing waits for the answer to a revocation any more.
    fn forget_revoked(&mut self) -> Vec<Vec<u32>> {
        let revoked = std::mem::take(&mut self.state.revoked);
        let mut ownership = lock(&self.member.ownership);
        for partitions in &revoked {
            ownership.gone(partitions);
        }
        revoked
    }

    fn list(&self, partitions: &[u32], offset: Offset) -> TopicPartitionList {
        list(&self.member.topic, partitions, offset)
    }
}
