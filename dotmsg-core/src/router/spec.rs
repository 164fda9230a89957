//! The resolved description of one route. Every limit has a name, a unit and a default with its reason.

use std::time::Duration;

use crate::middleware::rate_limit::Rate;

/// Which messages wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// Messages of one key run one at a time, in log order; null keys have no order.
    #[default]
    Key,
    /// All messages of a partition run one at a time.
    Partition,
    /// None.
    None,
}

/// What a failing message does to the later ones of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryOrder {
    /// They wait until it is settled.
    #[default]
    Keep,
    /// They go on.
    Relax,
}

/// When progress is made relative to the handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliverySemantics {
    /// Progress confirmed, then dispatched: a crash loses what was in flight.
    AtMostOnce,
    /// Settled after the handler's effect: a crash repeats what was in flight.
    #[default]
    AtLeastOnce,
    /// With a dedup table or transactions.
    ExactlyOnce,
}

/// Where a new group starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record the log holds.
    #[default]
    Earliest,
    /// At the end of the log when the group first sees it.
    Latest,
}

/// What to do when the position of a known group is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingPosition {
    /// Stop with an error.
    #[default]
    Error,
    /// Start at the first record the log holds.
    Earliest,
}

/// What to do when the log is not the one the position belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogMismatch {
    /// Stop with an error.
    #[default]
    Error,
    /// Start at the first record the log holds.
    Earliest,
}

/// What to do when a topic gains partitions under key order (keys move between partitions then).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Stop with an error that names the runbook.
    #[default]
    Stop,
    /// Go on; order across the change is lost.
    Accept,
}

/// Attempts in place, before a tier or the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InPlace {
    /// Calls of the handler in a row, at least 1. Default 3 without tiers, 1 with tiers.
    pub attempts: u32,
    /// Pause before the second call; doubles, with jitter. Default 50 ms: long enough for a lost connection to be
    /// replaced, short enough not to hold the key.
    pub backoff: Duration,
    /// The longest pause. Default 1 s.
    pub max_backoff: Duration,
}

/// The retry policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetrySpec {
    /// Attempts in place.
    pub in_place: InPlace,
    /// Delays of the tiers, strictly ascending; empty: no tiers. Default none.
    pub tiers: Vec<Duration>,
    /// What a failing message does to the later ones of its key. Default: they wait; with `ordering = "none"` they go on.
    pub order: RetryOrder,
}

/// What may wait behind away heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Park {
    /// Messages. Default 10,000.
    pub max_held_messages: usize,
    /// Bytes. Default 32 MiB, half of what may be held in all: one failing key must not stop the others.
    pub max_held_bytes: usize,
    /// Keys away at once. Default 10,000: each is a name in the position record.
    pub max_keys: usize,
}

/// What a route may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handlers running. Default 256.
    pub concurrency: usize,
    /// Worker tasks that share them: CPU parallelism. Default 1: handlers that wait need no second one.
    pub workers: usize,
    /// Messages delivered and not settled, running ones included. Default 20,000.
    pub max_held_messages: usize,
    /// Their bytes. Default 64 MiB.
    pub max_held_bytes: usize,
    /// Messages per poll of the source. Default 512.
    pub batch_messages: usize,
    /// The part that may wait behind away heads.
    pub park: Park,
    /// Largest payload handed to a handler, in bytes; checked before decoding. Default 16 MiB.
    pub max_payload_bytes: usize,
    /// Largest sum of header names and values, in bytes. Default 64 KiB.
    pub max_header_bytes: usize,
    /// Longest key, in bytes. Default 64 KiB.
    pub max_key_bytes: usize,
}

/// A limit that any number of routes share, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitSpec {
    /// Its name, by which routes name it.
    pub name: String,
    /// Calls at once, over all routes that name it; `None`: any number.
    pub concurrency: Option<usize>,
    /// The rate at which messages are handed to handlers, over all of these routes; `None`: any.
    pub rate: Option<Rate>,
}

impl LimitSpec {
    /// A limit that limits nothing yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            concurrency: None,
            rate: None,
        }
    }
}

/// How batches are formed for a handler that takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// Messages in a batch at most, at least 1. Default 100.
    pub size: usize,
    /// How long the first message of a batch waits for more. Default 50 ms: short beside what a batch is worth waiting
    /// for, long enough for a few round trips to the broker.
    pub linger: Duration,
}

/// When a route stops calling its handler, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSpec {
    /// Different messages that have to fail in a row, at least 1. Default 20: more than bad luck, fewer than a second's worth.
    pub failures: usize,
    /// How long nothing is called before one message tries again. Default 10 s.
    pub pause: Duration,
}

/// Which ids of handled messages are remembered, so that their duplicates are not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupSpec {
    /// How many; beyond it the oldest are forgotten. Default 100,000: some minutes of most topics in at most 9 MB.
    pub max_ids: usize,
    /// How long. Default 1 h: longer than producers repeat what was not confirmed, and most outages of one.
    pub keep_for: Duration,
}

