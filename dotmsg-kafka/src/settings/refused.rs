//! Properties that would break a guarantee: refused, with the reason and what to do instead.
//!
//! Everything else is passed through to librdkafka. What is refused for certain values only may be set to the others. A reason
//! never holds the value.

use super::properties::canonical;

/// Why a property, or this value of it, is refused.
pub(super) fn reason(name: &str, value: &str) -> Option<&'static str> {
    always(canonical(name)).or_else(|| for_value(canonical(name), value.trim()))
}

fn always(name: &str) -> Option<&'static str> {
    Some(match name {
        "enable.auto.commit" | "enable.auto.offset.store" => {
            "refused: the client would commit what no handler has finished. Progress is committed by the framework: see `commit_interval` of the route"
        }
        "auto.offset.reset" => {
            "refused: a position that is gone would be skipped in silence. Say `start`, `on_missing_position` and `on_log_mismatch` in the route"
        }
        "group.id" => "refused: the group is the route's. Say `group` in [routes.<handler>]",
        "group.instance.id" => {
            "refused: a static member's name is the backend's. Say `instance_id` in [backend.<name>]"
        }
        "metadata.broker.list" => {
            "refused: the brokers stand in the URL. Say kafka://host:9092,other:9092"
        }
        "allow.auto.create.topics" => {
            "refused: a wrong topic name must not create a topic. Say `auto_create` in [backend.<name>]"
        }
        "enable.partition.eof" => {
            "refused: the end of a partition would be taken for a failure. Leave it out"
        }
        "transactional.id" => {
            "refused: the framework names its transactions itself, so that a former owner is fenced. Leave it out"
        }
        "delivery.report.only.error" => {
            "refused: a message is settled by the report that it was delivered. Leave it out"
        }
        "plugin.library.paths" => {
            "refused: a plugin may change what is sent and when it is confirmed. Leave it out"
        }
        "enabled_events" => {
            "refused: the adapter polls the events it needs, and would miss them. Leave it out"
        }
        _ => return None,
    })
}

fn for_value(name: &str, value: &str) -> Option<&'static str> {
    let lower = value.to_ascii_lowercase();
    let number: Option<i64> = value.parse().ok();
    Some(match name {
        "acks" if !matches!(value, "all" | "-1") => {
            "refused: with fewer than all replicas in sync a confirmed message may be lost. Leave it out, or say \"all\""
        }
        "enable.idempotence" if is_false(&lower) => {
            "refused: without it a retry may append twice or out of order. Leave it out; `producer` chooses latency or throughput"
        }
        "max.in.flight.requests.per.connection" if number.is_some_and(|number| number > 5) => {
            "refused: beyond 5 the broker cannot keep the order of an idempotent producer. Say at most 5"
        }
        "retries" if number == Some(0) => {
            "refused: the first lost answer would be a failure of the message. Leave it out; `message.timeout.ms` bounds the time"
        }
        "queuing.strategy" if lower != "fifo" => {
            "refused: messages would be sent out of order. Leave it out"
        }
        "isolation.level" if lower != "read_committed" => {
            "refused: handlers would see messages of transactions that were aborted. Leave it out"
        }
        "partitioner" if !matches!(lower.as_str(), "murmur2" | "murmur2_random") => {
            "refused: a key would have another partition than with every other backend and with the Java client. Say \"murmur2_random\" or \"murmur2\", or give the app a partitioner of its own (App::partitioner)"
        }
        "offset.store.method" if lower != "broker" => {
            "refused: positions would be stored where no other member finds them. Leave it out"
        }
        "partition.assignment.strategy" => return strategy(&lower),
        _ => return None,
    })
}

/// Eager and cooperative members cannot agree on how partitions move.
fn strategy(value: &str) -> Option<&'static str> {
    let mut names = value.split(',').map(str::trim);
    if !names
        .clone()
        .all(|name| matches!(name, "range" | "roundrobin" | "cooperative-sticky"))
    {
        return Some(
            "refused: no such strategy. Say \"cooperative-sticky\" (the default), \"range\" or \"roundrobin\"",
        );
    }
    let cooperative = names.clone().any(|name| name == "cooperative-sticky");
    (cooperative && names.any(|name| name != "cooperative-sticky")).then_some(
        "refused: cooperative-sticky keeps partitions that range and roundrobin would give up first, and librdkafka takes no mix. Say one kind",
    )
}

fn is_false(lower: &str) -> bool {
    matches!(lower, "false" | "f" | "0")
}

/// Properties that a broker decides on when it leads the group itself (KIP-848), and what decides there.
pub(super) const NOT_WITH_CONSUMER_PROTOCOL: &[(&str, &str)] = &[
    (
        "session.timeout.ms",
        "the broker's group.consumer.session.timeout.ms, or the group's consumer.session.timeout.ms",
    ),
    (
        "heartbeat.interval.ms",
        "the broker's group.consumer.heartbeat.interval.ms, or the group's consumer.heartbeat.interval.ms",
    ),
    (
        "partition.assignment.strategy",
        "`group.remote.assignor` (\"uniform\" or \"range\")",
    ),
    ("group.protocol.type", "the protocol itself"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_guarantee_is_refused_with_a_remedy() {
        for (name, value) in [
            ("enable.auto.commit", "false"),
            ("auto.commit.enable", "true"),
            ("enable.auto.offset.store", "true"),
            ("auto.offset.reset", "latest"),
            ("group.id", "canary"),
            ("group.instance.id", "canary"),
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("enable.idempotence", "F"),
            ("max.in.flight.requests.per.connection", "6"),
            ("max.in.flight", "1000000"),
            ("isolation.level", "read_uncommitted"),
            ("allow.auto.create.topics", "true"),
            ("enable.partition.eof", "true"),
            ("bootstrap.servers", "canary:1"),
            ("metadata.broker.list", "canary:1"),
            ("partitioner", "consistent"),
            ("transactional.id", "canary"),
            ("message.send.max.retries", "0"),
            ("retries", "0"),
            ("queuing.strategy", "lifo"),
            ("delivery.report.only.error", "true"),
            ("plugin.library.paths", "canary"),
            ("partition.assignment.strategy", "range,cooperative-sticky"),
            ("partition.assignment.strategy", "sticky"),
            ("partition.assignment.strategy", ""),
            ("offset.store.method", "file"),
            ("enabled_events", "1"),
        ] {
            let reason = reason(name, value).unwrap_or_else(|| panic!("{name} = {value} is taken"));
            assert!(
                reason.starts_with("refused: ") && reason.contains(". "),
                "{name}: {reason}"
            );
            assert!(!reason.contains("canary"), "{reason}");
        }
    }

    #[test]
    fn what_breaks_none_is_taken() {
        for (name, value) in [
            ("acks", "all"),
            ("acks", "-1"),
            ("enable.idempotence", "true"),
            ("max.in.flight", "5"),
            ("max.in.flight", "1"),
            ("retries", "10"),
            ("isolation.level", "read_committed"),
            ("partitioner", "murmur2"),
            ("client.rack", "a"),
            ("partition.assignment.strategy", "range,roundrobin"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "3000"),
            ("linger.ms", "0"),
        ] {
            assert_eq!(reason(name, value), None, "{name} = {value}");
        }
    }
}
