//! What `[backend.<name>.kafka]` and the URL say, as librdkafka's properties.
//!
//! librdkafka's own defaults are for throughput and lose messages; what the guarantees rest on is set here and cannot be
//! changed. Everything else is passed through by librdkafka's own names. A property counts from the last place that sets it:
//! what all clients have, the profile, the adapter's own keys, librdkafka's properties as written, and what is fixed. Values may
//! be secrets: no error names one, and nothing here prints one.
//!
//! | File | For |
//! |---|---|
//! | `url` | brokers and login |
//! | `own` | the adapter's own keys |
//! | `profiles` | names for sets of properties |
//! | `properties` | librdkafka's properties: who takes each, and what |
//! | `refused` | those that would break a guarantee |
//! | `conflicts` | what does not go together |
//! | `security`, `secret` | TLS and SASL; texts that are not printed |
//! | `check` | one setting by itself, while the configuration is read |
//! | `list` | what a printed configuration shows of them |

mod check;
mod conflicts;
mod list;
mod own;
mod profiles;
mod properties;
mod refused;
mod secret;
mod security;
mod url;

use std::collections::BTreeMap;
use std::time::Duration;

use dotmsg_core::backend::{BackendOptions, WrongSetting};
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

pub use check::kafka_check_setting;
pub use list::kafka_setting_list;
use own::Own;
pub(crate) use own::TopicCheck;
use profiles::ProducerProfile;
use properties::Scope;
use secret::Secret;
use url::Address;

/// The group id of readers outside of any group: librdkafka wants one, and nothing is committed under it.
const READER_GROUP: &str = "dotmsg-reader";
/// What says how a member is one.
const MEMBERSHIP: &[&str] = &[
    "group.protocol",
    "group.remote.assignor",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
];
/// What a broker takes unless it was told otherwise (`message.max.bytes`, 1,048,588), less the framing.
pub(crate) const MAX_RECORD_BYTES: usize = 1_000_000;
/// What librdkafka counts of a record beside key, payload and headers: the lengths of the headers.
const FRAMING: usize = 40_000;
/// The most that librdkafka takes for `message.max.bytes`.
const MOST: usize = 1_000_000_000;
/// What librdkafka fetches at once unless it is told otherwise.
const LARGEST_FETCH: u64 = 52_428_800;

/// Whether the broker assigns (KIP-848), by a value of `group.protocol`. librdkafka does not look at the case of letters.
pub(crate) fn is_by_broker(protocol: Option<&str>) -> bool {
    protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("consumer"))
}

/// Everything that clients of one backend are made with.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The backend's name in the configuration.
    pub(crate) name: String,
    brokers: String,
    own: Own,
    /// TLS and SASL, from the adapter's own keys and the URL.
    security: Vec<(&'static str, Secret)>,
    /// librdkafka's properties as written, each under the name that is used here.
    properties: BTreeMap<String, Secret>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

/// What the topics of a backend must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durability {
    pub(crate) replication: Option<i32>,
    pub(crate) min_insync_replicas: Option<i32>,
    pub(crate) check: TopicCheck,
}

