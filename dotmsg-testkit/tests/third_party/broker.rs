//! The smallest broker that keeps the contract: topics, positions and members under one lock, every change wakes everybody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::partition_for_key;
use dotmsg_core::backend::{
    Admin, AssignmentEvent, Backend, Batch, BatchLimits, BoxFuture, Capability, CommitOutcome,
    Control, Granted, GroupDescription, Membership, OffsetRange, PositionStore, Progress,
    PublishOutcome, PublishRecord, Published, Publisher, ReadBatch, Reader, Record, Source,
    Subscription, TopicDescription, TopicSpec,
};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::error::{Error, ErrorKind, Result};

type Topics = BTreeMap<String, (TopicDescription, Vec<Vec<Record>>)>;

#[derive(Default)]
struct State {
    topics: Topics,
    /// The member of each group and topic.
    members: BTreeMap<(String, String), u64>,
    positions: BTreeMap<(String, String), BTreeMap<u32, Bytes>>,
    numbers: u64,
    wakers: Vec<Waker>,
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn partition(&self, topic: &str, partition: u32) -> Result<&Vec<Record>> {
        let (_, partitions) = self.topics.get(topic).ok_or_else(|| no_topic(topic))?;
        partitions
            .get(partition as usize)
            .ok_or_else(|| error(ErrorKind::Invalid, "no such partition"))
    }
}

/// The broker; a clone is the same one.
#[derive(Clone)]
pub(crate) struct TinyBroker {
    capability: Capability,
    state: Arc<Mutex<State>>,
}

impl TinyBroker {
    pub(crate) fn new(capability: Capability) -> Self {
        Self {
            capability,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, record: PublishRecord) -> Result<Published> {
        if record.message.size() > self.capability.max_record_bytes {
            return Err(error(ErrorKind::TooLarge, "larger than max_record_bytes"));
        }
        let mut state = self.lock();
        let count = match state.topics.get(&*record.topic) {
            Some((described, _)) => described.partitions,
            None => return Err(no_topic(&record.topic)),
        };
        let partition = match (record.partition, &record.message.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => (state.number() % u64::from(count)) as u32,
        };
        let offset = state.partition(&record.topic, partition)?.len() as u64;
        let appended_at = SystemClock.now();
        if let Some((_, partitions)) = state.topics.get_mut(&*record.topic) {
            partitions[partition as usize].push(Record {
                offset,
                receipt: 0,
                appended_at,
                message: record.message,
            });
        }
        state.wake();
        Ok(Published {
            partition,
            offset,
            appended_at,
            duplicate: false,
        })
    }

    /// Copies records from an offset on; gives the offset behind them.
    fn read(
        &self,
        (topic, partition): (&str, u32),
        from: u64,
        limits: BatchLimits,
        into: &mut Vec<Record>,
    ) -> Result<u64> {
        let state = self.lock();
        let mut bytes = 0;
        for record in state
            .partition(topic, partition)?
            .iter()
            .skip(from as usize)
        {
            bytes += record.message.size();
            if into.len() == limits.messages || (bytes > limits.bytes && !into.is_empty()) {
                break;
            }
            into.push(record.clone());
        }
        Ok(into.last().map_or(from, |last| last.offset + 1))
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.lock().wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for TinyBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TinyBroker").finish_non_exhaustive()
    }
}

fn error(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, "ask the tiny broker", message)
}

fn no_topic(topic: &str) -> Error {
    error(ErrorKind::NotFound, "no such topic").with("topic", topic)
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Backend for TinyBroker {
    fn capability(&self) -> Capability {
        self.capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        ready(
            Member::join(self.clone(), &subscription).map(|(source, member)| {
                let control: Arc<dyn Control> = member;
                (Box::new(source) as Box<dyn Source>, control)
            }),
        )
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(self.clone())
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        let reader = TinyReader {
            broker: self.clone(),
            next: BTreeMap::new(),
        };
        ready(Ok(Box::new(reader) as _))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.clone())
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        ready(Ok(()))
    }
}

impl Publisher for TinyBroker {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        let outcome = |record| match self.append(record) {
            Ok(published) => PublishOutcome::Ok(published),
            Err(error) => PublishOutcome::Failed(error),
        };
        ready(records.into_iter().map(outcome).collect())
    }

    fn flush(&self, _: Duration) -> BoxFuture<'_, Result<()>> {
        ready(Ok(()))
    }
}

impl Admin for TinyBroker {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        ready(Ok("tiny".to_owned()))
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        let state = self.lock();
        let described = state.topics.values().map(|(described, _)| described);
        let named = described.filter(|topic| topic.name.starts_with(prefix));
        ready(Ok(named.cloned().collect()))
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        let state = self.lock();
        ready(Ok(state
            .topics
            .get(name)
            .map(|(described, _)| described.clone())))
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        if spec.name.len() > self.capability.max_topic_bytes {
            return ready(Err(error(ErrorKind::Invalid, "the name is too long")));
        }
        let mut state = self.lock();
        if let Some((described, _)) = state.topics.get(&spec.name) {
            return ready(match described.partitions == spec.partitions {
                true => Ok(()),
                false => Err(error(ErrorKind::AlreadyExists, "with other partitions")),
            });
        }
        let identity = state.number().to_string();
        let described = TopicDescription::new(spec.name.clone(), spec.partitions, identity);
        let partitions = (0..spec.partitions).map(|_| Vec::new()).collect();
        state.topics.insert(spec.name, (described, partitions));
        ready(Ok(()))
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        let state = self.lock();
        ready(
            state
                .partition(topic, partition)
                .map(|records| OffsetRange {
                    start: 0,
                    end: records.len() as u64,
                }),
        )
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        let mut groups = BTreeMap::<String, Vec<String>>::new();
        for (group, topic) in self.lock().positions.keys() {
            groups.entry(group.clone()).or_default().push(topic.clone());
        }
        let described = |(name, topics)| GroupDescription { name, topics };
        ready(Ok(groups.into_iter().map(described).collect()))
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        let of = (group.to_owned(), topic.to_owned());
        let positions = self.lock().positions.get(&of).cloned();
        ready(Ok(positions.into_iter().flatten().collect()))
    }
}

