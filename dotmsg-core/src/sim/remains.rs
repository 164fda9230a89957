//! What is left in the end: the topics as the broker holds them, position records, dead letters.

use std::collections::BTreeMap;

use super::history::{Final, Letter, Place, Recorded, RouteName};
use super::world::{World, lock};
use crate::backend::{Backend, Record};
use crate::log::LogBroker;
use crate::progress::{PositionRecord, ResumeMap};
use crate::replay::DeadLetter;
use crate::testing::{now, read_all};

/// Whether every route is settled: lag 0 and nobody away. False before any route was started.
pub(super) async fn all_settled(world: &World) -> bool {
    let routes = lock(&world.history).routes.clone();
    let settled = |route: &RouteName| {
        let Ok(Some(topic)) = now(world.broker.admin().topic(&route.topic)) else {
            return false;
        };
        let ends = ends(&world.broker, &route.topic);
        let replays = self::ends(
            &world.broker,
            &format!("{}.{}.replay", route.topic, route.group),
        );
        let positions = positions(&world.broker, route, ends.len());
        let mut partitions = (0..).zip(ends.iter().zip(&positions));
        partitions.all(|(partition, (end, record)): (usize, _)| {
            let Some(record) = record else {
                return false;
            };
            // A topic of the same name that was made anew knows nothing of what was settled in the one before.
            let of_it = record
                .log
                .as_ref()
                .is_some_and(|log| log.topic == topic.identity);
            let replayed = record.replay.as_ref().map_or(0, ResumeMap::watermark);
            let replay_end = replays.get(partition).copied().unwrap_or(0);
            of_it && record.settled(*end) && replayed >= replay_end
        })
    };
    !routes.is_empty() && routes.iter().all(settled)
}

/// Looks at everything that is left, by route.
pub(super) fn look(world: &World, settled: bool) -> Vec<Final> {
    let routes = lock(&world.history).routes.clone();
    let mut keys = Keys::default();
    let mut look = |route: &RouteName| {
        let records = partitions(&world.broker, &route.topic);
        let mut recorded = |record: &Record| Recorded {
            message: record
                .message
                .id()
                .and_then(|id| std::str::from_utf8(id).ok()?.parse().ok()),
            key: record.message.key.as_ref().map(|key| keys.number(key)),
        };
        let letters = letters(world, route, &records);
        let source = records
            .iter()
            .map(|one| one.iter().map(&mut recorded).collect());
        Final {
            positions: positions(&world.broker, route, records.len()),
            source: source.collect(),
            letters,
            settled,
        }
    };
    routes.iter().map(&mut look).collect()
}

/// Numbers for keys, in the order in which they are first seen.
#[derive(Default)]
struct Keys(BTreeMap<Vec<u8>, u32>);

impl Keys {
    fn number(&mut self, key: &[u8]) -> u32 {
        if let Some(number) = self.0.get(key) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(key.to_vec(), number);
        number
    }
}

fn ends(broker: &LogBroker, topic: &str) -> Vec<u64> {
    let admin = broker.admin();
    let Ok(Some(described)) = now(admin.topic(topic)) else {
        return Vec::new();
    };
    let end = |partition| now(admin.offsets(topic, partition)).map_or(0, |range| range.end);
    (0..described.partitions).map(end).collect()
}

fn positions(
    broker: &LogBroker,
    route: &RouteName,
    partitions: usize,
) -> Vec<Option<PositionRecord>> {
    let stored = now(broker.admin().positions(&route.group, &route.topic)).unwrap_or_default();
    let mut positions = vec![None; partitions];
    for (partition, bytes) in stored {
        if let Some(position) = positions.get_mut(partition as usize) {
            *position = PositionRecord::decode(&bytes).ok();
        }
    }
    positions
}

/// Every record of a topic, by partition and offset.
fn partitions(broker: &LogBroker, topic: &str) -> Vec<Vec<Record>> {
    let mut partitions = vec![Vec::new(); ends(broker, topic).len()];
    for (partition, record) in read_all(broker, topic).unwrap_or_default() {
        if let Some(records) = partitions.get_mut(partition as usize) {
            records.push(record);
        }
    }
    partitions
}

fn letters(world: &World, route: &RouteName, source: &[Vec<Record>]) -> Vec<Letter> {
    let topic = format!("{}.{}.dlq", route.topic, route.group);
    let all = read_all(&world.broker, &topic).unwrap_or_default();
    let letters = all
        .into_iter()
        .filter_map(|(partition, record)| DeadLetter::read(partition, record));
    let letter = |letter: DeadLetter| {
        let origin = letter.origin();
        let place = Place {
            partition: origin.partition,
            offset: origin.offset,
        };
        let same_topic = origin.topic == route.topic && letter.partition == origin.partition;
        let of_source = source
            .get(place.partition as usize)
            .and_then(|records| records.get(usize::try_from(place.offset).ok()?));
        Letter {
            place,
            attempts: letter.attempts(),
            at_ms: world.since_start(letter.appended_at),
            same_message: same_topic
                && of_source.is_some_and(|record| {
                    let (is, was) = (&letter.message, &record.message);
                    is.key == was.key
                        && is.payload == was.payload
                        && is.headers == was.headers
                        && is.timestamp == was.timestamp
                }),
            kind: letter.kind,
        }
    };
    letters.map(letter).collect()
}
