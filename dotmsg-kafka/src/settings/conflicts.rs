//! Settings that are possible alone and not together.
//!
//! All of them are named in one error, by key. Two ways to say one thing are refused even where both say the same: nobody could
//! tell later which one counts.

use std::collections::BTreeMap;

use super::own::{Mechanism, Own};
use super::properties::canonical;
use super::refused::NOT_WITH_CONSUMER_PROTOCOL;
use super::{MAX_RECORD_BYTES, is_by_broker};

/// Keys of the adapter, and librdkafka's properties that they stand for.
const TWICE: &[(&str, &[&str])] = &[
    ("tls", &["security.protocol"]),
    ("username", &["sasl.username"]),
    ("password", &["sasl.password"]),
    ("password_file", &["sasl.password"]),
    ("sasl_mechanism", &["sasl.mechanisms"]),
    ("ca_file", &["ssl.ca.location", "ssl.ca.pem"]),
    (
        "certificate_file",
        &[
            "ssl.certificate.location",
            "ssl.certificate.pem",
            "ssl.keystore.location",
        ],
    ),
    (
        "key_file",
        &["ssl.key.location", "ssl.key.pem", "ssl.keystore.location"],
    ),
    ("prefetch", &["queued.max.messages.kbytes"]),
];

/// Properties of TLS without which a certificate has no key.
const KEYS_OF_CERTIFICATES: &[&str] = &["ssl.key.location", "ssl.key.pem", "ssl.keystore.location"];

/// Everything that does not go together. `url_login`: the URL holds user and password. `properties` are librdkafka's, as they
/// were written.
pub(super) fn all(
    own: &Own,
    url_login: bool,
    properties: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut found = Vec::new();
    let by_name: BTreeMap<&str, &str> = properties
        .iter()
        .map(|(name, value)| (canonical(name), value.as_str()))
        .collect();
    aliases(properties, &mut found);
    for (key, names) in TWICE.iter().filter(|(key, _)| is_set(own, key)) {
        for name in names.iter().filter(|name| by_name.contains_key(*name)) {
            found.push(format!("`{key}` and `{name}` say the same thing: keep one"));
        }
    }
    login(own, url_login, &by_name, &mut found);
    certificates(own, &by_name, &mut found);
    group(&by_name, &mut found);
    room(own, &by_name, &mut found);
    found
}

fn is_set(own: &Own, key: &str) -> bool {
    match key {
        "tls" => own.tls,
        "username" => own.username.is_some(),
        "password" => own.password.is_some(),
        "password_file" => own.password_file.is_some(),
        "sasl_mechanism" => own.mechanism != Mechanism::default(),
        "ca_file" => own.ca_file.is_some(),
        "certificate_file" => own.certificate_file.is_some(),
        "key_file" => own.key_file.is_some(),
        _ => own.prefetch.is_some(),
    }
}

fn aliases(properties: &BTreeMap<String, String>, found: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for name in properties.keys() {
        if let Some(other) = seen.insert(canonical(name), name) {
            found.push(format!("`{other}` and `{name}` are one property: keep one"));
        }
    }
}

fn login(own: &Own, url_login: bool, by_name: &BTreeMap<&str, &str>, found: &mut Vec<String>) {
    let password = own.password.is_some() || own.password_file.is_some();
    if url_login {
        for key in ["username", "password", "password_file"]
            .iter()
            .filter(|key| is_set(own, key))
        {
            found.push(format!(
                "the URL and `{key}` both say how to log in: keep one"
            ));
        }
        for name in ["sasl.username", "sasl.password"]
            .iter()
            .filter(|name| by_name.contains_key(*name))
        {
            found.push(format!(
                "the URL and `{name}` both say how to log in: keep one"
            ));
        }
        return;
    }
    if own.password.is_some() && own.password_file.is_some() {
        found.push("`password` and `password_file` are both set: keep one".to_owned());
    }
    if own.username.is_some() && !password && !by_name.contains_key("sasl.password") {
        found.push(
            "`username` is set without a password: say `password_file` or `password`".to_owned(),
        );
    }
    if password && own.username.is_none() && !by_name.contains_key("sasl.username") {
        found.push("a password is set without `username`".to_owned());
    }
    let named = own.username.is_some() || by_name.contains_key("sasl.username");
    if own.mechanism != Mechanism::default() && !named && !password {
        found.push("`sasl_mechanism` is set without `username`".to_owned());
    }
}

