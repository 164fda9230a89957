//! Disks that fail: full, failing to sync, damaged while the log is open.

use std::sync::Barrier;

use super::*;
use crate::backend::{CommitOutcome, Progress, Retention};
use crate::error::ErrorKind;

fn faulty(directory: &TestDirectory) -> (LogBroker, DiskFaults) {
    let faults = DiskFaults::new();
    let log = directory.open(options().with_disk_faults(&faults)).unwrap();
    topic(&log, "t", 1);
    (log, faults)
}

fn kind(outcome: PublishOutcome) -> (bool, ErrorKind) {
    match outcome {
        PublishOutcome::Unknown(error) => (true, error.kind()),
        PublishOutcome::Failed(error) => (false, error.kind()),
        PublishOutcome::Ok(published) => panic!("published: {published:?}"),
    }
}

fn send(log: &LogBroker) -> (bool, ErrorKind) {
    let message = Message::new(vec![1; 200]);
    kind(publish(log, vec![record("t", Some(0), message)]).remove(0))
}

#[test]
fn a_full_disk_closes_the_log_with_its_kind_and_loses_nothing_confirmed() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    put(&log, "t", 0, Message::new("kept"));
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let granted = assigned(&mut *source)[0];
    faults.room(Some(100));
    assert_eq!(send(&log), (true, ErrorKind::Full));
    assert_eq!(send(&log), (false, ErrorKind::Full));
    let progress = Progress {
        partition: 0,
        grant: granted.grant,
        watermark: 0,
        record: "r".into(),
    };
    let outcome = wait(control.commit(vec![progress])).remove(0);
    assert!(matches!(outcome, CommitOutcome::Failed(error) if error.kind() == ErrorKind::Full));
    let mut cx = Context::from_waker(Waker::noop());
    let polled = source.poll_event(&mut cx);
    assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Full));
    let spec = TopicSpec {
        name: "u".into(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    assert_eq!(
        wait(log.admin().create_topic(spec)).unwrap_err().kind(),
        ErrorKind::Full
    );
    drop((log, source, control));
    let log = directory.open(options()).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap(), [(0, b"kept".to_vec())]);
}

#[test]
fn a_failed_sync_is_never_tried_again_and_nothing_unsynced_is_read() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    put(&log, "t", 0, Message::new("kept"));
    faults.fail_syncs(true);
    assert_eq!(send(&log), (true, ErrorKind::Closed));
    faults.fail_syncs(false);
    assert_eq!(send(&log), (false, ErrorKind::Closed));
    let tried = faults.syncs();
    assert_eq!(wait(log.close()).err().map(|error| error.kind()), None);
    assert_eq!(faults.syncs(), tried, "not when it is closed either");
    drop(log);
    let log = directory.open(options()).unwrap();
    let read = read_all(&log, "t", 0).unwrap();
    assert_eq!(read[0], (0, b"kept".to_vec()));
    assert!(read.len() <= 2, "an unknown record may be there or not");
}

#[test]
fn what_an_earlier_process_did_not_sync_is_synced_before_it_is_read() {
    let directory = TestDirectory::new();
    let mut never = options();
    never.fsync = Fsync::Never;
    let log = directory.open(never).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("written"));
    drop(log);
    let faults = DiskFaults::new();
    let options = options().with_disk_faults(&faults);
    faults.fail_syncs(true);
    directory.open(options.clone()).unwrap_err();
    faults.fail_syncs(false);
    let log = directory.open(options).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap(), [(0, b"written".to_vec())]);
}

#[test]
fn a_write_that_fails_while_the_log_is_closed_is_the_reason_that_is_told() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    faults.room(Some(0));
    let publisher = log.publisher();
    let sent = publisher.publish(vec![record("t", Some(0), Message::new("a"))]);
    let closed = wait(log.close());
    // The write may have failed before the log was closed: then closing has nothing to tell.
    assert!(closed.map_or_else(|error| error.kind() == ErrorKind::Full, |()| true));
    assert_eq!(kind(wait(sent).remove(0)), (true, ErrorKind::Full));
}

#[test]
fn what_waits_behind_a_sync_that_fails_is_refused() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let grant = assigned(&mut *source)[0].grant;
    let stall = Arc::new(Barrier::new(2));
    faults.hold_next_sync(&stall);
    let publisher = log.publisher();
    let send = || publisher.publish(vec![record("t", Some(0), Message::new("a"))]);
    let under_way = send();
    stall.wait();
    let waits = send();
    let progress = Progress {
        partition: 0,
        grant,
        watermark: 0,
        record: "r".into(),
    };
    let committed = control.commit(vec![progress]);
    faults.fail_syncs(true);
    stall.wait();
    assert!(kind(wait(under_way).remove(0)).0, "unknown");
    assert!(!kind(wait(waits).remove(0)).0, "failed");
    assert!(matches!(
        wait(committed).remove(0),
        CommitOutcome::Failed(_)
    ));
}

#[test]
fn a_position_is_read_behind_the_commit_that_was_accepted_before() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let grant = assigned(&mut *source)[0].grant;
    let stall = Arc::new(Barrier::new(2));
    faults.hold_next_sync(&stall);
    let progress = Progress {
        partition: 0,
        grant,
        watermark: 0,
        record: "r".into(),
    };
    let committed = control.commit(vec![progress]);
    stall.wait();
    assert!(log.lose("g", "t", &[0]) && log.reassign("g", "t", &[0]));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(source.poll_event(&mut cx).is_ready());
    let grant = assigned(&mut *source)[0].grant;
    let mut read = control.position(0, grant);
    let early = read.as_mut().poll(&mut cx);
    stall.wait();
    assert!(early.is_pending(), "{early:?}");
    assert_eq!(wait(read).unwrap(), Some("r".into()));
    assert!(matches!(
        wait(committed).remove(0),
        CommitOutcome::Committed
    ));
}

