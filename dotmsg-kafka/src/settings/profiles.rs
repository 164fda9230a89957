//! Producer and consumer profiles: names for sets of librdkafka's properties.
//!
//! A profile decides what is bought with latency or memory, never with a guarantee: every one of them is idempotent and waits
//! for all replicas in sync. Each property may be set on its own beside the profile, and then counts instead. `docs/kafka.md`
//! shows these tables; a test compares both.

/// How messages are collected before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProducerProfile {
    /// The default: topics are also checked for their replicas.
    #[default]
    Durable,
    /// Each message at once.
    LowLatency,
    /// Large batches.
    Throughput,
}

impl ProducerProfile {
    pub(super) const WORDS: &str = "durable, low_latency or throughput";

    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "durable" => Some(Self::Durable),
            "low_latency" => Some(Self::LowLatency),
            "throughput" => Some(Self::Throughput),
            _ => None,
        }
    }

    /// Its properties.
    pub(super) fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Durable => &[
                ("linger.ms", "5"),
                ("compression.type", "lz4"),
                ("batch.num.messages", "10000"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            Self::LowLatency => &[
                ("linger.ms", "0"),
                ("compression.type", "none"),
                ("batch.num.messages", "10000"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
            ],
            Self::Throughput => &[
                ("linger.ms", "50"),
                ("compression.type", "lz4"),
                ("batch.num.messages", "100000"),
                ("queue.buffering.max.messages", "500000"),
                ("queue.buffering.max.kbytes", "262144"),
            ],
        }
    }
}

/// What every producer has, beside its profile. Keys have the same partition as with the Java client.
pub(super) const PRODUCER: &[(&str, &str)] = &[
    ("partitioner", "murmur2_random"),
    // Null keys are spread message by message.
    ("sticky.partitioning.linger.ms", "0"),
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// How messages are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ConsumerProfile {
    /// The default.
    #[default]
    Balanced,
    /// Fetches return as soon as they can, and little is fetched ahead.
    LowLatency,
    /// Large fetches, far ahead.
    Throughput,
}

impl ConsumerProfile {
    pub(super) const WORDS: &str = "balanced, low_latency or throughput";

    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "balanced" => Some(Self::Balanced),
            "low_latency" => Some(Self::LowLatency),
            "throughput" => Some(Self::Throughput),
            _ => None,
        }
    }

    /// Its properties. With a full queue librdkafka looks for room again after `fetch.queue.backoff.ms`; at its default of a second
    /// a fast handler waits most of the time.
    pub(super) fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Balanced => &[
                ("fetch.wait.max.ms", "100"),
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.min.bytes", "1"),
                ("queued.min.messages", "100000"),
            ],
            Self::LowLatency => &[
                ("fetch.wait.max.ms", "20"),
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.min.bytes", "1"),
                ("queued.min.messages", "10000"),
            ],
            Self::Throughput => &[
                ("fetch.wait.max.ms", "500"),
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.min.bytes", "65536"),
                ("queued.min.messages", "1000000"),
            ],
        }
    }

    /// librdkafka's own queue of one consumer, in KiB, unless `prefetch` says otherwise.
    pub(super) fn prefetch_kib(self) -> u64 {
        match self {
            Self::LowLatency => 4 << 10,
            Self::Balanced => 16 << 10,
            Self::Throughput => 64 << 10,
        }
    }
}

/// What every consumer has, beside its profile.
pub(super) const CONSUMER: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("fetch.error.backoff.ms", "100"),
];

#[cfg(test)]
mod tests {
    use super::super::properties::{Verdict, probe};
    use super::super::refused;
    use super::*;

    #[test]
    fn no_profile_breaks_what_is_refused_elsewhere() {
        let producers = [
            ProducerProfile::Durable,
            ProducerProfile::LowLatency,
            ProducerProfile::Throughput,
        ];
        let consumers = [
            ConsumerProfile::Balanced,
            ConsumerProfile::LowLatency,
            ConsumerProfile::Throughput,
        ];
        let all = producers.iter().flat_map(|profile| profile.properties());
        let all = all.chain(consumers.iter().flat_map(|profile| profile.properties()));
        for (name, value) in all.chain(PRODUCER).chain(CONSUMER) {
            assert_eq!(probe(name, value), Verdict::Takes, "{name}");
            assert_eq!(refused::reason(name, value), None, "{name}");
        }
    }

    #[test]
    fn the_documentation_shows_every_property_of_every_profile() {
        let docs = include_str!("../../../docs/kafka.md");
        let row = |name: &str, values: [&str; 3]| {
            let row = format!(
                "| `{name}` | {} | {} | {} |",
                values[0], values[1], values[2]
            );
            assert!(docs.contains(&row), "docs/kafka.md lacks the row {row}");
        };
        let [durable, quick, large] = [
            ProducerProfile::Durable,
            ProducerProfile::LowLatency,
            ProducerProfile::Throughput,
        ]
        .map(ProducerProfile::properties);
        for ((one, two), three) in durable.iter().zip(quick).zip(large) {
            row(one.0, [one.1, two.1, three.1]);
        }
        let profiles = [
            ConsumerProfile::Balanced,
            ConsumerProfile::LowLatency,
            ConsumerProfile::Throughput,
        ];
        let [balanced, quick, large] = profiles.map(ConsumerProfile::properties);
        for ((one, two), three) in balanced.iter().zip(quick).zip(large) {
            row(one.0, [one.1, two.1, three.1]);
        }
        let kib = profiles.map(|profile| profile.prefetch_kib().to_string());
        row("queued.max.messages.kbytes", [&kib[0], &kib[1], &kib[2]]);
    }
}
