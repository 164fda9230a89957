//! The directory log: appending, reading, opening, and the memory of a route on a long one.
//!
//! Its folder lies beside this executable, as the plain file of [`disk`](super::super::disk) does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dotmsg::backend::{Backend, BatchLimits, PublishOutcome, PublishRecord, ReadBatch};
use dotmsg::clock::{Clock, SystemClock};
use dotmsg::log::{Fsync, LogBroker, LogOptions};
use dotmsg::message::Headers;
use dotmsg::router::RouteSpec;

use super::counted::Counted;
use super::{Latch, Outcome, Workload, drain, fill, one_thread, records, start};
use crate::measure::{child, memory};
use crate::workload::disk::{BATCH, BATCHES_PER_SYNC, RECORD_BYTES};
use crate::workload::timed;

const MIB: f64 = (1 << 20) as f64;

pub(super) const WORKLOADS: [Workload; 4] = [
    Workload {
        name: "log.append",
        messages: 5_000_000,
        warm_up: 100_000,
        run: append,
    },
    Workload {
        name: "log.read",
        messages: 5_000_000,
        warm_up: 100_000,
        run: read,
    },
    Workload {
        name: "log.restart",
        messages: 1 << 20,
        warm_up: 0,
        run: restart,
    },
    Workload {
        name: "log.waiting",
        messages: 1_000_000,
        warm_up: 0,
        run: waiting,
    },
];

/// A folder that is gone with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, String> {
        let executable = child::own_path()?;
        let beside = executable
            .parent()
            .ok_or("this executable is in no folder")?;
        let folder = beside.join(format!("dotmsg-bench-{}-{name}.log", std::process::id()));
        // What an earlier process of this number left behind.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(Self(folder))
    }

    fn bytes(&self) -> Result<u64, String> {
        fn sum(folder: &Path) -> std::io::Result<u64> {
            let mut bytes = 0;
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let about = entry.metadata()?;
                bytes += if about.is_dir() {
                    sum(&entry.path())?
                } else {
                    about.len()
                };
            }
            Ok(bytes)
        }
        sum(&self.0).map_err(|error| format!("cannot measure {}: {error}", self.0.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind at worst: the name tells what it is.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Folder, fsync: Fsync) -> Result<LogBroker, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut options = LogOptions::new(clock);
    options.fsync = fsync;
    LogBroker::open(&folder.0, options).map_err(|error| format!("the log does not open: {error}"))
}

/// A payload of which key and payload together are `bytes` long.
fn payload(bytes: usize) -> Vec<u8> {
    let key = super::key_of(0).len();
    (0..bytes - key)
        .map(|index| (index * 31 % 251) as u8)
        .collect()
}

/// Group commit: two calls of about 1 MiB outstanding, so that one is encoded while the other is written and synced.
/// Then a plain file: the same bytes in the same number of writes and syncs.
fn append(messages: u64) -> Result<Outcome, String> {
    let folder = Folder::new("append")?;
    let runtime = one_thread()?;
    let broker = open(&folder, Fsync::Group)?;
    let per_call = BATCH as u64 * BATCHES_PER_SYNC;
    let calls = messages.div_ceil(per_call);
    runtime.block_on(fill(&broker, 1, |number| (number, payload(RECORD_BYTES))))?;
    let batch = records(0..per_call, &Headers::new(), |number| {
        (number, payload(RECORD_BYTES))
    });
    let before = folder.bytes()?;
    let mut failed = None;
    let mut outcome = timed(calls * per_call, || {
        failed = runtime.block_on(publish(&broker, &batch, calls)).err();
    });
    if let Some(failed) = failed {
        return Err(failed);
    }
    let written = folder.bytes()? - before;
    let plain = write_plain(&folder, written, calls)?;
    let mut figure = |name: &str, value: f64| outcome.figures.insert(name.to_owned(), value);
    figure(
        "mebibytes_per_second",
        written as f64 / MIB / outcome.seconds,
    );
    figure("plain_mebibytes_per_second", written as f64 / MIB / plain);
    figure("share_of_plain", plain / outcome.seconds);
    Ok(outcome)
}

