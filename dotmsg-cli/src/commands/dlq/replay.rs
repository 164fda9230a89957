//! `dlq replay`: dead letters back to their group, all of those that are chosen, or a few first.
//!
//! What is replayed is what was there when the command began: a letter that fails again meanwhile is a new one behind it.

use std::sync::Arc;

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::backend::OffsetRange;
use dotmsg::replay::{DeadLetter, Replay, ReplayReport};
use serde_json::json;

use super::canary::{Canary, Verdict};
use super::select::{Select, Selection};
use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    #[command(flatten)]
    select: Select,
    /// All that are left
    #[arg(long)]
    all: bool,
    /// Only say how many there are
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// So many a second at most
    #[arg(long, value_name = "LETTERS")]
    rate: Option<u32>,
    /// So many at most, the first that are chosen
    #[arg(long, value_name = "LETTERS")]
    limit: Option<u64>,
    /// Leave out what was replayed so often before
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    max_replays: u32,
    /// To the topic that they are from, where every group gets them again
    #[arg(long, conflicts_with = "canary")]
    to_origin: bool,
    /// Also what was replayed or discarded before
    #[arg(long, conflicts_with = "canary")]
    again: bool,
    #[command(flatten)]
    canary: Canary,
}

/// How a run is prepared: which letters, and up to where.
struct Chosen<'a> {
    args: &'a ReplayArgs,
    route: RouteHandle,
    selection: Selection,
    /// What the topic held at the beginning, by partition.
    ranges: Arc<[OffsetRange]>,
}

impl ReplayArgs {
    pub(crate) fn works(&self) -> bool {
        self.canary.works()
    }

    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let selection = self.select.read_for_a_change(self.all)?;
        if self.rate == Some(0) {
            return Err(Failure::usage("--rate 0 would never end"));
        }
        let route = desk.route(self.route.as_deref())?;
        let ranges = ranges(&route).await?.into();
        let chosen = Chosen {
            args: &self,
            route,
            selection,
            ranges,
        };
        if self.dry_run {
            let report = chosen.replay(self.limit).dry_run(true).run().await?;
            print(desk, &report, true)?;
            return Ok(Exit::Done);
        }
        if self.to_origin {
            let topic = &chosen.route.topology.source;
            desk.confirm(&format!(
                "Publish to {topic}, where every group gets them again?"
            ))?;
        }
        let mut limit = self.limit;
        if let Some(first) = self.canary.letters() {
            let first = limit.map_or(first, |limit| limit.min(first));
            let (report, verdict) = chosen.canary(desk, first).await?;
            if verdict != Verdict::Passed {
                print(desk, &report, false)?;
                return Ok(Exit::Differs);
            }
            limit = limit.map(|limit| limit - report.replayed);
        }
        let report = chosen.rest(desk, limit).await?;
        if self.canary.letters().is_some() && !desk.json {
            desk.line("the rest:")?;
        }
        print(desk, &report, false)?;
        Ok(Exit::Done)
    }
}

impl Chosen<'_> {
    /// The replay of what is chosen, so many letters at most.
    fn replay(&self, limit: Option<u64>) -> Replay {
        self.replay_with(limit, |_| {})
    }

    fn replay_with(
        &self,
        limit: Option<u64>,
        met: impl Fn(&DeadLetter) + Send + Sync + 'static,
    ) -> Replay {
        let (selection, ranges) = (self.selection.clone(), Arc::clone(&self.ranges));
        let was_there = move |letter: &DeadLetter| {
            let range = ranges.get(letter.partition as usize);
            range.is_some_and(|range| letter.offset < range.end)
        };
        let chosen = move |letter: &DeadLetter| {
            met(letter);
            was_there(letter) && selection.takes(letter)
        };
        let args = self.args;
        let mut replay = self.route.replay().filter(chosen);
        replay = replay.max_replays(args.max_replays);
        replay = replay.to_origin(args.to_origin);
        if let Some(limit) = limit {
            replay = replay.limit(limit);
        }
        if let Some(rate) = args.rate {
            replay = replay.per_second(rate);
        }
        match args.again {
            true => replay.again(),
            false => replay,
        }
    }

    async fn canary(&self, desk: &mut Desk<'_>, letters: u64) -> Outcome<(ReplayReport, Verdict)> {
        let canary = &self.args.canary;
        let watch = canary.begin(&self.route, &self.ranges).await?;
        let report = self.replay(Some(letters)).run().await?;
        let verdict = watch.decide(desk, canary, report.replayed).await?;
        Ok((report, verdict))
    }

    /// Everything, with a bar.
    async fn rest(&self, desk: &mut Desk<'_>, limit: Option<u64>) -> Outcome<ReplayReport> {
        let all = self.ranges.iter().map(|range| range.end - range.start);
        let progress = Progress::begin(desk.console, desk.json, "dead letters", all.sum());
        let bar = progress.clone();
        let report = self.replay_with(limit, move |_| bar.step()).run().await;
        progress.end();
        Ok(report?)
    }
}

/// What the dead-letter topic of a route holds, by partition; nothing when there is none.
pub(crate) async fn ranges(route: &RouteHandle) -> Outcome<Vec<OffsetRange>> {
    let (admin, topic) = (route.backend.admin(), &route.topology.dead_letter);
    let described = admin.topic(topic).await?;
    let partitions = described.map_or(0, |described| described.partitions);
    let mut ranges = Vec::new();
    for partition in 0..partitions {
        ranges.push(admin.offsets(topic, partition).await?);
    }
    Ok(ranges)
}

fn print(desk: &mut Desk<'_>, report: &ReplayReport, dry: bool) -> Outcome<()> {
    if desk.json {
        return desk.object(&json!({
            "replayed": report.replayed,
            "done_before": report.replayed_before,
            "not_chosen": report.filtered,
            "beyond_limit": report.beyond_limit,
            "replayed_too_often": report.exhausted,
            "gone_at_origin": report.gone,
            "too_large": report.too_large,
            "foreign": report.foreign,
            "removed": report.removed,
            "unrecorded": report.unrecorded,
            "dry_run": dry,
        }));
    }
    let letters = count(report.replayed);
    match dry {
        true => desk.line(format!("dry run: {letters} would be replayed"))?,
        false => desk.line(format!("{letters} replayed"))?,
    }
    for (number, what) in [
        (report.replayed_before, "done before"),
        (report.filtered, "not chosen"),
        (report.beyond_limit, "left for later, beyond the limit"),
        (
            report.exhausted,
            "left out, replayed too often (--max-replays)",
        ),
        (report.gone, "left out, gone at their origin"),
        (report.too_large, "left out, too large"),
        (report.foreign, "left out, of another group or topic"),
        (
            report.removed,
            "removed by retention before they were replayed",
        ),
        (
            report.unrecorded,
            "replayed and not noted: another run repeats them",
        ),
    ] {
        if number > 0 {
            desk.line(format!("  {number} {what}"))?;
        }
    }
    Ok(())
}

/// So many dead letters, in words.
pub(crate) fn count(letters: u64) -> String {
    match letters {
        1 => "1 dead letter".to_owned(),
        letters => format!("{letters} dead letters"),
    }
}
