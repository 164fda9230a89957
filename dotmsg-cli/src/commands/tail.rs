//! `tail`: the records of a topic, outside any group.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;

use clap::Args;
use dotmsg::backend::{Backend, BatchLimits, OffsetRange, ReadBatch, Reader, Record};
use dotmsg::{Error, ErrorKind};
use serde_json::{Map, Value};

use super::offsets::place;
use crate::desk::Desk;
use crate::exit::{Exit, Failure, Outcome};
use crate::{escape, json, seek, time};

const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 4 << 20,
};

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// The topic, without the prefix of the backend
    #[arg(value_name = "TOPIC")]
    of: String,
    /// The last so many records of each partition
    #[arg(short = 'n', long, value_name = "RECORDS", default_value_t = 10, conflicts_with_all = ["from_start", "since", "offset"])]
    last: u64,
    /// From the first record on
    #[arg(long, conflicts_with_all = ["since", "offset"])]
    from_start: bool,
    /// From what was appended at this time or later: an age such as 2h, or RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "offset")]
    since: Option<String>,
    /// One partition from an offset on; may be repeated, and others are not read
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = place)]
    offset: Vec<(u32, u64)>,
    /// Go on with what is appended, until it is stopped
    #[arg(short, long)]
    follow: bool,
    /// End after so many records
    #[arg(long, value_name = "RECORDS")]
    max: Option<u64>,
    /// Print headers too
    #[arg(short = 'H', long)]
    headers: bool,
    /// The name of the topic is the broker's: no prefix is put before it
    #[arg(long)]
    exact: bool,
}

impl Tail {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        let name = desk.backend()?;
        let prefix = match self.exact {
            true => "",
            false => desk.app.topic_prefix(&name).unwrap_or_default(),
        };
        let topic: Arc<str> = format!("{prefix}{}", self.of).into();
        let Some(backend) = desk.app.backend(&name).cloned() else {
            return Err(Failure::usage(format!("there is no open backend {name}")));
        };
        let mut reader = backend.reader().await?;
        // What is left to read of each partition, unless it is followed.
        let mut left: BTreeMap<u32, OffsetRange> = BTreeMap::new();
        for (partition, range) in self.ranges(&*backend, &topic).await? {
            if self.follow || range.start < range.end {
                reader.assign(&topic, partition, range.start)?;
                left.insert(partition, range);
            }
        }
        self.read(desk, &mut *reader, &topic, left).await?;
        Ok(Exit::Done)
    }

    async fn read(
        &self,
        desk: &mut Desk<'_>,
        reader: &mut dyn Reader,
        topic: &str,
        mut left: BTreeMap<u32, OffsetRange>,
    ) -> Outcome<()> {
        let mut printed = 0;
        let mut batch = ReadBatch::default();
        while !left.is_empty() && self.max.is_none_or(|max| printed < max) {
            let read = poll_fn(|cx| reader.poll_batch(cx, READ_LIMITS, &mut batch));
            match tokio::time::timeout(seek::SILENCE, read).await {
                Ok(read) => read?,
                Err(_) if self.follow => continue,
                Err(_) => {
                    for (partition, range) in &left {
                        desk.note(unread(*partition, range))?;
                    }
                    return Ok(());
                }
            }
            let partition = batch.partition;
            if let Some(removed) = batch.removed.take() {
                desk.note(format!(
                    "partition {partition}: offsets {} to {} were removed by retention before they were read",
                    removed.start,
                    removed.end - 1
                ))?;
                self.through(&mut left, reader, topic, partition, removed.end);
            }
            for record in batch.records.drain(..) {
                let next = record.offset + 1;
                let wanted = |range: &OffsetRange| self.follow || record.offset < range.end;
                if left.get(&partition).is_some_and(wanted)
                    && self.max.is_none_or(|max| printed < max)
                {
                    print(desk, topic, partition, &record)?;
                    if self.headers && !desk.json {
                        print_headers(desk, &record)?;
                    }
                    printed += 1;
                }
                self.through(&mut left, reader, topic, partition, next);
            }
            desk.console.out.flush()?;
        }
        Ok(())
    }

    /// Everything of a partition below `next` was read.
    fn through(
        &self,
        left: &mut BTreeMap<u32, OffsetRange>,
        reader: &mut dyn Reader,
        topic: &str,
        partition: u32,
        next: u64,
    ) {
        let Some(range) = left.get_mut(&partition) else {
            return;
        };
        range.start = next;
        if !self.follow && range.start >= range.end {
            left.remove(&partition);
            reader.unassign(topic, partition);
        }
    }

    /// From where to where each partition is read.
    async fn ranges(
        &self,
        backend: &dyn Backend,
        topic: &Arc<str>,
    ) -> Outcome<Vec<(u32, OffsetRange)>> {
        let admin = backend.admin();
        let Some(described) = admin.topic(topic).await? else {
            let missing = Error::new(ErrorKind::NotFound, "tail", "the topic does not exist");
            return Err(missing.with("topic", topic).into());
        };
        let since = match &self.since {
            Some(text) => Some(time::parse(text, time::now()).map_err(Failure::Usage)?),
            None => None,
        };
        if let Some((unknown, _)) = self
            .offset
            .iter()
            .find(|(one, _)| *one >= described.partitions)
        {
            return Err(Failure::usage(format!(
                "{topic} has no partition {unknown}"
            )));
        }
        let mut ranges = Vec::new();
        for partition in 0..described.partitions {
            let range = admin.offsets(topic, partition).await?;
            let start = match (since, &*self.offset) {
                (Some(at), _) => seek::first_at(backend, topic, partition, at).await?,
                (None, []) if self.from_start => range.start,
                (None, []) => range.end.saturating_sub(self.last).max(range.start),
                (None, offsets) => match offsets.iter().find(|(one, _)| *one == partition) {
                    // To be beyond the end is no place to wait at: a follower would be told that the log was cut short.
                    Some((_, offset)) if *offset > range.end => {
                        return Err(Failure::usage(format!(
                            "partition {partition} of {topic} ends at {}, below {offset}",
                            range.end
                        )));
                    }
                    Some((_, offset)) => *offset,
                    None => continue,
                },
            };
            ranges.push((
                partition,
                OffsetRange {
                    start,
                    end: range.end,
                },
            ));
        }
        Ok(ranges)
    }
}

