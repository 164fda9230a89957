//! `offsets show`: what is stored of a group, partition by partition.

use std::collections::BTreeMap;

use clap::Args;
use dotmsg::Bytes;
use dotmsg::app::RouteHandle;
use dotmsg::backend::OffsetRange;
use dotmsg::progress::{LogIdentity, PositionRecord};
use dotmsg::{Error, ErrorKind};
use serde_json::json;

use crate::desk::Desk;
use crate::escape;
use crate::exit::{Exit, Outcome};
use crate::table::Table;

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The routes [default: all]
    #[arg(value_name = "ROUTE")]
    routes: Vec<String>,
}

/// What is stored of a partition.
enum Stored {
    Nothing,
    Unreadable(String),
    Record(Box<PositionRecord>),
}

impl Show {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        for (index, route) in desk.routes(&self.routes)?.iter().enumerate() {
            if index > 0 && !desk.json {
                desk.line("")?;
            }
            show(desk, route).await?;
        }
        Ok(Exit::Done)
    }
}

async fn show(desk: &mut Desk<'_>, route: &RouteHandle) -> Outcome<()> {
    let (source, group) = (&route.topology.source, &route.spec.group);
    let admin = route.backend.admin();
    let Some(topic) = admin.topic(source).await? else {
        let missing = Error::new(
            ErrorKind::NotFound,
            "show offsets",
            "the topic does not exist",
        );
        return Err(missing.with("topic", source).into());
    };
    let log = LogIdentity::of(admin.cluster().await?, topic.identity);
    let stored: BTreeMap<u32, Bytes> = admin.positions(group, source).await?.into_iter().collect();
    let mut table = Table::new(&[
        "partition",
        "start",
        "end",
        "watermark",
        "unsettled",
        "away",
        "epoch",
        "state",
    ]);
    for partition in 0..topic.partitions {
        let range = admin.offsets(source, partition).await?;
        let found = match stored
            .get(&partition)
            .map(|bytes| PositionRecord::decode(bytes))
        {
            None => Stored::Nothing,
            Some(Err(error)) => Stored::Unreadable(error.to_string()),
            Some(Ok(record)) => Stored::Record(Box::new(record)),
        };
        let state = state(&found, &log, range);
        match desk.json {
            true => desk.object(&object(route, partition, range, &found, &state))?,
            false => table.row(row(partition, range, &found, state)),
        }
    }
    if !desk.json {
        desk.line(format!("{}: {source} in group {group}", route.spec.handler))?;
        table.write(&mut *desk.console.out)?;
    }
    Ok(())
}

/// What a start would say of it.
fn state(found: &Stored, log: &LogIdentity, range: OffsetRange) -> String {
    match found {
        Stored::Nothing => "no position".to_owned(),
        Stored::Unreadable(why) => format!("unreadable: {}", escape::line(why.as_bytes())),
        Stored::Record(record) if record.is_of_other_log(log) => "of another log".to_owned(),
        Stored::Record(record) if record.watermark() > range.end => {
            "above the end of the log".to_owned()
        }
        Stored::Record(record) if record.watermark() < range.start => {
            "below the start of the log".to_owned()
        }
        Stored::Record(record) if record.clean => "released".to_owned(),
        Stored::Record(_) => "owned, or left by a crash".to_owned(),
    }
}

fn row(partition: u32, range: OffsetRange, found: &Stored, state: String) -> [String; 8] {
    let known = |of: &dyn Fn(&PositionRecord) -> u64| match found {
        Stored::Record(record) => of(record).to_string(),
        Stored::Nothing | Stored::Unreadable(_) => "-".to_owned(),
    };
    [
        partition.to_string(),
        range.start.to_string(),
        range.end.to_string(),
        known(&PositionRecord::watermark),
        known(&|record| record.source.unsettled_in(range.start..range.end)),
        known(&|record| record.names.len()),
        known(&|record| record.epoch),
        state,
    ]
}

fn object(
    route: &RouteHandle,
    partition: u32,
    range: OffsetRange,
    found: &Stored,
    state: &str,
) -> serde_json::Value {
    let record = match found {
        Stored::Record(record) => Some(record),
        Stored::Nothing | Stored::Unreadable(_) => None,
    };
    json!({
        "route": route.spec.handler,
        "topic": &*route.topology.source,
        "group": route.spec.group,
        "partition": partition,
        "start": range.start,
        "end": range.end,
        "watermark": record.map(|record| record.watermark()),
        "unsettled": record.map(|record| record.source.unsettled_in(range.start..range.end)),
        "away": record.map(|record| record.names.len()),
        "replay_watermark": record.and_then(|record| record.replay.as_ref()).map(|map| map.watermark()),
        "epoch": record.map(|record| record.epoch),
        "clean": record.map(|record| record.clean),
        "state": state,
    })
}
