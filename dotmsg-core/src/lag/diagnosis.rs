//! From numbers to one sentence: is a partition stuck, is one hot, are all too slow?
//!
//! Pure: the same numbers give the same sentence. A lag that is younger than [`TOLERATED`] is nobody's concern.

use std::fmt;
use std::time::Duration;

use super::{CatchUp, Lag, PartitionLag, text};
use crate::clock::Timestamp;

/// A watermark that rests, and an oldest record behind, are not spoken of before they are this old.
const TOLERATED: Duration = Duration::from_secs(60);
/// A partition is hot from this part of all records behind on …
const HOT_SHARE: f64 = 0.5;
/// … if it also has this many times what the median partition has: of two partitions one always has the half.
const HOT_RATIO: f64 = 4.0;

/// A watermark that does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// When it was first seen where it is with something waiting there.
    pub since: Timestamp,
    /// What it waits for.
    pub why: Why,
}

/// What the message at a watermark waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The head of its key is away.
    Away {
        /// How many keys of the partition are away.
        keys: u64,
        /// The tier from which the next of them comes back, by its delay.
        tier: Duration,
        /// When that is due.
        due: Timestamp,
    },
    /// Its handler runs (or sleeps before a repeat in place), or that of the head of its key does.
    Handler,
    /// A limit of the route: `concurrency`, `max_held_…`, `park.…`.
    Limits,
    /// A commit: it may not run before one is confirmed (`at_most_once`, crash loop), or the position record is full.
    Commit,
    /// The source has not handed it over.
    NotFetched,
}

/// What is to be said of a route's lag.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// The route has not looked yet.
    NotLooked,
    /// Nothing is behind but what waits in tiers.
    Idle,
    /// The handler is not called, because its circuit breaker is open.
    CircuitOpen {
        /// Records behind.
        records: u64,
    },
    /// Something is behind, and there is no reason for concern.
    KeepingUp {
        /// When nothing will be behind any more.
        catch_up: Option<CatchUp>,
    },
    /// A watermark has not moved for a minute although something waits there. Of several the one that rests longest.
    Stuck {
        /// The partition.
        partition: u32,
        /// Its watermark.
        watermark: u64,
        /// Its records behind.
        records: u64,
        /// For how long.
        rested: Duration,
        /// What it waits for.
        why: Why,
        /// When that was.
        at: Timestamp,
    },
    /// One partition has most of the lag.
    Hot {
        /// The partition.
        partition: u32,
        /// Its records behind.
        records: u64,
        /// Its part of all, from 0 to 1.
        share: f64,
        /// Its oldest record behind.
        oldest: Duration,
    },
    /// All are alike, and more comes than ends.
    Slow {
        /// Records behind.
        records: u64,
        /// Records that ended per second.
        consumed: f64,
        /// Records that came per second.
        produced: f64,
        /// The oldest record behind.
        oldest: Duration,
    },
}

