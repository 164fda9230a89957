//! What a backend can keep, as plain data.
//!
//! Start-up compares it with what the configuration asks for and refuses, with the reason, what cannot be kept; tests
//! select themselves by it.

/// Whether messages of one key stay in order across owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Partitioned logs read in offset order.
    Log,
    /// No order once a message is redelivered.
    None,
}

/// Where the position record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionStore {
    /// One atomic value per partition of at most this many bytes.
    Record {
        /// The limit on the encoded record; `usize::MAX` for none.
        max_bytes: usize,
    },
    /// None: settlements go back per message.
    None,
}

/// How partitions get their owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Several members share the partitions of a topic.
    Shared,
    /// One member per group for now.
    SingleMember,
}

/// What can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Everything that retention has not removed.
    Retained,
    /// Nothing that was acknowledged.
    None,
}

/// Whether publishes and progress can be committed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transactional {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Who chooses the partition of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// murmur2, as in the Java client of Kafka: nobody else can.
    Murmur2,
    /// murmur2, or the [`Partitioner`](super::Partitioner) that the app gives.
    Custom,
}

/// What a backend can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Key order across owners.
    pub key_order: KeyOrder,
    /// The position record.
    pub position: PositionStore,
    /// Sharing of partitions.
    pub ownership: Ownership,
    /// Replay of history.
    pub history: History,
    /// Topic-to-topic transactions.
    pub transactions: Transactional,
    /// Custom partitioners.
    pub partitioning: Partitioning,
    /// Largest record it stores: bytes of key, payload and headers; `usize::MAX` for no limit.
    pub max_record_bytes: usize,
    /// Longest topic name, in bytes.
    pub max_topic_bytes: usize,
    /// Survives the end of the process.
    pub durable: bool,
}

impl Capability {
    /// The weakest capability; an adapter sets what it can do better.
    #[must_use]
    pub const fn minimal() -> Self {
        Self {
            key_order: KeyOrder::None,
            position: PositionStore::None,
            ownership: Ownership::SingleMember,
            history: History::None,
            transactions: Transactional::No,
            partitioning: Partitioning::Murmur2,
            max_record_bytes: usize::MAX,
            max_topic_bytes: 249,
            durable: false,
        }
    }
}