struct TinyReader {
    broker: TinyBroker,
    next: BTreeMap<(Arc<str>, u32), u64>,
}

impl Reader for TinyReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        self.broker.lock().partition(topic, partition)?;
        self.next.insert((Arc::clone(topic), partition), from);
        Ok(())
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        self.next.remove(&(topic.into(), partition));
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        *batch = ReadBatch::default();
        // The waker first: what comes in between wakes it.
        let pending = self.broker.wait(cx);
        for ((topic, partition), next) in &mut self.next {
            *next = self
                .broker
                .read((topic, *partition), *next, limits, &mut batch.records)?;
            if !batch.records.is_empty() {
                (batch.topic, batch.partition) = (Some(Arc::clone(topic)), *partition);
                return Poll::Ready(Ok(()));
            }
        }
        pending
    }
}

/// The one member of a group and topic. When both halves are dropped, it has left.
#[derive(Debug)]
struct Member {
    broker: TinyBroker,
    of: (String, String),
    number: u64,
    grants: Vec<Granted>,
    /// By partition: whether it is read, and what is next.
    reading: Mutex<BTreeMap<u32, (bool, u64)>>,
}

impl Member {
    fn join(broker: TinyBroker, to: &Subscription) -> Result<(TinySource, Arc<Self>)> {
        let of = (to.group.to_string(), to.topic.to_string());
        let (number, grants) = {
            let mut state = broker.lock();
            let partitions = match state.topics.get(&of.1) {
                Some((described, _)) => described.partitions,
                None => return Err(no_topic(&of.1)),
            };
            if state.members.contains_key(&of) {
                return Err(error(ErrorKind::Fenced, "the group has a member"));
            }
            let number = state.number();
            state.members.insert(of.clone(), number);
            let grant = |partition| Granted {
                partition,
                grant: state.number(),
            };
            (number, (0..partitions).map(grant).collect())
        };
        let member = Arc::new(Self {
            broker,
            of,
            number,
            grants,
            reading: Mutex::default(),
        });
        let source = TinySource {
            member: Arc::clone(&member),
            told: false,
        };
        Ok((source, member))
    }

    fn is_in(&self, state: &State) -> bool {
        state.members.get(&self.of) == Some(&self.number)
    }

    fn leave(&self) {
        let mut state = self.broker.lock();
        if self.is_in(&state) {
            state.members.remove(&self.of);
        }
        state.wake();
    }

    fn check(&self) -> Result<()> {
        match self.is_in(&self.broker.lock()) {
            true => Ok(()),
            false => Err(error(ErrorKind::Closed, "this member has left")),
        }
    }

    fn reading(&self) -> MutexGuard<'_, BTreeMap<u32, (bool, u64)>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Control for Member {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let state = self.broker.lock();
        let owned = self.grants.contains(&Granted { partition, grant });
        if !owned || !self.is_in(&state) {
            return ready(Err(error(ErrorKind::Fenced, "another owner")));
        }
        let positions = state.positions.get(&self.of);
        ready(Ok(positions.and_then(|all| all.get(&partition).cloned())))
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        let mut state = self.broker.lock();
        let most = match self.broker.capability.position {
            PositionStore::Record { max_bytes } => max_bytes,
            PositionStore::None => 0,
        };
        let outcome = |entry: Progress| {
            let granted = Granted {
                partition: entry.partition,
                grant: entry.grant,
            };
            if !self.is_in(&state) || !self.grants.contains(&granted) {
                return CommitOutcome::Fenced;
            }
            if entry.record.len() > most {
                return CommitOutcome::Failed(error(ErrorKind::TooLarge, "above max_bytes"));
            }
            let positions = state.positions.entry(self.of.clone()).or_default();
            positions.insert(entry.partition, entry.record);
            CommitOutcome::Committed
        };
        ready(progress.into_iter().map(outcome).collect())
    }

    fn release(&self, _: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        ready(Ok(()))
    }

    fn pause(&self, partition: u32) {
        self.reading().entry(partition).or_default().0 = false;
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        let mut reading = self.reading();
        let (reads, next) = reading.entry(partition).or_default();
        (*reads, *next) = (true, from.unwrap_or(*next));
        drop(reading);
        self.broker.lock().wake();
    }

    fn close(&self, _: Duration) -> BoxFuture<'_, Result<()>> {
        self.leave();
        ready(Ok(()))
    }
}

struct TinySource {
    member: Arc<Member>,
    told: bool,
}

impl Source for TinySource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        if !self.told {
            self.told = true;
            let grants = self.member.grants.clone();
            return Poll::Ready(Ok(AssignmentEvent::Assigned(grants)));
        }
        let pending = self.member.broker.wait(cx);
        match self.member.check() {
            Ok(()) => pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        batch.records.clear();
        let member = &self.member;
        let pending = member.broker.wait(cx);
        member.check()?;
        let mut reading = member.reading();
        for granted in &member.grants {
            let Some((true, next)) = reading.get_mut(&granted.partition) else {
                continue;
            };
            let of = (&*member.of.1, granted.partition);
            *next = member.broker.read(of, *next, limits, &mut batch.records)?;
            if !batch.records.is_empty() {
                (batch.partition, batch.grant) = (granted.partition, granted.grant);
                return Poll::Ready(Ok(()));
            }
        }
        pending
    }
}
