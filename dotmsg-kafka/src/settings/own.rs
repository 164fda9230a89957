//! The adapter's own keys in `[backend.<name>.kafka]`: those without a dot.
//!
//! They name what librdkafka has no property for, or what takes several of its properties. Every key has a default, and a word
//! for it where it is no value (`broker`, `profile`, an empty text), so that a profile of the configuration can go back to it.

use dotmsg_core::backend::WrongSetting;

use super::profiles::{ConsumerProfile, ProducerProfile};
use super::secret::Secret;
use crate::metadata;

/// What is done when a topic that exists cannot keep what the producer profile `durable` promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TopicCheck {
    /// A line in the log.
    #[default]
    Warn,
    /// The topic is refused.
    Error,
    /// Nothing is looked at.
    Off,
}

/// How a client logs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mechanism {
    #[default]
    ScramSha512,
    ScramSha256,
    Plain,
}

impl Mechanism {
    const WORDS: &str =
        "SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN (others by librdkafka's `sasl.mechanisms`)";

    fn parse(word: &str) -> Option<Self> {
        [Self::ScramSha512, Self::ScramSha256, Self::Plain]
            .into_iter()
            .find(|mechanism| mechanism.name() == word)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }
}

/// The keys, in order, each with its default as a config file would have it.
pub(super) const DEFAULTS: &[(&str, &str)] = &[
    ("ca_file", ""),
    ("certificate_file", ""),
    ("consumer", "balanced"),
    ("key_file", ""),
    ("min_insync_replicas", "broker"),
    ("offset_metadata_max", "4096"),
    ("password", ""),
    ("password_file", ""),
    ("prefetch", "profile"),
    ("producer", "durable"),
    ("replication", "broker"),
    ("sasl_mechanism", "SCRAM-SHA-512"),
    ("tls", "false"),
    ("topic_check", "warn"),
    ("username", ""),
];

/// The keys alone.
pub(super) const KEYS: &[&str] = &{
    let mut keys = [""; DEFAULTS.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = DEFAULTS[index].0;
        index += 1;
    }
    keys
};

/// Their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) producer: ProducerProfile,
    pub(super) consumer: ConsumerProfile,
    /// Copies of a topic that is created; the broker's default without it.
    pub(super) replication: Option<i32>,
    /// How many of them must have a message that is confirmed; the broker's default without it.
    pub(super) min_insync_replicas: Option<i32>,
    pub(super) topic_check: TopicCheck,
    /// The broker's limit on the metadata of a commit, in UTF-16 units.
    pub(super) offset_metadata_max: usize,
    /// librdkafka's queue of one consumer in KiB; the consumer profile's without it.
    pub(super) prefetch: Option<u64>,
    pub(super) tls: bool,
    pub(super) mechanism: Mechanism,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) certificate_file: Option<String>,
    pub(super) key_file: Option<String>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            producer: ProducerProfile::default(),
            consumer: ConsumerProfile::default(),
            replication: None,
            min_insync_replicas: None,
            topic_check: TopicCheck::default(),
            offset_metadata_max: metadata::DEFAULT_LIMIT,
            prefetch: None,
            tls: false,
            mechanism: Mechanism::default(),
            username: None,
            password: None,
            password_file: None,
            ca_file: None,
            certificate_file: None,
            key_file: None,
        }
    }
}

/// Below it not even the record of a partition that has one away head fits.
const LEAST_METADATA: usize = 256;

impl Own {
    /// Whether a key is one of these.
    pub(super) fn is_one(key: &str) -> bool {
        KEYS.contains(&key)
    }

    /// Takes one over.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), WrongSetting> {
        match key {
            "producer" => {
                self.producer = word(ProducerProfile::parse(value), ProducerProfile::WORDS)?
            }
            "consumer" => {
                self.consumer = word(ConsumerProfile::parse(value), ConsumerProfile::WORDS)?
            }
            "replication" => self.replication = copies(value)?,
            "min_insync_replicas" => self.min_insync_replicas = copies(value)?,
            "topic_check" => self.topic_check = word(topic_check(value), "warn, error or off")?,
            "offset_metadata_max" => {
                let units = value
                    .parse()
                    .ok()
                    .filter(|units| (LEAST_METADATA..=1 << 20).contains(units));
                self.offset_metadata_max = word(units, "a number from 256 to 1048576")?;
            }
            "prefetch" => self.prefetch = prefetch(value)?,
            "tls" => self.tls = word(value.parse().ok(), "true or false")?,
            "sasl_mechanism" => self.mechanism = word(Mechanism::parse(value), Mechanism::WORDS)?,
            "username" => self.username = text(value)?,
            "password" => self.password = text(value)?.map(Secret::new),
            "password_file" => self.password_file = text(value)?,
            "ca_file" => self.ca_file = text(value)?,
            "certificate_file" => self.certificate_file = text(value)?,
            "key_file" => self.key_file = text(value)?,
            _ => return Err(WrongSetting::UnknownKey(KEYS)),
        }
        Ok(())
    }
}