#[test]
fn every_directory_that_is_made_for_a_log_is_made_durable() {
    let directory = TestDirectory::new();
    let faults = DiskFaults::new();
    let options = options().with_disk_faults(&faults);
    let log = LogBroker::open(directory.0.join("a").join("log"), options).unwrap();
    topic(&log, "t", 1);
    let synced = faults.synced_directories();
    let parent = directory.0.parent().unwrap();
    for path in [
        parent,
        &directory.0,
        &directory.0.join("a"),
        &directory.0.join("a/log/topics"),
    ] {
        assert!(synced.iter().any(|synced| synced == path), "{path:?}");
    }
}

#[test]
fn a_full_disk_at_the_creation_of_a_topic_is_told() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    faults.room(Some(0));
    let spec = TopicSpec {
        name: "u".into(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    let error = wait(log.admin().create_topic(spec.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    faults.room(None);
    wait(log.admin().create_topic(spec)).unwrap();
}

#[test]
fn damage_in_a_body_of_an_earlier_segment_is_told_when_it_is_read() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.segment_bytes = 400;
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    for _ in 0..10 {
        put(&log, "t", 0, Message::new(vec![1; 100]));
    }
    drop(log);
    let file = directory.segments("t").remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[90] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let log = directory.open(options).unwrap();
    let error = read_all(&log, "t", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn a_missing_segment_in_the_middle_is_refused() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.segment_bytes = 400;
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    for _ in 0..10 {
        put(&log, "t", 0, Message::new(vec![1; 100]));
    }
    drop(log);
    std::fs::remove_file(&directory.segments("t")[1]).unwrap();
    assert_eq!(
        directory.open(options).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

#[test]
fn concurrent_publishers_share_groups_and_keep_their_order() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 2);
    std::thread::scope(|scope| {
        for publisher in 0..4_u8 {
            let log = &log;
            scope.spawn(move || {
                for index in 0..20_u8 {
                    put(
                        log,
                        "t",
                        u32::from(publisher % 2),
                        Message::new(vec![publisher, index]),
                    );
                }
            });
        }
    });
    for partition in 0..2 {
        let read = read_all(&log, "t", partition).unwrap();
        assert_eq!(read.len(), 40);
        for publisher in [0, 1, 2, 3] {
            let own: Vec<u8> = read
                .iter()
                .filter(|(_, p)| p[0] == publisher)
                .map(|(_, p)| p[1])
                .collect();
            assert!(own.is_empty() || own == (0..20).collect::<Vec<u8>>());
        }
    }
}

/// A drawn fault strikes while records and positions are written: what was confirmed is there afterwards, in order, and
/// besides it only what was unknown.
#[test]
fn whatever_strikes_nothing_confirmed_is_lost() {
    let mut struck = std::collections::BTreeMap::new();
    for seed in 0..60 {
        let directory = TestDirectory::new();
        let faults = DiskFaults::drawn(seed);
        let mut confirmed = Vec::new();
        let mut unknown = 0;
        let mut position = None;
        // The fault may strike before there is a topic.
        if let Ok(log) = directory.open(options().with_disk_faults(&faults)) {
            let spec = TopicSpec {
                name: "t".into(),
                partitions: 1,
                retention: Retention::AsBackend,
            };
            if wait(log.admin().create_topic(spec)).is_ok() {
                let (mut source, control) = subscribe(&log, "g", "t").unwrap();
                let grant = assigned(&mut *source)[0].grant;
                for index in 0..40_u8 {
                    let message = Message::new(vec![index; 50]);
                    match publish(&log, vec![record("t", Some(0), message)]).remove(0) {
                        PublishOutcome::Ok(published) => {
                            confirmed.push((published.offset, vec![index; 50]))
                        }
                        PublishOutcome::Unknown(_) => unknown += 1,
                        PublishOutcome::Failed(_) => {}
                    }
                    let progress = Progress {
                        partition: 0,
                        grant,
                        watermark: 0,
                        record: vec![index + 1].into(),
                    };
                    if let CommitOutcome::Committed = wait(control.commit(vec![progress])).remove(0)
                    {
                        position = Some(index + 1);
                    }
                }
            }
        }
        if let Some(kind) = faults.struck() {
            *struck.entry(format!("{kind:?}")).or_insert(0) += 1;
        }
        let log = directory.open(options()).unwrap();
        if confirmed.is_empty() {
            continue;
        }
        let read = read_all(&log, "t", 0).unwrap();
        assert!(
            read.starts_with(&confirmed),
            "seed {seed}: {:?}",
            faults.struck()
        );
        assert!(read.len() <= confirmed.len() + unknown, "seed {seed}");
        let positions = wait(log.admin().positions("g", "t")).unwrap();
        let stored = positions.first().map_or(0, |(_, record)| record[0]);
        assert!(
            position.is_none_or(|position| stored >= position),
            "seed {seed}"
        );
    }
    assert_eq!(struck.len(), 4, "each of them has struck: {struck:?}");
}
