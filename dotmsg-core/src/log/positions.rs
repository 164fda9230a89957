//! Stored position records, by group, topic and partition.
//!
//! They outlive the topic they are about: that is how a recreated topic is noticed (the record names the identity of
//! the one before).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::GroupDescription;

/// Whose position, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PositionKey {
    pub(super) group: Arc<str>,
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
}

/// All stored position records.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<PositionKey, Bytes>);

/// Stands for a record that has expired: without a trace of it, a group whose positions are lost would look like a new one.
const EXPIRED: Bytes = Bytes::new();

/// What is known of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Record(Bytes),
    /// There was one.
    Expired,
}

impl Positions {
    pub(super) fn get(&self, key: &PositionKey) -> Option<Stored> {
        let bytes = self.0.get(key)?.clone();
        Some(match bytes.is_empty() {
            true => Stored::Expired,
            false => Stored::Record(bytes),
        })
    }

    /// The changes that let all positions of a group in a topic expire.
    pub(super) fn expire(&self, group: &str, topic: &str) -> Vec<(PositionKey, Option<Bytes>)> {
        let of_it = |key: &PositionKey| &*key.group == group && &*key.topic == topic;
        let kept = |(key, record): &(&PositionKey, &Bytes)| of_it(key) && !record.is_empty();
        let kept = self.0.iter().filter(kept);
        kept.map(|(key, _)| (key.clone(), Some(EXPIRED))).collect()
    }

    /// Stores a record, or removes it.
    pub(super) fn put(&mut self, key: PositionKey, record: Option<Bytes>) {
        match record {
            Some(record) => self.0.insert(key, record),
            None => self.0.remove(&key),
        };
    }

    /// All records, by key; those that have expired are empty.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PositionKey, &Bytes)> {
        self.0.iter()
    }

    /// The records of a group in a topic, by partition.
    pub(super) fn of(&self, group: &str, topic: &str) -> Vec<(u32, Bytes)> {
        self.0
            .iter()
            .filter(|(key, record)| {
                &*key.group == group && &*key.topic == topic && !record.is_empty()
            })
            .map(|(key, record)| (key.partition, record.clone()))
            .collect()
    }

    /// All groups with the topics they have a record in.
    pub(super) fn groups(&self) -> Vec<GroupDescription> {
        let mut groups: Vec<GroupDescription> = Vec::new();
        let kept = self.0.iter().filter(|(_, record)| !record.is_empty());
        for (key, _) in kept {
            if groups.last().is_none_or(|last| last.name != *key.group) {
                groups.push(GroupDescription {
                    name: key.group.to_string(),
                    topics: Vec::new(),
                });
            }
            if let Some(group) = groups.last_mut()
                && group.topics.last().is_none_or(|last| *last != *key.topic)
            {
                group.topics.push(key.topic.to_string());
            }
        }
        groups
    }
}
