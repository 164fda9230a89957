//! Takeover: from "these partitions are yours" to "dispatch", in the one order that loses nothing.
//!
//! 1. The grant makes this member the only one whose commits are accepted (the backend's business).
//! 2. Read the record; tell a new group from a lost position.
//! 3. Check that the log is the one the record belongs to.
//! 4. Write the record back under the next epoch and wait for the confirmation; while the group begins, look once more who
//!    is there and store that too.
//! 5. Read the named tier records: each is the away head of its key.
//!
//! Only then is anything resumed. A failure at any step stops the route with the remedy: a partition that starts from a
//! wrong position loses or repeats without anybody noticing.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::group::{GroupState, growth_error};
use crate::backend::{
    Backend, BatchLimits, Capability, Control, Granted, OffsetRange, PositionStore, Progress,
    ReadBatch, Record, commit_confirmed,
};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Absence, Census, CrashLoopPolicy, Evidence, Name, PositionRecord};
use crate::router::{Growth, LogMismatch, MissingPosition, Ordering, RouteSpec, Start, Topology};

const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 1 << 20,
};
const TRUNCATED: &str = "the log ends below the position: it was truncated";
/// Found while it ran, when nobody has looked whose log it is.
const TRUNCATED_OR_NEW: &str =
    "the log ends below the position: it was truncated, or the topic was deleted and made anew";
const REMOVED: &str = "records that were never settled have been removed by retention";
/// Where the remedies point to: a library call, for which the route must be stopped.
pub(crate) const RESET: &str =
    "dotmsg::reset::Reset (docs/retry-and-order.md, \"When a position is lost\")";

/// What a takeover needs.
#[derive(Clone)]
pub(crate) struct TakeoverContext {
    pub(crate) route: Arc<RouteSpec>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) owner: u128,
}

/// See [`AssignmentEvent::OutOfRange`](crate::backend::AssignmentEvent::OutOfRange).
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutOfRange {
    pub(crate) partition: u32,
    pub(crate) grant: u64,
    pub(crate) position: u64,
    pub(crate) start: u64,
}

/// An away head that the record names.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) name: Name,
    pub(crate) key: Option<Bytes>,
    pub(crate) appended_at: Timestamp,
}

/// A partition that is ready to be resumed.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) granted: Granted,
    pub(crate) record: PositionRecord,
    pub(crate) heads: Vec<Head>,
    /// Not every partition of the topic has had a record yet: there will be more to learn.
    pub(crate) census_open: bool,
}

/// The largest encoded record the backend stores.
pub(crate) fn max_record_bytes(capability: &Capability) -> usize {
    match capability.position {
        PositionStore::Record { max_bytes } => max_bytes,
        PositionStore::None => 0,
    }
}

/// How long a takeover is tried again, and the pause in between.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// What to do about a head that its tier has lost.
pub(crate) fn lost_head() -> String {
    format!(
        "Give retry topics more retention than the source's plus the ladder; then restore the topic, or let {RESET} take the message up again where it came from"
    )
}

/// The crash-loop policy of a route.
pub(crate) fn crash_policy(route: &RouteSpec) -> CrashLoopPolicy {
    CrashLoopPolicy {
        takeovers: route.crash_loop.takeovers,
        confirmations: route.crash_loop.confirmations,
        in_hand: route.limits.max_held_messages as u64,
    }
}

/// Takes over what was granted. A partition that has another owner by now is left out: its loss is on its way as an event.
pub(crate) async fn take_over(
    context: TakeoverContext,
    granted: Vec<Granted>,
) -> Result<Vec<Taken>> {
    let highest = granted.iter().map(|granted| granted.partition).max();
    let at_least = highest.map_or(0, |highest| highest.saturating_add(1));
    let group = context.group(at_least).await?;
    let mut records = Vec::with_capacity(granted.len());
    for &granted in &granted {
        match context.record_of(granted, &group).await {
            Ok(record) => records.push((granted, record)),
            Err(error) if error.kind() == ErrorKind::Fenced => context.fenced(granted.partition),
            Err(error) => return Err(error),
        }
    }
    context.write_back(&mut records).await?;
    let census_open = !group.census.is_complete() && context.count_again(&mut records).await?;
    let mut taken = Vec::with_capacity(records.len());
    for (granted, record) in records {
        let heads = context.read_heads(granted.partition, &record).await?;
        taken.push(Taken {
            granted,
            record,
            heads,
            census_open,
        });
    }
    Ok(taken)
}