/// Which messages are dropped without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShedSpec {
    /// Messages that are kept of a million, from 1. Default a million: all.
    pub keep_ppm: u32,
    /// Those are dropped whose producer made them longer ago; `None`: none are. Default none.
    pub older_than: Option<Duration>,
}

/// When a message that kills the process again and again is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashLoop {
    /// Unclean takeovers in a row at one watermark before messages run one at a time; 0 = off. Default 5.
    pub takeovers: u32,
    /// Unclean takeovers that must find one message noted before it becomes a dead letter. Default 3.
    pub confirmations: u32,
}

/// One route, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteSpec {
    /// The handler's name; also the route's name in the config.
    pub handler: String,
    /// The topic as the app names it (without the backend's prefix).
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// The backend's name in the config. Default `main`.
    pub backend: String,
    /// Which messages wait for each other. Default: those of one key.
    pub ordering: Ordering,
    /// Delivery semantics. Default at least once.
    pub delivery: DeliverySemantics,
    /// The retry policy. Default: 3 calls in place, no tiers.
    pub retry: RetrySpec,
    /// What may be held.
    pub limits: Limits,
    /// The limits that it shares with other routes, by name. Default none.
    pub shared_limits: Vec<String>,
    /// Time limit of one call of the handler; `None`: no limit. Default none.
    pub timeout: Option<Duration>,
    /// Where a new group starts. Default: at the first record.
    pub start: Start,
    /// When a known group's position is missing. Default: an error.
    pub on_missing_position: MissingPosition,
    /// When the log is another one. Default: an error.
    pub on_log_mismatch: LogMismatch,
    /// When the topic gains partitions. Default: the route stops.
    pub on_partition_growth: Growth,
    /// Crash loop policy.
    pub crash_loop: CrashLoop,
    /// How often progress is committed. Default 200 ms: the most that a crash repeats.
    pub commit_interval: Duration,
    /// How long running handlers may take at shutdown or revocation. Default 30 s.
    pub drain_timeout: Duration,
    /// How batches are formed; `None`: the handler takes one message at a time. Default: as the handler's arguments say.
    pub batch: Option<BatchSpec>,
    /// When the handler is not called for a while; `None`: never. Default never.
    pub breaker: Option<BreakerSpec>,
    /// Which duplicates are known; `None`: none are. Default none.
    pub dedup: Option<DedupSpec>,
    /// Which messages are dropped without a call. Default none.
    pub shed: ShedSpec,
}

impl RouteSpec {
    /// A route with every default.
    #[must_use]
    pub fn new(
        handler: impl Into<String>,
        topic: impl Into<String>,
        group: impl Into<String>,
    ) -> Self {
        Self {
            handler: handler.into(),
            topic: topic.into(),
            group: group.into(),
            backend: "main".into(),
            ordering: Ordering::default(),
            delivery: DeliverySemantics::default(),
            retry: RetrySpec::default(),
            limits: Limits::default(),
            shared_limits: Vec::new(),
            timeout: None,
            start: Start::default(),
            on_missing_position: MissingPosition::default(),
            on_log_mismatch: LogMismatch::default(),
            on_partition_growth: Growth::default(),
            crash_loop: CrashLoop::default(),
            commit_interval: Duration::from_millis(200),
            drain_timeout: Duration::from_secs(30),
            batch: None,
            breaker: None,
            dedup: None,
            shed: ShedSpec::default(),
        }
    }

    /// Whether a failing message blocks its key: `order = "keep"` under key order.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        self.ordering == Ordering::Key && self.retry.order == RetryOrder::Keep
    }
}

impl RouteSpec {
    /// Messages in hand at once: as many as handlers run, or as their batches hold, and no more than may be held.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        let size = self.batch.map_or(1, |batch| batch.size);
        let messages = self.limits.concurrency.saturating_mul(size);
        messages.min(self.limits.max_held_messages.max(self.limits.concurrency))
    }
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self {
            size: 100,
            linger: Duration::from_millis(50),
        }
    }
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            failures: 20,
            pause: Duration::from_secs(10),
        }
    }
}

impl Default for DedupSpec {
    fn default() -> Self {
        Self {
            max_ids: 100_000,
            keep_for: Duration::from_secs(3600),
        }
    }
}

impl Default for ShedSpec {
    fn default() -> Self {
        Self {
            keep_ppm: 1_000_000,
            older_than: None,
        }
    }
}

impl Default for InPlace {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(1),
        }
    }
}

impl Default for Park {
    fn default() -> Self {
        Self {
            max_held_messages: 10_000,
            max_held_bytes: 32 << 20,
            max_keys: 10_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 256,
            workers: 1,
            max_held_messages: 20_000,
            max_held_bytes: 64 << 20,
            batch_messages: 512,
            park: Park::default(),
            max_payload_bytes: 16 << 20,
            max_header_bytes: 64 << 10,
            max_key_bytes: 64 << 10,
        }
    }
}

impl Default for CrashLoop {
    fn default() -> Self {
        Self {
            takeovers: 5,
            confirmations: 3,
        }
    }
}
