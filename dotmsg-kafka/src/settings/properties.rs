//! librdkafka's properties: who takes each, what it takes, and under which other names it goes.
//!
//! A producer that is given a consumer's property warns of it, and the other way round; so each client gets those that it takes
//! and no others. Whether a value is possible librdkafka decides ([`probe`]); the table only says in words what is, since
//! librdkafka's own words repeat the value, which may be a secret. A property that is missing here goes to every client.
//!
//! Source: `CONFIGURATION.md` of librdkafka 2.12.1. A test compares the table with the library that is linked.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// Which clients take a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them.
    Any,
    /// Consumers.
    Consumer,
    /// Producers.
    Producer,
}

/// What a property takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Some text; which, only librdkafka knows.
    Text,
    Flag,
    /// A whole number in this range, both ends included.
    Number(i64, i64),
    /// One of these, or several of them.
    Words(&'static str),
}

use Takes::{Flag, Number, Text, Words};

/// What `[backend.<name>.kafka]` calls by another name, and the name that is used here. With both in hand, which of them counts
/// would be a matter of chance.
const ALIASES: &[(&str, &str)] = &[
    ("auto.commit.enable", "enable.auto.commit"),
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.codec", "compression.type"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("message.send.max.retries", "retries"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("sasl.mechanism", "sasl.mechanisms"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
];

/// The name under which a property is used here.
pub(super) fn canonical(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, canonical)| canonical)
}

/// All that the clients of a backend take, by scope.
const ALL: [(Scope, &[(&str, Takes)]); 3] = [
    (Scope::Any, ANY),
    (Scope::Consumer, CONSUMER),
    (Scope::Producer, PRODUCER),
];

fn row(name: &str) -> Option<(Scope, Takes)> {
    ALL.iter().find_map(|(scope, rows)| {
        let row = rows.iter().find(|(known, _)| *known == name)?;
        Some((*scope, row.1))
    })
}

/// Who takes a property.
pub(super) fn scope(name: &str) -> Scope {
    row(name).map_or(Scope::Any, |(scope, _)| scope)
}

/// The names of all properties.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter()
        .flat_map(|(_, rows)| rows.iter().map(|(name, _)| *name))
}

/// A list of one name, out of the table.
pub(super) fn one(name: &str) -> &'static [&'static str] {
    let found = ALL
        .iter()
        .flat_map(|(_, rows)| rows.iter())
        .find(|(known, _)| *known == name);
    found.map_or(&[], |(name, _)| std::slice::from_ref(name))
}

/// What librdkafka says of one property and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Takes,
    Unknown,
    Invalid,
}

/// Whether a property takes a number, a word or a flag, which is no secret. Of a text nobody knows.
pub(super) fn is_no_text(name: &str) -> bool {
    matches!(row(name), Some((_, Flag | Number(..) | Words(_))))
}

/// Asks librdkafka, with a configuration that no client is made of.
pub(super) fn probe(name: &str, value: &str) -> Verdict {
    let made = ClientConfig::new().set(name, value).create_native_config();
    match made {
        Ok(_) => Verdict::Takes,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Verdict::Unknown
        }
        Err(_) => Verdict::Invalid,
    }
}

/// What a property takes, in words.
pub(super) fn expected(name: &str) -> String {
    match row(name) {
        Some((_, Flag)) => "true or false".to_owned(),
        Some((_, Number(least, most))) => format!("a number from {least} to {most}"),
        Some((_, Words(words))) => format!("one of {words}"),
        Some((_, Text)) => "a value that librdkafka takes in this build".to_owned(),
        None => "a value that librdkafka takes by configuration: this one is none, or a function"
            .to_owned(),
    }
}

