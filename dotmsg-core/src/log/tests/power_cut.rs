//! Power cuts: between any two steps of the disk, with any part of what was not synced by then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use proptest::prelude::*;

use super::super::disk::{Disk, DiskFile};
use super::recovery::Unsynced;
use super::*;
use crate::backend::{CommitOutcome, Progress, ReadBatch, Retention};
use crate::error::ErrorKind;

/// A disk that remembers what a power cut would leave, and works for so many steps.
#[derive(Clone, Debug, Default)]
struct PowerDisk(Arc<Mutex<Platter>>);

/// What is durable.
#[derive(Debug, Default)]
struct Platter {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
    steps_left: usize,
}

#[derive(Debug)]
struct PowerFile {
    file: fs::File,
    path: PathBuf,
    disk: PowerDisk,
}

impl PowerDisk {
    /// One step: done, and durable as far as `durable` says; or the power is gone.
    fn step(
        &self,
        work: impl FnOnce() -> io::Result<()>,
        durable: impl FnOnce(&mut Platter) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut platter = lock(&self.0);
        let Some(left) = platter.steps_left.checked_sub(1) else {
            return Err(io::Error::other("the power is gone"));
        };
        platter.steps_left = left;
        work()?;
        durable(&mut platter)
    }

    fn file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(PowerFile {
            file: fs::OpenOptions::new().append(true).open(path)?,
            path: path.to_path_buf(),
            disk: self.clone(),
        }))
    }

    /// The files as a power cut would leave them now: `kept` of 100 parts of what was appended and not synced is there,
    /// but for a hole in the first parts of it (pages are written in any order), and names that are not durable may be there or not.
    fn image(&self, from: &Path, (kept, hole): (usize, usize), names: bool) -> TestDirectory {
        let platter = lock(&self.0);
        let image = TestDirectory::new();
        fs::create_dir_all(&image.0).unwrap();
        for (path, durable) in &platter.files {
            let inner = path.strip_prefix(from).unwrap();
            let mut above = inner
                .ancestors()
                .skip(1)
                .filter(|a| !a.as_os_str().is_empty());
            if !names && !above.all(|a| platter.directories.contains(&from.join(a))) {
                continue;
            }
            let mut bytes = durable.clone();
            match fs::read(path) {
                Ok(now) if now.starts_with(durable) => {
                    let more = &now[durable.len()..];
                    let kept = &more[..more.len() * kept / 100];
                    let hole = kept.len() * hole / 100;
                    bytes.resize(bytes.len() + hole, 0);
                    bytes.extend_from_slice(&kept[hole..]);
                }
                Ok(_) => {}
                // Removed: durably or not.
                Err(_) if names => continue,
                Err(_) => {}
            }
            let to = image.0.join(inner);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
        image
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step(
            || fs::File::create_new(path).map(drop),
            |platter| {
                platter.files.insert(path.to_path_buf(), Vec::new());
                Ok(())
            },
        )?;
        self.file(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.file(path)
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.step(
            || fs::write(path, contents),
            |platter| {
                platter.files.insert(path.to_path_buf(), contents.to_vec());
                Ok(())
            },
        )
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.step(
            || Unsynced.truncate(path, bytes),
            |platter| {
                platter.files.insert(path.to_path_buf(), fs::read(path)?);
                Ok(())
            },
        )
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(
            || Ok(()),
            |platter| {
                for entry in fs::read_dir(path)? {
                    platter.directories.insert(entry?.path());
                }
                let gone = |file: &Path| {
                    let mut above = file.ancestors().skip(1);
                    let below = above.find(|a| a.parent() == Some(path));
                    below.is_some_and(|below| !below.exists())
                };
                platter.files.retain(|file, _| !gone(file));
                Ok(())
            },
        )
    }
}

impl DiskFile for PowerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { file, disk, .. } = self;
        disk.step(|| file.write_all(bytes), |_| Ok(()))
    }

    fn sync(&mut self) -> io::Result<()> {
        let path = &self.path;
        self.disk.step(
            || Ok(()),
            |platter| {
                platter.files.insert(path.clone(), fs::read(path)?);
                Ok(())
            },
        )
    }
}

