//! How far each partition is known to be confirmed.
//!
//! A segment does not say where its confirmed bytes end: a batch that a crash tore and one that was confirmed and then
//! damaged look alike. So the position journal notes the ends of partitions, whenever it is written anyway (with
//! position records, which are written after the records of their group were synced), and when the log is closed. A
//! note is a lower bound: records that were confirmed after the last note are not covered. It costs no sync of its own but
//! the one at the end. A partition is named by its topic's identity, so a recreated topic begins without a note.
//!
//! Without fsync nothing is noted, as nothing is sure to be there after a power cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::topic::Topic;

/// One past the last record of a partition that is known to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The topic's identity.
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) offset: u64,
}

/// The noted ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends(BTreeMap<(Arc<str>, u32), u64>);

impl Ends {
    /// The end of a partition; 0 when none was noted.
    pub(super) fn get(&self, topic: &str, partition: u32) -> u64 {
        let key = (topic.into(), partition);
        self.0.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn put(&mut self, end: End) {
        self.0.insert((end.topic, end.partition), end.offset);
    }

    /// All ends, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = End> + '_ {
        self.0.iter().map(|((topic, partition), offset)| End {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *offset,
        })
    }

    /// The ends after opening: those of these topics, as far as they are there, or (when all that was found is `durable`)
    /// wherever they are.
    pub(super) fn found<'a>(
        &self,
        topics: impl Iterator<Item = &'a Arc<Topic>>,
        durable: bool,
    ) -> Self {
        let mut found = Self::default();
        for topic in topics {
            let identity: Arc<str> = topic.identity.as_str().into();
            for (partition, end) in (0..).zip(topic.ends()) {
                let noted = self.get(&identity, partition);
                let offset = if durable { end } else { end.min(noted) };
                if offset > 0 {
                    found.put(End {
                        topic: Arc::clone(&identity),
                        partition,
                        offset,
                    });
                }
            }
        }
        found
    }
}
