//! What lies in a log directory that nobody expects there, and what is missing from it.

use std::fs;

use super::super::journal::Journal;
use super::*;
use crate::backend::{CommitOutcome, Progress, Retention};
use crate::error::ErrorKind;

fn commit(log: &LogBroker, group: &str) {
    let (mut source, control) = subscribe(log, group, "t").unwrap();
    let grant = assigned(&mut *source)[0].grant;
    let progress = Progress {
        partition: 0,
        grant,
        watermark: 0,
        record: "r".into(),
    };
    let outcome = wait(control.commit(vec![progress])).remove(0);
    assert!(matches!(outcome, CommitOutcome::Committed));
}

fn positions(log: &LogBroker, group: &str) -> usize {
    wait(log.admin().positions(group, "t")).unwrap().len()
}

#[test]
fn an_expired_segment_that_cannot_be_removed_does_not_keep_the_log_from_opening() {
    let directory = TestDirectory::new();
    let mut options = options();
    options.segment_bytes = 400;
    options.retention_bytes = Some(800);
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new(vec![1; 300]));
    // Something in the place of the oldest file that `remove_file` refuses to remove.
    let oldest = directory.segments("t").remove(0);
    let aside = directory.0.join("aside");
    fs::rename(&oldest, &aside).unwrap();
    fs::create_dir(&oldest).unwrap();
    for _ in 0..8 {
        put(&log, "t", 0, Message::new(vec![1; 300]));
    }
    fs::remove_dir(&oldest).unwrap();
    fs::rename(&aside, &oldest).unwrap();
    drop(log);
    let log = directory.open(options).unwrap();
    let read = read_all(&log, "t", 0).unwrap();
    assert_eq!(read.last().unwrap().0, 8);
}

#[test]
fn files_that_the_log_did_not_write_are_never_removed() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    drop(log);
    // An operator moves a topic out of the way, within the directory.
    let topics = directory.0.join("topics");
    let saved = topics.join("saved");
    fs::create_dir(&saved).unwrap();
    fs::rename(topics.join("t"), saved.join("t")).unwrap();
    let opened = directory.open(options());
    assert!(saved.join("t").join("topic.json").exists(), "removed");
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn what_a_crash_leaves_of_a_creation_is_removed() {
    let directory = TestDirectory::new();
    drop(directory.open(options()).unwrap());
    let half = directory.0.join("topics").join("half");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("topic.tmp"), "{").unwrap();
    let log = directory.open(options()).unwrap();
    assert!(!half.exists());
    topic(&log, "half", 1);
}

#[test]
fn positions_that_are_missing_are_not_begun_anew() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    commit(&log, "g");
    drop(log);
    let journal = directory.0.join("positions.journal");
    let whole = fs::read(&journal).unwrap();
    fs::remove_file(&journal).unwrap();
    let error = directory.open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    let file = journal.to_str().unwrap();
    for part in [
        file,
        "Restore",
        "on_damaged_tail = \"cut\"",
        "start",
        "noted ends",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!journal.exists(), "begun anew");
    fs::write(&journal, &whole).unwrap();
    assert_eq!(positions(&directory.open(options()).unwrap(), "g"), 1);
    fs::remove_file(&journal).unwrap();
    let mut cut = options();
    cut.on_damaged_tail = DamagedTail::Cut;
    assert_eq!(positions(&directory.open(cut).unwrap(), "g"), 0);
}

#[test]
fn positions_are_missed_also_where_no_topic_is_left() {
    let directory = TestDirectory::new();
    drop(directory.open(options()).unwrap());
    let journal = directory.0.join("positions.journal");
    fs::remove_file(&journal).unwrap();
    let error = directory.open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

/// What lies in a directory, in order.
fn found(path: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_refusal_leaves_no_trace() {
    let directory = TestDirectory::new();
    for (file, kind) in [
        ("thesis.txt", ErrorKind::Invalid),
        ("topics", ErrorKind::Corrupt),
        ("positions.journal", ErrorKind::Corrupt),
    ] {
        fs::create_dir_all(&directory.0).unwrap();
        fs::write(directory.0.join(file), "x").unwrap();
        let error = directory.open(options()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(&format!("found {file}")),
            "{error}"
        );
        assert_eq!(found(&directory.0), [file]);
        fs::remove_dir_all(&directory.0).unwrap();
    }
    fs::write(&directory.0, "x").unwrap();
    for path in [directory.0.clone(), directory.0.join("below")] {
        let error = LogBroker::open(&path, options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("directory"), "{error}");
    }
    assert_eq!(fs::read(&directory.0).unwrap(), b"x");
    fs::remove_file(&directory.0).unwrap();
}

#[test]
fn what_a_crash_leaves_of_a_new_log_is_begun_again() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    for file in ["lock", "log.tmp"] {
        fs::write(directory.0.join(file), "{").unwrap();
    }
    directory.open(options()).unwrap();
}

#[test]
fn a_log_that_lost_its_log_json_is_not_begun_anew() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    drop(log);
    fs::remove_file(directory.0.join("log.json")).unwrap();
    fs::remove_file(directory.0.join("positions.journal")).unwrap();
    let error = directory.open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("log.json"), "{error}");
}