const BURST: u64 = 4;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Several calls at a time, so that a segment ends within a group.
    Burst(usize),
    /// Records to both partitions in one call, the second of this size.
    Publish(usize),
    Commit,
    /// A publish and a commit that are under way at the same time.
    Both(usize),
    Reopen,
}

/// What was confirmed before the power went.
#[derive(Debug, Default)]
struct Confirmed {
    /// Payloads, by partition; some that were not confirmed may follow.
    records: [Vec<Vec<u8>>; 2],
    /// The number of the last commit, and of the last one that was tried.
    commit: u64,
    tried: u64,
}

fn options_on(disk: Arc<dyn Disk>) -> LogOptions {
    let mut options = options();
    options.segment_bytes = 300;
    options.retention_bytes = Some(700);
    options.disk = disk;
    options
}

/// Works until the power is gone, or all is done.
fn work(directory: &TestDirectory, disk: &PowerDisk, ops: &[Op]) -> Confirmed {
    let mut confirmed = Confirmed::default();
    let _: Option<()> = (|| {
        let open = || directory.open(options_on(Arc::new(disk.clone()))).ok();
        let mut log = open()?;
        let spec = TopicSpec {
            name: "t".into(),
            partitions: 2,
            retention: Retention::AsBackend,
        };
        wait(log.admin().create_topic(spec)).ok()?;
        for &op in ops {
            let (publishes, size, commits) = match op {
                Op::Burst(size) => (BURST, size, false),
                Op::Publish(size) => (1, size, false),
                Op::Both(size) => (1, size, true),
                Op::Commit => (0, 0, true),
                Op::Reopen => {
                    drop(log);
                    log = open()?;
                    continue;
                }
            };
            let (mut source, control) = subscribe(&log, "g", "t").ok()?;
            let grant = assigned(&mut *source)[0].grant;
            let publisher = log.publisher();
            let records = [vec![confirmed.tried.to_le_bytes()[0]], vec![b'x'; size]];
            let send = || {
                let of = |partition: u32| {
                    let payload = records[partition as usize].clone();
                    record("t", Some(partition), Message::new(payload))
                };
                publisher.publish(vec![of(0), of(1)])
            };
            let sent: Vec<_> = (0..publishes).map(|_| send()).collect();
            let committed = commits.then(|| {
                confirmed.tried += 1;
                let progress = Progress {
                    partition: 0,
                    grant,
                    watermark: 0,
                    record: confirmed.tried.to_le_bytes().to_vec().into(),
                };
                control.commit(vec![progress])
            });
            for sent in sent {
                for (index, outcome) in wait(sent).into_iter().enumerate() {
                    let PublishOutcome::Ok(at) = outcome else {
                        return None;
                    };
                    assert_eq!(at.offset, confirmed.records[index].len() as u64);
                    confirmed.records[index].push(records[index].clone());
                }
            }
            if let Some(committed) = committed {
                let CommitOutcome::Committed = wait(committed).remove(0) else {
                    return None;
                };
                confirmed.commit = confirmed.tried;
            }
        }
        Some(())
    })();
    confirmed
}

