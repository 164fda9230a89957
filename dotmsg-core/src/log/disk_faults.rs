//! A disk that fails on purpose, for tests of a log in a directory: full, slow, failing to sync, writing half.
//!
//! It stands at the seam through which the log writes ([`Disk`]), so that what fails is exactly what a device or a file system fails
//! at, and everything above it is the real thing. Faults are switched by hand, or drawn from a seed: then one of them strikes
//! after so many writes and syncs, the same ones in every run. A power cut needs no fault here: it is an end of the
//! process after which a part of what was not synced is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use super::disk::{Disk, DiskFile, RealDisk};
use super::lock;
use super::options::LogOptions;

/// What is wrong with the disk of a log. A clone is the same disk.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    room: Option<usize>,
    syncs_fail: bool,
    torn: bool,
    slow: Duration,
    /// Steps to go until a fault that was drawn strikes.
    drawn: Option<(u32, Struck)>,
    struck: Option<Struck>,
    syncs: usize,
    held: Option<Arc<Barrier>>,
    directories: Vec<PathBuf>,
}

/// What a drawn fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    /// There is no room for the next write, of which a part may be written.
    Full,
    /// The next sync fails, and so do those after it.
    SyncFails,
    /// Half of the next write is written, then it fails.
    Torn,
    /// Every write and sync takes a millisecond from now on.
    Slow,
}

/// Most steps before a drawn fault strikes.
const DRAWN_WITHIN: u32 = 60;

impl DiskFaults {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One fault, after some writes and syncs: which and when is drawn from the seed.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let kinds = [Struck::Full, Struck::SyncFails, Struck::Torn, Struck::Slow];
        let kind = kinds[random.usize(..kinds.len())];
        let faults = Self::default();
        lock(&faults.0).drawn = Some((random.u32(..DRAWN_WITHIN), kind));
        faults
    }

    /// Which drawn fault is in force by now, if it is: it meets the next write or sync that it is about.
    #[must_use]
    pub fn struck(&self) -> Option<Struck> {
        lock(&self.0).struck
    }

    /// Room for so many bytes more; `None`: for any number.
    pub fn room(&self, bytes: Option<usize>) {
        lock(&self.0).room = bytes;
    }

    /// Whether syncs fail.
    pub fn fail_syncs(&self, fail: bool) {
        lock(&self.0).syncs_fail = fail;
    }

    /// The next write writes half and fails.
    pub fn tear_next_write(&self) {
        lock(&self.0).torn = true;
    }

    /// Every write and sync takes so much longer.
    pub fn slow(&self, by: Duration) {
        lock(&self.0).slow = by;
    }

    /// The next sync meets `barrier` twice, when it begins and before it is done: between the two a test has time.
    pub fn hold_next_sync(&self, barrier: &Arc<Barrier>) {
        lock(&self.0).held = Some(Arc::clone(barrier));
    }

    /// The directories that were made durable.
    #[must_use]
    pub fn synced_directories(&self) -> Vec<PathBuf> {
        lock(&self.0).directories.clone()
    }

    /// How many syncs were tried.
    #[must_use]
    pub fn syncs(&self) -> usize {
        lock(&self.0).syncs
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            file,
            faults: self.clone(),
        })
    }

    /// One step of the disk: it takes its time, and a drawn fault comes nearer.
    #[allow(
        clippy::disallowed_methods,
        reason = "a slow disk is what is asked for; it is the log's writer thread that waits"
    )]
    fn step(&self) {
        let slow = {
            let mut state = lock(&self.0);
            state.step();
            state.slow
        };
        if !slow.is_zero() {
            std::thread::sleep(slow);
        }
    }
}

impl State {
    fn step(&mut self) {
        let Some((left, kind)) = self.drawn else {
            return;
        };
        if left > 0 {
            self.drawn = Some((left - 1, kind));
            return;
        }
        self.drawn = None;
        self.struck = Some(kind);
        match kind {
            Struck::Full => self.room = Some(10),
            Struck::SyncFails => self.syncs_fail = true,
            Struck::Torn => self.torn = true,
            Struck::Slow => self.slow = Duration::from_millis(1),
        }
    }

    /// How much of a write is written, and what becomes of it then.
    fn admit(&mut self, bytes: usize) -> (usize, io::Result<()>) {
        if std::mem::take(&mut self.torn) {
            return (bytes / 2, Err(io::Error::other("injected: torn write")));
        }
        let Some(room) = &mut self.room else {
            return (bytes, Ok(()));
        };
        let fits = bytes.min(*room);
        *room -= fits;
        match fits == bytes {
            true => (fits, Ok(())),
            false => (fits, Err(io::ErrorKind::StorageFull.into())),
        }
    }
}

impl LogOptions {
    /// The same, on a disk with these faults.
    #[must_use]
    pub fn with_disk_faults(mut self, faults: &DiskFaults) -> Self {
        self.disk = Arc::new(faults.clone());
        self
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: DiskFaults,
}

impl DiskFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.faults.step();
        let (fits, outcome) = lock(&self.faults.0).admit(bytes.len());
        self.file.write(&bytes[..fits])?;
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.step();
        let held = lock(&self.faults.0).held.take();
        if let Some(held) = held {
            held.wait();
            held.wait();
        }
        let mut state = lock(&self.faults.0);
        state.syncs += 1;
        if state.syncs_fail {
            return Err(io::Error::other("injected: failed sync"));
        }
        drop(state);
        self.file.sync()
    }
}

impl Disk for DiskFaults {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(RealDisk.create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(RealDisk.append(path)?))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.step();
        // The old contents stay when the new ones do not fit: they are written beside it first.
        let fits = lock(&self.0).room.is_none_or(|room| room >= contents.len());
        match fits {
            true => RealDisk.replace(path, contents),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.step();
        RealDisk.truncate(path, bytes)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step();
        lock(&self.0).directories.push(path.to_path_buf());
        RealDisk.sync_directory(path)
    }
}
