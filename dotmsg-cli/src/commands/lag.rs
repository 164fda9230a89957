//! `lag`: how far groups are behind, by what they have committed.
//!
//! One look knows no velocities; between two looks of `--watch` they are what the ends and the records behind say.

use std::time::Duration;

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::clock::Timestamp;
use dotmsg::lag::{self, Lag, PartitionLag};
use dotmsg::replay::Done;
use serde_json::json;

use super::dlq::{count, ranges};
use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::table::Table;
use crate::time;

#[derive(Debug, Args)]
pub(crate) struct LagArgs {
    /// The routes [default: all]
    #[arg(value_name = "ROUTE")]
    routes: Vec<String>,
    /// Look again and again, every so often [default: 5s], until it is stopped
    #[arg(short, long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "5s", value_parser = humantime::parse_duration)]
    watch: Option<Duration>,
    /// With --watch: end after so many looks
    #[arg(long, value_name = "LOOKS", requires = "watch")]
    looks: Option<u64>,
    /// Exit code 2 when a route has more records behind than this (at the last look)
    #[arg(long, value_name = "RECORDS")]
    fail_above: Option<u64>,
}

impl LagArgs {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let routes = desk.routes(&self.routes)?;
        if self.watch.is_some_and(|every| every.is_zero()) {
            return Err(Failure::usage("--watch needs some time between looks"));
        }
        let looks = match self.watch {
            None => 1,
            Some(_) => self.looks.unwrap_or(u64::MAX),
        };
        let mut before: Vec<Option<Lag>> = vec![None; routes.len()];
        let mut most = 0;
        for look in 0..looks {
            if look > 0 {
                tokio::time::sleep(self.watch.unwrap_or_default()).await;
            }
            if self.watch.is_some() && desk.console.screen && !desk.json {
                // To the upper left corner, and clear what is below it.
                write!(desk.console.out, "\x1b[H\x1b[J")?;
            }
            most = 0;
            for (index, (route, before)) in routes.iter().zip(&mut before).enumerate() {
                if index > 0 && !desk.json {
                    desk.line("")?;
                }
                let lag = of(route, before.as_ref()).await?;
                let letters = letters_left(route).await?;
                most = most.max(lag.records());
                print(desk, route, &lag, letters)?;
                *before = Some(lag);
            }
            desk.console.out.flush()?;
        }
        match self.fail_above {
            Some(limit) if most > limit => Ok(Exit::Differs),
            _ => Ok(Exit::Done),
        }
    }
}

/// The lag of a route's group, with velocities since the look before.
async fn of(route: &RouteHandle, before: Option<&Lag>) -> Outcome<Lag> {
    let (topic, group) = (&route.topology.source, &route.spec.group);
    let mut lag = lag::of(&*route.backend, topic, group, time::now()).await?;
    if let Some(before) = before {
        let seconds = lag.at.since(before.at).as_secs_f64();
        for (now, before) in lag.partitions.iter_mut().zip(&before.partitions) {
            velocities(now, before, seconds);
        }
    }
    Ok(lag)
}

/// What came and what ended in so many seconds.
fn velocities(now: &mut PartitionLag, before: &PartitionLag, seconds: f64) {
    if seconds <= 0.0 || now.end < before.end {
        return;
    }
    let came = (now.end - before.end) as f64;
    let ended = came + before.records as f64 - now.records as f64;
    now.produced = Some(came / seconds);
    now.consumed = Some(ended.max(0.0) / seconds);
}

/// Dead letters that nobody has seen to; none where there is no topic for them yet.
async fn letters_left(route: &RouteHandle) -> Outcome<u64> {
    let ranges = ranges(route).await?;
    if ranges.is_empty() {
        return Ok(0);
    }
    let done = Done::read(&*route.backend, &route.topology).await?;
    let left = (0..).zip(ranges);
    Ok(left
        .map(|(partition, holds)| done.left(partition, holds))
        .sum())
}

fn print(desk: &mut Desk<'_>, route: &RouteHandle, lag: &Lag, letters: u64) -> Outcome<()> {
    if desk.json {
        return desk.object(&object(route, lag, letters));
    }
    let (name, behind) = (&route.spec.handler, lag.records());
    let letters = count(letters);
    desk.line(format!(
        "{name}: {} in group {}, {behind} behind, {letters} left",
        lag.topic, lag.group
    ))?;
    let watched = lag.partitions.iter().any(|one| one.consumed.is_some());
    let mut names = vec!["partition", "end", "watermark", "behind", "away", "oldest"];
    if watched {
        names.extend(["done/s", "new/s", "catch up"]);
    }
    let mut table = Table::new(&names);
    for one in &lag.partitions {
        let mut row = vec![
            one.partition.to_string(),
            one.end.to_string(),
            one.watermark.to_string(),
            one.records.to_string(),
            one.away.to_string(),
            oldest(one, lag.at),
        ];
        if watched {
            row.extend([rate(one.consumed), rate(one.produced), catch_up(one)]);
        }
        table.row(row);
    }
    table.write(&mut *desk.console.out)?;
    Ok(())
}

fn oldest(one: &PartitionLag, at: Timestamp) -> String {
    let Some(behind_for) = one.behind_for(at).filter(|_| one.records > 0) else {
        return if one.records == 0 { "-" } else { "?" }.to_owned();
    };
    let estimated = one.oldest.is_some_and(|oldest| oldest.estimated);
    format!(
        "{}{}",
        if estimated { "~" } else { "" },
        time::age(behind_for)
    )
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.1}"))
}

fn catch_up(one: &PartitionLag) -> String {
    match one.catch_up() {
        Some(lag::CatchUp::In(time)) => time::age(time),
        Some(lag::CatchUp::Never) => "never".to_owned(),
        None => "?".to_owned(),
    }
}

fn object(route: &RouteHandle, lag: &Lag, letters: u64) -> serde_json::Value {
    let partitions: Vec<_> = lag
        .partitions
        .iter()
        .map(|one| {
            let oldest = one.oldest.filter(|_| one.records > 0);
            json!({
                "partition": one.partition,
                "end": one.end,
                "watermark": one.watermark,
                "behind": one.records,
                "away": one.away,
                "oldest": oldest.map(|oldest| time::instant(oldest.at)),
                "oldest_is_estimated": oldest.is_some_and(|oldest| oldest.estimated),
                "done_per_second": one.consumed,
                "new_per_second": one.produced,
            })
        })
        .collect();
    json!({
        "route": route.spec.handler,
        "topic": lag.topic,
        "group": lag.group,
        "at": time::instant(lag.at),
        "behind": lag.records(),
        "dead_letters_left": letters,
        "partitions": partitions,
    })
}
