//! Which messages the producer is given now, and which wait for those before them.
//!
//! librdkafka 2.12.1 sends an idempotent producer's messages of one partition in one request at a time, once five of them are on their
//! way. What it is given meanwhile only waits in it; and as soon as that has waited for `linger.ms`, the thread of its broker polls
//! without a pause until the answer comes. A broker that takes long to answer so costs a core in every process that publishes to it,
//! and one that shares its machine with them takes longer for it. So while a batch of a partition is on its way, what follows waits
//! here, and goes as one batch when all of that is reported.
//!
//! A gate lets go in the order in which it was given, and a key always has the same one; so order stays, in a partition as long as the
//! topic does not grow, and of a key even then. A message without key and partition goes wherever librdkafka wants, and no gate
//! holds it; nor does one whose topic is not known yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dotmsg_core::backend::{Partitioner, PublishRecord, partition_by, partition_for_key};

use crate::settings::Batches;

/// So many topics have gates, the first that are published to: an app may name them freely.
const TOPICS: usize = 64;
/// No topic has a longer name; the client panics when it looks one up.
const LONGEST_NAME: usize = 249;
/// What librdkafka writes beside key, payload and headers of a message, about.
const OVERHEAD: usize = 64;
/// So many messages of a partition go out even if each is a batch of its own.
const AT_LEAST: usize = 5;
/// How long a topic that was asked about in vain is left alone.
const AGAIN: Duration = Duration::from_secs(10);

/// One partition of one topic: its place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate(pub(super) usize);

/// A record, and the number under which it waits for its outcome.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) record: PublishRecord,
    pub(super) number: usize,
    /// When it was published.
    pub(super) since: Instant,
}

/// The gates of a producer.
#[derive(Debug)]
pub(super) struct Gates {
    batches: Batches,
    /// The application's, instead of murmur2.
    partitioner: Option<Arc<dyn Partitioner>>,
    most_topics: usize,
    topics: Vec<Topic>,
    partitions: Vec<Partition>,
    /// Waiting at all of them.
    held: usize,
    /// Those at which somebody waits for nothing that is on its way.
    idle: Vec<Gate>,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    /// The first of its gates, and how many there are; none before it is known how many partitions it has.
    first: usize,
    count: u32,
    /// When somebody may ask; nothing while somebody does.
    ask_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Given to the producer since all was reported, and how large they were.
    given: usize,
    bytes: usize,
    /// Nothing more belongs to the batch after this.
    shuts_at: Option<Instant>,
    held: VecDeque<Numbered>,
}

impl Gates {
    pub(super) fn new(batches: Batches, partitioner: Option<Arc<dyn Partitioner>>) -> Self {
        let messages = batches.messages.max(AT_LEAST);
        Self {
            batches: Batches {
                messages,
                ..batches
            },
            partitioner,
            most_topics: TOPICS,
            ..Self::none()
        }
    }

    /// No record has a gate.
    pub(super) fn none() -> Self {
        Self {
            batches: Batches::default(),
            partitioner: None,
            most_topics: 0,
            topics: Vec::new(),
            partitions: Vec::new(),
            held: 0,
            idle: Vec::new(),
        }
    }

    /// The gate of a record, if it has one.
    pub(super) fn of(&mut self, record: &PublishRecord, now: Instant) -> Option<Gate> {
        let is_it =
            |topic: &Topic| Arc::ptr_eq(&topic.name, &record.topic) || topic.name == record.topic;
        let Some(topic) = self.topics.iter().find(|topic| is_it(topic)) else {
            if self.topics.len() < self.most_topics && record.topic.len() <= LONGEST_NAME {
                self.topics.push(Topic {
                    name: Arc::clone(&record.topic),
                    first: 0,
                    count: 0,
                    ask_at: Some(now),
                });
            }
            return None;
        };
        let partition = match (record.partition, &record.message.key) {
            (Some(partition), _) if partition < topic.count => partition,
            (None, Some(key)) if topic.count > 0 => match &self.partitioner {
                None => partition_for_key(key, topic.count),
                // One without an answer fails when it is handed over.
                Some(by) => partition_by(&**by, &topic.name, key, topic.count).ok()?,
            },
            _ => return None,
        };
        Some(Gate(topic.first + partition as usize))
    }

