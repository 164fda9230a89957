//! The crash loop, as a row of takeovers.

use crate::progress::{CrashLoopPolicy, Mode, Noted, Origin, PositionRecord, ResumeMap};

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
        record = record.takeover(1, LOG_END, &off);
    }
    assert_eq!(off.mode(&record.crash, 10), Mode::Normal);
    assert_eq!(off.dead_letter(&record.crash), None);
    let never = CrashLoopPolicy {
        confirmations: 0,
        ..policy()
    };
    for _ in 0..20 {
        record.crash.note(Origin::Source(10));
        record = record.takeover(1, LOG_END, &never);
    }
    assert_eq!(
        never.mode(&record.crash, 10),
        Mode::Single { until: LOG_END }
    );
    assert_eq!(never.dead_letter(&record.crash), None);
}
