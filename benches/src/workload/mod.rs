//! The work that is measured, one function per workload, run in the child role.
//!
//! A workload prepares (runtime, app, filled queue), does its work inside
//! [`bench_counted_region`], and reports. The same function serves the instruction
//! count and the wall clock.

mod calibration;
mod disk;
mod latch;
mod own;
#[cfg(feature = "peer")]
mod peer;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::measure::memory;
use crate::region::bench_counted_region;

/// What a workload reports: one JSON object on standard output.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// Messages (or records) worked through.
    pub(crate) messages: u64,
    /// Time of the measured region.
    pub(crate) seconds: f64,
    /// Peak of resident memory of the process, where the kernel tells it.
    pub(crate) peak_kib: Option<u64>,
    /// Whatever else the workload can say, by name.
    #[serde(default)]
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Outcome {
    /// Messages per second of the measured region.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// A piece of work with a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Messages of a run on the wall clock; a tenth with `--quick`. Chosen for runs of one to five seconds.
    pub(crate) messages: u64,
    /// Messages of the run before it in the same process, thrown away.
    pub(crate) warm_up: u64,
    pub(crate) run: fn(u64) -> Result<Outcome, String>,
}

/// Every workload of this build.
pub(crate) fn all() -> Vec<Workload> {
    let mut all = vec![calibration::WORKLOAD];
    all.extend(disk::WORKLOADS);
    all.extend(own::workloads());
    #[cfg(feature = "peer")]
    all.extend(peer::WORKLOADS);
    all
}

/// The workload of this name.
///
/// # Errors
/// When this build has none.
pub(crate) fn find(name: &str) -> Result<Workload, String> {
    all()
        .into_iter()
        .find(|workload| workload.name == name)
        .ok_or_else(|| {
            format!("this build has no workload `{name}`; the peer's need `--features peer`")
        })
}

/// The child role: warm-up, work, outcome on standard output.
///
/// # Errors
/// What the workload reports, and an unwritable standard output.
pub(crate) fn run_and_print(name: &str, messages: u64, warm_up: u64) -> Result<ExitCode, String> {
    let workload = find(name)?;
    if warm_up > 0 {
        (workload.run)(warm_up)?;
    }
    let mut outcome = (workload.run)(messages)?;
    outcome.peak_kib = memory::resident().map(|resident| resident.peak_kib);
    let line = serde_json::to_string(&outcome)
        .map_err(|error| format!("cannot encode the outcome: {error}"))?;
    writeln!(std::io::stdout(), "{line}")
        .map_err(|error| format!("cannot write the outcome: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `work` as the measured region and reports its time.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(messages: u64, work: impl FnOnce()) -> Outcome {
    let started = Instant::now();
    bench_counted_region(work);
    Outcome {
        messages,
        seconds: started.elapsed().as_secs_f64(),
        ..Outcome::default()
    }
}
