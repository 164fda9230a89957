//! Disks that fail: full, failing to sync, damaged while the log is open.

use std::io;
use std::path::Path;
use std::sync::{Barrier, Mutex};

use super::super::disk::{Disk, DiskFile, RealDisk};
use super::*;
use crate::backend::{CommitOutcome, Progress, Retention};
use crate::error::ErrorKind;

/// A disk with room for so many bytes, whose syncs can be made to fail.
#[derive(Debug, Default)]
struct FaultyDisk {
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug, Default)]
struct Faults {
    room: Option<usize>,
    syncs_fail: bool,
    /// How many were tried.
    syncs: usize,
    /// The next sync meets this twice: when it begins, and before it is done.
    stall: Option<Arc<Barrier>>,
    /// Directories that were synced.
    directories: Vec<std::path::PathBuf>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Mutex<Faults>>,
}

impl DiskFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        if let Some(room) = &mut faults.room {
            let fits = bytes.len().min(*room);
            *room -= fits;
            self.file.write(&bytes[..fits])?;
            if fits < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            return Ok(());
        }
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let stall = lock(&self.faults).stall.take();
        if let Some(stall) = stall {
            stall.wait();
            stall.wait();
        }
        let mut faults = lock(&self.faults);
        faults.syncs += 1;
        if faults.syncs_fail {
            return Err(io::Error::other("injected"));
        }
        self.file.sync()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.create(path)?;
        let faults = Arc::clone(&self.faults);
        Ok(Box::new(FaultyFile { file, faults }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.append(path)?;
        let faults = Arc::clone(&self.faults);
        Ok(Box::new(FaultyFile { file, faults }))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        if lock(&self.faults)
            .room
            .is_some_and(|room| room < contents.len())
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.replace(path, contents)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        RealDisk.truncate(path, bytes)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        lock(&self.faults).directories.push(path.to_path_buf());
        RealDisk.sync_directory(path)
    }
}

fn faulty(directory: &TestDirectory) -> (LogBroker, Arc<Mutex<Faults>>) {
    let faults = Arc::default();
    let mut options = options();
    options.disk = Arc::new(FaultyDisk {
        faults: Arc::clone(&faults),
    });
    let log = directory.open(options).unwrap();
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
    lock(&faults).room = Some(100);
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
    lock(&faults).syncs_fail = true;
    assert_eq!(send(&log), (true, ErrorKind::Closed));
    lock(&faults).syncs_fail = false;
    assert_eq!(send(&log), (false, ErrorKind::Closed));
    let tried = lock(&faults).syncs;
    assert_eq!(wait(log.close()).err().map(|error| error.kind()), None);
    assert_eq!(lock(&faults).syncs, tried, "not when it is closed either");
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
    let faults: Arc<Mutex<Faults>> = Arc::default();
    let mut options = options();
    options.disk = Arc::new(FaultyDisk {
        faults: Arc::clone(&faults),
    });
    lock(&faults).syncs_fail = true;
    directory.open(options.clone()).unwrap_err();
    lock(&faults).syncs_fail = false;
    let log = directory.open(options).unwrap();
    assert_eq!(read_all(&log, "t", 0).unwrap(), [(0, b"written".to_vec())]);
}

#[test]
fn a_write_that_fails_while_the_log_is_closed_is_the_reason_that_is_told() {
    let directory = TestDirectory::new();
    let (log, faults) = faulty(&directory);
    lock(&faults).room = Some(0);
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
    lock(&faults).stall = Some(Arc::clone(&stall));
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
    lock(&faults).syncs_fail = true;
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
    lock(&faults).stall = Some(Arc::clone(&stall));
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
    let faults: Arc<Mutex<Faults>> = Arc::default();
    let mut options = options();
    options.disk = Arc::new(FaultyDisk {
        faults: Arc::clone(&faults),
    });
    let log = LogBroker::open(directory.0.join("a").join("log"), options).unwrap();
    topic(&log, "t", 1);
    let synced = &lock(&faults).directories;
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
    lock(&faults).room = Some(0);
    let spec = TopicSpec {
        name: "u".into(),
        partitions: 1,
        retention: Retention::AsBackend,
    };
    let error = wait(log.admin().create_topic(spec.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    lock(&faults).room = None;
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
