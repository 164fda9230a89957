//! The crash loop, as a row of takeovers, and owners that die of what they handle.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::progress::{
    CrashCount, CrashLoopPolicy, Mode, Noted, Origin, PositionRecord, ResumeMap, SlowStart,
};

const LOG_END: u64 = 1_000;

fn policy() -> CrashLoopPolicy {
    CrashLoopPolicy::default()
}

fn crash(record: &mut PositionRecord) {
    *record = record.takeover(record.owner + 1, LOG_END, &policy());
}

fn mode(record: &PositionRecord) -> Mode {
    policy().mode(&record.crash, record.watermark())
}

#[test]
fn an_owner_that_takes_up_what_it_lost_itself_has_not_crashed() {
    let mut record = PositionRecord::new(1, 0);
    for _ in 0..20 {
        record = record.takeover(1, LOG_END, &policy());
    }
    assert_eq!(record.crash.takeovers, 0);
    assert_eq!(policy().mode(&record.crash, 0), Mode::Normal);
    // Another one cannot know.
    record = record.takeover(2, LOG_END, &policy());
    assert_eq!(record.crash.takeovers, 1);
}

#[test]
fn a_takeover_raises_the_epoch_and_is_not_clean() {
    let mut first = PositionRecord::new(1, 10);
    first.clean = true;
    let second = first.takeover(2, LOG_END, &policy());
    assert_eq!((second.owner, second.epoch, second.clean), (2, 2, false));
    assert_eq!(second.source, first.source);
    assert_eq!((second.crash.takeovers, second.crash.watermark), (0, 10));
}

#[test]
fn five_unclean_takeovers_at_one_watermark_run_one_at_a_time() {
    let mut record = PositionRecord::new(0, 10);
    for count in 1..5 {
        crash(&mut record);
        assert_eq!(
            (record.crash.takeovers, mode(&record)),
            (count, Mode::Normal)
        );
    }
    crash(&mut record);
    assert_eq!(mode(&record), Mode::Single { until: LOG_END });
}

#[test]
fn progress_or_a_clean_release_breaks_the_row() {
    let mut record = PositionRecord::new(0, 10);
    (0..4).for_each(|_| crash(&mut record));
    record.source = ResumeMap::at(11);
    crash(&mut record);
    assert_eq!((record.crash.takeovers, record.crash.watermark), (1, 11));
    (0..3).for_each(|_| crash(&mut record));
    record.clean = true;
    crash(&mut record);
    assert_eq!((record.crash.takeovers, mode(&record)), (0, Mode::Normal));
}

#[test]
fn the_message_found_noted_three_times_is_the_dead_letter() {
    let mut record = PositionRecord::new(0, 10);
    (0..5).for_each(|_| crash(&mut record));
    // Three harmless messages pass, one at a time; the watermark moves and the mode stays.
    for offset in 10..13 {
        record.crash.note(Origin::Source(offset));
        record.source = ResumeMap::at(offset + 1);
        assert_eq!(mode(&record), Mode::Single { until: LOG_END });
    }
    let killer = Origin::Source(13);
    for confirmations in 1..=3 {
        record.crash.note(killer);
        assert_eq!(policy().dead_letter(&record.crash), None);
        crash(&mut record);
        assert_eq!(
            record.crash.noted,
            Some(Noted {
                origin: killer,
                confirmations
            })
        );
        assert_eq!(mode(&record), Mode::Single { until: LOG_END });
        assert_eq!(
            record.crash.takeovers,
            5 + confirmations,
            "the row goes on while the watermark moves"
        );
    }
    assert_eq!(policy().dead_letter(&record.crash), Some(killer));
    // Past what was in flight, normal running resumes, and stays so over a crash.
    record.source = ResumeMap::at(LOG_END);
    assert_eq!(mode(&record), Mode::Normal);
    crash(&mut record);
    assert_eq!(
        (mode(&record), record.crash.noted, record.crash.takeovers),
        (Mode::Normal, None, 1)
    );
}

#[test]
fn zero_turns_it_off() {
    let off = CrashLoopPolicy {
        takeovers: 0,
        ..policy()
    };
    let mut record = PositionRecord::new(0, 10);
    for _ in 0..20 {
        record.crash.note(Origin::Source(10));
        record = record.takeover(record.owner + 1, LOG_END, &off);
    }
    assert_eq!(off.mode(&record.crash, 10), Mode::Normal);
    assert_eq!(off.dead_letter(&record.crash), None);
    let never = CrashLoopPolicy {
        confirmations: 0,
        ..policy()
    };
    for _ in 0..20 {
        record.crash.note(Origin::Source(10));
        record = record.takeover(record.owner + 1, LOG_END, &never);
    }
    assert_eq!(
        never.mode(&record.crash, 10),
        Mode::Single { until: LOG_END }
    );
    assert_eq!(never.dead_letter(&record.crash), None);
}

#[test]
fn one_at_a_time_ends_where_the_former_owner_may_have_been() {
    let policy = CrashLoopPolicy {
        takeovers: 1,
        in_hand: 100,
        ..policy()
    };
    let until = |map_end, log_end| {
        let mut record = PositionRecord::new(0, 10);
        record.source = ResumeMap::from_unsettled(10, map_end, [10]);
        record
            .takeover(record.owner + 1, log_end, &policy)
            .crash
            .until
    };
    assert_eq!(until(10, 1_000_000), Some(110));
    assert_eq!(until(5_000, 1_000_000), Some(5_100));
    assert_eq!(until(5_000, 5_020), Some(5_020));
    assert_eq!(
        until(10, 10),
        Some(11),
        "a message from elsewhere, at the end of the log"
    );
}

