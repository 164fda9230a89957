//! `offsets reset`: a preview, a question, and the reset of the library.

use clap::{ArgGroup, Args};
use dotmsg::app::RouteHandle;
use dotmsg::clock::Timestamp;
use dotmsg::progress::Origin;
use dotmsg::reset::{HeadFate, PartitionReset, Reset, ResetReport};
use serde_json::json;

use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::{seek, time};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true))]
pub(crate) struct ResetArgs {
    /// The route [default: the only one]
    #[arg(value_name = "ROUTE")]
    route: Option<String>,
    /// To the first record that each partition holds
    #[arg(long, group = "target")]
    to_earliest: bool,
    /// To the end of each partition
    #[arg(long, group = "target")]
    to_latest: bool,
    /// To the first record that was appended at this time or later: an age such as 2h, or RFC 3339
    #[arg(long, group = "target", value_name = "TIME")]
    to_time: Option<String>,
    /// One partition to an offset; may be repeated, the others stay as they are
    #[arg(long, group = "target", value_name = "PARTITION:OFFSET", value_parser = place)]
    to_offset: Vec<(u32, u64)>,
    /// Leave the positions, and only take up again what the retry tiers have lost
    #[arg(long, group = "target")]
    stay: bool,
    /// Accept that messages are lost that neither their retry tier nor their origin holds any more
    #[arg(long)]
    drop_lost_heads: bool,
    /// Only say what it would do; the group may run meanwhile
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// `PARTITION:OFFSET`.
pub(crate) fn place(text: &str) -> Result<(u32, u64), String> {
    let place = text.split_once([':', '/']);
    place
        .and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)))
        .ok_or_else(|| "expected a partition and an offset, such as 3:1200".to_owned())
}

impl ResetArgs {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let route = desk.route(self.route.as_deref())?;
        let reset = self.target(&route).await?;
        let reset = match self.drop_lost_heads {
            true => reset.drop_lost_heads(),
            false => reset,
        };
        let preview = reset.clone().dry_run(true).run().await?;
        if self.dry_run {
            print(desk, &route, &preview, true)?;
            return Ok(Exit::Done);
        }
        if !preview.partitions.iter().any(|one| one.written) {
            print(desk, &route, &preview, false)?;
            return Ok(Exit::Done);
        }
        if !desk.yes {
            desk.note(&preview)?;
        }
        let (topic, group) = (&route.topology.source, &route.spec.group);
        desk.confirm(&format!("Move the position of group {group} in {topic}?"))?;
        let report = reset.run().await?;
        print(desk, &route, &report, false)?;
        Ok(Exit::Done)
    }

    async fn target(&self, route: &RouteHandle) -> Outcome<Reset> {
        let mut reset = route.reset();
        if self.to_earliest {
            reset = reset.to_earliest();
        }
        if self.to_latest {
            reset = reset.to_latest();
        }
        if let Some(text) = &self.to_time {
            let at = time::parse(text, time::now()).map_err(Failure::Usage)?;
            reset = to_time(reset, route, at).await?;
        }
        let offsets = self.to_offset.iter();
        Ok(offsets.fold(reset, |reset, (partition, offset)| {
            reset.to_offset(*partition, *offset)
        }))
    }
}

async fn to_time(mut reset: Reset, route: &RouteHandle, at: Timestamp) -> Outcome<Reset> {
    let source = &route.topology.source;
    let topic = route.backend.admin().topic(source).await?;
    // A topic that is missing is told by the reset itself.
    let partitions = topic.map_or(0, |topic| topic.partitions);
    for partition in 0..partitions {
        let offset = seek::first_at(&*route.backend, source, partition, at).await?;
        reset = reset.to_offset(partition, offset);
    }
    Ok(reset)
}

fn print(desk: &mut Desk<'_>, route: &RouteHandle, report: &ResetReport, dry: bool) -> Outcome<()> {
    if !desk.json {
        if dry {
            desk.note("dry run: nothing was moved")?;
        }
        return desk.line(report);
    }
    for partition in &report.partitions {
        desk.object(&object(route, partition, dry))?;
    }
    Ok(())
}

fn object(route: &RouteHandle, one: &PartitionReset, dry: bool) -> serde_json::Value {
    let heads: Vec<_> = one
        .heads
        .iter()
        .map(|head| {
            let (from, offset) = match head.origin {
                Origin::Source(offset) => ("source", offset),
                Origin::Replay(offset) => ("replay", offset),
            };
            let lost = head.fate == HeadFate::Dropped;
            json!({ "from": from, "offset": offset, "lost": lost })
        })
        .collect();
    json!({
        "route": route.spec.handler,
        "partition": one.partition,
        "before": one.before,
        "after": one.after,
        "written": one.written && !dry,
        "would_be_written": one.written,
        "unreadable": one.unreadable,
        "waiting": one.waiting,
        "heads": heads,
    })
}
