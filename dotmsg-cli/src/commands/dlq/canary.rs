//! A few first: what becomes of them decides whether the rest follows.
//!
//! The letters of the canary are known by where they were put: the offsets of the replay topic between before and after (nobody
//! else replays meanwhile). One is through when the group's position says so, and has failed when it is a dead letter again.
//! The group has to run for that: elsewhere, or in this process under `--work`. A canary without a letter shows nothing, so it does
//! not pass: an earlier one may have taken the letters and not be settled yet.
//!
//! What must stay true: its time is above everything that it waits for, the backend's answers too. A reader waits for a broker
//! that is away, and where the last offsets of a topic hold no records (transaction markers).

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::backend::{BatchLimits, OffsetRange, ReadBatch};
use dotmsg::delivery::Lineage;
use dotmsg::progress::{Origin, PositionRecord};
use serde_json::json;
use tokio::time::timeout;

use super::replay::count;
use crate::desk::Desk;
use crate::exit::Outcome;

/// How often the group's positions are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What a canary gets beside its ladder of retries.
const MARGIN: Duration = Duration::from_secs(60);
const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 4 << 20,
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A few first")]
pub(crate) struct Canary {
    /// Replay so many, wait until they are settled or dead again, and go on with the rest only when they went well
    #[arg(long, value_name = "LETTERS", value_parser = clap::value_parser!(u64).range(1..))]
    canary: Option<u64>,
    /// Stop when more than this part of the canary fails: 0.1, or 10%
    #[arg(long, value_name = "PART", default_value = "0", requires = "canary", value_parser = part)]
    stop_above: f64,
    /// Stop when the canary is not settled by then [default: a minute more than all retry tiers take]
    #[arg(long, value_name = "TIME", requires = "canary", value_parser = humantime::parse_duration)]
    canary_timeout: Option<Duration>,
    /// Run the handlers in this process meanwhile (for the command of a service): for a log in a directory, which one process
    /// at a time can open
    #[arg(long, requires = "canary")]
    work: bool,
}

/// A part of all, from 0 to 1.
fn part(text: &str) -> Result<f64, String> {
    let (number, of) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let part = number.trim().parse::<f64>().ok().map(|part| part / of);
    part.filter(|part| (0.0..=1.0).contains(part))
        .ok_or_else(|| "expected a part from 0 to 1, or a percentage".to_owned())
}

/// What became of a canary; only when it has passed the rest follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// Too many failed.
    Stopped,
    NotSettled,
    /// There was nothing to replay.
    NoLetter,
}

/// What is needed to tell what became of a canary.
pub(super) struct Watch {
    route: RouteHandle,
    /// The ends of the replay topic before it, by partition.
    before: Vec<u64>,
    /// The ends of the dead-letter topic before it.
    letters: Arc<[OffsetRange]>,
}

/// A letter of the canary: where its message was first read.
type Place = (Arc<str>, u32, u64);

impl Canary {
    pub(super) fn letters(&self) -> Option<u64> {
        self.canary
    }

    pub(super) fn works(&self) -> bool {
        self.work
    }

    /// Notes where everything ends before it begins.
    pub(super) async fn begin(
        &self,
        route: &RouteHandle,
        letters: &Arc<[OffsetRange]>,
    ) -> Outcome<Watch> {
        let mut watch = Watch {
            route: route.clone(),
            before: Vec::new(),
            letters: Arc::clone(letters),
        };
        watch.before = watch.replay_ends().await?;
        Ok(watch)
    }
}

impl Watch {
    /// Waits for the end of the canary, for enough failures, or until its time is over.
    pub(super) async fn decide(
        self,
        desk: &mut Desk<'_>,
        canary: &Canary,
        letters: u64,
    ) -> Outcome<Verdict> {
        let ladder: Duration = self.route.spec.retry.tiers.iter().sum();
        let patience = canary.canary_timeout.unwrap_or(ladder + MARGIN);
        let allowed = (letters as f64 * canary.stop_above).floor() as usize;
        let mut failed = BTreeSet::new();
        let verdict = match letters {
            0 => Verdict::NoLetter,
            _ => match timeout(patience, self.watch(allowed, &mut failed)).await {
                Ok(verdict) => verdict?,
                Err(_) => Verdict::NotSettled,
            },
        };
        say(desk, verdict, letters, failed.len(), patience)?;
        Ok(verdict)
    }