fn word<T>(parsed: Option<T>, possible: &str) -> Result<T, WrongSetting> {
    parsed.ok_or_else(|| WrongSetting::Expected(possible.to_owned()))
}

fn topic_check(word: &str) -> Option<TopicCheck> {
    match word {
        "warn" => Some(TopicCheck::Warn),
        "error" => Some(TopicCheck::Error),
        "off" => Some(TopicCheck::Off),
        _ => None,
    }
}

fn copies(value: &str) -> Result<Option<i32>, WrongSetting> {
    if value == "broker" {
        return Ok(None);
    }
    let copies = value
        .parse()
        .ok()
        .filter(|copies| (1..=i32::from(i16::MAX)).contains(copies));
    word(
        copies.map(Some),
        "\"broker\" (its default) or a number from 1 to 32767",
    )
}

/// In KiB, as librdkafka counts.
fn prefetch(value: &str) -> Result<Option<u64>, WrongSetting> {
    if value == "profile" {
        return Ok(None);
    }
    let size = value
        .parse::<bytesize::ByteSize>()
        .ok()
        .map(|size| size.as_u64() >> 10);
    let size = size.filter(|kib| (64..=2_097_151).contains(kib));
    word(
        size.map(Some),
        "\"profile\" or a size like \"16MiB\", at least 64KiB and below 2GiB",
    )
}

/// Empty means none.
fn text(value: &str) -> Result<Option<String>, WrongSetting> {
    match value {
        "" => Ok(None),
        value if value.contains('\0') => {
            Err(WrongSetting::Expected("a text without NUL".to_owned()))
        }
        value => Ok(Some(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_taken_and_every_bad_value_refused() {
        for key in KEYS {
            let known = !matches!(
                Own::default().set(key, "?\0"),
                Err(WrongSetting::UnknownKey(_)) | Ok(())
            );
            assert!(known, "{key}");
        }
        assert!(KEYS.is_sorted());
        let unknown = Own::default().set("prefetsch", "1MiB");
        assert_eq!(unknown, Err(WrongSetting::UnknownKey(KEYS)));
        for (key, value) in [
            ("producer", "fast"),
            ("consumer", "durable"),
            ("replication", "0"),
            ("replication", "32768"),
            ("min_insync_replicas", "none"),
            ("topic_check", "true"),
            ("offset_metadata_max", "255"),
            ("prefetch", "1KiB"),
            ("prefetch", "2GiB"),
            ("prefetch", "much"),
            ("tls", "yes"),
            ("sasl_mechanism", "scram"),
        ] {
            let wrong = Own::default().set(key, value);
            assert!(
                matches!(wrong, Err(WrongSetting::Expected(_))),
                "{key} = {value}: {wrong:?}"
            );
        }
    }

    #[test]
    fn the_listed_defaults_are_the_defaults() {
        let mut own = Own::default();
        for (key, default) in DEFAULTS {
            own.set(key, default).unwrap();
        }
        assert_eq!(own, Own::default());
    }

    #[test]
    fn values_are_read_and_the_password_is_not_printed() {
        let mut own = Own::default();
        for (key, value) in [
            ("prefetch", "2MiB"),
            ("replication", "3"),
            ("password", "canary"),
            ("tls", "true"),
        ] {
            own.set(key, value).unwrap();
        }
        assert_eq!(
            (own.prefetch, own.replication, own.tls),
            (Some(2_048), Some(3), true)
        );
        assert!(!format!("{own:?}").contains("canary"));
        for (key, value) in [
            ("prefetch", "profile"),
            ("replication", "broker"),
            ("password", ""),
            ("tls", "false"),
        ] {
            own.set(key, value).unwrap();
        }
        assert_eq!(own, Own::default());
    }
}
