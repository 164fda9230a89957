//! Where it is kept which dead letters were replayed: position records of the group `<group>.replay`.
//!
//! A record of another topic of the same name, or of another cluster, says nothing about this one: everything is unsettled.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, Exclusive, NewPosition, PositionStore, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{LogIdentity, PositionRecord, ResumeMap};
use crate::router::Topology;

const OPERATION: &str = "replay";

/// How a run deals with what an earlier one replayed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// It is replayed again, so that not knowing it is no hindrance.
    pub(super) again: bool,
    /// Nothing is noted, so that nobody has to be kept out.
    pub(super) look: bool,
}

/// The records of all partitions.
#[derive(Debug)]
pub(super) struct Positions {
    /// `None` when nothing is noted.
    member: Option<Exclusive>,
    records: BTreeMap<u32, PositionRecord>,
    log: LogIdentity,
    max_bytes: usize,
    owner: u128,
}

impl Positions {
    /// Reads them, and joins the group unless this is only to look.
    pub(super) async fn open(
        backend: &dyn Backend,
        topology: &Topology,
        access: Access,
    ) -> Result<Self> {
        let topic = &topology.dead_letter;
        let admin = backend.admin();
        let described = admin.topic(topic).await?.ok_or_else(|| no_topic(topic))?;
        let mut positions = Self {
            member: None,
            records: BTreeMap::new(),
            log: LogIdentity::of(admin.cluster().await?, described.identity),
            max_bytes: 0,
            owner: fastrand::Rng::new().u128(..),
        };
        match backend.capability().position {
            PositionStore::Record { max_bytes } => positions.max_bytes = max_bytes,
            PositionStore::None if access.again => return Ok(positions),
            PositionStore::None => return Err(no_store(topic)),
        }
        let group = topology.replay_group();
        let mut stored: Vec<(u32, Bytes)> = Vec::new();
        if access.look {
            stored = admin.positions(&group, topic).await?;
        } else {
            let subscription = Subscription::new(Arc::clone(topic), group);
            let mut member =
                Exclusive::join(backend, subscription, described.partitions, OPERATION)
                    .await
                    .map_err(another_runs)?;
            let mut expired = Vec::new();
            for partition in 0..described.partitions {
                match member.position(partition).await {
                    Ok(record) => stored.extend(record.map(|record| (partition, record))),
                    Err(error) if error.kind() == ErrorKind::PositionLost => {
                        if !access.again {
                            return Err(error.remedy("It is not known any more what was replayed: Replay::again replays everything that the conditions choose, and begins to note it anew; raise position_retention"));
                        }
                        expired.push(partition);
                    }
                    Err(error) => return Err(error),
                }
            }
            positions.member = Some(member);
            for partition in expired {
                // Also where there is nothing to replay: else the next run would find that it has expired.
                positions.store(partition, ResumeMap::default()).await?;
            }
        }
        for (partition, bytes) in stored {
            positions.read(topic, partition, &bytes, access)?;
        }
        Ok(positions)
    }

    fn read(&mut self, topic: &str, partition: u32, bytes: &[u8], access: Access) -> Result<()> {
        match PositionRecord::decode(bytes) {
            Ok(record) if !record.is_of_other_log(&self.log) => {
                self.records.insert(partition, record);
                Ok(())
            }
            Ok(_) => {
                tracing::warn!(
                    topic,
                    partition,
                    "the dead-letter topic was created anew; nothing of it counts as replayed"
                );
                Ok(())
            }
            Err(error) if access.again => {
                tracing::warn!(topic, partition, %error, "what was replayed before cannot be read; it is written anew");
                Ok(())
            }
            Err(error) => Err(Error::new(
                ErrorKind::Corrupt,
                OPERATION,
                "what was replayed before cannot be read",
            )
            .with("topic", topic)
            .with("partition", partition)
            .source_error(error)
            .remedy("Run the release that wrote it, or replay everything with Replay::again")),
        }
    }

    /// What is settled of a partition.
    pub(super) fn settled(&self, partition: u32) -> ResumeMap {
        let record = self.records.get(&partition);
        record.map_or_else(ResumeMap::default, |record| record.source.clone())
    }

    /// What is settled, by partition.
    pub(super) fn into_settled(self) -> BTreeMap<u32, ResumeMap> {
        let records = self.records.into_iter();
        records
            .map(|(partition, record)| (partition, record.source))
            .collect()
    }

    /// Stores what is settled of a partition, confirmed; gives how many settled offsets had no room.
    pub(super) async fn store(&mut self, partition: u32, settled: ResumeMap) -> Result<u64> {
        let Some(member) = &mut self.member else {
            return Ok(0);
        };
        let before = self.records.get(&partition);
        let record = PositionRecord {
            epoch: before.map_or(1, |before| before.epoch.saturating_add(1)),
            log: Some(self.log.clone()),
            source: settled,
            clean: true,
            ..PositionRecord::new(self.owner, 0)
        };
        let encoded = record.encode_within(self.max_bytes).map_err(|error| {
            let message = "the position record does not fit into its store";
            Error::new(ErrorKind::TooLarge, OPERATION, message)
                .with("partition", partition)
                .source_error(error)
        })?;
        let map = &record.source;
        let unrecorded = encoded
            .cut
            .map_or(0, |cut| map.end() - cut - map.unsettled_in(cut..map.end()));
        let position = NewPosition {
            partition,
            watermark: record.watermark(),
            record: encoded.bytes.into(),
        };
        member.commit(vec![position]).await.map_err(another_runs)?;
        self.records.insert(partition, record);
        Ok(unrecorded)
    }

    /// Lets others replay.
    pub(super) async fn leave(self) -> Result<()> {
        match self.member {
            Some(member) => member.leave().await,
            None => Ok(()),
        }
    }
}

fn no_topic(topic: &str) -> Error {
    Error::new(ErrorKind::NotFound, OPERATION, "the topic does not exist")
        .with("topic", topic)
        .remedy("A route creates it when it first runs; check topic, group and prefix")
}

fn no_store(topic: &str) -> Error {
    let message =
        "the backend stores no positions, so that it is not known what was replayed before";
    Error::new(ErrorKind::Unsupported, OPERATION, message)
        .with("topic", topic)
        .remedy("Replay::again replays everything that the conditions choose, whether it was replayed before or not")
}

/// What it means here that the group has another member.
fn another_runs(error: Error) -> Error {
    if error.kind() == ErrorKind::Fenced {
        error.remedy("Another replay of these dead letters runs: wait for its end, then run this one again for what it left out")
    } else {
        error
    }
}
