//! What becomes of one record: where its watermark goes, and which of its heads come along.
//!
//! Pure. In two steps, since which heads their tiers have lost is asked only of those that stay: [`Plan::moved`], then
//! [`Plan::without`].

use std::collections::BTreeSet;

use super::options::Target;
use super::{HeadFate, ResetHead};
use crate::backend::OffsetRange;
use crate::error::{Error, ErrorKind};
use crate::progress::{Founding, LogIdentity, Name, Origin, PositionRecord};

/// What the log holds, and what is known of the group, for one partition.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub(super) partition: u32,
    pub(super) source: OffsetRange,
    pub(super) replay: OffsetRange,
    pub(super) log: LogIdentity,
    pub(super) founding: Founding,
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) around: Around,
    /// As it will be; `None`: there is none, and there will be none.
    pub(super) record: Option<PositionRecord>,
    pub(super) heads: Vec<ResetHead>,
    pub(super) written: bool,
}

impl Plan {
    /// Moves the record that was found; `unreadable`: there is one, and nobody knows what it says.
    pub(super) fn moved(
        around: Around,
        found: Option<PositionRecord>,
        unreadable: bool,
        target: &Target,
    ) -> Result<Self, Error> {
        let range = around.source;
        let offset = match target {
            Target::Stay => return Self::staying(around, found, unreadable),
            Target::Earliest => range.start,
            Target::Latest => range.end,
            Target::Offsets(offsets) => {
                offsets.get(&around.partition).copied().unwrap_or(range.end)
            }
        };
        if !(range.start..=range.end).contains(&offset) {
            return Err(problem(
                ErrorKind::Invalid,
                "the log does not hold this offset",
                &around,
            )
            .with("offset", offset)
            .remedy("Choose one of those that it holds, or its end"));
        }
        let mut record = found.unwrap_or_else(|| PositionRecord {
            founding: around.founding,
            ..PositionRecord::new(0, offset)
        });
        let of_other_log = record.is_of_other_log(&around.log);
        let before: BTreeSet<Name> = record.names.iter().collect();
        if of_other_log {
            // Offsets of another log mean nothing in this one.
            record.names = std::iter::empty().collect();
            record.replay = None;
            record.founding = around.founding;
        }
        record.reset_to(offset);
        let kept: BTreeSet<Name> = record.names.iter().collect();
        let gone = before.difference(&kept);
        let fate = |name: &Name| match name.origin {
            _ if of_other_log => HeadFate::Dropped,
            origin if around.holds(origin) => HeadFate::FromOrigin,
            _ => HeadFate::Dropped,
        };
        let heads = gone.map(|name| head(name, fate(name))).collect();
        Ok(Self {
            around,
            record: Some(record),
            heads,
            written: true,
        })
    }

    /// Without a target there must be a position that fits the log.
    fn staying(
        around: Around,
        found: Option<PositionRecord>,
        unreadable: bool,
    ) -> Result<Self, Error> {
        let range = around.source;
        let misfit = match &found {
            _ if unreadable => Some("the position record cannot be read"),
            Some(record) if record.is_of_other_log(&around.log) => {
                Some("the topic is not the one the position belongs to")
            }
            Some(record) if record.watermark() > range.end => {
                Some("the log ends below the position")
            }
            Some(record) if record.watermark() < range.start => {
                Some("the log begins above the position")
            }
            _ => None,
        };
        if let Some(misfit) = misfit {
            return Err(problem(ErrorKind::PositionLost, misfit, &around)
                .remedy("Say where to go on: Reset::to_earliest, to_latest or to_offset"));
        }
        Ok(Self {
            around,
            record: found,
            heads: Vec::new(),
            written: false,
        })
    }

    /// The heads that stay by their names.
    pub(super) fn names(&self) -> Vec<Name> {
        let record = self.record.iter();
        record.flat_map(|record| record.names.iter()).collect()
    }

    /// Takes heads that their tiers have lost up again from their origins, or drops them where those are gone.
    pub(super) fn without(&mut self, lost: Vec<Name>) {
        let Some(record) = &mut self.record else {
            return;
        };
        if lost.is_empty() {
            return;
        }
        let held = |name: &Name| self.around.holds(name.origin);
        let (again, gone): (BTreeSet<Name>, BTreeSet<Name>) = lost.into_iter().partition(held);
        record.forget(&gone);
        record.take_up_again(&again);
        self.written = true;
        let again = again.iter().map(|name| head(name, HeadFate::FromOrigin));
        let gone = gone.iter().map(|name| head(name, HeadFate::Dropped));
        self.heads.extend(again.chain(gone));
        self.heads.sort_by_key(|head| (head.origin, head.offset));
    }

    /// An error if heads are dropped.
    pub(super) fn loses_nothing(&self) -> Result<(), Error> {
        let mut dropped = self
            .heads
            .iter()
            .filter(|head| head.fate == HeadFate::Dropped);
        let Some(first) = dropped.next() else {
            return Ok(());
        };
        let message = "messages that wait for a retry would be lost: neither their retry topic nor the topic they came from holds them";
        Err(problem(ErrorKind::PositionLost, message, &self.around)
            .with("messages", 1 + dropped.count())
            .with("the first", first)
            .remedy("Restore the topics, or accept the loss with Reset::drop_lost_heads"))
    }

    /// What is to be written: the record of the next epoch, left cleanly.
    pub(super) fn record_of(&self, owner: u128) -> Option<PositionRecord> {
        let record = self.record.as_ref().filter(|_| self.written)?;
        Some(PositionRecord {
            owner,
            epoch: record.epoch.saturating_add(1),
            log: Some(self.around.log.clone()),
            clean: true,
            ..record.clone()
        })
    }
}

impl Around {
    fn holds(&self, origin: Origin) -> bool {
        let range = match origin {
            Origin::Source(_) => self.source,
            Origin::Replay(_) => self.replay,
        };
        (range.start..range.end).contains(&origin.offset())
    }
}

fn head(name: &Name, fate: HeadFate) -> ResetHead {
    ResetHead {
        tier: std::time::Duration::from_millis(name.tier.0),
        offset: name.offset,
        origin: name.origin,
        fate,
    }
}

fn problem(kind: ErrorKind, message: &'static str, around: &Around) -> Error {
    let range = around.source;
    Error::new(kind, "reset", message)
        .with("partition", around.partition)
        .with("log", format!("{}..{}", range.start, range.end))
}
