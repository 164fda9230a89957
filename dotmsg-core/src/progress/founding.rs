//! A partition without a position record: is the group new there, did the topic grow, or was the record lost?
//!
//! One missing record looks the same in all three cases, and each wants another start: where the route says, at the first
//! record, or not at all before somebody has looked. What tells them apart is what the *other* records of the group say.
//! Each carries two numbers, its [`Founding`]; a [`Census`] is what all of them say together. Members take partitions over
//! one after the other and beside each other, so that a group begins over a while and nobody sees all of it at once: see
//! ADR 0005.
//!
//! What must stay true: `known` counts records that were confirmed, never such that are only about to be written (a write
//! of several records may be stored in part); it never falls, and `partitions` never rises, but for a topic that was
//! created again. In doubt a record counts as lost: that stops with a remedy, where a wrong "new" skips messages.

use std::collections::BTreeSet;

/// What a position record says of how its group began on its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Founding {
    /// Partitions that the topic had when the group began. Those from there on were added since.
    pub partitions: u32,
    /// Every partition below it has had a record, confirmed.
    pub known: u32,
}

impl Founding {
    /// Takes over what all records say together; `true` when that is news.
    pub fn learn(&mut self, all: Self) -> bool {
        let learned = Self {
            partitions: self.partitions.min(all.partitions),
            known: self.known.max(all.known),
        };
        std::mem::replace(self, learned) != learned
    }
}

/// What one stored record can tell about others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// A record of the topic as it is.
    SameLog(Founding),
    /// A record of a topic of the same name that was there before.
    OtherLog(Founding),
    /// A record that cannot be read: it may have known anything.
    Unreadable,
}

/// All stored records of a group in one topic, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    topic_partitions: u32,
    recorded: BTreeSet<u32>,
    same_log: Option<Founding>,
    other_log: Option<Founding>,
    unreadable: bool,
}

/// Why a partition has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The group is new, or still beginning: start where the route says.
    New,
    /// The topic has gained it since the group began: its first record is the first that the group has not seen.
    Grown,
    /// It had one, or may have had.
    Lost(Evidence),
}

/// Why a missing record counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// No partition has a record, but the group's own topics hold some: it has handled messages.
    OwnTopics,
    /// The record of another partition knows of it.
    OtherRecord,
    /// The record of another partition cannot be read.
    UnreadableRecord,
    /// The store says that it had one, and has let it expire.
    Expired,
}

impl Census {
    /// The stored records by partition, for a topic with so many partitions.
    #[must_use]
    pub fn of(topic_partitions: u32, records: impl IntoIterator<Item = (u32, Witness)>) -> Self {
        let mut census = Self {
            topic_partitions,
            recorded: BTreeSet::new(),
            same_log: None,
            other_log: None,
            unreadable: false,
        };
        for (partition, witness) in records {
            census.recorded.insert(partition);
            match witness {
                Witness::SameLog(said) => census.same_log = together(census.same_log, said),
                Witness::OtherLog(said) => census.other_log = together(census.other_log, said),
                Witness::Unreadable => census.unreadable = true,
            }
        }
        census
    }

    /// Whether no partition has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }

    /// Why this partition has no record. `own_topics_used`: a topic that only this group writes holds records; asked only
    /// when no partition has a record.
    #[must_use]
    pub fn judge(&self, partition: u32, own_topics_used: bool) -> Absence {
        if self.is_empty() {
            return if own_topics_used {
                Absence::Lost(Evidence::OwnTopics)
            } else {
                Absence::New
            };
        }
        if partition < self.known() || self.recorded.contains(&partition) {
            return Absence::Lost(Evidence::OtherRecord);
        }
        match self.said() {
            _ if self.unreadable => Absence::Lost(Evidence::UnreadableRecord),
            Some(said) if partition < said.partitions => Absence::New,
            _ => Absence::Grown,
        }
    }

    /// What a record that is written now says.
    #[must_use]
    pub fn founding(&self) -> Founding {
        Founding {
            partitions: self
                .same_log
                .map_or(self.topic_partitions, |said| said.partitions),
            known: self.counted_from(self.same_log.map_or(0, |said| said.known)),
        }
    }

    /// Whether every partition of the topic has had a record: nothing is left to be learned.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.founding().known >= self.topic_partitions
    }

    /// How many partitions the group has taken up; `None` for a group without records.
    #[must_use]
    pub fn taken_up(&self) -> Option<u32> {
        let last = self.recorded.last()?.saturating_add(1);
        let began_with = self.said().map_or(0, |said| said.partitions);
        Some(last.max(began_with).max(self.known()))
    }

    /// Partitions that the topic has.
    #[must_use]
    pub fn topic_partitions(&self) -> u32 {
        self.topic_partitions
    }

    /// What those say that can: of the topic as it is, or else of the one before.
    fn said(&self) -> Option<Founding> {
        self.same_log.or(self.other_log)
    }

    fn known(&self) -> u32 {
        self.counted_from(self.said().map_or(0, |said| said.known))
    }

    /// Counts the records that follow without a gap.
    fn counted_from(&self, known: u32) -> u32 {
        let follows = |partition: &u32| self.recorded.contains(partition);
        (known..self.topic_partitions)
            .find(|partition| !follows(partition))
            .unwrap_or(self.topic_partitions)
            .max(known)
    }
}

/// Two records that began beside each other may have seen different sizes: what came after the smaller one was added.
fn together(so_far: Option<Founding>, said: Founding) -> Option<Founding> {
    Some(so_far.map_or(said, |so_far| Founding {
        partitions: so_far.partitions.min(said.partitions),
        known: so_far.known.max(said.known),
    }))
}