/// Of every client.
#[rustfmt::skip]
const ANY: &[(&str, Takes)] = &[
    ("builtin.features", Text),
    ("client.id", Text),
    ("metadata.broker.list", Text),
    ("bootstrap.servers", Text),
    ("message.max.bytes", Number(1000, 1_000_000_000)),
    ("message.copy.max.bytes", Number(0, 1_000_000_000)),
    ("receive.message.max.bytes", Number(1000, 2_147_483_647)),
    ("max.in.flight.requests.per.connection", Number(1, 1_000_000)),
    ("max.in.flight", Number(1, 1_000_000)),
    ("metadata.recovery.strategy", Words("none, rebootstrap")),
    ("metadata.recovery.rebootstrap.trigger.ms", Number(0, 2_147_483_647)),
    ("topic.metadata.refresh.interval.ms", Number(-1, 3_600_000)),
    ("metadata.max.age.ms", Number(1, 86_400_000)),
    ("topic.metadata.refresh.fast.interval.ms", Number(1, 60_000)),
    ("topic.metadata.refresh.fast.cnt", Number(0, 1_000)),
    ("topic.metadata.refresh.sparse", Flag),
    ("topic.metadata.propagation.max.ms", Number(0, 3_600_000)),
    ("topic.blacklist", Text),
    ("debug", Text),
    ("socket.timeout.ms", Number(10, 300_000)),
    ("socket.blocking.max.ms", Number(1, 60_000)),
    ("socket.send.buffer.bytes", Number(0, 100_000_000)),
    ("socket.receive.buffer.bytes", Number(0, 100_000_000)),
    ("socket.keepalive.enable", Flag),
    ("socket.nagle.disable", Flag),
    ("socket.max.fails", Number(0, 1_000_000)),
    ("broker.address.ttl", Number(0, 86_400_000)),
    ("broker.address.family", Words("any, v4, v6")),
    ("socket.connection.setup.timeout.ms", Number(1000, 2_147_483_647)),
    ("connections.max.idle.ms", Number(0, 2_147_483_647)),
    ("reconnect.backoff.jitter.ms", Number(0, 3_600_000)),
    ("reconnect.backoff.ms", Number(0, 3_600_000)),
    ("reconnect.backoff.max.ms", Number(0, 3_600_000)),
    ("statistics.interval.ms", Number(0, 86_400_000)),
    ("enabled_events", Number(0, 2_147_483_647)),
    ("log_level", Number(0, 7)),
    ("log.queue", Flag),
    ("log.thread.name", Flag),
    ("enable.random.seed", Flag),
    ("log.connection.close", Flag),
    ("internal.termination.signal", Number(0, 128)),
    ("api.version.request", Flag),
    ("api.version.request.timeout.ms", Number(1, 300_000)),
    ("api.version.fallback.ms", Number(0, 604_800_000)),
    ("broker.version.fallback", Text),
    ("allow.auto.create.topics", Flag),
    ("security.protocol", Words("plaintext, ssl, sasl_plaintext, sasl_ssl")),
    ("ssl.cipher.suites", Text),
    ("ssl.curves.list", Text),
    ("ssl.sigalgs.list", Text),
    ("ssl.key.location", Text),
    ("ssl.key.password", Text),
    ("ssl.key.pem", Text),
    ("ssl.certificate.location", Text),
    ("ssl.certificate.pem", Text),
    ("ssl.ca.location", Text),
    ("https.ca.location", Text),
    ("https.ca.pem", Text),
    ("ssl.ca.pem", Text),
    ("ssl.ca.certificate.stores", Text),
    ("ssl.crl.location", Text),
    ("ssl.keystore.location", Text),
    ("ssl.keystore.password", Text),
    ("ssl.providers", Text),
    ("ssl.engine.location", Text),
    ("ssl.engine.id", Text),
    ("enable.ssl.certificate.verification", Flag),
    ("ssl.endpoint.identification.algorithm", Words("none, https")),
    ("sasl.mechanisms", Text),
    ("sasl.mechanism", Text),
    ("sasl.kerberos.service.name", Text),
    ("sasl.kerberos.principal", Text),
    ("sasl.kerberos.kinit.cmd", Text),
    ("sasl.kerberos.keytab", Text),
    ("sasl.kerberos.min.time.before.relogin", Number(0, 86_400_000)),
    ("sasl.username", Text),
    ("sasl.password", Text),
    ("sasl.oauthbearer.config", Text),
    ("enable.sasl.oauthbearer.unsecure.jwt", Flag),
    ("sasl.oauthbearer.method", Words("default, oidc")),
    ("sasl.oauthbearer.client.id", Text),
    ("sasl.oauthbearer.client.credentials.client.id", Text),
    ("sasl.oauthbearer.client.credentials.client.secret", Text),
    ("sasl.oauthbearer.client.secret", Text),
    ("sasl.oauthbearer.scope", Text),
    ("sasl.oauthbearer.extensions", Text),
    ("sasl.oauthbearer.token.endpoint.url", Text),
    ("sasl.oauthbearer.grant.type", Words("client_credentials, urn:ietf:params:oauth:grant-type:jwt-bearer")),
    ("sasl.oauthbearer.assertion.algorithm", Words("RS256, ES256")),
    ("sasl.oauthbearer.assertion.private.key.file", Text),
    ("sasl.oauthbearer.assertion.private.key.passphrase", Text),
    ("sasl.oauthbearer.assertion.private.key.pem", Text),
    ("sasl.oauthbearer.assertion.file", Text),
    ("sasl.oauthbearer.assertion.claim.aud", Text),
    ("sasl.oauthbearer.assertion.claim.exp.seconds", Number(1, 2_147_483_647)),
    ("sasl.oauthbearer.assertion.claim.iss", Text),
    ("sasl.oauthbearer.assertion.claim.jti.include", Flag),
    ("sasl.oauthbearer.assertion.claim.nbf.seconds", Number(0, 2_147_483_647)),
    ("sasl.oauthbearer.assertion.claim.sub", Text),
    ("sasl.oauthbearer.assertion.jwt.template.file", Text),
    ("sasl.oauthbearer.metadata.authentication.type", Words("none, azure_imds")),
    ("plugin.library.paths", Text),
    ("client.rack", Text),
    ("retry.backoff.ms", Number(1, 300_000)),
    ("retry.backoff.max.ms", Number(1, 300_000)),
    ("client.dns.lookup", Words("use_all_dns_ips, resolve_canonical_bootstrap_servers_only")),
    ("enable.metrics.push", Flag),
];

