//! What is remembered of a partition from look to look: velocities, where its watermark rests, how old its oldest record is.

use std::time::Duration;

use super::rate::Rate;
use super::{Oldest, PartitionLag, Seen, Standing, ago};
use crate::clock::Timestamp;

/// Looks that follow each other sooner are counted as one interval: a velocity over milliseconds says nothing.
const SHORTEST: Duration = Duration::from_secs(1);

/// One partition under one ownership, as it was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Course {
    consumed: Rate,
    produced: Rate,
    /// When the interval that is under way began, and the end of the log and what was behind then.
    since: Option<(Timestamp, u64, u64)>,
    /// The watermark below which nothing, and from which on something was unsettled, and since when.
    rests: Option<(u64, Timestamp)>,
    /// The offset of the oldest record behind and its append time.
    oldest: Option<(u64, Timestamp)>,
}

impl Course {
    /// The append time that need not be read again.
    pub(crate) fn known(&self) -> Option<(u64, Timestamp)> {
        self.oldest
    }

    /// Since when the watermark has not moved although something waits there.
    pub(crate) fn rests_since(&self) -> Option<Timestamp> {
        self.rests.map(|(_, since)| since)
    }

    /// Takes in one look. What only the owner knows (held, commits, why it rests) is left empty.
    pub(crate) fn observe(
        &mut self,
        now: Timestamp,
        standing: &Standing,
        seen: &Seen,
    ) -> PartitionLag {
        let (end, behind) = (seen.log.end, standing.behind(seen.log));
        self.count(now, end, behind);
        let watermark = standing.watermark();
        let waits = standing.unsettled(seen.log) > 0;
        self.rests = waits.then(|| {
            let before = self.rests.filter(|(at, _)| *at == watermark);
            before.unwrap_or((watermark, now))
        });
        self.oldest = seen.oldest;
        PartitionLag {
            end,
            watermark,
            records: behind,
            away: standing.away(),
            oldest: self.age(now, behind),
            consumed: self.consumed.per_second(),
            produced: self.produced.per_second(),
            ..PartitionLag::empty(standing.partition)
        }
    }

    fn count(&mut self, now: Timestamp, end: u64, behind: u64) {
        let Some((since, end_then, behind_then)) = self.since else {
            self.since = Some((now, end, behind));
            return;
        };
        if now < since {
            // The clock was put back: the interval begins anew.
            self.since = Some((now, end, behind));
        }
        let passed = now.since(since);
        if passed < SHORTEST {
            return;
        }
        let produced = end.saturating_sub(end_then);
        // Whatever came and is not behind now has ended.
        let consumed = (behind_then + produced).saturating_sub(behind);
        self.produced.add(produced, passed);
        self.consumed.add(consumed, passed);
        self.since = Some((now, end, behind));
    }

    /// By its append time, else by how long it took to produce as much as is behind.
    fn age(&self, now: Timestamp, behind: u64) -> Option<Oldest> {
        if behind == 0 {
            return None;
        }
        if let Some((_, at)) = self.oldest {
            return Some(Oldest {
                at,
                estimated: false,
            });
        }
        let produced = self.produced.per_second().filter(|rate| *rate > 0.0)?;
        let took = Duration::try_from_secs_f64(behind as f64 / produced).ok()?;
        Some(Oldest {
            at: ago(now, took),
            estimated: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::OffsetRange;
    use crate::progress::ResumeMap;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    fn look(course: &mut Course, now: Timestamp, watermark: u64, end: u64) -> PartitionLag {
        let standing = Standing::new(0, ResumeMap::at(watermark), std::iter::empty(), 0);
        let seen = Seen {
            partition: 0,
            log: OffsetRange { start: 0, end },
            oldest: None,
        };
        course.observe(now, &standing, &seen)
    }

    #[test]
    fn velocities_are_of_what_came_and_of_what_ended() {
        let mut course = Course::default();
        assert_eq!(look(&mut course, at(0), 0, 100).consumed, None);
        let lag = look(&mut course, at(10), 40, 200);
        let close = |found: Option<f64>, to: f64| (found.unwrap() - to).abs() < 1e-9;
        assert!(close(lag.produced, 10.0) && close(lag.consumed, 4.0));
        assert_eq!(lag.records, 160);
        // 160 behind at 10 a second: the oldest came 16 s ago.
        let oldest = lag.oldest.unwrap();
        assert_eq!((oldest.at, oldest.estimated), (at(-6), true));
        // Too soon for an interval of its own: what came is counted with the next one.
        look(&mut course, Timestamp(at(10).0 + 5), 50, 250);
        let lag = look(&mut course, at(20), 80, 300);
        assert!(close(lag.produced, 10.0) && close(lag.consumed, 4.0));
    }

    #[test]
    fn a_watermark_rests_from_when_something_waits_there() {
        let mut course = Course::default();
        look(&mut course, at(0), 5, 5);
        assert_eq!(course.rests_since(), None, "nothing waits");
        look(&mut course, at(100), 5, 6);
        look(&mut course, at(200), 5, 9);
        assert_eq!(course.rests_since(), Some(at(100)));
        look(&mut course, at(300), 6, 9);
        assert_eq!(course.rests_since(), Some(at(300)));
    }

    #[test]
    fn a_clock_that_is_put_back_begins_an_interval() {
        let mut course = Course::default();
        look(&mut course, at(100), 0, 0);
        assert_eq!(look(&mut course, at(0), 0, 50).produced, None);
        let lag = look(&mut course, at(10), 0, 150);
        assert!((lag.produced.unwrap() - 10.0).abs() < 1e-9);
    }
}
