//! Combinations that cannot work: within one route, and between routes.
//!
//! An error stands at the value that asks for the impossible and names the place of the other one.

use std::collections::BTreeMap;

use super::errors::ConfigError;
use super::kind;
use super::nearest::{advice, nearest};
use super::route::Values;
use super::sections::BackendConfig;
use super::value::{self, Table};
use super::{Place, RouteDefaults};
use crate::backend::Registry;
use crate::router::{DeliverySemantics, LimitSpec, Ordering, RetryOrder, RouteSpec, Topology};

/// The longest topic name that every broker takes.
const LONGEST_TOPIC: usize = 249;

/// The names of the routes: what stands in `[routes.<name>]`, and in the ids of what they return.
pub(super) fn names(routes: &[RouteDefaults], errors: &mut Vec<ConfigError>) {
    for (index, route) in routes.iter().enumerate() {
        let name = &route.handler;
        let mut error = |message: String| {
            let place = Place::Attribute(name.as_str().into());
            errors.push(ConfigError::new(&place, format!("routes.{name}"), message));
        };
        if let Err(message) = kind::route_name(name) {
            error(message);
        }
        if let Some(other) = routes[..index].iter().find(|other| other.handler == *name) {
            error(format!(
                "two handlers have this name, one {} and one {}, and [routes.{name}] speaks of one. Give one of them another, by `name = \"…\"` in its attribute",
                subscription(other),
                subscription(route)
            ));
        }
    }
}

/// What tells two handlers of one name apart: what their attributes say.
fn subscription(route: &RouteDefaults) -> String {
    let said = |key: &str| {
        let entry = route.entries.iter().find(|(said, _)| *said == key);
        entry.and_then(|(_, value)| kind::text(value))
    };
    match (said("topic"), said("group")) {
        (Some(topic), Some(group)) => format!("on topic `{topic}` in group `{group}`"),
        (Some(topic), None) => format!("on topic `{topic}`"),
        (None, _) => "without a topic".to_owned(),
    }
}

/// Everything about one route alone.
pub(super) fn route(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    for (key, what) in [
        ("topic", "the topic it consumes"),
        ("group", "its consumer group"),
    ] {
        // A table in its place is reported by the walk.
        if !values.table.contains_key(key) {
            let handler = values.handler;
            errors.push(values.error(
                key,
                format!("missing: {what}. Set `{key}` in the attribute or in [routes.{handler}]"),
            ));
        }
    }
    semantics(values, spec, errors);
    limits(values, spec, errors);
    batch(values, spec, errors);
    dedup(values, spec, errors);
    let in_place = &spec.retry.in_place;
    if in_place.backoff > in_place.max_backoff {
        errors.push(exceeds(values, "retry.backoff", "retry.max_backoff"));
    }
}

fn semantics(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    let tiers = !spec.retry.tiers.is_empty();
    if tiers && spec.ordering == Ordering::Partition {
        errors.push(values.error(
            "retry.tiers",
            format!(
                "a tier cannot keep the order of a whole partition (ordering = \"partition\", {}). Retry in place with `retry.attempts`, or use ordering = \"key\"",
                values.place("ordering")
            ),
        ));
    }
    if spec.delivery == DeliverySemantics::AtMostOnce {
        at_most_once(values, spec, errors);
    }
    let keep = values.given("retry.order") && spec.retry.order == RetryOrder::Keep;
    if keep && spec.ordering != Ordering::Key {
        errors.push(values.error(
            "retry.order",
            format!(
                "\"keep\" is the order of a key, and `ordering` ({}) is not \"key\". Remove it, or use ordering = \"key\"",
                values.place("ordering")
            ),
        ));
    }
}

/// Whatever would call the handler again.
fn at_most_once(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    let at = values.place("delivery");
    if !spec.retry.tiers.is_empty() {
        errors.push(values.error(
            "retry.tiers",
            format!("a tier runs a message again, and delivery = \"at_most_once\" ({at}) forbids that. Remove the tiers, or use \"at_least_once\""),
        ));
    }
    if spec.retry.in_place.attempts > 1 {
        errors.push(values.error(
            "retry.attempts",
            format!("a repeat runs a message again, and delivery = \"at_most_once\" ({at}) forbids that. Remove it, or use \"at_least_once\""),
        ));
    }
}

fn batch(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    let Some(batch) = spec.batch else {
        for key in ["batch.size", "batch.linger"] {
            if values.given(key) {
                errors.push(values.error(
                    key,
                    "the handler takes one message at a time. Remove this, or let its last argument be a `Batch<T>`",
                ));
            }
        }
        return;
    };
    if batch.size > spec.limits.max_held_messages {
        errors.push(exceeds(values, "batch.size", "max_held_messages"));
    }
    if spec.delivery == DeliverySemantics::AtMostOnce {
        errors.push(values.error(
            "delivery",
            "a batch that fails is called again in parts, and \"at_most_once\" forbids that. Use \"at_least_once\", or a handler that takes one message at a time",
        ));
    }
}

