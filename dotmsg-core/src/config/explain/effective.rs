//! Effective values by key, as a configuration file would have them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::super::BackendConfig;
use super::super::keys::Word;
use crate::router::{
    self, BatchSpec, BreakerSpec, DedupSpec, LimitSpec, Ordering, RetryOrder, RouteSpec,
};

/// A value as a configuration file would have it: durations, sizes and rates are texts with their units.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum SettingValue {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A list of strings.
    List(Vec<String>),
}

impl fmt::Display for SettingValue {
    /// As TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Boolean(boolean) => boolean.fmt(f),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            sign if sign.is_control() => quoted.push_str(&format!("\\U{:08X}", u32::from(sign))),
            sign => quoted.push(sign),
        }
    }
    quoted.push('"');
    quoted
}

/// A key of `[backend.<name>]` but `url`.
pub(super) fn backend(backend: &BackendConfig, path: &str) -> Option<SettingValue> {
    Some(match path {
        "topic_prefix" => text(&backend.topic_prefix),
        "auto_create" => SettingValue::Boolean(backend.auto_create),
        "auto_create_partitions" => number(backend.auto_create_partitions),
        "instance_id" => text(&backend.instance_id),
        _ => unreachable!("a key without a value: {path}"),
    })
}

/// A key of `[limits.<name>]`.
pub(super) fn limit(limit: &LimitSpec, path: &str) -> Option<SettingValue> {
    match path {
        "concurrency" => limit.concurrency.map(number),
        "rate" => limit.rate.map(|rate| text(&rate.to_string())),
        _ => unreachable!("a key without a value: {path}"),
    }
}

/// A key of `[telemetry.http]`.
pub(super) fn http(listen: Option<SocketAddr>, path: &str) -> SettingValue {
    match path {
        "listen" => listen.map_or_else(|| text("none"), |listen| text(&listen.to_string())),
        _ => unreachable!("a key without a value: {path}"),
    }
}

/// A setting of an adapter, which is handed to it as text.
pub(super) fn setting(value: &str) -> SettingValue {
    match (value.parse::<i64>(), value) {
        (_, "true") => SettingValue::Boolean(true),
        (_, "false") => SettingValue::Boolean(false),
        (Ok(number), _) if number.to_string() == value => SettingValue::Integer(number),
        _ => text(value),
    }
}

/// The route with every default as it is when no other key is given, and with the same tables.
pub(super) fn plain(route: &RouteSpec) -> RouteSpec {
    let mut plain = RouteSpec::new(&*route.handler, &*route.topic, &*route.group);
    plain.batch = route.batch.map(|_| BatchSpec::default());
    plain.breaker = route.breaker.map(|_| BreakerSpec::default());
    plain.dedup = route.dedup.map(|_| DedupSpec::default());
    plain
}

/// A key of `[routes.<handler>]`.
pub(super) fn route(route: &RouteSpec, path: &str) -> Option<SettingValue> {
    let (limits, retry) = (&route.limits, &route.retry);
    Some(match path {
        "topic" => text(&route.topic),
        "group" => text(&route.group),
        "backend" => text(&route.backend),
        "ordering" => word(route.ordering),
        "delivery" => word(route.delivery),
        "concurrency" => number(limits.concurrency),
        "workers" => number(limits.workers),
        "limits" => SettingValue::List(route.shared_limits.clone()),
        "timeout" => time_or_none(route.timeout),
        "start" => word(route.start),
        "on_missing_position" => word(route.on_missing_position),
        "on_log_mismatch" => word(route.on_log_mismatch),
        "on_partition_growth" => word(route.on_partition_growth),
        "commit_interval" => time(route.commit_interval),
        "drain_timeout" => time(route.drain_timeout),
        "retry.tiers" => {
            SettingValue::List(retry.tiers.iter().copied().map(router::duration).collect())
        }
        // Of a whole partition there is nothing to keep, and the configuration must not say so.
        "retry.order" => match (route.ordering, retry.order) {
            (Ordering::Partition, RetryOrder::Keep) => return None,
            (_, order) => word(order),
        },
        "retry.attempts" => number(retry.in_place.attempts),
        "retry.backoff" => time(retry.in_place.backoff),
        "retry.max_backoff" => time(retry.in_place.max_backoff),
        "batch.size" => number(route.batch?.size),
        "batch.linger" => time(route.batch?.linger),
        "breaker.failures" => number(route.breaker?.failures),
        "breaker.pause" => time(route.breaker?.pause),
        "dedup.max_ids" => number(route.dedup?.max_ids),
        "dedup.keep_for" => time(route.dedup?.keep_for),
        "shed.keep" => SettingValue::Float(f64::from(route.shed.keep_ppm) / 1e6),
        "shed.older_than" => time_or_none(route.shed.older_than),
        "max_held_messages" => number(limits.max_held_messages),
        "max_held_bytes" => size(limits.max_held_bytes),
        "batch_messages" => number(limits.batch_messages),
        "park.max_held_messages" => number(limits.park.max_held_messages),
        "park.max_held_bytes" => size(limits.park.max_held_bytes),
        "park.max_keys" => number(limits.park.max_keys),
        "max_payload_bytes" => size(limits.max_payload_bytes),
        "max_header_bytes" => size(limits.max_header_bytes),
        "max_key_bytes" => size(limits.max_key_bytes),
        "crash_loop.takeovers" => number(route.crash_loop.takeovers),
        "crash_loop.confirmations" => number(route.crash_loop.confirmations),
        _ => unreachable!("a key without a value: {path}"),
    })
}

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.to_owned())
}

fn number(number: impl TryInto<i64>) -> SettingValue {
    SettingValue::Integer(number.try_into().unwrap_or(i64::MAX))
}

fn word<T: Word + PartialEq>(value: T) -> SettingValue {
    let index = T::VALUES.iter().position(|known| *known == value);
    text(index.map_or("", |index| T::WORDS[index]))
}

fn time(time: Duration) -> SettingValue {
    SettingValue::Text(router::duration(time))
}

fn time_or_none(limit: Option<Duration>) -> SettingValue {
    limit.map_or_else(|| text("none"), time)
}

fn size(bytes: usize) -> SettingValue {
    SettingValue::Text(router::size(bytes))
}
