//! The numbers: plain data, a line per partition.

use std::fmt;
use std::time::Duration;

use super::{Rest, text};
use crate::clock::Timestamp;

/// How far a group is behind a topic, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Lag {
    /// The topic, as the broker knows it.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// When it was looked at, by the clock of whoever looked. Every age is from here.
    pub at: Timestamp,
    /// The route's circuit breaker holds messages back; never from outside.
    pub circuit_open: bool,
    /// By number. Of a running route those that this process owns; from outside all of the topic.
    pub partitions: Vec<PartitionLag>,
}

/// One partition. What is not known is `None`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PartitionLag {
    /// Its number.
    pub partition: u32,
    /// The offset that the next record gets.
    pub end: u64,
    /// Every offset below it is settled. Where the group has no position: the first offset of the log.
    pub watermark: u64,
    /// Records behind: unsettled ones between the watermark and the end, and the heads that are away. Offsets that hold no
    /// record (compaction, transaction markers) count as records until they are passed.
    pub records: u64,
    /// Those of them that are delivered and not settled; 0 from outside.
    pub held: u64,
    /// Keys whose head is away in a tier; with an order that is not kept, messages.
    pub away: u64,
    /// The oldest record behind.
    pub oldest: Option<Oldest>,
    /// Records that ended per second, a weighted mean over a minute; `None` from outside and before a second look.
    pub consumed: Option<f64>,
    /// Records that were appended per second, likewise.
    pub produced: Option<f64>,
    /// When a commit was last confirmed; `None` from outside.
    pub committed: Option<Timestamp>,
    /// The first commit that is under way or has failed since then began here: what it covers was settled within the
    /// route's `commit_interval` before. `None`: no settlement waits longer than that.
    pub uncommitted: Option<Timestamp>,
    /// Since when the watermark has not moved although something waits there, and why; `None` from outside.
    pub rest: Option<Rest>,
}

/// The oldest record behind, by when it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// By the broker's clock; where a broker does not stamp or the record cannot be read, by how long it took to produce
    /// what is behind.
    pub at: Timestamp,
    /// It is the latter.
    pub estimated: bool,
}

/// When nothing will be behind, if all goes on as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// After this time.
    In(Duration),
    /// As much comes as ends, or more.
    Never,
}

/// How unevenly the records behind lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// The partition with the most of them.
    pub hottest: u32,
    /// What it has for each that the median partition has; the median counts as 1 at least.
    pub ratio: f64,
    /// Its part of all, from 0 to 1.
    pub share: f64,
}

impl Lag {
    /// Whether it was looked at all. A route looks first up to 10 s after its start.
    #[must_use]
    pub fn is_looked(&self) -> bool {
        self.at != Timestamp::default()
    }

    /// Records behind in all partitions.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|one| one.records).sum()
    }

    /// How unevenly they lie; `None` where nothing is behind.
    #[must_use]
    pub fn skew(&self) -> Option<Skew> {
        let all = self.records();
        let mut behind: Vec<u64> = self.partitions.iter().map(|one| one.records).collect();
        behind.sort_unstable();
        let most = *behind.last().filter(|most| **most > 0)?;
        let hottest = self.partitions.iter().find(|one| one.records == most)?;
        let median = behind[(behind.len() - 1) / 2].max(1);
        Some(Skew {
            hottest: hottest.partition,
            ratio: most as f64 / median as f64,
            share: most as f64 / all as f64,
        })
    }

    /// Whether no partition is further than at `earlier`, nor for another reason where it is.
    pub(crate) fn stands_as(&self, earlier: &Self) -> bool {
        let state = |one: &PartitionLag| {
            let why = one.rest.as_ref().map(|rest| rest.why.clone());
            (one.partition, one.end, one.watermark, one.records, why)
        };
        let now = self.partitions.iter().map(state);
        self.circuit_open == earlier.circuit_open && now.eq(earlier.partitions.iter().map(state))
    }
}

impl PartitionLag {
    pub(super) fn empty(partition: u32) -> Self {
        Self {
            partition,
            end: 0,
            watermark: 0,
            records: 0,
            held: 0,
            away: 0,
            oldest: None,
            consumed: None,
            produced: None,
            committed: None,
            uncommitted: None,
            rest: None,
        }
    }

    /// Seconds behind: the age of the oldest record behind, zero where nothing is; `None`: not known.
    #[must_use]
    pub fn behind_for(&self, now: Timestamp) -> Option<Duration> {
        match self.records {
            0 => Some(Duration::ZERO),
            _ => self.oldest.map(|oldest| now.since(oldest.at)),
        }
    }

