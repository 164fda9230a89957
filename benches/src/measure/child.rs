//! Starts this program again as a workload and reads what it reports.

use std::process::{Command, Stdio};

use crate::workload::Outcome;

/// The command line of one workload run, to be started as it is or behind a wrapper program.
pub(crate) fn arguments(workload: &str, messages: u64, warm_up: u64) -> [String; 4] {
    [
        "workload".to_owned(),
        workload.to_owned(),
        messages.to_string(),
        warm_up.to_string(),
    ]
}

/// The path of this very executable.
///
/// # Errors
/// When the operating system does not tell it.
pub(crate) fn own_path() -> Result<std::path::PathBuf, String> {
    std::env::current_exe()
        .map_err(|error| format!("cannot find the path of this executable: {error}"))
}

/// Runs a workload in a fresh process, on the wall clock.
///
/// # Errors
/// When the child cannot be started, fails, or reports something else than an outcome.
pub(crate) fn run(workload: &str, messages: u64, warm_up: u64) -> Result<Outcome, String> {
    let mut command = Command::new(own_path()?);
    command.args(arguments(workload, messages, warm_up));
    outcome(workload, &mut command)
}

/// Runs a prepared command and reads the outcome from its standard output.
///
/// # Errors
/// As [`run`].
pub(crate) fn outcome(workload: &str, command: &mut Command) -> Result<Outcome, String> {
    let done = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("workload `{workload}` does not start: {error}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!(
            "workload `{workload}` failed ({}): {}",
            done.status,
            said.trim()
        ));
    }
    serde_json::from_slice(&done.stdout)
        .map_err(|error| format!("workload `{workload}` did not print an outcome: {error}"))
}