fn dedup(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    let reason = match spec.delivery {
        DeliverySemantics::AtLeastOnce => return,
        DeliverySemantics::AtMostOnce => {
            "what fails is not remembered, so that a duplicate would be its second call, and delivery = \"at_most_once\" ({at}) forbids that"
        }
        DeliverySemantics::ExactlyOnce => {
            "what is remembered outlives a transaction that is aborted, so that a message which is to be handled again would be taken for a duplicate and be lost (delivery = \"exactly_once\", {at})"
        }
    };
    let mut given = ["dedup.max_ids", "dedup.keep_for"].into_iter();
    if let Some(key) = given.find(|key| values.given(key)) {
        let at = values.place("delivery").to_string();
        let reason = reason.replace("{at}", &at);
        errors.push(values.error(
            key,
            format!("{reason}. Remove `dedup`, or use \"at_least_once\""),
        ));
    }
}

fn limits(values: &Values<'_>, spec: &RouteSpec, errors: &mut Vec<ConfigError>) {
    let limits = &spec.limits;
    let (held, bytes) = (limits.max_held_messages, limits.max_held_bytes);
    for (key, value) in [
        ("concurrency", limits.concurrency),
        ("batch_messages", limits.batch_messages),
    ] {
        if value > held {
            errors.push(exceeds(values, key, "max_held_messages"));
        }
    }
    for (key, value) in [
        ("max_payload_bytes", limits.max_payload_bytes),
        ("max_header_bytes", limits.max_header_bytes),
        ("max_key_bytes", limits.max_key_bytes),
    ] {
        if value > bytes {
            errors.push(exceeds(values, key, "max_held_bytes"));
        }
    }
    for (key, value, limit, around) in [
        (
            "park.max_held_messages",
            limits.park.max_held_messages,
            "max_held_messages",
            held,
        ),
        (
            "park.max_held_bytes",
            limits.park.max_held_bytes,
            "max_held_bytes",
            bytes,
        ),
    ] {
        // A default is half of what is around it, but for a limit of 1, which has no half.
        if value >= around && value > 1 && values.given(key) {
            errors.push(leaves_no_room(values, key, limit));
        }
    }
    if limits.workers > limits.concurrency {
        errors.push(exceeds(values, "workers", "concurrency"));
    }
}

/// The followers of one failing key would fill all that the route may hold.
fn leaves_no_room(values: &Values<'_>, key: &str, limit: &str) -> ConfigError {
    let at = where_given(values, limit);
    values.error(
        key,
        format!("not less than `{limit}` ({at}): one failing key would stop every partition until its retry. Lower this (half of `{limit}` is usual) or raise `{limit}`"),
    )
}