/// What is told of a partition whose end was not come to.
fn unread(partition: u32, left: &OffsetRange) -> String {
    format!(
        "partition {partition}: nothing came for {}. Its last offsets, {} to {}, hold no record (marks of transactions take offsets), or the broker is slow",
        humantime::format_duration(seek::SILENCE),
        left.start,
        left.end - 1
    )
}

fn print_headers(desk: &mut Desk<'_>, record: &Record) -> Outcome<()> {
    for (name, value) in record.message.headers.iter() {
        let value = value.map_or("(null)".into(), |value| escape::line(value));
        desk.line(format!("    {}: {value}", escape::line(name.as_bytes())))?;
    }
    Ok(())
}

fn print(desk: &mut Desk<'_>, topic: &str, partition: u32, record: &Record) -> Outcome<()> {
    if desk.json {
        let mut object = Map::new();
        object.insert("topic".to_owned(), topic.into());
        object.insert("partition".to_owned(), partition.into());
        object.insert("offset".to_owned(), record.offset.into());
        object.insert(
            "appended_at".to_owned(),
            time::instant(record.appended_at).into(),
        );
        json::put_message(&mut object, &record.message);
        return desk.object(&Value::Object(object));
    }
    let message = &record.message;
    let shown = |bytes: &Option<dotmsg::Bytes>| match bytes {
        Some(bytes) => escape::line(bytes),
        None => "(null)".to_owned(),
    };
    desk.line(format!(
        "{partition}/{} {} key {}: {}",
        record.offset,
        time::instant(record.appended_at),
        shown(&message.key),
        shown(&message.payload)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_come_to_is_told() {
        let told = unread(3, &OffsetRange { start: 7, end: 9 });
        assert!(told.contains("partition 3: nothing came for 5s"), "{told}");
        assert!(told.contains("offsets, 7 to 8, hold no record"), "{told}");
    }
}
