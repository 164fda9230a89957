//! The topics of a route, before it runs: the source is there, and the group's own topics have its partitions and keep
//! their records long enough.
//!
//! A backend's own retention must not reach the group's topics. A tier record that is removed is a message that is lost, so
//! tiers and replays outlive whatever the source keeps by the whole ladder; a dead letter waits for a person and is kept for
//! ever. What a backend cannot keep so long is refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::group::{GroupState, growth_error};
use crate::backend::{Backend, Retention, TopicDescription, TopicSpec};
use crate::error::{Error, ErrorKind, Result};
use crate::router::{Growth, Limits, Ordering, RouteSpec, Topology};

/// Tiers and replays are kept this much longer than can be needed: clocks disagree, and segments end when they end.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// A route as far as its topics depend on it.
#[derive(Clone, Debug)]
pub struct RouteTopics {
    /// The route.
    pub route: Arc<RouteSpec>,
    /// Its topics.
    pub topology: Arc<Topology>,
    /// Its backend.
    pub backend: Arc<dyn Backend>,
    /// Create the source topic with this many partitions when it is missing; `None`: a missing one is an error.
    pub auto_create: Option<u32>,
}

/// Creates the group's own topics, with the partitions of the source, which it gives; checks those that exist.
pub(super) async fn declare_topics(context: &RouteTopics) -> Result<TopicDescription> {
    let source = source_topic(context).await?;
    check_source(context, &source).await?;
    for name in context.topology.own_topics() {
        declare(context, name, &source).await?;
    }
    Ok(source)
}

/// What the source topic must not be.
pub(super) async fn check_source(context: &RouteTopics, source: &TopicDescription) -> Result<()> {
    check_growth(context, source.partitions).await?;
    check_ladder(context, source)
}

/// The source topic, created if the backend's settings say so.
async fn source_topic(context: &RouteTopics) -> Result<TopicDescription> {
    let admin = context.backend.admin();
    let name = &context.topology.source;
    if let Some(topic) = admin.topic(name).await? {
        return Ok(topic);
    }
    let missing = || {
        Error::new(
            ErrorKind::NotFound,
            "start route",
            "the topic does not exist",
        )
        .with("route", &context.route.handler)
        .with("topic", name)
        .with("backend", &context.route.backend)
        .remedy(create_topics(&context.route.backend))
    };
    let partitions = context.auto_create.ok_or_else(missing)?;
    let spec = TopicSpec {
        name: name.to_string(),
        partitions,
        retention: Retention::AsBackend,
    };
    admin.create_topic(spec).await?;
    admin.topic(name).await?.ok_or_else(missing)
}

/// How source topics come to exist.
fn create_topics(backend: &str) -> String {
    format!(
        "Set auto_create = true in [backend.{backend}] to have it done at start-up, with auto_create_partitions, or create it \
         with the broker's tools or with create_topic of Backend::admin (App::open gives the backend)"
    )
}

/// Checks the source topics of all routes of an app at once: whoever sets up a broker should not need a start for each.
/// A topic that one of the routes makes for its own group is no business of this.
///
/// # Errors
/// All that are missing and are not to be created; the backend's.
pub async fn check_sources(contexts: &[RouteTopics]) -> Result<()> {
    let mut missing = Vec::new();
    let mut backends = BTreeSet::new();
    for context in contexts {
        let source = &context.topology.source;
        let is_own = |other: &&RouteTopics| {
            other.route.backend == context.route.backend
                && other.topology.own_topics().any(|own| own == source)
        };
        if context.auto_create.is_some()
            || contexts.iter().any(|other| is_own(&other))
            || context.backend.admin().topic(source).await?.is_some()
        {
            continue;
        }
        let (handler, backend) = (&context.route.handler, &context.route.backend);
        missing.push(format!("{source} (route {handler}, backend {backend})"));
        backends.insert(backend.as_str());
    }
    let Some(first) = backends.first() else {
        return Ok(());
    };
    let plural = if missing.len() == 1 { "" } else { "s" };
    let backends: Vec<String> = backends
        .iter()
        .map(|name| format!("[backend.{name}]"))
        .collect();
    let remedy = match backends.len() {
        1 => create_topics(first),
        _ => format!(
            "{}; the same for {}",
            create_topics(first),
            backends[1..].join(", ")
        ),
    };
    let message = format!("{} source topic{plural} missing", missing.len());
    Err(Error::new(ErrorKind::NotFound, "start routes", message)
        .with("missing", missing.join(", "))
        .remedy(remedy))
}

/// Under partition order no more messages run at once than there are partitions. The default is no mistake of anybody's.
pub(super) fn advise_concurrency(route: &RouteSpec, source: &TopicDescription) {
    let concurrency = route.limits.concurrency;
    let chosen = concurrency != Limits::default().concurrency;
    if route.ordering == Ordering::Partition && chosen && concurrency > source.partitions as usize {
        tracing::warn!(
            topic = %source.name,
            partitions = source.partitions,
            concurrency,
            "more concurrency than can be used: with ordering = \"partition\" one message of each partition runs at a time"
        );
    }
}

