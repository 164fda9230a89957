//! The lag of a group from outside of it, by what it has committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Asked, Course, Lag, Standing, look};
use crate::backend::Backend;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{LogIdentity, PositionRecord};

const OPERATION: &str = "tell lag";

/// How far `group` is behind `topic`, whose name is as the broker knows it, prefix included.
///
/// For a group that is stopped, or runs elsewhere: of one that runs it says what was committed, up to `commit_interval` ago.
/// A partition without a position counts as unread from its first record on, and so does one whose position is of an
/// earlier topic of this name. Velocities, and why a watermark rests, are not known from outside.
///
/// `now` is what ages are counted from: `SystemClock.now()`.
///
/// # Errors
/// The topic does not exist; [`ErrorKind::Corrupt`]: a position cannot be read; the backend's.
pub async fn of(backend: &dyn Backend, topic: &str, group: &str, now: Timestamp) -> Result<Lag> {
    let admin = backend.admin();
    let Some(described) = admin.topic(topic).await? else {
        let error = Error::new(ErrorKind::NotFound, OPERATION, "the topic does not exist");
        return Err(error.with("topic", topic).remedy("Check topic and prefix"));
    };
    let log = LogIdentity::of(admin.cluster().await?, described.identity);
    let stored: BTreeMap<u32, _> = admin.positions(group, topic).await?.into_iter().collect();
    let mut asked = Vec::new();
    for partition in 0..described.partitions {
        let record = stored.get(&partition).map(|bytes| {
            PositionRecord::decode(bytes).map_err(|error| {
                let message = "a position record cannot be read";
                Error::new(ErrorKind::Corrupt, OPERATION, message)
                    .with("topic", topic)
                    .with("group", group)
                    .with("partition", partition)
                    .source_error(error)
            })
        });
        let standing = match record.transpose()? {
            Some(record) if !record.is_of_other_log(&log) => Standing::stored(partition, record),
            _ => Standing::none(partition, admin.offsets(topic, partition).await?.start),
        };
        asked.push(Asked {
            standing,
            known: None,
        });
    }
    let seen = look(backend, &Arc::from(topic), &mut None, &asked).await?;
    let looked = asked.iter().zip(&seen);
    let observe =
        |(asked, seen): (&Asked, _)| Course::default().observe(now, &asked.standing, seen);
    Ok(Lag {
        topic: topic.to_owned(),
        group: group.to_owned(),
        at: now,
        circuit_open: false,
        partitions: looked.map(observe).collect(),
    })
}
