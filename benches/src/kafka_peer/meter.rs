//! Counts handled messages, and stops the clock at the last one that was asked for.
//!
//! Wall clock and processor time run from the first message that a handler gets to the last one that is done; librdkafka's
//! threads and the runtime's are part of the process and count. What comes after (the rest of a batch, the last commit, leaving
//! the group) is in `total_s` alone.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::sync::Notify;

use crate::environment::Environment;

/// A moment: by the wall, and by what this process has used of the processors.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    at: Instant,
    cpu: Duration,
}

impl Stamp {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            at: Instant::now(),
            cpu: Duration::try_from(cpu).unwrap_or_default(),
        }
    }
}

/// The line that is printed.
#[derive(Debug, Serialize)]
struct Line<'a> {
    peer: &'a str,
    topic: &'a str,
    n: u64,
    handled_s: f64,
    total_s: f64,
    rate: f64,
    cpu_s: f64,
    cpu_us: f64,
    rss_mb: f64,
    sum: f64,
}

/// Shared by the handlers and whoever waits for the last of them.
#[derive(Debug)]
pub(crate) struct Meter {
    wanted: u64,
    entered: AtomicU64,
    done: AtomicU64,
    /// The sum of the amounts, as bits: workloads may run on several threads.
    sum: AtomicU64,
    began: OnceLock<Stamp>,
    ended: OnceLock<Stamp>,
    last: Notify,
}

impl Meter {
    /// For so many messages.
    pub(crate) fn new(wanted: u64) -> Self {
        Self {
            wanted,
            entered: AtomicU64::new(0),
            done: AtomicU64::new(0),
            sum: AtomicU64::new(0f64.to_bits()),
            began: OnceLock::new(),
            ended: OnceLock::new(),
            last: Notify::new(),
        }
    }

    /// A handler got a message and is done with it at once. `false`: it is beyond those that were asked for.
    pub(crate) fn handled(&self) -> bool {
        let before = self.done.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.began.get_or_init(Stamp::now);
        }
        if before + 1 == self.wanted {
            self.end();
        }
        before < self.wanted
    }

    /// A handler got a message. `false`: it is beyond those that were asked for.
    pub(crate) fn enter(&self) -> bool {
        let before = self.entered.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            self.began.get_or_init(Stamp::now);
        }
        before < self.wanted
    }

    /// Adds the amount of a message.
    pub(crate) fn add(&self, amount: f64) {
        let add = |bits| Some((f64::from_bits(bits) + amount).to_bits());
        let _ = self
            .sum
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Stops the clock.
    pub(crate) fn end(&self) {
        self.ended.get_or_init(Stamp::now);
        self.last.notify_one();
    }

    /// Whether the clock has stopped.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Waits for that.
    pub(crate) async fn ended(&self) {
        while !self.has_ended() {
            self.last.notified().await;
        }
    }

    /// Prints the line. Call it when everything has stopped.
    ///
    /// # Errors
    /// When the clock did not run, and when standard output is closed.
    pub(crate) fn print(&self, peer: &str, environment: &Environment) -> Result<(), String> {
        let (Some(began), Some(ended)) = (self.began.get(), self.ended.get()) else {
            return Err(format!(
                "only {} of {} messages were handled",
                self.done.load(Ordering::Relaxed),
                self.wanted
            ));
        };
        let handled_s = (ended.at - began.at).as_secs_f64();
        let cpu_s = (ended.cpu.saturating_sub(began.cpu)).as_secs_f64();
        let messages = self.wanted as f64;
        let line = Line {
            peer,
            topic: &environment.topic,
            n: self.wanted,
            handled_s,
            total_s: (Stamp::now().at - began.at).as_secs_f64(),
            rate: messages / handled_s.max(f64::MIN_POSITIVE),
            cpu_s,
            cpu_us: cpu_s * 1e6 / messages,
            rss_mb: peak_mib().unwrap_or_default(),
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        };
        let line = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        writeln!(std::io::stdout(), "{line}").map_err(|error| format!("cannot print: {error}"))
    }
}

/// The peak of resident memory, where the kernel tells it.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::Meter;

    #[test]
    fn the_clock_runs_from_the_first_message_to_the_last_one_wanted() {
        let meter = Meter::new(2);
        meter.handled();
        assert!(meter.began.get().is_some() && !meter.has_ended());
        meter.handled();
        assert!(meter.has_ended());
    }

    #[test]
    fn what_is_beyond_does_not_count() {
        let meter = Meter::new(1);
        assert_eq!((meter.enter(), meter.enter()), (true, false));
        assert_eq!((meter.handled(), meter.handled()), (true, false));
    }
}