fn certificates(own: &Own, by_name: &BTreeMap<&str, &str>, found: &mut Vec<String>) {
    if !own.tls && !by_name.contains_key("security.protocol") {
        for key in ["ca_file", "certificate_file", "key_file"]
            .iter()
            .filter(|key| is_set(own, key))
        {
            found.push(format!(
                "`{key}` has no effect without TLS: say `tls = true`"
            ));
        }
    }
    let has = |names: &[&str]| names.iter().any(|name| by_name.contains_key(name));
    if own.certificate_file.is_some() && own.key_file.is_none() && !has(KEYS_OF_CERTIFICATES) {
        found.push("`certificate_file` is set without `key_file`".to_owned());
    }
    let certificate = [
        "ssl.certificate.location",
        "ssl.certificate.pem",
        "ssl.keystore.location",
    ];
    if own.key_file.is_some() && own.certificate_file.is_none() && !has(&certificate) {
        found.push("`key_file` is set without `certificate_file`".to_owned());
    }
}

/// librdkafka's defaults of what the classic protocol compares.
const SESSION_MS: u64 = 45_000;
const MAX_POLL_MS: u64 = 300_000;

fn group(by_name: &BTreeMap<&str, &str>, found: &mut Vec<String>) {
    if is_by_broker(by_name.get("group.protocol").copied()) {
        for (name, instead) in NOT_WITH_CONSUMER_PROTOCOL
            .iter()
            .filter(|(name, _)| by_name.contains_key(name))
        {
            found.push(format!(
                "`{name}` has no place beside group.protocol = \"consumer\": leave it out; what counts there is {instead}"
            ));
        }
        return;
    }
    if by_name.contains_key("group.remote.assignor") {
        found.push(
            "`group.remote.assignor` has no effect without group.protocol = \"consumer\""
                .to_owned(),
        );
    }
    let (session, poll) = (
        number(by_name, "session.timeout.ms", SESSION_MS),
        number(by_name, "max.poll.interval.ms", MAX_POLL_MS),
    );
    if poll < session {
        found.push(format!(
            "`max.poll.interval.ms` is below `session.timeout.ms` ({session} unless set): raise the one or lower the other"
        ));
    }
    if number(by_name, "heartbeat.interval.ms", 0) >= session {
        found.push(
            "`heartbeat.interval.ms` is not below `session.timeout.ms`: a third of it is usual"
                .to_owned(),
        );
    }
}

fn number(by_name: &BTreeMap<&str, &str>, name: &str, default: u64) -> u64 {
    let set = by_name.get(name).and_then(|value| value.parse().ok());
    set.unwrap_or(default)
}