async fn publish(broker: &LogBroker, batch: &[PublishRecord], calls: u64) -> Result<(), String> {
    let publisher = broker.publisher();
    let check = |outcomes: Vec<PublishOutcome>| {
        let bad = outcomes
            .into_iter()
            .find(|outcome| !matches!(outcome, PublishOutcome::Ok(_)));
        bad.map_or(Ok(()), |bad| Err(format!("not appended: {bad:?}")))
    };
    let mut before = publisher.publish(batch.to_vec());
    for _ in 1..calls {
        let next = publisher.publish(batch.to_vec());
        check(std::mem::replace(&mut before, next).await)?;
    }
    check(before.await)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn write_plain(folder: &Folder, bytes: u64, syncs: u64) -> Result<f64, String> {
    use std::io::Write;
    let path = folder.0.join("plain");
    let chunk = payload(usize::try_from(bytes / syncs).map_err(|error| error.to_string())?);
    let failed = |error: std::io::Error| format!("writing {}: {error}", path.display());
    let mut file = std::fs::File::create(&path).map_err(failed)?;
    let started = Instant::now();
    for _ in 0..syncs {
        file.write_all(&chunk)
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// A reader outside of any group, from the first record to the last.
fn read(messages: u64) -> Result<Outcome, String> {
    let folder = Folder::new("read")?;
    let runtime = one_thread()?;
    let broker = open(&folder, Fsync::Never)?;
    runtime.block_on(fill(&broker, messages, |number| {
        (number, payload(RECORD_BYTES))
    }))?;
    let mut reader = runtime
        .block_on(broker.reader())
        .and_then(|mut reader| {
            reader.assign(&"orders".into(), 0, 0)?;
            Ok(reader)
        })
        .map_err(|error| format!("no reader: {error}"))?;
    let limits = BatchLimits {
        messages: BATCH,
        bytes: usize::MAX,
    };
    let mut failed = None;
    let outcome = timed(messages, || {
        let mut batch = ReadBatch::default();
        let mut seen = 0;
        while seen < messages && failed.is_none() {
            let poll = std::future::poll_fn(|cx| reader.poll_batch(cx, limits, &mut batch));
            failed = runtime.block_on(poll).err();
            seen += batch.records.len() as u64;
        }
    });
    match failed {
        Some(error) => Err(format!("reading failed: {error}")),
        None => Ok(outcome),
    }
}

/// 1 GiB in records of 1 KiB, closed and opened again.
fn restart(messages: u64) -> Result<Outcome, String> {
    let folder = Folder::new("restart")?;
    let runtime = one_thread()?;
    let broker = open(&folder, Fsync::Never)?;
    runtime.block_on(fill(&broker, messages, |number| (number, payload(1 << 10))))?;
    runtime
        .block_on(broker.close())
        .map_err(|error| format!("the log does not close: {error}"))?;
    drop(broker);
    let bytes = folder.bytes()?;
    let mut opened = None;
    let mut outcome = timed(messages, || opened = Some(open(&folder, Fsync::Group)));
    drop(opened.expect("it was tried")?);
    outcome
        .figures
        .insert("gibibytes".to_owned(), bytes as f64 / MIB / 1024.0);
    outcome
        .figures
        .insert("open_seconds".to_owned(), outcome.seconds);
    Ok(outcome)
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_for_a_millisecond(Counted(latch): Counted<'_>, frame: &[u8]) {
    std::hint::black_box(frame[0]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    latch.arrived();
}

/// A route with its default limits on a topic of 1 KiB messages: how much memory does the process hold?
#[expect(clippy::disallowed_methods, reason = "the sampler of a benchmark")]
fn waiting(messages: u64) -> Result<Outcome, String> {
    let folder = Folder::new("waiting")?;
    let runtime = one_thread()?;
    let broker = open(&folder, Fsync::Never)?;
    runtime.block_on(fill(&broker, messages, |number| (number, payload(1 << 10))))?;
    let spec = RouteSpec::new("bench", "orders", "bench");
    let limit = spec.limits.max_held_bytes as f64 / MIB;
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&done);
    let sampler = std::thread::spawn(move || {
        let mut samples = Vec::new();
        while !told.load(Ordering::Acquire) {
            samples.extend(memory::resident().map(|resident| resident.now_kib as f64 / 1024.0));
            std::thread::sleep(Duration::from_millis(20));
        }
        samples
    });
    let outcome = drain(
        &runtime,
        &broker,
        messages,
        spec,
        |context, parts, latch| start(take_for_a_millisecond, context, parts, latch),
    );
    done.store(true, Ordering::Release);
    let samples = sampler.join().map_err(|_| "the sampler panicked")?;
    let mut outcome = outcome?;
    // The first quarter fills buffers and slots.
    let most = |samples: &[f64]| samples.iter().copied().fold(0.0, f64::max);
    let quarter = samples.len() / 4;
    let mut figure = |name: &str, value: f64| outcome.figures.insert(name.to_owned(), value);
    figure("most_mebibytes", most(&samples));
    figure("limit_mebibytes", limit);
    figure(
        "growth_mebibytes",
        most(&samples[3 * quarter..]) - most(&samples[quarter..2 * quarter]),
    );
    Ok(outcome)
}