    /// Whether a topic has gates.
    #[cfg(test)]
    pub(super) fn knows(&self, name: &str) -> bool {
        let mut topics = self.topics.iter();
        topics.any(|topic| *topic.name == *name && topic.count > 0)
    }

    /// A topic of which it is not known how many partitions it has. Somebody asks now.
    pub(super) fn next_unknown(&mut self, now: Instant) -> Option<Arc<str>> {
        let is_due =
            |topic: &&mut Topic| topic.count == 0 && topic.ask_at.is_some_and(|at| at <= now);
        let topic = self.topics.iter_mut().find(is_due)?;
        topic.ask_at = None;
        Some(Arc::clone(&topic.name))
    }

    /// How many partitions a topic has, as far as it was told. It stays so, also when the topic grows: a key keeps its gate.
    pub(super) fn learn(&mut self, name: &str, partitions: Option<usize>, now: Instant) {
        let Some(topic) = self.topics.iter_mut().find(|topic| *topic.name == *name) else {
            return;
        };
        topic.ask_at = Some(now + AGAIN);
        if topic.count == 0 {
            let count = partitions.unwrap_or(0);
            topic.first = self.partitions.len();
            topic.count = u32::try_from(count).unwrap_or(0);
            self.partitions
                .resize_with(topic.first + count, Partition::default);
        }
    }

    /// Whether a record may go on now; if it does, that is to be [noted](Self::gave).
    pub(super) fn is_open(&mut self, gate: Gate, record: &PublishRecord, now: Instant) -> bool {
        let batches = self.batches;
        let partition = self.partition(gate);
        let fits = partition.given < batches.messages
            && partition.bytes + size(record) <= batches.bytes
            && partition.shuts_at.is_some_and(|at| now <= at);
        partition.held.is_empty() && (partition.given == 0 || fits)
    }

    /// The producer has it.
    pub(super) fn gave(&mut self, gate: Gate, record: &PublishRecord, now: Instant) {
        // A little early: what comes just then might miss the batch.
        let shuts_at = now + self.batches.linger * 4 / 5;
        let partition = self.partition(gate);
        partition.shuts_at.get_or_insert(shuts_at);
        partition.given += 1;
        partition.bytes += size(record);
    }

    /// It waits, behind those that do.
    pub(super) fn hold(&mut self, gate: Gate, waiting: Numbered) {
        self.partition(gate).held.push_back(waiting);
        self.held += 1;
    }

    /// Nothing that went through it is on its way any more.
    pub(super) fn all_reported(&mut self, gate: Gate) {
        let partition = self.partition(gate);
        (partition.given, partition.bytes, partition.shuts_at) = (0, 0, None);
        if !partition.held.is_empty() {
            self.idle.push(gate);
        }
    }

    /// The next that waits at a gate, if it belongs to the batch that goes now.
    pub(super) fn next(&mut self, gate: Gate) -> Option<Numbered> {
        let batches = self.batches;
        let partition = self.partition(gate);
        let bytes = size(&partition.held.front()?.record);
        let fits = partition.given < batches.messages && partition.bytes + bytes <= batches.bytes;
        if partition.given > 0 && !fits {
            return None;
        }
        let next = partition.held.pop_front();
        self.held -= usize::from(next.is_some());
        next
    }

    /// It could not go after all.
    pub(super) fn put_back(&mut self, gate: Gate, waiting: Numbered) {
        self.partition(gate).held.push_front(waiting);
        self.held += 1;
        self.idle.push(gate);
    }

    /// How many wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The gates that may let go of what waits there, each until it is asked no more or has [put it back](Self::put_back).
    pub(super) fn take_idle(&mut self) -> Vec<Gate> {
        std::mem::take(&mut self.idle)
    }

    /// All that wait, to wait no longer.
    pub(super) fn take_all(&mut self) -> Vec<Numbered> {
        self.held = 0;
        self.idle.clear();
        let partitions = self.partitions.iter_mut();
        partitions
            .flat_map(|partition| std::mem::take(&mut partition.held))
            .collect()
    }

    /// Those that wait and are late.
    pub(super) fn take_late(&mut self, is_late: impl Fn(&Numbered) -> bool) -> Vec<Numbered> {
        let mut late = Vec::new();
        for partition in &mut self.partitions {
            // Whoever waits behind another one was published after it.
            while partition.held.front().is_some_and(&is_late) {
                late.extend(partition.held.pop_front());
            }
        }
        self.held -= late.len();
        late
    }

