//! What the calls of this process came to: a JSON line each, as the example flights writes them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dotmsg::Delivery;
use serde::Serialize;

/// Where they are written, from the directory of the process.
const DIRECTORY: &str = "audit";

/// The file of this process.
pub(crate) struct Audit(Mutex<File>);

#[derive(Serialize)]
struct Call<'d> {
    row: u64,
    key: Option<&'d str>,
    topic: &'d str,
    partition: u32,
    offset: u64,
    attempt: u32,
    outcome: &'static str,
    epoch: u64,
    start_us: u64,
    end_us: u64,
    pid: u32,
}

impl Audit {
    pub(crate) fn create() -> io::Result<Self> {
        std::fs::create_dir_all(DIRECTORY)?;
        let path = format!("{DIRECTORY}/{}-{}.jsonl", now_us(), std::process::id());
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// A call has ended well. The line is the system's when this returns: it outlives the process.
    pub(crate) fn handled(&self, delivery: &Delivery, row: u64, start_us: u64) -> io::Result<()> {
        let origin = delivery.origin();
        let call = Call {
            row,
            key: delivery.key().and_then(|key| std::str::from_utf8(key).ok()),
            topic: origin.topic,
            partition: origin.partition,
            offset: origin.offset,
            attempt: delivery.attempt(),
            outcome: "handled",
            epoch: delivery.epoch(),
            start_us,
            end_us: now_us(),
            pid: std::process::id(),
        };
        let mut line = serde_json::to_vec(&call)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
    }
}

/// Unix time in microseconds; it never goes back within a process.
#[expect(clippy::disallowed_methods, reason = "the audit's clock")]
pub(crate) fn now_us() -> u64 {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (unix, start) = START.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        (unix.unwrap_or_default(), Instant::now())
    });
    u64::try_from((*unix + start.elapsed()).as_micros()).unwrap_or(u64::MAX)
}
