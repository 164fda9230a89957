//! Every key there is, once: the walk, the reader and the test of the reference file all use these lists. They are statics, so
//! that each has one address, by which the walk tells them apart.

use super::kind::Kind;
use crate::router::{
    DeliverySemantics, Growth, LogMismatch, MissingPosition, Ordering, RetryOrder, Start,
};

/// A key of a section by its dotted path, and what it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

/// An enum whose values have words in the config; both lists go together by index.
pub(super) trait Word: Copy + 'static {
    const WORDS: &'static [&'static str];
    const VALUES: &'static [Self];
}

macro_rules! words {
    ($($name:ident { $($word:literal = $value:ident),+ })+) => {$(
        impl Word for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const VALUES: &'static [Self] = &[$(Self::$value),+];
        }
    )+};
}

words! {
    Ordering { "key" = Key, "partition" = Partition, "none" = None }
    DeliverySemantics { "at_most_once" = AtMostOnce, "at_least_once" = AtLeastOnce, "exactly_once" = ExactlyOnce }
    RetryOrder { "keep" = Keep, "relax" = Relax }
    Start { "earliest" = Earliest, "latest" = Latest }
    MissingPosition { "error" = Error, "earliest" = Earliest }
    LogMismatch { "error" = Error, "earliest" = Earliest }
    Growth { "stop" = Stop, "accept" = Accept }
}

/// The tables at the top.
pub(super) const SECTIONS: &[&str] = &[
    "backend",
    "store",
    "limits",
    "routes",
    "telemetry",
    "profile",
];

/// The tables that a profile may have: all but profiles.
pub(super) const PROFILE_SECTIONS: &[&str] = SECTIONS.split_at(SECTIONS.len() - 1).0;

/// The tables of `[telemetry]`.
pub(super) const TELEMETRY: &[&str] = &["http"];

/// What `Count` keys may be at most where nothing smaller is natural.
pub(super) const MANY: u64 = 1 << 32;

const fn key(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

const fn count(path: &'static str, min: u64, max: u64) -> Key {
    key(path, Kind::Count { min, max })
}

const fn time(path: &'static str) -> Key {
    key(path, Kind::Duration { zero: false })
}

const fn word<T: Word>(path: &'static str) -> Key {
    key(path, Kind::Word(T::WORDS))
}

/// `[backend.<name>]`; tables of adapters come on top.
pub(super) static BACKEND: &[Key] = &[
    key("url", Kind::Url),
    key("topic_prefix", Kind::Prefix),
    key("auto_create", Kind::Boolean),
    count("auto_create_partitions", 1, 10_000),
    key("instance_id", Kind::Prefix),
];

/// `[store.<name>]`.
pub(super) static STORE: &[Key] = &[key("url", Kind::Url)];

/// `[limits.<name>]`.
pub(super) static LIMIT: &[Key] = &[count("concurrency", 1, 1_000_000), key("rate", Kind::Rate)];

/// `[telemetry.http]`.
pub(super) static HTTP: &[Key] = &[key("listen", Kind::Listen)];

/// `[routes.<handler>]`.
pub(super) static ROUTE: &[Key] = &[
    key("topic", Kind::Name),
    key("group", Kind::Name),
    key("backend", Kind::Name),
    word::<Ordering>("ordering"),
    word::<DeliverySemantics>("delivery"),
    count("concurrency", 1, 1_000_000),
    count("workers", 1, 1_024),
    key("limits", Kind::Names),
    key("timeout", Kind::Limit),
    word::<Start>("start"),
    word::<MissingPosition>("on_missing_position"),
    word::<LogMismatch>("on_log_mismatch"),
    word::<Growth>("on_partition_growth"),
    time("commit_interval"),
    time("drain_timeout"),
    key("retry.tiers", Kind::Tiers),
    word::<RetryOrder>("retry.order"),
    count("retry.attempts", 1, 1_000),
    key("retry.backoff", Kind::Duration { zero: true }),
    key("retry.max_backoff", Kind::Duration { zero: true }),
    count("batch.size", 1, 1_000_000),
    time("batch.linger"),
    count("breaker.failures", 1, 10_000),
    time("breaker.pause"),
    count("dedup.max_ids", 1, 100_000_000),
    time("dedup.keep_for"),
    key("shed.keep", Kind::Fraction),
    key("shed.older_than", Kind::Limit),
    count("max_held_messages", 1, MANY),
    key("max_held_bytes", Kind::Bytes),
    count("batch_messages", 1, 1_000_000),
    count("park.max_held_messages", 1, MANY),
    key("park.max_held_bytes", Kind::Bytes),
    count("park.max_keys", 1, MANY),
    key("max_payload_bytes", Kind::Bytes),
    key("max_header_bytes", Kind::Bytes),
    key("max_key_bytes", Kind::Bytes),
    count("crash_loop.takeovers", 0, 1_000_000),
    count("crash_loop.confirmations", 1, 1_000_000),
];

/// The names that may follow `prefix` (`""`, or one ending in a dot), in order, each once.
pub(super) fn below(keys: &'static [Key], prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for rest in keys.iter().filter_map(|key| key.path.strip_prefix(prefix)) {
        let name = rest.split('.').next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The adapters whose tables are known whatever the URL says, so that profiles may switch between them.
pub(super) const ADAPTERS: &[&str] = &["memory", "log", "kafka", "amqp", "nats", "postgres"];

/// The adapter that a URL names: its scheme without what follows a plus sign.
pub(super) fn adapter(url: &str) -> &str {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme.split('+').next().unwrap_or_default() {
        "amqps" => "amqp",
        "postgresql" => "postgres",
        adapter => adapter,
    }
}