/// Of consumers.
#[rustfmt::skip]
const CONSUMER: &[(&str, Takes)] = &[
    ("group.id", Text),
    ("group.instance.id", Text),
    ("partition.assignment.strategy", Text),
    ("session.timeout.ms", Number(1, 3_600_000)),
    ("heartbeat.interval.ms", Number(1, 3_600_000)),
    ("group.protocol.type", Text),
    ("group.protocol", Words("classic, consumer")),
    ("group.remote.assignor", Text),
    ("coordinator.query.interval.ms", Number(1, 3_600_000)),
    ("max.poll.interval.ms", Number(1, 86_400_000)),
    ("enable.auto.commit", Flag),
    ("auto.commit.interval.ms", Number(0, 86_400_000)),
    ("enable.auto.offset.store", Flag),
    ("queued.min.messages", Number(1, 10_000_000)),
    ("queued.max.messages.kbytes", Number(1, 2_097_151)),
    ("fetch.wait.max.ms", Number(0, 300_000)),
    ("fetch.queue.backoff.ms", Number(0, 300_000)),
    ("fetch.message.max.bytes", Number(1, 1_000_000_000)),
    ("max.partition.fetch.bytes", Number(1, 1_000_000_000)),
    ("fetch.max.bytes", Number(0, 2_147_483_135)),
    ("fetch.min.bytes", Number(1, 100_000_000)),
    ("fetch.error.backoff.ms", Number(0, 300_000)),
    ("offset.store.method", Words("none, file, broker")),
    ("isolation.level", Words("read_uncommitted, read_committed")),
    ("enable.partition.eof", Flag),
    ("check.crcs", Flag),
    ("auto.commit.enable", Flag),
    ("auto.offset.reset", Words("smallest, earliest, beginning, largest, latest, end, error")),
    ("offset.store.path", Text),
    ("offset.store.sync.interval.ms", Number(-1, 86_400_000)),
    ("consume.callback.max.messages", Number(0, 1_000_000)),
];

