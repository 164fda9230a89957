//! Named steps with a heading, a duration and a closing summary.
//!
//! The first failing step ends the run; the summary is printed either way, so that the last lines of a log say what
//! ran, what was left out and why.

use crate::clock;
use std::time::Duration;

/// How a step ended well.
pub(crate) enum Done {
    /// It ran and passed.
    Passed,
    /// It was left out, for this reason.
    Skipped(String),
}

/// The steps of one task, in order.
#[derive(Default)]
pub(crate) struct Steps {
    lines: Vec<String>,
    total: Duration,
}

impl Steps {
    /// Runs one step under its heading.
    ///
    /// # Errors
    /// The step's own error, after the summary has been printed.
    pub(crate) fn run(
        &mut self,
        name: &str,
        step: impl FnOnce() -> Result<Done, String>,
    ) -> Result<(), String> {
        println!("\n==== {name}");
        let start = clock::now();
        let outcome = step();
        let took = start.elapsed();
        self.total += took;
        let seconds = took.as_secs_f64();
        match outcome {
            Ok(Done::Passed) => {
                println!("---- {name}: passed in {seconds:.1} s");
                self.lines.push(format!("passed   {seconds:7.1} s  {name}"));
                Ok(())
            }
            Ok(Done::Skipped(reason)) => {
                println!("---- {name}: skipped: {reason}");
                self.lines
                    .push(format!("skipped            {name}: {reason}"));
                Ok(())
            }
            Err(error) => {
                self.lines.push(format!("FAILED   {seconds:7.1} s  {name}"));
                self.summary();
                Err(format!("{name}: {error}"))
            }
        }
    }

    /// Prints one line per step and the total.
    pub(crate) fn summary(&self) {
        println!("\n==== summary");
        for line in &self.lines {
            println!("{line}");
        }
        println!("total    {:7.1} s", self.total.as_secs_f64());
    }
}