/// Messages that wait behind an away head are unsettled in the source: it has to keep them until the head is through.
fn check_ladder(context: &RouteTopics, source: &TopicDescription) -> Result<()> {
    let ladder = ladder(context);
    let Some(kept) = source.retention.filter(|kept| *kept < ladder) else {
        return Ok(());
    };
    if !context.route.keeps_order() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "start route",
        "the source keeps its records for less time than the ladder takes: what waits behind a failing message could be \
         removed before its turn",
    )
    .with("route", &context.route.handler)
    .with("topic", &source.name)
    .with("retention", format!("{kept:?}"))
    .with("ladder", format!("{ladder:?}"))
    .remedy("Raise the retention of the topic above the ladder, shorten the tiers, or set retry.order = \"relax\""))
}

/// All delays of the ladder, one after the other.
fn ladder(context: &RouteTopics) -> Duration {
    context.route.retry.tiers.iter().sum()
}

fn check_name(context: &RouteTopics, name: &str) -> Result<()> {
    let limit = context.backend.capability().max_topic_bytes;
    if name.len() <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Config,
        "start route",
        "the name of a generated topic is too long for the backend",
    )
    .with("topic", name)
    .with("bytes", name.len())
    .with("limit", limit)
    .remedy("Shorten the topic's or the group's name"))
}

/// Makes one of the group's own topics what it has to be.
async fn declare(context: &RouteTopics, name: &Arc<str>, source: &TopicDescription) -> Result<()> {
    let admin = context.backend.admin();
    let there = admin.topic(name).await?;
    let spec = wanted(context, name, source, there.as_ref())?;
    let retention = spec.retention;
    admin.create_topic(spec).await?;
    match admin.topic(name).await? {
        Some(topic) if !topic.keeps(retention) => Err(keeps_too_little(&topic, retention)),
        _ => Ok(()),
    }
}

/// What one of the group's own topics has to be, beside what is there.
///
/// # Errors
/// What is there cannot become that.
pub(super) fn wanted(
    context: &RouteTopics,
    name: &Arc<str>,
    source: &TopicDescription,
    there: Option<&TopicDescription>,
) -> Result<TopicSpec> {
    check_name(context, name)?;
    let partitions = there.map_or(source.partitions, |topic| topic.partitions);
    if partitions < source.partitions {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            "start route",
            "a topic of the group has fewer partitions than its source",
        )
        .with("topic", name)
        .with("partitions", partitions)
        .with("source partitions", source.partitions)
        .remedy("Give it as many partitions as the source: retries stay in the partition of their source's number"));
    }
    Ok(TopicSpec {
        name: name.to_string(),
        partitions,
        retention: retention_of(context, name, source),
    })
}

/// How long one of the group's own topics has to keep its records.
fn retention_of(context: &RouteTopics, name: &Arc<str>, source: &TopicDescription) -> Retention {
    match source.retention {
        // Nothing waits longer in a tier than its origin is kept, but for the ladder.
        Some(kept) if *name != context.topology.dead_letter => {
            Retention::For(kept.saturating_add(ladder(context)).saturating_add(MARGIN))
        }
        _ => Retention::Forever,
    }
}

fn keeps_too_little(topic: &TopicDescription, needed: Retention) -> Error {
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| "none".to_owned());
    Error::new(
        ErrorKind::Config,
        "start route",
        "a topic of the group keeps its records for too short a time: what waits in it would be lost",
    )
    .with("topic", &topic.name)
    .with("retention", limit(topic.retention.map(|age| format!("{age:?}"))))
    .with("retention bytes", limit(topic.retention_bytes.map(|bytes| bytes.to_string())))
    .with(
        "needed",
        match needed {
            Retention::For(age) => format!("{age:?}, and no limit in bytes"),
            Retention::Forever | Retention::AsBackend => "no limit".to_owned(),
        },
    )
    .remedy("Raise the retention of this topic on the broker, and lift its limit in bytes")
}

/// Under key order a topic that gained partitions has moved keys between them.
async fn check_growth(context: &RouteTopics, partitions: u32) -> Result<()> {
    let route = &context.route;
    if route.ordering != Ordering::Key || route.on_partition_growth == Growth::Accept {
        return Ok(());
    }
    let backend = &*context.backend;
    let group = GroupState::read(backend, route, &context.topology, partitions).await?;
    match group.census.taken_up() {
        Some(taken_up) if taken_up < partitions => Err(growth_error(
            "start route",
            route,
            &context.topology,
            partitions,
            taken_up,
        )),
        _ => Ok(()),
    }
}
