//! Reading, planning every partition, then writing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::options::Target;
use super::plan::{Around, Plan};
use super::{PartitionReset, Reset, ResetReport, heads};
use crate::backend::{Exclusive, NewPosition, PositionStore, Subscription, TopicDescription};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Census, LogIdentity, PositionRecord};

const OPERATION: &str = "reset";

pub(super) async fn run(reset: &Reset) -> Result<ResetReport> {
    let PositionStore::Record { max_bytes } = reset.backend.capability().position else {
        let message = "the backend stores no positions";
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, message));
    };
    let topic = described(reset).await?;
    if reset.dry_run {
        return Ok(report(planned(reset, &topic, None).await?));
    }
    let source = Arc::clone(&reset.topology.source);
    let subscription = Subscription::new(source, reset.topology.group());
    let joined = Exclusive::join(&*reset.backend, subscription, topic.partitions, OPERATION).await;
    let mut member = joined.map_err(a_member_runs)?;
    let done = write(reset, &topic, &mut member, max_bytes).await;
    let left = member.leave().await;
    let report = done?;
    left?;
    Ok(report)
}

async fn described(reset: &Reset) -> Result<TopicDescription> {
    let source = &reset.topology.source;
    let topic = reset.backend.admin().topic(source).await?;
    topic.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, OPERATION, "the topic does not exist")
            .with("topic", source)
            .remedy("Check topic and prefix")
    })
}

async fn write(
    reset: &Reset,
    topic: &TopicDescription,
    member: &mut Exclusive,
    max_bytes: usize,
) -> Result<ResetReport> {
    let plans = planned(reset, topic, Some(member)).await?;
    let owner = fastrand::Rng::new().u128(..);
    let mut positions = Vec::new();
    for plan in &plans {
        let Some(record) = plan.plan.record_of(owner) else {
            continue;
        };
        let partition = plan.plan.around.partition;
        // What is cut is unsettled: it is handled once more.
        let encoded = record.encode_within(max_bytes).map_err(|error| {
            let message = "the position record does not fit into its store";
            Error::new(ErrorKind::TooLarge, OPERATION, message)
                .with("partition", partition)
                .source_error(error)
        })?;
        positions.push(NewPosition {
            partition,
            watermark: record.watermark(),
            record: encoded.bytes.into(),
        });
    }
    if !positions.is_empty() {
        member.commit(positions).await.map_err(a_member_runs)?;
    }
    let report = report(plans);
    for partition in report.partitions.iter().filter(|one| one.written) {
        tracing::warn!(topic = %reset.topology.source, group = reset.topology.group(), "position reset: {partition}");
    }
    Ok(report)
}

/// The plan of a partition, and what was found there.
struct Planned {
    before: Option<u64>,
    unreadable: Option<String>,
    plan: Plan,
}

/// Plans every partition that is asked for; through the membership, or only looking.
async fn planned(
    reset: &Reset,
    topic: &TopicDescription,
    member: Option<&mut Exclusive>,
) -> Result<Vec<Planned>> {
    let stored = stored(reset, topic, member).await?;
    let cluster = reset.backend.admin().cluster().await?;
    let log = LogIdentity::of(cluster, topic.identity.clone());
    let witnesses = stored.iter();
    let witnesses =
        witnesses.map(|(&partition, bytes)| (partition, PositionRecord::witness(bytes, &log)));
    let founding = Census::of(topic.partitions, witnesses).founding();
    let mut plans = Vec::new();
    for partition in wanted(reset, topic)? {
        let around = Around {
            partition,
            source: heads::range(&*reset.backend, &reset.topology.source, partition).await?,
            replay: heads::range(&*reset.backend, &reset.topology.replay, partition).await?,
            log: log.clone(),
            founding,
        };
        plans.push(plan(reset, around, stored.get(&partition)).await?);
    }
    if !reset.drop_lost_heads {
        for planned in &plans {
            planned.plan.loses_nothing().map_err(|error| {
                error
                    .with("topic", &reset.topology.source)
                    .with("group", reset.topology.group())
            })?;
        }
    }
    Ok(plans)
}

async fn stored(
    reset: &Reset,
    topic: &TopicDescription,
    member: Option<&mut Exclusive>,
) -> Result<BTreeMap<u32, Bytes>> {
    let Some(member) = member else {
        let (group, source) = (reset.topology.group(), &reset.topology.source);
        let positions = reset.backend.admin().positions(group, source).await?;
        return Ok(positions.into_iter().collect());
    };
    let mut stored = BTreeMap::new();
    for partition in 0..topic.partitions {
        match member.position(partition).await {
            Ok(record) => stored.extend(record.map(|record| (partition, record))),
            // Expired: that is what is to be mended.
            Err(error) if error.kind() == ErrorKind::PositionLost => {}
            Err(error) => return Err(error),
        }
    }
    Ok(stored)
}

fn wanted(reset: &Reset, topic: &TopicDescription) -> Result<Vec<u32>> {
    let Target::Offsets(offsets) = &reset.target else {
        return Ok((0..topic.partitions).collect());
    };
    match offsets.keys().find(|one| **one >= topic.partitions) {
        None => Ok(offsets.keys().copied().collect()),
        Some(unknown) => Err(
            Error::new(ErrorKind::Invalid, OPERATION, "no such partition")
                .with("topic", &topic.name)
                .with("partition", unknown)
                .with("partitions", topic.partitions),
        ),
    }
}

async fn plan(reset: &Reset, around: Around, stored: Option<&Bytes>) -> Result<Planned> {
    let (mut found, mut unreadable) = (None, None);
    match stored.map(|bytes| PositionRecord::decode(bytes)) {
        Some(Ok(record)) => found = Some(record),
        Some(Err(error)) => unreadable = Some(error.to_string()),
        None => {}
    }
    let before = found.as_ref().map(PositionRecord::watermark);
    let partition = around.partition;
    let moved = Plan::moved(around, found, unreadable.is_some(), &reset.target);
    let mut plan = moved.map_err(|error| {
        error
            .with("topic", &reset.topology.source)
            .with("group", reset.topology.group())
    })?;
    let names = plan.names();
    plan.without(heads::lost(&*reset.backend, &reset.topology, partition, names).await?);
    Ok(Planned {
        before,
        unreadable,
        plan,
    })
}

fn report(plans: Vec<Planned>) -> ResetReport {
    let partitions = plans.into_iter().map(|planned| {
        let Planned {
            before,
            unreadable,
            plan,
        } = planned;
        PartitionReset {
            partition: plan.around.partition,
            before,
            unreadable,
            after: plan.record.as_ref().map(PositionRecord::watermark),
            written: plan.written,
            waiting: plan.record.as_ref().map_or(0, |one| one.names.len()),
            heads: plan.heads,
        }
    });
    ResetReport {
        partitions: partitions.collect(),
    }
}

/// What it means here that the group has another member.
fn a_member_runs(error: Error) -> Error {
    if error.kind() == ErrorKind::Fenced {
        error.remedy("Stop the route everywhere, then reset: a member that was killed counts for a session timeout, and so does one with an instance_id after it has stopped. A dry run may run beside members")
    } else {
        error
    }
}