impl Lag {
    /// The one thing to say of it. [`of`](super::of) knows too little of a group to call a partition stuck or slow.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        if !self.is_looked() {
            return Diagnosis::NotLooked;
        }
        let away: u64 = self.partitions.iter().map(|one| one.away).sum();
        if self.records() == away {
            return Diagnosis::Idle;
        }
        if self.circuit_open {
            let records = self.records();
            return Diagnosis::CircuitOpen { records };
        }
        let found = self.stuck().or_else(|| self.hot()).or_else(|| self.slow());
        found.unwrap_or_else(|| Diagnosis::KeepingUp {
            catch_up: self.catch_up(),
        })
    }

    fn stuck(&self) -> Option<Diagnosis> {
        let resting = |one: &'_ PartitionLag| {
            let rest = one.rest.clone()?;
            let rested = self.at.since(rest.since);
            (rested >= TOLERATED).then_some(Diagnosis::Stuck {
                partition: one.partition,
                watermark: one.watermark,
                records: one.records,
                rested,
                why: rest.why,
                at: self.at,
            })
        };
        let since = |one: &&PartitionLag| one.rest.as_ref().map(|rest| rest.since);
        let resting_longest = self.partitions.iter().filter(|one| one.rest.is_some());
        resting_longest.min_by_key(since).and_then(resting)
    }

    fn hot(&self) -> Option<Diagnosis> {
        let skew = self.skew()?;
        let mut partitions = self.partitions.iter();
        let hottest = partitions.find(|one| one.partition == skew.hottest)?;
        let oldest = hottest.behind_for(self.at)?;
        let hot = skew.share >= HOT_SHARE && skew.ratio >= HOT_RATIO;
        (hot && self.partitions.len() > 1 && oldest >= TOLERATED).then_some(Diagnosis::Hot {
            partition: skew.hottest,
            records: hottest.records,
            share: skew.share,
            oldest,
        })
    }

    fn slow(&self) -> Option<Diagnosis> {
        let ages = self.partitions.iter();
        let oldest = ages.filter_map(|one| one.behind_for(self.at)).max()?;
        let (consumed, produced) = self.velocities()?;
        (consumed < produced && oldest >= TOLERATED).then(|| Diagnosis::Slow {
            records: self.records(),
            consumed,
            produced,
            oldest,
        })
    }

    /// Consumed and produced in all partitions, as far as they are known.
    fn velocities(&self) -> Option<(f64, f64)> {
        let known = self.partitions.iter();
        let known = known.filter_map(|one| one.consumed.zip(one.produced));
        known.reduce(|a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// The route has caught up when its last partition has; not known when that of one is not.
    fn catch_up(&self) -> Option<CatchUp> {
        let last = |a, b| match (a, b) {
            (CatchUp::In(a), CatchUp::In(b)) => CatchUp::In(a.max(b)),
            (CatchUp::Never, _) | (_, CatchUp::Never) => CatchUp::Never,
        };
        let times = self.partitions.iter().map(PartitionLag::catch_up);
        times
            .reduce(|a, b| a.zip(b).map(|(a, b)| last(a, b)))
            .flatten()
    }
}

impl Diagnosis {
    /// Whether somebody has to look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        !matches!(self, Self::NotLooked | Self::Idle | Self::KeepingUp { .. })
    }

    /// Whether it says the same but for its numbers.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        use std::mem::discriminant;
        match (self, other) {
            (
                Self::Stuck { partition, why, .. },
                Self::Stuck {
                    partition: other,
                    why: other_why,
                    ..
                },
            ) => partition == other && discriminant(why) == discriminant(other_why),
            (Self::Hot { partition, .. }, Self::Hot { partition: b, .. }) => partition == b,
            _ if self.is_trouble() => discriminant(self) == discriminant(other),
            _ => !other.is_trouble(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLooked => write!(f, "not looked yet"),
            Self::Idle => write!(f, "idle: nothing is behind, what waits in tiers aside"),
            Self::CircuitOpen { records } => write!(
                f,
                "the circuit is open: so many messages failed in a row that one call in each pause tries; {records} are behind"
            ),
            Self::KeepingUp { catch_up } => match catch_up {
                Some(CatchUp::In(time)) => write!(f, "keeping up: caught up in {}", text(*time)),
                Some(CatchUp::Never) => write!(f, "behind, and not catching up yet"),
                None => write!(f, "keeping up"),
            },
            Self::Stuck {
                partition,
                watermark,
                records,
                rested,
                why,
                at,
            } => {
                let rested = text(*rested);
                write!(
                    f,
                    "partition {partition} is stuck at offset {watermark} for {rested} with {records} behind: "
                )?;
                why.describe(*at, f)
            }
            Self::Hot {
                partition,
                records,
                share,
                oldest,
            } => {
                let (percent, oldest) = (share * 100.0, text(*oldest));
                write!(
                    f,
                    "partition {partition} is hot: it has {records} behind, {percent:.0} % of all, the oldest for {oldest}: \
                     its keys have most of the traffic or take longest; choose keys that spread"
                )
            }
            Self::Slow {
                records,
                consumed,
                produced,
                oldest,
            } => {
                let oldest = text(*oldest);
                write!(
                    f,
                    "slow: {consumed:.1} a second end and {produced:.1} come; {records} are behind, the oldest for {oldest}: \
                     raise `concurrency`, add members, or make the handler faster"
                )
            }
        }
    }
}