/// The URL of each backend that a route uses (of all, without routes) has an adapter.
pub(super) fn schemes<'a>(
    root: &Table,
    backends: impl Iterator<Item = &'a BackendConfig>,
    routes: &[(Values<'_>, RouteSpec)],
    registry: &Registry,
    errors: &mut Vec<ConfigError>,
) {
    for backend in backends {
        let scheme = backend.url.split(':').next().unwrap_or_default();
        let users: Vec<&str> = routes
            .iter()
            .filter(|(_, spec)| spec.backend == backend.name)
            .map(|(values, _)| values.handler)
            .collect();
        let used = routes.is_empty() || !users.is_empty();
        if scheme.is_empty() || registry.knows(scheme) || !used {
            continue;
        }
        let url = value::table(root, "backend")
            .and_then(|backends| value::table(backends, &backend.name))
            .and_then(|backend| backend.get("url"));
        let Some(url) = url else { continue };
        let (message, mut remedy) = registry.refusal(scheme);
        if let Some(near) = nearest(scheme, registry.names()).filter(|near| *near != scheme) {
            remedy = match registry.knows(near) {
                true => format!("Did you mean `{near}:`?"),
                false => {
                    let (message, remedy) = registry.refusal(near);
                    format!("Did you mean `{near}:`? Of that, {message}. {remedy}")
                }
            };
        }
        let users = match users.is_empty() {
            true => String::new(),
            false => format!(", which routes use ({})", users.join(", ")),
        };
        errors.push(ConfigError::new(
            &url.place,
            format!("backend.{}.url", backend.name),
            format!("`{scheme}:`{users}: {message}. {remedy}"),
        ));
    }
}

fn where_given(values: &Values<'_>, key: &str) -> String {
    match values.at(key) {
        Some((_, place)) => place.to_string(),
        None => "its default".to_owned(),
    }
}

fn exceeds(values: &Values<'_>, key: &str, limit: &str) -> ConfigError {
    let at = where_given(values, limit);
    values.error(
        key,
        format!("more than `{limit}` ({at}). Lower this or raise `{limit}`"),
    )
}

/// Everything between routes, and between routes and backends.
pub(super) fn routes(
    routes: &[(Values<'_>, RouteSpec)],
    backends: &[BackendConfig],
    errors: &mut Vec<ConfigError>,
) {
    let names: Vec<&str> = backends.iter().map(|backend| &*backend.name).collect();
    let mut claims = Claims::default();
    for (values, spec) in routes {
        let backend = backends.iter().find(|backend| backend.name == spec.backend);
        if backend.is_none() && !backends.is_empty() {
            let message = format!(
                "there is no backend `{}`. {}",
                spec.backend,
                advice(&spec.backend, &names, "backend")
            );
            errors.push(values.error("backend", message));
        }
        if !spec.topic.is_empty() && !spec.group.is_empty() {
            let prefix = backend.map_or("", |backend| &backend.topic_prefix);
            claims.add(values, spec, &Topology::of(spec, prefix), errors);
        }
    }
    claims.private_sources(routes, errors);
}

/// Every limit that a route names is there.
pub(super) fn limit_names(
    routes: &[(Values<'_>, RouteSpec)],
    limits: &[LimitSpec],
    errors: &mut Vec<ConfigError>,
) {
    let known: Vec<&str> = limits.iter().map(|limit| &*limit.name).collect();
    for (values, spec) in routes {
        for name in &spec.shared_limits {
            if known.contains(&name.as_str()) {
                continue;
            }
            let advice = match known.is_empty() {
                true => format!("Add [limits.{name}] with `concurrency`, `rate` or both"),
                false => advice(name, &known, "limit"),
            };
            let message = format!("there is no limit `{name}`. {advice}");
            errors.push(values.error("limits", message));
        }
    }
}

/// Topic and group of a route are another's already. The error stands at whichever of the two was given last.
fn taken(values: &Values<'_>, spec: &RouteSpec, other: &str) -> ConfigError {
    let at = (values.place("topic"), values.place("group"));
    let is_attribute = |place: &Place| matches!(place, Place::Attribute(_));
    let key = match is_attribute(at.1) && !is_attribute(at.0) {
        true => "topic",
        false => "group",
    };
    values.error(
        key,
        format!(
            "handler `{other}` consumes topic `{}` ({}) in group `{}` ({}) already. Give one of them another group",
            spec.topic, at.0, spec.group, at.1
        ),
    )
}

/// Who uses which names; a backend's name comes first, since topics of two backends never meet.
#[derive(Default)]
struct Claims {
    groups: BTreeMap<(String, String, String), String>,
    /// The handler, and for a dead-letter topic, which may be consumed, the group that no consumer of it may have.
    own: BTreeMap<(String, String), (String, Option<String>)>,
    sources: Vec<(String, String)>,
}

impl Claims {
    fn add(
        &mut self,
        values: &Values<'_>,
        spec: &RouteSpec,
        topology: &Topology,
        errors: &mut Vec<ConfigError>,
    ) {
        let backend = &spec.backend;
        self.sources
            .push((backend.clone(), topology.source.to_string()));
        let group = (backend.clone(), spec.topic.clone(), spec.group.clone());
        if let Some(other) = self.groups.insert(group, spec.handler.clone()) {
            if other == spec.handler {
                // Two handlers of one name are refused as such.
                return;
            }
            errors.push(taken(values, spec, &other));
            return;
        }
        for name in topology.own_topics() {
            if name.len() > LONGEST_TOPIC {
                errors.push(values.error(
                    "group",
                    format!(
                        "the topic `{name}` of this route would have {} characters; brokers take {LONGEST_TOPIC}. Shorten topic or group",
                        name.len()
                    ),
                ));
            }
            let claim = (backend.clone(), name.to_string());
            let readable = (*name == topology.dead_letter).then(|| topology.replay_group());
            let claimed = self.own.insert(claim, (spec.handler.clone(), readable));
            if let Some((other, _)) = claimed {
                errors.push(values.error(
                    "group",
                    format!(
                        "handler `{other}` has a topic `{name}` of its own too. Rename topic or group of one of them"
                    ),
                ));
                break;
            }
        }
    }

    /// Retry and replay topics belong to their group alone; dead letters may be consumed.
    fn private_sources(&self, routes: &[(Values<'_>, RouteSpec)], errors: &mut Vec<ConfigError>) {
        let routes = routes
            .iter()
            .filter(|(_, spec)| !spec.topic.is_empty() && !spec.group.is_empty());
        for ((values, spec), source) in routes.zip(&self.sources) {
            match self.own.get(source) {
                Some((owner, None)) => errors.push(values.error(
                    "topic",
                    format!(
                        "`{}` is a retry or replay topic of handler `{owner}`, private to its group. Consume its source or its dead letters",
                        source.1
                    ),
                )),
                Some((owner, Some(replays))) if *replays == spec.group => errors.push(values.error(
                    "group",
                    format!(
                        "in group `{replays}` the replays of handler `{owner}` note which of its dead letters they have replayed. Give this handler another group"
                    ),
                )),
                _ => {}
            }
        }
    }
}
