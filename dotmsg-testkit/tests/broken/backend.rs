//! The log in memory with one fault in what passes through.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::{
    Admin, AssignmentEvent, Backend, Batch, BatchLimits, BoxFuture, Capability, CommitOutcome,
    Control, Granted, Membership, Ownership, Partitioner, Progress, PublishOutcome, PublishRecord,
    Published, Publisher, ReadBatch, Reader, Retention, Source, Subscription, TopicSpec,
    Transactional,
};
use dotmsg_core::clock::Timestamp;
use dotmsg_core::error::Result;
use dotmsg_core::log::LogBroker;
use dotmsg_core::message::Headers;
use dotmsg_core::progress::PositionRecord;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    DeclaresLess,
    DeclaresTransactions,
    MakesNullEmpty,
    DropsNullHeaders,
    ConfirmsWhatItDrops,
    HashesInItsOwnWay,
    PassesThePartitionerOver,
    AnswersOutOfOrder,
    StartsPartitionsRunning,
    IgnoresPause,
    IgnoresLimits,
    SkipsARecord,
    DeliversTwice,
    ReversesBatches,
    ForgetsCommits,
    CutsRecords,
    AcceptsAnyCommit,
    AnswersOneOfMany,
    PassesOverWhatIsGone,
    ReadsOverWhatIsGone,
    DropsWhatALimitLeaves,
    LetsASecondMemberIn,
    MakesTopicsByTheWay,
    ListsEveryTopic,
    GivesUpAtOnce,
    GivesBeforeTheRelease,
    HandsAKeyToTwo,
    CommitsTooMuch,
    StampsTooEarly,
    StampsWhatItReads,
    UnderstatesEnds,
    LosesDeadLetters,
}

/// The log with a fault.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) log: LogBroker,
    pub(crate) fault: Fault,
    /// The log, perhaps with a partitioner.
    pub(crate) published_to: Arc<dyn Backend>,
    /// What some member is asked for and has not released.
    pub(crate) asked_for: Arc<Mutex<Vec<Granted>>>,
}