/// The file is written anew at every opening, beside itself, and renamed: nothing of that is ever torn by a crash.
#[test]
fn damage_in_what_was_renamed_into_place_is_no_torn_tail() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    commit(&log, "g");
    drop(log);
    drop(directory.open(options()).unwrap());
    let journal = directory.0.join("positions.journal");
    let whole = fs::read(&journal).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(&journal, damaged).unwrap();
            let opened = directory.open(options());
            assert_eq!(
                opened.map(drop).map_err(|error| error.kind()),
                Err(ErrorKind::Corrupt),
                "byte {at}, {} bytes",
                damaged.len()
            );
        }
    }
    fs::write(&journal, &whole).unwrap();
    assert_eq!(positions(&directory.open(options()).unwrap(), "g"), 1);
}

#[test]
fn a_torn_commit_behind_it_is_cut() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    commit(&log, "g");
    drop(log);
    drop(directory.open(options()).unwrap());
    let journal = directory.0.join("positions.journal");
    let rewritten = fs::metadata(&journal).unwrap().len();
    let log = directory.open(options()).unwrap();
    commit(&log, "h");
    drop(log);
    let whole = fs::read(&journal).unwrap();
    let rewritten = usize::try_from(rewritten).unwrap();
    for at in rewritten..whole.len() {
        fs::write(&journal, &whole[..at]).unwrap();
        let log = directory.open(options()).unwrap();
        assert_eq!((positions(&log, "g"), positions(&log, "h")), (1, 0));
    }
}

#[test]
fn a_journal_that_cannot_be_looked_at_is_an_error() {
    let directory = TestDirectory::new();
    fs::create_dir_all(&directory.0).unwrap();
    let file = directory.0.join("file");
    fs::write(&file, "").unwrap();
    let options = options();
    // Below a file nothing can be looked up, which is not "there is none".
    let read = Journal::read(
        &*options.disk,
        &file.join("positions.journal"),
        0,
        DamagedTail::Refuse,
    );
    assert_eq!(read.map(|_| ()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_topic_of_too_many_partitions_is_refused_before_anything_is_written() {
    for (directory, log) in both(options()) {
        let spec = TopicSpec {
            name: "t".into(),
            partitions: u32::MAX,
            retention: Retention::AsBackend,
        };
        let error = wait(log.admin().create_topic(spec)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        if let Some(directory) = directory {
            assert!(!directory.0.join("topics").join("t").exists());
        }
    }
    let mut options = options();
    options.default_partitions = u32::MAX;
    let error = TestDirectory::new().open(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_topic_is_deleted_once_and_not_created_meanwhile() {
    let directory = TestDirectory::new();
    let log = directory.open(options()).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(log.delete_topic("t"));
    let begun = first.as_mut().poll(&mut cx);
    assert!(begun.is_pending());
    let second = wait(log.delete_topic("t")).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::NotFound);
    let spec = TopicSpec {
        name: "t".into(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    let created = wait(log.admin().create_topic(spec)).unwrap_err();
    assert_eq!(created.kind(), ErrorKind::AlreadyExists);
    wait(first).unwrap();
    topic(&log, "t", 1);
    assert_eq!(read_all(&log, "t", 0).unwrap(), []);
}

#[test]
fn what_a_topic_is_asked_to_keep_outlives_the_log() {
    let directory = TestDirectory::new();
    let mut limited = options();
    limited.retention = Some(Duration::from_secs(60));
    limited.retention_bytes = Some(800);
    let kept = |log: &LogBroker, name: &str| {
        let topic = wait(log.admin().topic(name)).unwrap().unwrap();
        (topic.retention, topic.retention_bytes)
    };
    let declare = |log: &LogBroker, name: &str, retention| {
        let spec = TopicSpec {
            name: name.into(),
            partitions: 1,
            retention,
        };
        wait(log.admin().create_topic(spec)).unwrap();
    };
    let hour = Duration::from_secs(3_600);
    let log = LogBroker::open(&directory.0, limited.clone()).unwrap();
    declare(&log, "plain", Retention::AsBackend);
    declare(&log, "letters", Retention::AsBackend);
    declare(&log, "letters", Retention::Forever);
    declare(&log, "tier", Retention::For(hour));
    declare(&log, "tier", Retention::AsBackend);
    for reopened in [false, true] {
        let log = match reopened {
            false => log.clone(),
            true => {
                wait(log.close()).unwrap();
                LogBroker::open(&directory.0, limited.clone()).unwrap()
            }
        };
        assert_eq!(kept(&log, "plain"), (limited.retention, Some(800)));
        assert_eq!(kept(&log, "letters"), (None, None), "declared later");
        assert_eq!(kept(&log, "tier"), (Some(hour), None), "nothing said");
    }
}