#[test]
fn what_ends_the_mode_forgets_the_row() {
    let mut record = PositionRecord::new(0, 10);
    (0..5).for_each(|_| crash(&mut record));
    record.crash.note(Origin::Source(10));
    record.crash.end();
    let begun = CrashCount {
        watermark: 10,
        ..CrashCount::default()
    };
    assert_eq!(record.crash, begun);
    crash(&mut record);
    assert_eq!((record.crash.takeovers, mode(&record)), (1, Mode::Normal));
}

#[test]
fn who_goes_well_lets_more_go_at_once() {
    let mut slow_start = SlowStart::default();
    let mut go = || {
        let now = slow_start.at_once();
        slow_start.let_go();
        slow_start.all_ended();
        // A commit that follows while nothing has gone says nothing.
        slow_start.all_ended();
        now
    };
    let first: Vec<usize> = (0..16).map(|_| go()).collect();
    assert_eq!(first, [1; 16]);
    let then: Vec<usize> = (0..4).map(|_| go()).collect();
    assert_eq!(then, [2, 4, 8, 16]);
    let last = (0..100).map(|_| go()).last();
    assert_eq!(last, Some(1 << 20));
}

/// A log with messages that end the process, and owners that handle it as the runtime does.
#[derive(Debug)]
struct Owners {
    log_end: u64,
    culprits: BTreeSet<u64>,
    policy: CrashLoopPolicy,
    stored: PositionRecord,
    condemned: Vec<u64>,
}

impl Owners {
    fn unsettled(&self) -> BTreeSet<u64> {
        (0..self.log_end)
            .filter(|offset| !self.stored.source.is_settled(*offset))
            .collect()
    }

    fn commit(&mut self, unsettled: &BTreeSet<u64>, delivered: u64, crash: CrashCount) {
        let watermark = unsettled.first().copied().unwrap_or(self.log_end);
        let end = delivered.max(watermark).max(self.stored.source.end());
        let listed = unsettled.range(..end).copied();
        self.stored.source = ResumeMap::from_unsettled(watermark, end, listed);
        self.stored.crash = crash;
    }

    /// One owner, from its takeover to its death (`false`) or to the end of the log. `turns` are the messages that it
    /// handles between two commits, and whether somebody kills it then.
    fn run(&mut self, turns: &mut dyn Iterator<Item = (usize, bool)>) -> bool {
        self.stored = self
            .stored
            .takeover(self.stored.owner + 1, self.log_end, &self.policy);
        let mut unsettled = self.unsettled();
        let mut crash = self.stored.crash;
        let mut slow_start = SlowStart::default();
        let mut single = false;
        while let Some(&first) = unsettled.first() {
            let mode = self.policy.mode(&crash, first);
            if std::mem::replace(&mut single, mode != Mode::Normal) && !single {
                // Before anything else starts: what dies next must not find the last note.
                crash.end();
                self.commit(&unsettled, first, crash);
            }
            match mode {
                Mode::Single { .. } if slow_start.at_once() > 1 => {
                    crash.noted = None;
                    self.commit(&unsettled, first, crash);
                    let together: Vec<u64> = unsettled
                        .iter()
                        .copied()
                        .take(slow_start.at_once())
                        .collect();
                    slow_start.let_go();
                    for offset in together {
                        if self.culprits.contains(&offset) {
                            return false;
                        }
                        unsettled.remove(&offset);
                    }
                    slow_start.all_ended();
                }
                Mode::Single { .. } => {
                    crash.note(Origin::Source(first));
                    self.commit(&unsettled, first, crash);
                    slow_start.let_go();
                    if self.policy.dead_letter(&crash) == Some(Origin::Source(first)) {
                        self.condemned.push(first);
                        crash.end();
                    } else if self.culprits.contains(&first) {
                        return false;
                    }
                    unsettled.remove(&first);
                    slow_start.all_ended();
                }
                Mode::Normal => {
                    let (messages, killed) = turns.next().unwrap_or((7, false));
                    let turn: Vec<u64> = unsettled.iter().copied().take(messages).collect();
                    for offset in &turn {
                        if self.culprits.contains(offset) {
                            return false;
                        }
                        unsettled.remove(offset);
                    }
                    if killed {
                        return false;
                    }
                    self.commit(&unsettled, turn.last().map_or(0, |last| last + 1), crash);
                }
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn every_message_that_kills_is_found_and_no_other(
        culprits in prop::collection::btree_set(0..120u64, 0..4),
        takeovers in 1..5u32,
        confirmations in 1..4u32,
        // Far less than what is handled between two commits: the mode may end before the culprit had its turn.
        in_hand in 1..90u64,
        turns in prop::collection::vec((1..60usize, prop::bool::weighted(0.1)), 0..60),
    ) {
        let mut owners = Owners {
            log_end: 120,
            culprits,
            policy: CrashLoopPolicy { takeovers, confirmations, in_hand },
            stored: PositionRecord::new(0, 0),
            condemned: Vec::new(),
        };
        let mut turns = turns.into_iter();
        let mut deaths = 0;
        while !owners.run(&mut turns) {
            deaths += 1;
            assert!(deaths < 2_000, "never through: {:?}", owners.stored);
        }
        let culprits: Vec<u64> = owners.culprits.iter().copied().collect();
        prop_assert_eq!(&owners.condemned, &culprits, "{:?}", owners);
    }
}