impl Backend for Broken {
    fn capability(&self) -> Capability {
        match self.fault {
            Fault::DeclaresLess => Capability::minimal(),
            Fault::DeclaresTransactions => {
                let mut declared = self.log.capability();
                declared.transactions = Transactional::Yes;
                declared
            }
            Fault::LetsASecondMemberIn => {
                let mut declared = self.log.capability();
                declared.ownership = Ownership::SingleMember;
                declared
            }
            _ => self.log.capability(),
        }
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        let (fault, asked_for) = (self.fault, Arc::clone(&self.asked_for));
        Box::pin(async move {
            let (source, control) = self.log.subscribe(subscription).await?;
            let source = BrokenSource {
                source,
                control: Arc::clone(&control),
                fault,
                polls: 0,
                granted: BTreeMap::new(),
                asked_for,
            };
            let control: Arc<dyn Control> = Arc::new(BrokenControl { control, fault });
            Ok((Box::new(source) as Box<dyn Source>, control))
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(BrokenPublisher {
            publisher: self.published_to.publisher(),
            fault: self.fault,
        })
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        let published_to = match self.fault {
            Fault::PassesThePartitionerOver => Arc::clone(&self.published_to),
            _ => self.log.partitioned_by(partitioner)?,
        };
        Ok(Arc::new(Self {
            log: self.log.clone(),
            fault: self.fault,
            published_to,
            asked_for: Arc::clone(&self.asked_for),
        }))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        let fault = self.fault;
        Box::pin(async move {
            let reader = self.log.reader().await?;
            Ok(Box::new(BrokenReader { reader, fault }) as _)
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        match self.fault {
            Fault::MakesTopicsByTheWay | Fault::ListsEveryTopic | Fault::UnderstatesEnds => {
                Arc::new(BrokenAdmin {
                    admin: self.log.admin(),
                    fault: self.fault,
                })
            }
            _ => self.log.admin(),
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct BrokenSource {
    source: Box<dyn Source>,
    control: Arc<dyn Control>,
    fault: Fault,
    polls: usize,
    granted: BTreeMap<u32, Granted>,
    asked_for: Arc<Mutex<Vec<Granted>>>,
}

impl BrokenSource {
    /// What somebody else is asked for, as if it had been released.
    fn too_early(&self) -> Option<AssignmentEvent> {
        let mut asked_for = self.asked_for.lock().unwrap();
        let of_others = asked_for
            .iter()
            .position(|one| !self.granted.contains_key(&one.partition))?;
        let mut given = asked_for.remove(of_others);
        given.grant += 1_000;
        Some(AssignmentEvent::Assigned(vec![given]))
    }
}

impl Source for BrokenSource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        let event = self.source.poll_event(cx);
        if let Poll::Ready(Ok(AssignmentEvent::Assigned(granted))) = &event {
            self.granted
                .extend(granted.iter().map(|one| (one.partition, *one)));
        }
        match (&event, self.fault) {
            (
                Poll::Ready(Ok(AssignmentEvent::Assigned(granted))),
                Fault::StartsPartitionsRunning,
            ) => {
                for granted in granted {
                    self.control.resume(granted.partition, Some(0));
                }
            }
            (
                Poll::Ready(Ok(AssignmentEvent::Revoking { partitions, .. })),
                Fault::GivesUpAtOnce,
            ) => {
                let given_up = partitions.iter().filter_map(|one| self.granted.remove(one));
                drop(self.control.release(given_up.collect()));
            }
            (
                Poll::Ready(Ok(AssignmentEvent::Revoking { partitions, .. })),
                Fault::GivesBeforeTheRelease,
            ) => {
                let asked_for = partitions.iter().filter_map(|one| self.granted.get(one));
                self.asked_for.lock().unwrap().extend(asked_for);
            }
            (Poll::Pending, Fault::GivesBeforeTheRelease) => {
                if let Some(given) = self.too_early() {
                    return Poll::Ready(Ok(given));
                }
            }
            (
                Poll::Ready(Ok(AssignmentEvent::OutOfRange {
                    partition, start, ..
                })),
                Fault::PassesOverWhatIsGone,
            ) => {
                self.control.resume(*partition, Some(*start));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => {}
        }
        event
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        mut limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        if self.fault == Fault::IgnoresLimits {
            limits.messages += 5;
        }
        let polled = self.source.poll_batch(cx, limits, batch);
        let records = &mut batch.records;
        if polled.is_ready() && !records.is_empty() {
            self.polls += 1;
            match self.fault {
                Fault::SkipsARecord if self.polls == 2 => drop(records.remove(0)),
                Fault::DeliversTwice if records.len() > 1 => records[1] = records[0].clone(),
                Fault::ReversesBatches => records.reverse(),
                // A record of a key under another one: to the runtime they have nothing to do with each other.
                Fault::HandsAKeyToTwo => {
                    for record in records.iter_mut().filter(|record| record.offset % 2 == 1) {
                        record.message.headers = Headers::new();
                        record.message.key = None;
                    }
                }
                _ => {}
            }
        }
        polled
    }
}

#[derive(Debug)]
struct BrokenControl {
    control: Arc<dyn Control>,
    fault: Fault,
}

impl BrokenControl {
    fn commits(&self, mut progress: Vec<Progress>) -> Vec<Progress> {
        for entry in &mut progress {
            match self.fault {
                Fault::CutsRecords => entry.record.truncate(entry.record.len() / 2),
                Fault::CommitsTooMuch => {
                    if let Ok(mut record) = PositionRecord::decode(&entry.record) {
                        record.reset_to(record.source.end());
                        entry.record = record.encode().into();
                    }
                }
                _ => {}
            }
        }
        progress
    }
}

impl Control for BrokenControl {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.control.position(partition, grant)
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        let count = progress.len();
        if self.fault == Fault::ForgetsCommits {
            let all = (0..count).map(|_| CommitOutcome::Committed).collect();
            return Box::pin(std::future::ready(all));
        }
        let progress = self.commits(progress);
        Box::pin(async move {
            let mut outcomes = self.control.commit(progress).await;
            match self.fault {
                Fault::AcceptsAnyCommit => outcomes.fill_with(|| CommitOutcome::Committed),
                Fault::AnswersOneOfMany => outcomes.truncate(1),
                _ => {}
            }
            outcomes
        })
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        self.control.release(given_up)
    }

    fn pause(&self, partition: u32) {
        if self.fault != Fault::IgnoresPause {
            self.control.pause(partition);
        }
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        self.control.resume(partition, from);
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.control.close(deadline)
    }
}

#[derive(Debug)]
struct BrokenPublisher {
    publisher: Arc<dyn Publisher>,
    fault: Fault,
}

impl BrokenPublisher {
    /// Whether a record is dropped, and confirmed all the same.
    fn drops(&self, record: &PublishRecord) -> bool {
        match self.fault {
            Fault::ConfirmsWhatItDrops => {
                record.message.id().is_some_and(|id| id.ends_with(b"-77"))
            }
            Fault::LosesDeadLetters => {
                record.topic.ends_with(".dlq")
                    && record.message.id().is_some_and(|id| **id == *b"k7-5")
            }
            _ => false,
        }
    }
}

impl Publisher for BrokenPublisher {
    fn publish(&self, mut records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        for record in &mut records {
            let message = &mut record.message;
            match self.fault {
                Fault::MakesNullEmpty => {
                    message.payload = Some(message.payload.take().unwrap_or_default())
                }
                Fault::DropsNullHeaders => {
                    let kept = message.headers.iter().filter(|(_, value)| value.is_some());
                    let kept = kept.map(|(name, value)| (name, value.cloned()));
                    message.headers = kept.collect();
                }
                Fault::HashesInItsOwnWay => {
                    let key = message.key.as_ref();
                    record.partition = record.partition.or(key.map(|key| key.len() as u32 % 2));
                }
                _ => {}
            }
        }
        let dropped: Vec<bool> = records.iter().map(|record| self.drops(record)).collect();
        let mut lost = dropped.iter();
        records.retain(|_| !lost.next().is_some_and(|lost| *lost));
        Box::pin(async move {
            let mut outcomes = self.publisher.publish(records).await;
            for (index, lost) in dropped.iter().enumerate() {
                if *lost {
                    let lie = Published {
                        partition: 0,
                        offset: 0,
                        appended_at: Timestamp(0),
                        duplicate: false,
                    };
                    outcomes.insert(index, PublishOutcome::Ok(lie));
                }
            }
            match self.fault {
                Fault::AnswersOutOfOrder => outcomes.reverse(),
                Fault::StampsTooEarly => {
                    for outcome in &mut outcomes {
                        if let PublishOutcome::Ok(published) = outcome {
                            published.appended_at = an_hour_before(published.appended_at);
                        }
                    }
                }
                _ => {}
            }
            outcomes
        })
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.publisher.flush(deadline)
    }
}

fn an_hour_before(stamp: Timestamp) -> Timestamp {
    Timestamp(stamp.0 - 3_600_000)
}

struct BrokenReader {
    reader: Box<dyn Reader>,
    fault: Fault,
}

impl Reader for BrokenReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        self.reader.assign(topic, partition, from)
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        self.reader.unassign(topic, partition);
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        mut limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        let bytes = limits.bytes;
        if self.fault == Fault::DropsWhatALimitLeaves {
            limits.bytes = bytes.saturating_add(1_100);
        }
        let polled = self.reader.poll_batch(cx, limits, batch);
        match self.fault {
            Fault::ReadsOverWhatIsGone => batch.removed = None,
            Fault::DropsWhatALimitLeaves => {
                let size = |batch: &ReadBatch| {
                    batch
                        .records
                        .iter()
                        .map(|one| one.message.size())
                        .sum::<usize>()
                };
                while batch.records.len() > 1 && size(batch) > bytes {
                    batch.records.pop();
                }
            }
            Fault::StampsTooEarly => {
                for record in &mut batch.records {
                    record.appended_at = an_hour_before(record.appended_at);
                }
            }
            Fault::StampsWhatItReads => {
                for record in &mut batch.records {
                    record.appended_at = record.appended_at.after(Duration::from_secs(3_600));
                }
            }
            _ => {}
        }
        polled
    }
}

/// Makes every topic that somebody asks about, or tells less than there is of each.
#[derive(Debug)]
struct BrokenAdmin {
    admin: Arc<dyn Admin>,
    fault: Fault,
}

impl Admin for BrokenAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        self.admin.cluster()
    }

    fn topics<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Vec<dotmsg_core::backend::TopicDescription>>> {
        match self.fault {
            Fault::ListsEveryTopic => self.admin.topics(""),
            _ => self.admin.topics(prefix),
        }
    }

    fn topic<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<dotmsg_core::backend::TopicDescription>>> {
        Box::pin(async move {
            let makes = self.fault == Fault::MakesTopicsByTheWay;
            if makes && self.admin.topic(name).await?.is_none() {
                let spec = TopicSpec {
                    name: name.to_owned(),
                    partitions: 1,
                    retention: Retention::AsBackend,
                };
                self.admin.create_topic(spec).await?;
            }
            self.admin.topic(name).await
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        self.admin.create_topic(spec)
    }

    fn offsets<'a>(
        &'a self,
        topic: &'a str,
        partition: u32,
    ) -> BoxFuture<'a, Result<dotmsg_core::backend::OffsetRange>> {
        Box::pin(async move {
            let mut range = self.admin.offsets(topic, partition).await?;
            if self.fault == Fault::UnderstatesEnds {
                range.end = range.end.saturating_sub(1).max(range.start);
            }
            Ok(range)
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<dotmsg_core::backend::GroupDescription>>> {
        self.admin.groups()
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        self.admin.positions(group, topic)
    }
}