/// What a producer puts into one request for one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batches {
    /// It waits for so long for more.
    pub(crate) linger: Duration,
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Settings {
    /// The settings of a backend.
    ///
    /// # Errors
    /// All settings that are wrong, in one error.
    pub(crate) fn of(options: &BackendOptions) -> Result<Self> {
        let named = |error: Error| error.with("backend", &options.name);
        let address = Address::parse(&options.url).map_err(named)?;
        let (mut own, mut written, mut wrong) = (Own::default(), BTreeMap::new(), Vec::new());
        for (key, value) in &options.settings {
            if let Err(error) = kafka_check_setting(key, value) {
                wrong.push(in_words(key, &error));
            } else if Own::is_one(key) {
                own.set(key, value).unwrap_or_default();
            } else {
                written.insert(key.clone(), value.clone());
            }
        }
        wrong.extend(conflicts::all(&own, address.login.is_some(), &written));
        if !wrong.is_empty() {
            let all = wrong.join("; ");
            return Err(
                named(Error::new(ErrorKind::Config, "read the settings", all))
                    .remedy("docs/kafka.md has every setting"),
            );
        }
        let security = security::properties(&own, address.login.as_ref()).map_err(named)?;
        let properties = written
            .into_iter()
            .map(|(name, value)| (properties::canonical(&name).to_owned(), Secret::new(value)))
            .collect();
        let settings = Self {
            name: options.name.clone(),
            brokers: address.brokers,
            own,
            security,
            properties,
        };
        settings.warn_of_bare_password();
        Ok(settings)
    }

    fn warn_of_bare_password(&self) {
        let protocol = self.property("security.protocol").unwrap_or_default();
        if security::is_bare(&self.own, protocol, self.property("sasl.mechanisms")) {
            tracing::warn!(
                backend = self.name,
                "the password goes over the network as it is: set tls = true, or a SCRAM mechanism"
            );
        }
    }

    /// What a property was set to, by whatever key.
    fn property(&self, name: &str) -> Option<&str> {
        let own = self.security.iter().find(|(property, _)| *property == name);
        self.properties
            .get(name)
            .or(own.map(|(_, value)| value))
            .map(Secret::reveal)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.property(name)?.parse().ok()
    }

    /// How a producer makes its batches. Where nobody says otherwise, by librdkafka's defaults.
    pub(crate) fn batches(&self) -> Batches {
        let producer = self.producer();
        let count = |name, default| {
            let set = producer.get(name).and_then(|set| set.parse().ok());
            set.unwrap_or(default)
        };
        // librdkafka takes fractions.
        let linger = producer.get("linger.ms").and_then(|set| set.parse().ok());
        let linger = linger.and_then(|ms: f64| Duration::try_from_secs_f64(ms / 1_000.0).ok());
        Batches {
            linger: linger.unwrap_or(Duration::from_millis(5)),
            messages: count("batch.num.messages", 10_000),
            bytes: count("batch.size", 1_000_000),
        }
    }

    /// How long a message may take until it is confirmed; for ever, if none.
    pub(crate) fn message_timeout(&self) -> Option<Duration> {
        let timeout = self.number("message.timeout.ms").unwrap_or(300_000);
        (timeout > 0).then(|| Duration::from_millis(timeout))
    }

    /// What of these settings a client of this kind takes. `Any`: neither a consumer nor a producer.
    fn finish(
        &self,
        mut config: ClientConfig,
        kind: Scope,
        fixed: &[(&str, &str)],
    ) -> ClientConfig {
        config.set("metadata.broker.list", &self.brokers);
        // Else the client library asks the crate `log`, which nobody here listens to; `tracing` drops what is not wanted.
        config.set_log_level(match self.properties.contains_key("debug") {
            true => RDKafkaLogLevel::Debug,
            false => RDKafkaLogLevel::Info,
        });
        for (name, value) in &self.security {
            config.set(*name, value.reveal());
        }
        for (name, value) in &self.properties {
            let scope = properties::scope(name);
            if scope == Scope::Any || scope == kind {
                config.set(name, value.reveal());
            }
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    fn base(lists: &[&[(&str, &str)]]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "dotmsg");
        for (name, value) in lists.iter().copied().flatten() {
            config.set(*name, *value);
        }
        config
    }

    /// What every consumer has: it commits nothing by itself, and goes on nowhere by itself.
    fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = Self::base(&[profiles::CONSUMER, self.own.consumer.properties()]);
        let kib = self
            .number("queued.max.messages.kbytes")
            .unwrap_or(self.prefetch_kib());
        config.set("queued.max.messages.kbytes", kib.to_string());
        // One answer may be as large as this beyond the queue's bound.
        let largest = u64::try_from(self.max_record_bytes()).unwrap_or(u64::MAX);
        let fetch = (kib << 10).min(LARGEST_FETCH).max(largest);
        config.set("fetch.max.bytes", fetch.to_string());
        if is_by_broker(self.property("group.protocol")) {
            config.remove("partition.assignment.strategy");
        }
        self.finish(
            config,
            Scope::Consumer,
            &[
                ("group.id", group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "false"),
                ("allow.auto.create.topics", "false"),
            ],
        )
    }

    fn prefetch_kib(&self) -> u64 {
        self.own
            .prefetch
            .unwrap_or(self.own.consumer.prefetch_kib())
    }

    /// A member of a group, for one topic of it. Two routes of a process may share a group, and are two members of it: with one
    /// name they would fence each other, so the name of a static member ends with its topic.
    pub(crate) fn member(&self, group: &str, topic: &str, instance: Option<&str>) -> ClientConfig {
        let mut config = self.consumer(group);
        if let Some(instance) = instance {
            config.set("group.instance.id", format!("{instance}.{topic}"));
        }
        config
    }

    /// A reader outside of any group, of nobody's offsets. Without a group there is no protocol and no timeout of a membership;
    /// a longest interval between polls alone would be compared with the default of the session timeout, and refused.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.consumer(READER_GROUP);
        for key in MEMBERSHIP {
            config.remove(key);
        }
        config
    }

    /// The producer.
    pub(crate) fn producer(&self) -> ClientConfig {
        let config = Self::base(&[profiles::PRODUCER, self.own.producer.properties()]);
        let most = (self.max_record_bytes() + FRAMING).min(MOST).to_string();
        let fixed = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("message.max.bytes", &most),
        ];
        self.finish(config, Scope::Producer, &fixed)
    }

    /// The producer of a member's transactions. What is on its way has an end before the broker ends the transaction.
    pub(crate) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        let timeout = self.transaction_timeout().as_millis().to_string();
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", &timeout);
        config.remove("message.timeout.ms");
        config.set("delivery.timeout.ms", &timeout);
        config
    }

    /// How long a broker waits for the end of a transaction that nobody ends. Readers of its topics wait as long.
    pub(crate) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.number("transaction.timeout.ms").unwrap_or(10_000))
    }

    /// Refuses a `partitioner` beside one of the application's: librdkafka would pass it over in silence.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub(crate) fn check_no_partitioner(&self) -> Result<()> {
        if self.property("partitioner").is_none() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            "set partitioner",
            "the settings name a partitioner, and the app gives one of its own",
        )
        .with("setting", "partitioner")
        .with("backend", &self.name)
        .remedy("Remove one of the two"))
    }

    /// The administrator. Nobody polls it for events, among which log lines are: they would pile up.
    pub(crate) fn admin(&self) -> ClientConfig {
        let mut config = self.contact();
        config.remove("debug").set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    /// The client that looks whether a broker answers.
    pub(crate) fn contact(&self) -> ClientConfig {
        self.finish(Self::base(&[]), Scope::Any, &[])
    }

    /// The largest record that is published: bytes of key, payload and headers.
    pub(crate) fn max_record_bytes(&self) -> usize {
        let set = self
            .number("message.max.bytes")
            .and_then(|set| usize::try_from(set).ok());
        set.unwrap_or(MAX_RECORD_BYTES)
    }

    /// How long a group waits for a member that is to give partitions up, and for one that does not poll.
    pub(crate) fn max_poll_interval(&self) -> Duration {
        Duration::from_millis(self.number("max.poll.interval.ms").unwrap_or(300_000))
    }

    /// The broker's limit on the metadata of a commit, in UTF-16 units.
    pub(crate) fn offset_metadata_max(&self) -> usize {
        self.own.offset_metadata_max
    }

    /// What topics are created with and, under the profile `durable`, must have.
    pub(crate) fn durability(&self) -> Durability {
        let is_checked = self.own.producer == ProducerProfile::Durable;
        Durability {
            replication: self.own.replication,
            min_insync_replicas: self.own.min_insync_replicas,
            check: if is_checked {
                self.own.topic_check
            } else {
                TopicCheck::Off
            },
        }
    }
}

/// One wrong setting, for an error at opening.
fn in_words(key: &str, wrong: &WrongSetting) -> String {
    match wrong {
        WrongSetting::UnknownKey([near]) => {
            format!("unknown setting `{key}`; did you mean `{near}`?")
        }
        WrongSetting::UnknownKey(known) => {
            format!(
                "unknown setting `{key}`; there are librdkafka's properties and {}",
                known.join(", ")
            )
        }
        WrongSetting::Expected(expected) => format!("`{key}`: expected {expected}"),
        WrongSetting::Refused(reason) => format!("`{key}` is {reason}"),
        _ => format!("`{key}` is wrong"),
    }
}

#[cfg(test)]
mod tests;