    /// Time to catch up; `None`: velocities are not known.
    #[must_use]
    pub fn catch_up(&self) -> Option<CatchUp> {
        if self.records == 0 {
            return Some(CatchUp::In(Duration::ZERO));
        }
        let gain = self.consumed? - self.produced?;
        let time = Some(self.records as f64 / gain).filter(|_| gain > 0.0);
        let time = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Some(time.map_or(CatchUp::Never, CatchUp::In))
    }
}

/// A table: a line of names, then a line per partition. `?` is what is not known, `~` what is estimated.
impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>9} {:>12} {:>12} {:>10} {:>8} {:>6} {:>10} {:>9} {:>9} {:>10} {:>10} {:>10}",
            "partition",
            "end",
            "watermark",
            "behind",
            "held",
            "away",
            "oldest",
            "done/s",
            "new/s",
            "committed",
            "open for",
            "catch up"
        )?;
        let age = |at: Option<Timestamp>| at.map(|at| text(self.at.since(at)));
        for one in &self.partitions {
            let estimated = one.oldest.is_some_and(|oldest| oldest.estimated);
            let oldest = one.behind_for(self.at).map(text);
            let oldest = oldest.map(|age| if estimated { format!("~{age}") } else { age });
            let rate = |rate: Option<f64>| rate.map(|rate| format!("{rate:.1}"));
            let catch_up = one.catch_up().map(|when| match when {
                CatchUp::In(time) => text(time),
                CatchUp::Never => "never".to_owned(),
            });
            let known = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
            writeln!(
                f,
                "{:>9} {:>12} {:>12} {:>10} {:>8} {:>6} {:>10} {:>9} {:>9} {:>10} {:>10} {:>10}",
                one.partition,
                one.end,
                one.watermark,
                one.records,
                one.held,
                one.away,
                known(oldest),
                known(rate(one.consumed)),
                known(rate(one.produced)),
                known(age(one.committed)),
                age(one.uncommitted).unwrap_or_else(|| "-".to_owned()),
                known(catch_up),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: u32, records: u64, consumed: f64, produced: f64) -> PartitionLag {
        PartitionLag {
            records,
            consumed: Some(consumed),
            produced: Some(produced),
            ..PartitionLag::empty(partition)
        }
    }

    fn lag(partitions: impl IntoIterator<Item = PartitionLag>) -> Lag {
        Lag {
            at: Timestamp(100_000),
            partitions: partitions.into_iter().collect(),
            ..Lag::default()
        }
    }

    #[test]
    fn skew_is_of_the_hottest_to_the_median() {
        assert_eq!(lag([partition(0, 0, 0.0, 0.0)]).skew(), None);
        let behind = [10, 70, 20].into_iter().zip(0..);
        let skew = lag(behind.map(|(behind, number)| partition(number, behind, 0.0, 0.0))).skew();
        let expected = Skew {
            hottest: 1,
            ratio: 3.5,
            share: 0.7,
        };
        assert_eq!(skew, Some(expected));
        let alone = lag([partition(0, 0, 0.0, 0.0), partition(1, 8, 0.0, 0.0)]).skew();
        assert_eq!(alone.map(|skew| skew.ratio), Some(8.0));
    }

    #[test]
    fn catching_up_takes_more_than_keeping_up() {
        let when = |consumed, produced| partition(0, 60, consumed, produced).catch_up();
        assert_eq!(when(3.0, 1.0), Some(CatchUp::In(Duration::from_secs(30))));
        assert_eq!(when(1.0, 1.0), Some(CatchUp::Never));
        assert_eq!(when(0.0, 0.0), Some(CatchUp::Never));
        let mut unknown = partition(0, 60, 1.0, 0.0);
        unknown.produced = None;
        assert_eq!(unknown.catch_up(), None);
        unknown.records = 0;
        assert_eq!(unknown.catch_up(), Some(CatchUp::In(Duration::ZERO)));
    }

    #[test]
    fn the_table_has_a_line_per_partition_and_says_what_it_does_not_know() {
        let mut known = partition(0, 60, 3.0, 1.0);
        known.oldest = Some(Oldest {
            at: Timestamp(25_000),
            estimated: true,
        });
        known.committed = Some(Timestamp(99_000));
        let table = lag([
            known,
            PartitionLag {
                records: 5,
                ..PartitionLag::empty(1)
            },
        ])
        .to_string();
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "0", "0", "0", "60", "0", "0", "~1m15s", "3.0", "1.0", "1s", "-", "30s"
            ]
        );
        assert_eq!(
            lines[2],
            ["1", "0", "0", "5", "0", "0", "?", "?", "?", "?", "-", "?"]
        );
        assert_eq!(lines.len(), 3);
    }
}