/// All records of a partition from where it begins.
fn found(log: &LogBroker, partition: u32) -> Vec<(u64, Vec<u8>)> {
    let range = wait(log.admin().offsets("t", partition)).unwrap();
    let mut reader = wait(log.reader()).unwrap();
    reader.assign(&"t".into(), partition, range.start).unwrap();
    let mut batch = ReadBatch::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(read) = reader.poll_batch(&mut cx, ALL, &mut batch) {
        read.unwrap();
        let records = batch.records.drain(..);
        all.extend(records.map(|r| (r.offset, r.message.payload.unwrap().to_vec())));
    }
    assert_eq!(all.len() as u64, range.end - range.start);
    all
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0_usize..200).prop_map(Op::Burst),
        2 => (0_usize..200).prop_map(Op::Publish),
        2 => (0_usize..200).prop_map(Op::Both),
        1 => Just(Op::Commit),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// The log opens without a word about damage, and holds every record and position that was confirmed.
    #[test]
    fn what_was_confirmed_survives_and_the_log_opens(
        ops in proptest::collection::vec(op(), 1..14),
        steps in 0_usize..110,
        kept in 0_usize..=100,
        hole in prop_oneof![Just(0_usize), 0_usize..100],
        names in any::<bool>(),
    ) {
        let directory = TestDirectory::new();
        let disk = PowerDisk::default();
        lock(&disk.0).steps_left = steps;
        let confirmed = work(&directory, &disk, &ops);
        let image = disk.image(&directory.0, (kept, hole), names);
        let log = image.open(options_on(Arc::new(Unsynced)));
        prop_assert!(log.is_ok(), "after {} steps: {:?}", steps, log.err());
        let log = log.unwrap();
        if wait(log.admin().topic("t")).unwrap().is_none() {
            prop_assert!(confirmed.records.iter().all(Vec::is_empty));
            prop_assert_eq!(confirmed.commit, 0);
            return Ok(());
        }
        for (partition, records) in (0..).zip(&confirmed.records) {
            let found = found(&log, partition);
            let end = found.last().map_or(0, |(offset, _)| offset + 1);
            let more = end.checked_sub(records.len() as u64);
            prop_assert!(more.is_some_and(|more| more <= BURST), "{} of {:?}", end, records);
            for (offset, payload) in found.iter().take_while(|(offset, _)| *offset < records.len() as u64) {
                prop_assert_eq!(payload, &records[usize::try_from(*offset).unwrap()]);
            }
        }
        let positions = wait(log.admin().positions("g", "t")).unwrap();
        let stored = positions.first().map_or(0, |(_, bytes)| u64::from_le_bytes(bytes[..].try_into().unwrap()));
        prop_assert!((confirmed.commit..=confirmed.tried).contains(&stored), "{} of {:?}", stored, confirmed);
    }
}

#[test]
fn a_topic_that_was_deleted_is_gone_after_a_power_cut() {
    let directory = TestDirectory::new();
    let disk = PowerDisk::default();
    lock(&disk.0).steps_left = usize::MAX;
    let log = directory.open(options_on(Arc::new(disk.clone()))).unwrap();
    topic(&log, "t", 1);
    put(&log, "t", 0, Message::new("a"));
    let before = disk.image(&directory.0, (0, 0), false);
    wait(log.delete_topic("t")).unwrap();
    let after = disk.image(&directory.0, (0, 0), false);
    for (image, there) in [(before, true), (after, false)] {
        let log = image.open(options_on(Arc::new(Unsynced))).unwrap();
        assert_eq!(wait(log.admin().topic("t")).unwrap().is_some(), there);
    }
}

/// Between any two steps of the first opening: what is left is begun again, and once there is a log it has a journal that
/// is missed.
#[test]
fn a_log_that_is_half_made_is_begun_again_and_a_whole_one_misses_its_positions() {
    let mut opened = 0;
    for steps in 0..20 {
        let directory = TestDirectory::new();
        let disk = PowerDisk::default();
        lock(&disk.0).steps_left = steps;
        let log = directory.open(options_on(Arc::new(disk.clone())));
        opened += usize::from(log.is_ok());
        for names in [false, true] {
            let image = disk.image(&directory.0, (0, 0), names);
            let whole = image.open(options_on(Arc::new(Unsynced)));
            assert!(whole.is_ok(), "after {steps} steps: {:?}", whole.err());
            drop(whole);
            let image = match log.is_ok() {
                true => disk.image(&directory.0, (0, 0), names),
                false => image,
            };
            fs::remove_file(image.0.join("positions.journal")).unwrap();
            let error = image.open(options_on(Arc::new(Unsynced))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "after {steps} steps");
        }
    }
    assert!((1..20).contains(&opened), "{opened}");
}