    fn partition(&mut self, gate: Gate) -> &mut Partition {
        &mut self.partitions[gate.0]
    }
}

fn size(record: &PublishRecord) -> usize {
    record.message.size() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use dotmsg_core::message::Message;

    use super::*;
    use crate::now;

    const LINGER: Duration = Duration::from_millis(5);

    fn gates() -> Gates {
        gates_by(None)
    }

    fn gates_by(partitioner: Option<Arc<dyn Partitioner>>) -> Gates {
        let batches = Batches {
            linger: LINGER,
            messages: 6,
            bytes: 10_000,
        };
        let mut gates = Gates::new(batches, partitioner);
        let now = now();
        assert_eq!(gates.of(&record(0, "first"), now), None);
        assert_eq!(gates.next_unknown(now).as_deref(), Some("orders"));
        assert_eq!(gates.next_unknown(now), None, "somebody asks already");
        gates.learn("orders", Some(4), now);
        gates
    }

    fn record(partition: u32, text: &'static str) -> PublishRecord {
        PublishRecord {
            topic: "orders".into(),
            partition: Some(partition),
            message: Message::new(text),
        }
    }

    /// Gives a record, or lets it wait under the number.
    fn offer(gates: &mut Gates, record: PublishRecord, number: usize, now: Instant) -> bool {
        let gate = gates.of(&record, now).expect("a gate");
        let opens = gates.is_open(gate, &record, now);
        match opens {
            true => gates.gave(gate, &record, now),
            false => gates.hold(
                gate,
                Numbered {
                    record,
                    number,
                    since: now,
                },
            ),
        }
        opens
    }

    fn go(gates: &mut Gates, gate: Gate, now: Instant) -> Vec<usize> {
        let mut gone = Vec::new();
        while let Some(next) = gates.next(gate) {
            gates.gave(gate, &next.record, now);
            gone.push(next.number);
        }
        gone
    }

    #[test]
    fn what_follows_a_batch_waits_until_all_of_it_is_reported() {
        let (mut gates, start) = (gates(), now());
        assert!(offer(&mut gates, record(1, "a"), 0, start));
        assert!(offer(&mut gates, record(1, "b"), 1, start + LINGER / 2));
        let later = start + LINGER;
        assert!(!offer(&mut gates, record(1, "c"), 2, later));
        assert!(!offer(&mut gates, record(1, "d"), 3, later));
        assert!(
            offer(&mut gates, record(2, "other"), 4, later),
            "another partition"
        );
        let gate = gates.of(&record(1, "a"), later).unwrap();
        assert_eq!(gates.take_idle(), []);
        gates.all_reported(gate);
        assert_eq!(gates.take_idle(), [gate]);
        assert_eq!(go(&mut gates, gate, later), [2, 3]);
        assert_eq!(gates.held(), 0);
        assert!(!offer(&mut gates, record(1, "e"), 5, later + LINGER));
        gates.all_reported(gate);
        assert_eq!(gates.take_idle(), [gate]);
    }

    #[test]
    fn a_batch_has_its_limits() {
        let (mut gates, start) = (gates(), now());
        let given: Vec<bool> = (0..8)
            .map(|number| offer(&mut gates, record(1, "x"), number, start))
            .collect();
        assert_eq!(given, [true, true, true, true, true, true, false, false]);
        let gate = gates.of(&record(1, "x"), start).unwrap();
        gates.all_reported(gate);
        assert_eq!(go(&mut gates, gate, start), [6, 7]);
        let large = "large".repeat(3_000);
        let large = |partition| PublishRecord {
            message: Message::new(large.clone()),
            ..record(partition, "")
        };
        assert!(
            offer(&mut gates, large(3), 8, start),
            "the first goes whatever its size"
        );
        assert!(!offer(&mut gates, large(3), 9, start));
    }

    #[test]
    fn what_had_no_room_goes_first_the_next_time() {
        let (mut gates, start) = (gates(), now());
        offer(&mut gates, record(1, "a"), 0, start);
        let later = start + LINGER;
        offer(&mut gates, record(1, "b"), 1, later);
        offer(&mut gates, record(1, "c"), 2, later);
        let gate = gates.of(&record(1, "a"), later).unwrap();
        gates.all_reported(gate);
        assert_eq!(gates.take_idle(), [gate]);
        let next = gates.next(gate).unwrap();
        gates.put_back(gate, next);
        assert!(
            !offer(&mut gates, record(1, "d"), 3, later),
            "it does not overtake"
        );
        assert_eq!(gates.take_idle(), [gate]);
        assert_eq!(go(&mut gates, gate, later), [1, 2, 3]);
        assert_eq!(gates.take_idle(), []);
        offer(&mut gates, record(1, "e"), 4, later + LINGER);
        let all: Vec<usize> = gates.take_all().into_iter().map(|one| one.number).collect();
        assert_eq!((all, gates.held()), (vec![4], 0));
    }

    #[test]
    fn a_key_has_a_gate_and_what_goes_anywhere_has_none() {
        let (mut gates, now) = (gates(), now());
        let keyed = |key: &'static str| PublishRecord {
            partition: None,
            message: Message::new("x").with_key(key),
            ..record(0, "")
        };
        let gate = |gates: &mut Gates, key| gates.of(&keyed(key), now).map(|gate| gate.0);
        assert_eq!(
            gate(&mut gates, "abc"),
            Some(partition_for_key(b"abc", 4) as usize)
        );
        let unkeyed = PublishRecord {
            partition: None,
            ..record(0, "x")
        };
        assert_eq!(gates.of(&unkeyed, now), None);
        assert_eq!(gates.of(&record(4, "no such partition"), now), None);
        // It grows: nobody changes gates.
        gates.learn("orders", Some(8), now);
        assert_eq!(
            gate(&mut gates, "abc"),
            Some(partition_for_key(b"abc", 4) as usize)
        );
    }

    #[test]
    fn who_was_asked_in_vain_is_asked_again_later() {
        let mut gates = Gates::new(Batches::default(), None);
        let now = now();
        gates.of(&record(0, "x"), now);
        assert!(gates.next_unknown(now).is_some());
        gates.learn("orders", None, now);
        assert!(gates.next_unknown(now + AGAIN / 2).is_none());
        assert!(gates.next_unknown(now + AGAIN).is_some());
    }

    /// Keys of one partition wait at one gate, whoever chooses the partition: the order of a call is that of the log.
    #[test]
    fn a_partitioner_of_the_app_chooses_the_gate() {
        #[derive(Debug)]
        struct ByTenant;
        impl Partitioner for ByTenant {
            fn partition(&self, _: &str, key: &[u8], partitions: u32) -> u32 {
                u32::from(key[0]) % partitions
            }
        }
        let (mut gates, now) = (gates_by(Some(Arc::new(ByTenant))), now());
        let mut gate = |key: &'static str| {
            let message = Message::new("x").with_key(key);
            let record = PublishRecord {
                partition: None,
                message,
                ..record(0, "")
            };
            gates.of(&record, now)
        };
        for number in 0..20 {
            assert_eq!(gate("a/1"), gate(["a/2", "a/3", "a/4"][number % 3]));
        }
        assert_ne!(gate("a/1"), gate("b/1"));
        assert_eq!(
            gate(""),
            None,
            "it panics, and fails when it is handed over"
        );
    }

    #[test]
    fn what_waits_too_long_is_taken_out() {
        let (mut gates, start) = (gates(), now());
        offer(&mut gates, record(1, "a"), 0, start);
        for number in 1..4 {
            let at = start + LINGER * number;
            offer(&mut gates, record(1, "x"), number as usize, at);
        }
        let late = gates.take_late(|one| one.since <= start + LINGER * 2);
        let late: Vec<usize> = late.into_iter().map(|one| one.number).collect();
        assert_eq!((late, gates.held()), (vec![1, 2], 1));
    }

    #[test]
    fn a_name_that_no_topic_has_is_not_looked_up() {
        let (mut gates, now) = (Gates::new(Batches::default(), None), now());
        let record = PublishRecord {
            topic: "long".repeat(100).into(),
            ..record(0, "x")
        };
        assert_eq!(gates.of(&record, now), None);
        assert_eq!(gates.next_unknown(now), None);
    }
}
