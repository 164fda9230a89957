//! What a directory keeps from one opening to the next.

use bytes::Bytes;

use super::*;
use crate::backend::{CommitOutcome, Control, Progress};
use crate::error::ErrorKind;

fn commit(control: &dyn Control, granted: Granted, record: Vec<u8>) -> CommitOutcome {
    wait(control.commit(vec![Progress {
        partition: granted.partition,
        grant: granted.grant,
        watermark: 0,
        record: Bytes::from(record),
    }]))
    .remove(0)
}

#[test]
fn topics_offsets_positions_and_identities_are_kept() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 2);
    topic(&log, "empty", 3);
    put(&log, "t", 1, Message::new("a"));
    let before = (
        wait(log.admin().cluster()).unwrap(),
        wait(log.admin().topics("")).unwrap(),
    );
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let old = assigned(&mut *source)[1];
    assert!(matches!(
        commit(&*control, old, b"r".to_vec()),
        CommitOutcome::Committed
    ));
    wait(log.close()).unwrap();
    let log = directory.open(options()).unwrap();
    let after = (
        wait(log.admin().cluster()).unwrap(),
        wait(log.admin().topics("")).unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!(put(&log, "t", 1, Message::new("b")).offset, 1);
    assert_eq!(
        read_all(&log, "t", 1).unwrap(),
        [(0, b"a".to_vec()), (1, b"b".to_vec())]
    );
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let new = assigned(&mut *source)[1];
    assert_ne!(old.grant, new.grant);
    let stored = wait(control.position(1, new.grant)).unwrap();
    assert_eq!(stored, Some(Bytes::from("r")));
    topic(&log, "later", 1);
    let later = wait(log.admin().topic("later")).unwrap().unwrap();
    assert!(
        before
            .1
            .iter()
            .all(|topic| topic.identity != later.identity)
    );
}

#[test]
fn a_second_opening_is_refused_while_the_first_lives() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    let error = directory.open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let text = error.to_string();
    let holder = format!("process {}", std::process::id());
    for part in [directory.0.to_str().unwrap(), "this process", &holder] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let publisher = log.publisher();
    drop(log);
    assert!(
        directory.open(options()).is_err(),
        "the publisher still holds it"
    );
    drop(publisher);
    assert!(directory.open(options()).is_ok());
}

#[test]
fn the_process_that_holds_the_lock_is_named() {
    let directory = TestDirectory::new();
    drop(directory.open(options()).unwrap());
    let path = directory.0.join("lock");
    let other = std::fs::File::create(&path).unwrap();
    other.lock().unwrap();
    for (says, named) in [("4711", true), ("", false), ("4711 or so", false)] {
        std::fs::write(&path, says).unwrap();
        let error = directory.open(options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let text = error.to_string();
        assert!(text.contains("another process"), "{text}");
        assert_eq!(text.contains("process 4711"), named, "{text}");
    }
}

#[test]
fn later_formats_are_refused_whatever_else_they_say() {
    let directory = TestDirectory::new();
    std::fs::create_dir_all(&directory.0).unwrap();
    let file = directory.0.join("log.json");
    for (says, kind) in [
        (r#"{"format": 9}"#, ErrorKind::Unsupported),
        (r#"{"format": 1}"#, ErrorKind::Corrupt),
        ("{", ErrorKind::Corrupt),
    ] {
        std::fs::write(&file, says).unwrap();
        assert_eq!(directory.open(options()).unwrap_err().kind(), kind);
    }
}

#[test]
fn deleted_topics_stay_deleted_and_their_name_is_free() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("old"));
    wait(log.delete_topic("t")).unwrap();
    topic(&log, "t", 1);
    assert_eq!(put(&log, "t", 0, Message::new("new")).offset, 0);
    drop(log);
    let log = directory.open(options()).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap(), [(0, b"new".to_vec())]);
}

#[test]
fn segments_roll_and_retention_survives_a_restart() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.segment_bytes = 300;
    options.retention_bytes = Some(600);
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    for index in 0..40_u8 {
        put(&log, "t", 0, Message::new(vec![index; 60]));
    }
    let range = wait(log.admin().offsets("t", 0)).unwrap();
    assert!(range.start > 20 && range.end == 40, "{range:?}");
    drop(log);
    assert!(directory.segments("t").len() <= 4);
    let log = directory.open(options).unwrap();
    assert_eq!(wait(log.admin().offsets("t", 0)).unwrap(), range);
    let read = read_all(&log, "t", 0).unwrap();
    let want: Vec<_> = (range.start..40)
        .map(|offset| (offset, vec![u8::try_from(offset).unwrap(); 60]))
        .collect();
    assert_eq!(read, want);
}

#[test]
fn the_position_journal_is_rewritten_when_it_grows() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.fsync = Fsync::Never;
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let granted = assigned(&mut *source)[0];
    for round in 0..80_u8 {
        let record = vec![round; 40_000];
        assert!(matches!(
            commit(&*control, granted, record),
            CommitOutcome::Committed
        ));
    }
    let size = std::fs::metadata(directory.0.join("positions.journal"))
        .unwrap()
        .len();
    assert!(size < 1_200_000, "{size}");
    wait(log.close()).unwrap();
    drop((source, control, log));
    let log = directory.open(options).unwrap();
    let positions = wait(log.admin().positions("g", "t")).unwrap();
    assert_eq!(positions, [(0, Bytes::from(vec![79; 40_000]))]);
}

#[test]
fn large_batches_and_limits_read_the_same_as_small_ones() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    let payload = |index: usize| vec![index.to_le_bytes()[0]; 1 + (index * 37) % 900];
    let records = (0..1500).map(|index| record("t", Some(0), Message::new(payload(index))));
    let offsets: Vec<u64> = publish(&log, records.collect())
        .iter()
        .map(|outcome| match outcome {
            PublishOutcome::Ok(published) => published.offset,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(offsets, (0..1500).collect::<Vec<u64>>());
    put(&log, "t", 0, Message::new(vec![7; 1 << 20]));
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    assigned(&mut *source);
    control.resume(0, Some(700));
    let limits = BatchLimits {
        messages: 17,
        bytes: 5_000,
    };
    let mut next = 700;
    while let Some(batch) = batch(&mut *source, limits) {
        assert!(batch.records.len() <= 17);
        let size: usize = batch
            .records
            .iter()
            .map(|record| record.message.size())
            .sum();
        assert!(size <= 5_000 || batch.records.len() == 1);
        for record in &batch.records {
            assert_eq!(record.offset, next);
            if next < 1500 {
                let want = payload(usize::try_from(next).unwrap());
                assert_eq!(record.message.payload.as_deref(), Some(&*want));
            }
            next += 1;
        }
    }
    assert_eq!(next, 1501);
}
