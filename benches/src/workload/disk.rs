//! What the disk gives without a log: sequential writes with an `fdatasync` after every so many bytes, and a sequential read.
//!
//! The yardstick of the directory log's append: the same bytes, the same number of syncs, no framing, no checks, no tasks.
//! One file in the folder of this executable, so that it is on the disk of the build and not on a memory file system.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use super::{Outcome, Workload, timed};

/// Payload of one record, the size of the bars on the directory log.
pub(super) const RECORD_BYTES: usize = 100;
/// Records of one write, the batch of every other workload here.
pub(super) const BATCH: usize = 512;
/// Writes between two syncs in the group-commit pattern: about 1 MiB, what arrives while a sync of 1 to 2 ms runs.
pub(super) const BATCHES_PER_SYNC: u64 = 20;

pub(super) const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "disk.write_sync_each",
        messages: 500_000,
        warm_up: 20_000,
        run: sync_each,
    },
    Workload {
        name: "disk.write_sync_group",
        messages: 5_000_000,
        warm_up: 100_000,
        run: sync_group,
    },
    Workload {
        name: "disk.read",
        messages: 10_000_000,
        warm_up: 100_000,
        run: read,
    },
];

/// A file that is gone with its owner.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Result<Self, String> {
        let executable = crate::measure::child::own_path()?;
        let folder = executable
            .parent()
            .ok_or("this executable is in no folder")?;
        Ok(Self {
            path: folder.join(format!("dotmsg-bench-{}-{name}.tmp", std::process::id())),
        })
    }

    fn create(&self) -> Result<File, String> {
        File::create(&self.path)
            .map_err(|error| format!("cannot create {}: {error}", self.path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind at worst: the name tells what it is.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn sync_each(messages: u64) -> Result<Outcome, String> {
    write(messages, 1)
}

fn sync_group(messages: u64) -> Result<Outcome, String> {
    write(messages, BATCHES_PER_SYNC)
}

fn batch() -> Vec<u8> {
    (0..RECORD_BYTES * BATCH)
        .map(|index| (index * 31 % 251) as u8)
        .collect()
}

fn write(messages: u64, batches_per_sync: u64) -> Result<Outcome, String> {
    let scratch = Scratch::new("write")?;
    let mut file = scratch.create()?;
    let batches = messages.div_ceil(BATCH as u64);
    let payload = batch();
    let mut syncs = 0_u64;
    let mut failed = None;
    let mut outcome = timed(batches * BATCH as u64, || {
        for number in 1..=batches {
            let mut step = file.write_all(&payload);
            if number % batches_per_sync == 0 || number == batches {
                step = step.and_then(|()| file.sync_data());
                syncs += 1;
            }
            if let Err(error) = step {
                failed = Some(error);
                return;
            }
        }
    });
    if let Some(error) = failed {
        return Err(format!("writing {}: {error}", scratch.path.display()));
    }
    let mebibytes = (batches * payload.len() as u64) as f64 / f64::from(1 << 20);
    outcome.figures.insert(
        "mebibytes_per_second".to_owned(),
        mebibytes / outcome.seconds,
    );
    outcome.figures.insert("syncs".to_owned(), syncs as f64);
    Ok(outcome)
}

fn read(messages: u64) -> Result<Outcome, String> {
    let scratch = Scratch::new("read")?;
    let batches = messages.div_ceil(BATCH as u64);
    let mut payload = batch();
    let mut file = scratch.create()?;
    let mut filled = Ok(());
    for _ in 0..batches {
        filled = filled.and_then(|()| file.write_all(&payload));
    }
    filled.map_err(|error| format!("writing {}: {error}", scratch.path.display()))?;
    let mut file = File::open(&scratch.path)
        .map_err(|error| format!("opening {}: {error}", scratch.path.display()))?;
    let mut done = Ok(());
    let mut outcome = timed(batches * BATCH as u64, || {
        for _ in 0..batches {
            done = file.read_exact(&mut payload);
            if done.is_err() {
                return;
            }
        }
    });
    done.map_err(|error| format!("reading {}: {error}", scratch.path.display()))?;
    let mebibytes = (batches * payload.len() as u64) as f64 / f64::from(1 << 20);
    outcome.figures.insert(
        "mebibytes_per_second".to_owned(),
        mebibytes / outcome.seconds,
    );
    Ok(outcome)
}