impl Why {
    fn describe(&self, at: Timestamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { keys, tier, due } => {
                let (tier, due) = (text(*tier), text(due.since(at)));
                match keys {
                    1 => write!(f, "one key is away in tier {tier}, due in {due}"),
                    _ => write!(f, "{keys} keys are away, the next in tier {tier}, due in {due}"),
                }
            }
            Self::Handler => f.write_str("one handler has not ended since, or pauses before a repeat; `timeout` bounds a call"),
            Self::Limits => f.write_str(
                "paused for limits (`concurrency`, `max_held_messages`, `max_held_bytes`, `park.*`), which others use up",
            ),
            Self::Commit => f.write_str("it waits for a commit"),
            Self::NotFetched => f.write_str("nothing was fetched; look at the broker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lag::Oldest;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn partition(number: u32, records: u64, age: u64) -> PartitionLag {
        PartitionLag {
            records,
            oldest: Some(Oldest {
                at: super::super::ago(NOW, seconds(age)),
                estimated: false,
            }),
            consumed: Some(10.0),
            produced: Some(10.0),
            ..PartitionLag::empty(number)
        }
    }

    fn resting(mut one: PartitionLag, rested: u64, why: Why) -> PartitionLag {
        one.rest = Some(Rest {
            since: super::super::ago(NOW, seconds(rested)),
            why,
        });
        one
    }

    fn diagnosis(partitions: impl IntoIterator<Item = PartitionLag>) -> Diagnosis {
        Lag {
            at: NOW,
            partitions: partitions.into_iter().collect(),
            ..Lag::default()
        }
        .diagnosis()
    }

    fn away(keys: u64) -> Why {
        Why::Away {
            keys,
            tier: seconds(300),
            due: NOW.after(seconds(125)),
        }
    }

    #[test]
    fn what_waits_in_tiers_only_is_idle() {
        assert_eq!(diagnosis([]), Diagnosis::Idle);
        let mut waiting = partition(0, 2, 600);
        waiting.away = 2;
        assert_eq!(diagnosis([waiting]), Diagnosis::Idle);
    }

    #[test]
    fn a_young_lag_is_no_concern() {
        let young = partition(0, 1_000, 59);
        let rests = resting(partition(1, 1, 59), 59, Why::Handler);
        let found = diagnosis([young, rests]);
        assert!(!found.is_trouble(), "{found}");
    }

    #[test]
    fn the_route_has_caught_up_with_its_last_partition() {
        let faster = |records| PartitionLag {
            consumed: Some(20.0),
            ..partition(0, records, 5)
        };
        let caught_up = |of: [PartitionLag; 2]| diagnosis(of).to_string();
        assert_eq!(
            caught_up([faster(100), faster(300)]),
            "keeping up: caught up in 30s"
        );
        let unknown = PartitionLag {
            consumed: None,
            ..partition(1, 85, 5)
        };
        assert_eq!(caught_up([faster(0), unknown]), "keeping up");
        let never = caught_up([faster(0), partition(1, 85, 5)]);
        assert_eq!(never, "behind, and not catching up yet");
    }

    #[test]
    fn an_open_circuit_is_the_reason_whatever_else_there_is() {
        let open = |records| Lag {
            at: NOW,
            circuit_open: true,
            partitions: vec![resting(partition(0, records, 600), 600, Why::Handler)],
            ..Lag::default()
        };
        let found = open(7).diagnosis();
        assert!(found.is_trouble());
        let text = found.to_string();
        assert!(
            text.starts_with("the circuit is open") && text.ends_with("7 are behind"),
            "{text}"
        );
        assert_eq!(open(0).diagnosis(), Diagnosis::Idle);
    }

    #[test]
    fn what_was_not_looked_at_is_not_idle() {
        let found = Lag::default().diagnosis();
        assert_eq!(found, Diagnosis::NotLooked);
        assert!(!found.is_trouble());
    }

    #[test]
    fn the_longest_rest_is_told_with_its_reason() {
        let found = diagnosis([
            partition(0, 1_000_000, 3_600),
            resting(partition(1, 7, 600), 60, Why::Handler),
            resting(partition(2, 3, 600), 100, away(1)),
        ]);
        assert_eq!(
            found.to_string(),
            "partition 2 is stuck at offset 0 for 1m40s with 3 behind: one key is away in tier 5m, due in 2m5s"
        );
        let several = diagnosis([resting(partition(2, 3, 600), 100, away(4))]);
        assert!(several.to_string().contains("4 keys are away, the next"));
        for (why, said) in [
            (Why::Handler, "one handler"),
            (Why::Limits, "limits"),
            (Why::Commit, "commit"),
            (Why::NotFetched, "nothing was fetched"),
        ] {
            let found = diagnosis([resting(partition(0, 1, 0), 60, why)]).to_string();
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn hot_is_one_of_several_by_far() {
        let found = diagnosis([
            partition(0, 10, 5),
            partition(1, 90, 61),
            partition(2, 1, 5),
        ]);
        assert!(
            matches!(found, Diagnosis::Hot { partition: 1, .. }),
            "{found}"
        );
        let two = diagnosis([partition(0, 40, 61), partition(1, 60, 61)]);
        assert!(!two.is_trouble(), "{two}");
        let alone = diagnosis([partition(0, 40, 61)]);
        assert!(!alone.is_trouble(), "{alone}");
    }

    #[test]
    fn slow_is_when_more_comes_than_ends() {
        let slower = |number| PartitionLag {
            consumed: Some(9.0),
            ..partition(number, 100, 61)
        };
        let found = diagnosis([slower(0), slower(1)]);
        assert!(
            matches!(found, Diagnosis::Slow { records: 200, .. }),
            "{found}"
        );
        assert!(
            found
                .to_string()
                .starts_with("slow: 18.0 a second end and 20.0 come")
        );
    }

    #[test]
    fn like_is_the_same_but_for_numbers() {
        let stuck = |rested, why| diagnosis([resting(partition(0, 1, 0), rested, why)]);
        assert!(stuck(60, away(1)).is_like(&stuck(90, away(2))));
        assert!(!stuck(60, away(1)).is_like(&stuck(60, Why::Handler)));
        let keeping_up = diagnosis([partition(0, 1, 0)]);
        assert!(keeping_up.is_like(&Diagnosis::Idle) && Diagnosis::Idle.is_like(&keeping_up));
        assert!(!keeping_up.is_like(&stuck(60, Why::Handler)));
        assert!(!stuck(60, Why::Handler).is_like(&keeping_up));
    }
}