    /// Looks again and again, and notes what has failed.
    async fn watch(&self, allowed: usize, failed: &mut BTreeSet<Place>) -> Outcome<Verdict> {
        let after = self.replay_ends().await?;
        let sent = self.sent(&after).await?;
        let mut read_to: Vec<u64> = self.letters.iter().map(|range| range.end).collect();
        loop {
            // In this order: what is settled and has failed is a dead letter by then.
            let settled = self.is_settled(&after).await?;
            self.find_failed(&sent, &mut read_to, failed).await?;
            if failed.len() > allowed {
                return Ok(Verdict::Stopped);
            }
            if settled {
                return Ok(Verdict::Passed);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn replay_ends(&self) -> Outcome<Vec<u64>> {
        let (admin, topic) = (self.route.backend.admin(), &self.route.topology.replay);
        let mut ends = Vec::new();
        for partition in 0..self.letters.len() {
            let partition = u32::try_from(partition).unwrap_or(u32::MAX);
            ends.push(admin.offsets(topic, partition).await?.end);
        }
        Ok(ends)
    }

    /// The letters that lie in the replay topic between before and after.
    async fn sent(&self, after: &[u64]) -> Outcome<BTreeSet<Place>> {
        let topic = &self.route.topology.replay;
        let mut sent = BTreeSet::new();
        for (partition, (from, to)) in (0..).zip(self.before.iter().zip(after)) {
            self.read(topic, partition, *from..*to, |lineage| {
                sent.insert((lineage.topic, lineage.partition, lineage.offset));
            })
            .await?;
        }
        Ok(sent)
    }

    /// Adds those of the canary that have become dead letters again since the look before, which has read up to there.
    async fn find_failed(
        &self,
        sent: &BTreeSet<Place>,
        read_to: &mut [u64],
        failed: &mut BTreeSet<Place>,
    ) -> Outcome<()> {
        let (admin, topic) = (self.route.backend.admin(), &self.route.topology.dead_letter);
        for (partition, read_to) in (0..).zip(read_to) {
            let end = admin.offsets(topic, partition).await?.end;
            self.read(topic, partition, *read_to..end, |lineage| {
                let place = (lineage.topic, lineage.partition, lineage.offset);
                if lineage.replays > 0 && sent.contains(&place) {
                    failed.insert(place);
                }
            })
            .await?;
            *read_to = end;
        }
        Ok(())
    }

    /// Whether the group has settled everything of the replay topic up to there, and none of it waits in a tier.
    async fn is_settled(&self, after: &[u64]) -> Outcome<bool> {
        let (admin, route) = (self.route.backend.admin(), &self.route);
        let source = &route.topology.source;
        let stored = admin.positions(&route.spec.group, source).await?;
        let stored: BTreeMap<u32, _> = stored.into_iter().collect();
        let spans = (0..).zip(self.before.iter().zip(after));
        Ok(spans
            .filter(|(_, (from, to))| from < to)
            .all(|(partition, (from, to))| {
                let bytes: Option<&dotmsg::Bytes> = stored.get(&partition);
                let record = bytes.and_then(|bytes| PositionRecord::decode(bytes).ok());
                record.is_some_and(|record| {
                    let waits =
                        |origin| matches!(origin, Origin::Replay(at) if (*from..*to).contains(&at));
                    let settled = record
                        .replay
                        .as_ref()
                        .is_some_and(|map| map.unsettled_in(*from..*to) == 0);
                    settled && !record.names.iter().any(|name| waits(name.origin))
                })
            }))
    }

    /// Reads the lineage of the records of a partition.
    async fn read(
        &self,
        topic: &Arc<str>,
        partition: u32,
        range: std::ops::Range<u64>,
        mut each: impl FnMut(Lineage),
    ) -> Outcome<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut reader = self.route.backend.reader().await?;
        reader.assign(topic, partition, range.start)?;
        let (mut next, mut batch) = (range.start, ReadBatch::default());
        while next < range.end {
            poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, &mut batch)).await?;
            next = next.max(batch.removed.take().map_or(0, |removed| removed.end));
            for record in batch.records.drain(..) {
                next = record.offset + 1;
                if record.offset < range.end {
                    Lineage::read(&record.message.headers)
                        .into_iter()
                        .for_each(&mut each);
                }
            }
        }
        Ok(())
    }
}

fn say(
    desk: &mut Desk<'_>,
    verdict: Verdict,
    letters: u64,
    failed: usize,
    patience: Duration,
) -> Outcome<()> {
    if desk.json {
        let verdict = match verdict {
            Verdict::Passed => "passed",
            Verdict::Stopped => "stopped",
            Verdict::NotSettled => "not settled in time",
            Verdict::NoLetter => "no letter left",
        };
        return desk.object(&json!({ "canary": verdict, "replayed": letters, "failed": failed }));
    }
    let sent = count(letters);
    match verdict {
        Verdict::Passed => desk.line(format!("canary passed: {failed} of {sent} failed again")),
        Verdict::Stopped => desk.line(format!(
            "canary stopped: {failed} of {sent} failed again; the rest is left alone"
        )),
        Verdict::NoLetter => desk.line(
            "canary stopped: no dead letter is left for it, so it shows nothing. What was replayed before may still wait or have failed: \
             look at `lag` and `dlq list --with-done`",
        ),
        Verdict::NotSettled => desk.line(format!(
            "canary stopped: {sent} not settled within {}, {failed} failed again; the rest is left alone. Does the group run?",
            humantime::format_duration(patience)
        )),
    }
}