/// The same, and again while the broker cannot answer. With transactions a takeover also follows an abort, and what has aborted a
/// transaction may keep the broker from answering for a while more; and a former owner's transaction may have to time out first.
pub(crate) async fn take_over_patiently(
    context: TakeoverContext,
    granted: Vec<Granted>,
) -> Result<Vec<Taken>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match take_over(context.clone(), granted.clone()).await {
            Err(error) if error.is_transient() && Instant::now() < until => {
                tracing::warn!(topic = %context.topology.source, %error, "a takeover is tried again");
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

impl TakeoverContext {
    fn error(&self, kind: ErrorKind, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(kind, "take over", message)
            .with("topic", &self.topology.source)
            .with("group", &self.route.group)
    }

    /// What is known of the group, for a topic of that many partitions at least.
    pub(crate) async fn group(&self, at_least: u32) -> Result<GroupState> {
        GroupState::read(&*self.backend, &self.route, &self.topology, at_least).await
    }

    /// While the group begins, or its topic has just grown: looks once more who is there, now that the own records are, and
    /// stores what was learned. Of members that begin beside each other the last one to be confirmed sees all. Whether
    /// there is still more to learn.
    async fn count_again(&self, records: &mut Vec<(Granted, PositionRecord)>) -> Result<bool> {
        let Some(last) = records.iter().map(|(granted, _)| granted.partition).max() else {
            return Ok(false);
        };
        let census = self.group(last.saturating_add(1)).await?.census;
        let founding = census.founding();
        let mut learned = false;
        for (_, record) in &mut *records {
            learned |= record.founding.learn(founding);
        }
        if learned {
            self.write_back(records).await?;
        }
        Ok(!census.is_complete())
    }

    async fn record_of(&self, granted: Granted, group: &GroupState) -> Result<PositionRecord> {
        let partition = granted.partition;
        let admin = self.backend.admin();
        let range = admin.offsets(&self.topology.source, partition).await?;
        let mut told = None;
        let absence = match self.control.position(partition, granted.grant).await {
            Ok(Some(bytes)) => return self.next_record(&bytes, partition, range, group),
            Ok(None) => group.census.judge(partition, group.own_topics_used),
            Err(error) if error.kind() == ErrorKind::PositionLost => {
                told = Some(error);
                Absence::Lost(Evidence::Expired)
            }
            Err(error) => return Err(error),
        };
        let mut record = self
            .first_record(partition, range, group, absence)
            .map_err(|lost| match told {
                Some(told) => lost.with("its store", told),
                None => lost,
            })?;
        record.founding = group.census.founding();
        record.log = Some(group.log.clone());
        Ok(record)
    }

    fn next_record(
        &self,
        stored: &[u8],
        partition: u32,
        range: OffsetRange,
        group: &GroupState,
    ) -> Result<PositionRecord> {
        let before = PositionRecord::decode(stored).map_err(|error| {
            self.error(ErrorKind::Corrupt, "the position record cannot be read")
                .with("partition", partition)
                .source_error(error)
                .remedy(format!("Run the release that wrote it, restore it from a copy of its store, or overwrite it with {RESET}"))
        })?;
        let mut before = self.check_log(before, partition, range, group)?;
        before.founding.learn(group.census.founding());
        before.log = Some(group.log.clone());
        Ok(before.takeover(self.owner, range.end, &crash_policy(&self.route)))
    }

    fn first_record(
        &self,
        partition: u32,
        range: OffsetRange,
        group: &GroupState,
        absence: Absence,
    ) -> Result<PositionRecord> {
        let start = match absence {
            Absence::New => match self.route.start {
                Start::Earliest => range.start,
                Start::Latest => range.end,
            },
            Absence::Grown => {
                self.check_growth(partition, &group.census)?;
                range.start
            }
            Absence::Lost(evidence) => {
                self.check_missing(partition, evidence)?;
                range.start
            }
        };
        Ok(PositionRecord::new(self.owner, start))
    }

    /// Under key order a partition that nobody has taken up yet is an error, unless growth is accepted.
    fn check_growth(&self, partition: u32, census: &Census) -> Result<()> {
        let stops =
            self.route.ordering == Ordering::Key && self.route.on_partition_growth == Growth::Stop;
        match census.taken_up() {
            Some(taken_up) if stops && partition >= taken_up => Err(growth_error(
                "take over",
                &self.route,
                &self.topology,
                census.topic_partitions(),
                taken_up,
            )),
            _ => Ok(()),
        }
    }

    fn check_missing(&self, partition: u32, evidence: Evidence) -> Result<()> {
        if self.route.on_missing_position == MissingPosition::Earliest {
            return Ok(());
        }
        let evidence = match evidence {
            Evidence::Expired => "its store says that it had one",
            Evidence::OwnTopics => "the group's own topics hold records",
            Evidence::OtherRecord => "another partition's record says that it had one",
            Evidence::UnreadableRecord => {
                "another partition's record, which cannot be read, may say that it had one"
            }
        };
        Err(self
            .error(
                ErrorKind::PositionLost,
                format!("this partition has no position although {evidence}: expired or lost"),
            )
            .with("partition", partition)
            .remedy(format!("Restore the position, or say where to go on with {RESET}, or set routes.{}.on_missing_position = \"earliest\" to handle everything the log holds again, and take it out again afterwards", self.route.handler)))
    }

    fn check_log(
        &self,
        mut record: PositionRecord,
        partition: u32,
        range: OffsetRange,
        group: &GroupState,
    ) -> Result<PositionRecord> {
        let other_log = record.is_of_other_log(&group.log);
        let problem = if other_log {
            Some("the topic is not the one the position belongs to: recreated, or another cluster")
        } else if record.watermark() > range.end {
            Some(TRUNCATED)
        } else if record.watermark() < range.start {
            Some(REMOVED)
        } else {
            None
        };
        let Some(problem) = problem else {
            return Ok(record);
        };
        let log = format!("{}..{}", range.start, range.end);
        if self.route.on_log_mismatch == LogMismatch::Earliest {
            tracing::warn!(topic = %self.topology.source, partition, position = record.watermark(), log, "{problem}; starting at the first record");
            if other_log {
                record.names = std::iter::empty().collect();
                record.replay = None;
                record.founding = group.census.founding();
            }
            record.reset_to(range.start);
            return Ok(record);
        }
        Err(self
            .error(ErrorKind::PositionLost, problem)
            .with("partition", partition)
            .with("position", record.watermark())
            .with("log", log)
            .remedy(self.restore()))
    }

    /// A partition of which the log does not hold what was to be read next, found while it ran. See [`OutOfRange`].
    pub(crate) fn out_of_range(&self, found: OutOfRange) -> Error {
        let truncated = found.start <= found.position;
        let remedy = match self.route.on_log_mismatch {
            // What is in hand belongs to the old log, so that only a new takeover may begin with the new one.
            LogMismatch::Earliest if truncated => {
                "Start the route again: it begins at the log's first record".to_owned()
            }
            _ => self.restore(),
        };
        self.error(
            ErrorKind::PositionLost,
            if truncated { TRUNCATED_OR_NEW } else { REMOVED },
        )
        .with("partition", found.partition)
        .with("position", found.position)
        .with("log starts at", found.start)
        .remedy(remedy)
    }

    fn restore(&self) -> String {
        format!(
            "Restore the log, or set routes.{}.on_log_mismatch = \"earliest\" to start at its first record, and take it out again afterwards, or say where to go on with {RESET}",
            self.route.handler
        )
    }

    fn fenced(&self, partition: u32) {
        tracing::warn!(topic = %self.topology.source, partition, "another owner came before the takeover was through");
    }

    /// Writes the records, confirmed; those that were refused leave the list.
    async fn write_back(&self, records: &mut Vec<(Granted, PositionRecord)>) -> Result<()> {
        let limit = max_record_bytes(&self.backend.capability());
        let mut open: Vec<Progress> = Vec::with_capacity(records.len());
        for (granted, record) in &*records {
            let encoded = record.encode_within(limit).map_err(|error| {
                self.error(ErrorKind::TooLarge, "the position record does not fit")
                    .with("partition", granted.partition)
                    .source_error(error)
            })?;
            open.push(Progress {
                partition: granted.partition,
                grant: granted.grant,
                watermark: record.watermark(),
                record: encoded.bytes.into(),
            });
        }
        let fenced = commit_confirmed(&*self.control, open).await;
        let fenced = fenced.map_err(|last| {
            let message = "the position records could not be written back";
            let kind = last.as_ref().map_or(ErrorKind::Unreachable, Error::kind);
            let error = self.error(kind, message);
            match last {
                Some(last) => error.source_error(last),
                None => error,
            }
        })?;
        for &partition in &fenced {
            self.fenced(partition);
        }
        records.retain(|(granted, _)| !fenced.contains(&granted.partition));
        Ok(())
    }

    async fn read_heads(&self, partition: u32, record: &PositionRecord) -> Result<Vec<Head>> {
        let mut by_tier: BTreeMap<u64, BTreeMap<u64, Name>> = BTreeMap::new();
        for name in record.names.iter() {
            by_tier
                .entry(name.tier.0)
                .or_default()
                .insert(name.offset, name);
        }
        let mut heads = Vec::new();
        for (delay_ms, names) in by_tier {
            let topic = self.topology.tier_topic(Duration::from_millis(delay_ms));
            self.read_tier(&topic, partition, names, &mut heads).await?;
        }
        heads.sort_by_key(|head| head.name.origin);
        Ok(heads)
    }

    async fn read_tier(
        &self,
        topic: &Arc<str>,
        partition: u32,
        mut names: BTreeMap<u64, Name>,
        heads: &mut Vec<Head>,
    ) -> Result<()> {
        let (Some((&first, _)), Some((&last, _))) =
            (names.first_key_value(), names.last_key_value())
        else {
            return Ok(());
        };
        let missing = |offset: u64| {
            self.error(
                ErrorKind::PositionLost,
                "a message that waits for its retry is not in its retry topic any more",
            )
            .with("retry topic", topic)
            .with("partition", partition)
            .with("offset", offset)
            .remedy(lost_head())
        };
        let range = self.backend.admin().offsets(topic, partition).await?;
        if range.end <= last || range.start > first {
            return Err(missing(if range.start > first { first } else { last }));
        }
        let mut reader = self.backend.reader().await?;
        reader.assign(topic, partition, first)?;
        let mut batch = ReadBatch::default();
        while !names.is_empty() {
            poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, &mut batch)).await?;
            let removed = batch.removed.as_ref().map_or(0, |removed| removed.end);
            if let Some((&lowest, _)) = names.first_key_value()
                && lowest < removed
            {
                return Err(missing(lowest));
            }
            for Record {
                offset,
                appended_at,
                message,
                ..
            } in batch.records.drain(..)
            {
                if let Some((&lowest, _)) = names.first_key_value()
                    && lowest < offset
                {
                    return Err(missing(lowest));
                }
                if let Some(name) = names.remove(&offset) {
                    if !name.is_of(&message.headers) {
                        return Err(missing(offset));
                    }
                    let key = message.key.map(|key| Bytes::copy_from_slice(&key));
                    heads.push(Head {
                        name,
                        key,
                        appended_at,
                    });
                }
            }
        }
        Ok(())
    }
}