/// Of producers.
#[rustfmt::skip]
const PRODUCER: &[(&str, Takes)] = &[
    ("transactional.id", Text),
    ("transaction.timeout.ms", Number(1000, 2_147_483_647)),
    ("enable.idempotence", Flag),
    ("enable.gapless.guarantee", Flag),
    ("queue.buffering.max.messages", Number(0, 2_147_483_647)),
    ("queue.buffering.max.kbytes", Number(1, 2_147_483_647)),
    ("queue.buffering.max.ms", Number(0, 900_000)),
    ("linger.ms", Number(0, 900_000)),
    ("message.send.max.retries", Number(0, 2_147_483_647)),
    ("retries", Number(0, 2_147_483_647)),
    ("queue.buffering.backpressure.threshold", Number(1, 1_000_000)),
    ("compression.codec", Words("none, gzip, snappy, lz4, zstd")),
    ("compression.type", Words("none, gzip, snappy, lz4, zstd")),
    ("batch.num.messages", Number(1, 1_000_000)),
    ("batch.size", Number(1, 2_147_483_647)),
    ("delivery.report.only.error", Flag),
    ("sticky.partitioning.linger.ms", Number(0, 900_000)),
    ("request.required.acks", Number(-1, 1_000)),
    ("acks", Number(-1, 1_000)),
    ("request.timeout.ms", Number(1, 900_000)),
    ("message.timeout.ms", Number(0, 2_147_483_647)),
    ("delivery.timeout.ms", Number(0, 2_147_483_647)),
    ("queuing.strategy", Words("fifo, lifo")),
    ("produce.offset.report", Flag),
    ("partitioner", Text),
    ("compression.level", Number(-1, 12)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_and_the_library_know_the_same_names() {
        let all: Vec<&str> = names().collect();
        assert_eq!(
            all.len(),
            all.iter().collect::<BTreeSet<_>>().len(),
            "a name is there twice"
        );
        for name in all {
            assert_ne!(probe(name, "\u{1}"), Verdict::Unknown, "{name}");
        }
        for (alias, canonical) in ALIASES {
            assert_ne!(probe(alias, "\u{1}"), Verdict::Unknown, "{alias}");
            assert_eq!(scope(alias), scope(canonical), "{alias}");
        }
        assert_eq!(probe("session.timeout", "1"), Verdict::Unknown);
    }

    #[test]
    fn the_ranges_are_the_library_s() {
        for (name, takes) in ALL.iter().flat_map(|(_, rows)| rows.iter()) {
            // OIDC needs libcurl, which this build is without.
            if name.starts_with("sasl.oauthbearer.") {
                continue;
            }
            match takes {
                Number(least, most) => {
                    let out = [least.checked_sub(1), most.checked_add(1)];
                    for inside in [least, most] {
                        assert_eq!(
                            probe(name, &inside.to_string()),
                            Verdict::Takes,
                            "{name} {inside}"
                        );
                    }
                    for outside in out
                        .into_iter()
                        .flatten()
                        .filter(|out| i32::try_from(*out).is_ok())
                    {
                        assert_eq!(
                            probe(name, &outside.to_string()),
                            Verdict::Invalid,
                            "{name} {outside}"
                        );
                    }
                }
                Words(words) => {
                    for word in words.split(", ") {
                        assert_eq!(probe(name, word), Verdict::Takes, "{name} {word}");
                    }
                }
                Flag => assert_eq!(probe(name, "maybe"), Verdict::Invalid, "{name}"),
                Text => {}
            }
        }
    }
}
