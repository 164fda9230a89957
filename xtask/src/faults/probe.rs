//! Members and publishers that do what a trial says, row by row: the program `kafka_probe` of the benchmarks.
//!
//! Flights publishes once and as fast as it can; here is a steady stream, a record that is stuck, a member that must end.

use super::process::Process;
use crate::audit::{self, Call};
use crate::cargo;
use crate::clock;
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the audit.
const POLL: Duration = Duration::from_millis(50);
/// How long a publisher may take beyond what its rate says, and members beyond the publisher.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// The program, built.
pub(super) struct Program(PathBuf);

impl Program {
    /// Builds it as a user would run it.
    ///
    /// # Errors
    /// When it does not build.
    pub(super) fn build(workspace: &Workspace) -> Result<Self, String> {
        let args = ["build", "--release", "--package", "dotmsg-benches", "--bin"];
        cargo::run(
            &workspace.root,
            &[&args[..], &["kafka_probe"]].concat(),
            &[],
        )?;
        Ok(Self(workspace.target.join("release/kafka_probe")))
    }
}

/// One trial: its processes run in one directory, where they find their configuration.
pub(super) struct Trial<'p> {
    program: &'p Program,
    pub(super) directory: PathBuf,
    started: u32,
}

impl<'p> Trial<'p> {
    /// A trial in an empty directory.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn new(
        program: &'p Program,
        directory: PathBuf,
        configuration: &str,
    ) -> Result<Self, String> {
        let shown = directory.display().to_string();
        if directory.exists() {
            std::fs::remove_dir_all(&directory)
                .map_err(|error| format!("cannot empty {shown}: {error}"))?;
        }
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(directory.join("dotmsg.toml"), configuration))
            .map_err(|error| format!("cannot make {shown}: {error}"))?;
        Ok(Self {
            program,
            directory,
            started: 0,
        })
    }

    fn spawn(&mut self, args: &[String], environment: &[(&str, &str)]) -> Result<Process, String> {
        self.started += 1;
        let name = format!("{:03}-{}", self.started, args[0]);
        let err = self.directory.join(format!("{name}.err"));
        let err = File::create(&err)
            .map_err(|error| format!("cannot create {}: {error}", err.display()))?;
        let mut command = cargo::command(&self.program.0, &self.directory);
        command
            .args(args)
            .envs(environment.iter().copied())
            .stderr(err);
        Process::start(name, command)
    }

    /// A member.
    pub(super) fn handle(
        &mut self,
        delay_ms: u64,
        stuck: Option<u64>,
        instance: Option<&str>,
    ) -> Result<Process, String> {
        let mut args = vec!["handle".to_owned(), delay_ms.to_string()];
        args.extend(stuck.map(|row| row.to_string()));
        let id = instance.map(|instance| ("DOTMSG__BACKEND__MAIN__INSTANCE_ID", instance));
        self.spawn(&args, id.as_slice())
    }

    /// A publisher of `count` rows from `from` on, `rate` a second.
    pub(super) fn publish(
        &mut self,
        (from, count): (u64, u64),
        rate: u64,
        keys: u64,
    ) -> Result<Process, String> {
        let numbers = [from, count, rate, keys].map(|number| number.to_string());
        let args = [&["publish".to_owned()][..], &numbers].concat();
        self.spawn(&args, &[])
    }

    /// Ends when a publisher has.
    ///
    /// # Errors
    /// What it said, if that was an error.
    pub(super) fn published(&self, mut publisher: Process) -> Result<(), String> {
        match publisher.wait(LIMIT)? {
            true => Ok(()),
            false => Err(publisher.last_words(&self.directory)),
        }
    }

    /// Every call so far.
    pub(super) fn calls(&self) -> Result<Vec<Call>, String> {
        audit::read(&self.directory.join("audit"))
    }

    /// How many processes have ended a call.
    pub(super) fn at_work(&self) -> usize {
        audit::processes(&self.directory.join("audit"))
    }

    /// Waits for a condition, as long as nobody of `members` ends by itself.
    ///
    /// # Errors
    /// A member ended, or the time is over.
    pub(super) fn until(
        &self,
        what: &str,
        members: &mut [Process],
        mut holds: impl FnMut(&Self) -> Result<bool, String>,
    ) -> Result<(), String> {
        let start = clock::now();
        while !holds(self)? {
            for member in &mut *members {
                if member.ended()?.is_some() {
                    return Err(member.last_words(&self.directory));
                }
            }
            if start.elapsed() > LIMIT {
                return Err(format!("after {} s still not: {what}", LIMIT.as_secs()));
            }
            clock::pause(POLL);
        }
        Ok(())
    }

    /// Waits until so many rows, from 1 on, have been handled.
    ///
    /// # Errors
    /// As [`until`](Self::until).
    pub(super) fn until_handled(&self, rows: u64, members: &mut [Process]) -> Result<(), String> {
        self.until(&format!("{rows} rows handled"), members, |trial| {
            // Counted by lines first: whole audits are large.
            if audit::lines(&trial.directory.join("audit")) < rows {
                return Ok(false);
            }
            let handled: BTreeSet<u64> = trial.calls()?.iter().map(|call| call.row).collect();
            Ok(handled.range(1..=rows).count() as u64 == rows)
        })
    }

    /// Checks the whole audit.
    ///
    /// # Errors
    /// The first violations.
    pub(super) fn check(&self, rows: u64) -> Result<(Vec<Call>, audit::Summary), String> {
        let calls = self.calls()?;
        let summary = audit::check_rows(&calls, rows)?;
        Ok((calls, summary))
    }
}

/// Removes the directory of a trial that went well.
pub(super) fn remove(directory: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(directory)
        .map_err(|error| format!("cannot remove {}: {error}", directory.display()))
}
