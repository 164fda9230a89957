//! What is known of a whole group before one of its partitions is judged.
//!
//! Read before every takeover, and once more while the group is still beginning.

use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Census, LogIdentity, PositionRecord};
use crate::router::{RouteSpec, Topology};

/// A group in its topic: the log, and what all position records say together.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) log: LogIdentity,
    pub(super) census: Census,
    /// A topic that only this group writes holds records; looked at only when no partition has a record.
    pub(super) own_topics_used: bool,
}

impl GroupState {
    /// Reads it. `at_least`: the topic is known to have so many partitions, whatever its description says; descriptions
    /// may lag behind assignments.
    pub(super) async fn read(
        backend: &dyn Backend,
        route: &RouteSpec,
        topology: &Topology,
        at_least: u32,
    ) -> Result<Self> {
        let admin = backend.admin();
        let topic = admin.topic(&topology.source).await?.ok_or_else(|| {
            let gone = "the source topic does not exist any more";
            Error::new(ErrorKind::NotFound, "read the group's positions", gone)
                .with("topic", &topology.source)
                .with("group", &route.group)
        })?;
        let log = LogIdentity::of(admin.cluster().await?, topic.identity);
        let partitions = topic.partitions.max(at_least);
        let mut census = read_census(backend, route, topology, &log, partitions).await?;
        let mut own_topics_used = false;
        if census.is_empty() && own_topics_hold_records(backend, topology).await? {
            // Another member may have begun in between: its records come before anything that it writes elsewhere.
            census = read_census(backend, route, topology, &log, partitions).await?;
            own_topics_used = census.is_empty();
        }
        Ok(Self {
            log,
            census,
            own_topics_used,
        })
    }
}

async fn read_census(
    backend: &dyn Backend,
    route: &RouteSpec,
    topology: &Topology,
    log: &LogIdentity,
    partitions: u32,
) -> Result<Census> {
    let positions = backend
        .admin()
        .positions(&route.group, &topology.source)
        .await?;
    let witnesses = positions
        .iter()
        .map(|(partition, bytes)| (*partition, PositionRecord::witness(bytes, log)));
    Ok(Census::of(partitions, witnesses))
}

async fn own_topics_hold_records(backend: &dyn Backend, topology: &Topology) -> Result<bool> {
    let admin = backend.admin();
    let mut own = admin.topics(&topology.tier_prefix).await?;
    own.extend(admin.topic(&topology.replay).await?);
    own.extend(admin.topic(&topology.dead_letter).await?);
    for described in own {
        for partition in 0..described.partitions {
            if admin.offsets(&described.name, partition).await?.end > 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Under key order a topic that gained partitions has moved keys between them.
pub(super) fn growth_error(
    operation: &'static str,
    route: &RouteSpec,
    topology: &Topology,
    partitions: u32,
    taken_up: u32,
) -> Error {
    Error::new(
        ErrorKind::Config,
        operation,
        "the topic has gained partitions: keys have moved, so their order cannot be kept",
    )
    .with("route", &route.handler)
    .with("topic", &topology.source)
    .with("partitions", partitions)
    .with("known to the group", taken_up)
    .remedy(format!("Stop publishing, let the group settle the old partitions, then start once with routes.{}.on_partition_growth = \"accept\", and take it out again afterwards", route.handler))
}