/// A message that can never have room in the producer would wait there for ever, and all others behind it.
fn room(own: &Own, by_name: &BTreeMap<&str, &str>, found: &mut Vec<String>) {
    const QUEUE: &str = "queue.buffering.max.kbytes";
    let mut producer: BTreeMap<&str, &str> = own.producer.properties().iter().copied().collect();
    producer.extend(by_name);
    let queue = number(&producer, QUEUE, u64::MAX);
    let largest = number(by_name, "message.max.bytes", MAX_RECORD_BYTES as u64);
    if queue.saturating_mul(1_024) < largest {
        found.push(format!(
            "`{QUEUE}` ({queue} here) has no room for one message of `message.max.bytes` ({largest} here): raise the one or lower the other"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(own: &[(&str, &str)], url_login: bool, properties: &[(&str, &str)]) -> Vec<String> {
        let mut set = Own::default();
        for (key, value) in own {
            set.set(key, value).unwrap();
        }
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all(&set, url_login, &properties)
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        type Given<'g> = (
            &'g [(&'g str, &'g str)],
            bool,
            &'g [(&'g str, &'g str)],
            &'g str,
        );
        let cases: &[Given<'_>] = &[
            (
                &[],
                false,
                &[("linger.ms", "1"), ("queue.buffering.max.ms", "1")],
                "one property",
            ),
            (
                &[("tls", "true")],
                false,
                &[("security.protocol", "ssl")],
                "`tls` and `security.protocol`",
            ),
            (
                &[("username", "u"), ("password", "canary")],
                true,
                &[],
                "the URL and `password`",
            ),
            (
                &[],
                true,
                &[("sasl.password", "canary")],
                "the URL and `sasl.password`",
            ),
            (
                &[
                    ("username", "u"),
                    ("password", "canary"),
                    ("password_file", "f"),
                ],
                false,
                &[],
                "keep one",
            ),
            (&[("username", "u")], false, &[], "without a password"),
            (&[("password", "canary")], false, &[], "without `username`"),
            (
                &[("sasl_mechanism", "PLAIN")],
                false,
                &[],
                "without `username`",
            ),
            (&[("ca_file", "f")], false, &[], "tls = true"),
            (
                &[("tls", "true"), ("certificate_file", "f")],
                false,
                &[],
                "without `key_file`",
            ),
            (
                &[("tls", "true"), ("key_file", "f")],
                false,
                &[],
                "without `certificate_file`",
            ),
            (
                &[("prefetch", "1MiB")],
                false,
                &[("queued.max.messages.kbytes", "9")],
                "`prefetch`",
            ),
            (&[], false, &[("max.poll.interval.ms", "1000")], "45000"),
            (
                &[],
                false,
                &[("session.timeout.ms", "400000")],
                "`max.poll.interval.ms`",
            ),
            (
                &[],
                false,
                &[("heartbeat.interval.ms", "45000")],
                "`heartbeat.interval.ms`",
            ),
            (
                &[],
                false,
                &[("group.remote.assignor", "range")],
                "group.protocol",
            ),
            (
                &[],
                false,
                &[
                    ("group.protocol", "consumer"),
                    ("session.timeout.ms", "9000"),
                ],
                "leave it out",
            ),
            (
                &[],
                false,
                &[
                    ("group.protocol", "consumer"),
                    ("partition.assignment.strategy", "range"),
                ],
                "uniform",
            ),
            (
                &[],
                false,
                &[("queue.buffering.max.kbytes", "900")],
                "(1000000 here)",
            ),
            (
                &[("producer", "low_latency")],
                false,
                &[("message.max.bytes", "100000000")],
                "(65536 here)",
            ),
        ];
        for (own, url_login, properties, says) in cases {
            let found = found(own, *url_login, properties);
            let text = found.join("\n");
            assert!(text.contains(says), "{own:?} {properties:?}: {text:?}");
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn what_goes_together_is_taken() {
        for (own, url_login, properties) in [
            (&[][..], false, &[][..]),
            (&[("sasl_mechanism", "PLAIN"), ("tls", "true")], true, &[]),
            (&[("username", "u"), ("password", "p")], false, &[]),
            (&[("username", "u")], false, &[("sasl.password", "p")]),
            (
                &[("tls", "true"), ("certificate_file", "c")],
                false,
                &[("ssl.key.pem", "k")],
            ),
            (
                &[("ca_file", "c")],
                false,
                &[("security.protocol", "sasl_ssl")],
            ),
            (
                &[],
                false,
                &[
                    ("group.protocol", "consumer"),
                    ("group.remote.assignor", "range"),
                ],
            ),
            (
                &[],
                false,
                &[
                    ("session.timeout.ms", "3000"),
                    ("max.poll.interval.ms", "4000"),
                ],
            ),
        ] {
            assert_eq!(
                found(own, url_login, properties),
                Vec::<String>::new(),
                "{own:?} {properties:?}"
            );
        }
    }
}
