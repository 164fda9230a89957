//! What a reset did, per partition.

use std::fmt;
use std::time::Duration;

use crate::progress::Origin;

/// What a reset did; its text has a line per partition and per head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetReport {
    /// The partitions that were looked at, ascending.
    pub partitions: Vec<PartitionReset>,
}

/// What became of the position of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionReset {
    /// The source partition.
    pub partition: u32,
    /// The watermark before; `None` without a record, and with one that cannot be read.
    pub before: Option<u64>,
    /// Why the record before could not be read: the heads that it named, if any, are forgotten.
    pub unreadable: Option<String>,
    /// The watermark now; `None` when there is still no record.
    pub after: Option<u64>,
    /// The record was written (in a dry run: would have been).
    pub written: bool,
    /// Heads that wait for their retry as before.
    pub waiting: u64,
    /// Heads that do not wait in their tier any more.
    pub heads: Vec<ResetHead>,
}

/// A head that does not wait in its tier any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetHead {
    /// The delay of the tier in which it waited.
    pub tier: Duration,
    /// Its offset there.
    pub offset: u64,
    /// Where its message was first read.
    pub origin: Origin,
    /// What became of it.
    pub fate: HeadFate,
}

/// What became of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadFate {
    /// Its origin is unsettled again: it is read there, and its attempts start anew.
    FromOrigin,
    /// Its message is lost to the group.
    Dropped,
}

impl fmt::Display for ResetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, partition) in self.partitions.iter().enumerate() {
            let lead = if index == 0 { "" } else { "\n" };
            write!(f, "{lead}{partition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PartitionReset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = |at: Option<u64>| at.map_or("none".to_owned(), |at| at.to_string());
        let (before, after) = (position(self.before), position(self.after));
        write!(f, "partition {}: {before} -> {after}", self.partition)?;
        if !self.written {
            f.write_str(", left as it is")?;
        }
        if let Some(why) = &self.unreadable {
            write!(f, ", overwrites a record that cannot be read ({why})")?;
        }
        if self.waiting > 0 {
            write!(f, ", heads that keep waiting: {}", self.waiting)?;
        }
        for head in &self.heads {
            write!(f, "\n  {head}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ResetHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.origin {
            Origin::Source(offset) => format!("offset {offset}"),
            Origin::Replay(offset) => format!("replay offset {offset}"),
        };
        let tier = humantime::format_duration(self.tier);
        write!(f, "{of} (tier {tier} at {}): ", self.offset)?;
        f.write_str(match self.fate {
            HeadFate::FromOrigin => "read again from its origin",
            HeadFate::Dropped => "LOST, neither tier nor origin holds it",
        })
    }
}
