//! One process of a trial: started, sent signals, looked at, and killed when nobody needs it any more.

use crate::clock;
use crate::services;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// What a process logs, unless the environment says otherwise: failures of handlers are drawn, and thousands.
const LOGS: &str = "warn,dotmsg_core::middleware=off";

/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// A process; killed when it is dropped.
pub(super) struct Process {
    pub(super) name: String,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command, whose standard error goes to a file of this name.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn start(name: String, mut command: Command) -> Result<Self, String> {
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", LOGS);
        }
        let child = command.spawn();
        let child = child.map_err(|error| format!("cannot start {name}: {error}"))?;
        Ok(Self {
            name,
            child,
            status: None,
        })
    }

    /// Its success, once it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<bool>, String> {
        let status = self.child.try_wait();
        let status = status.map_err(|error| format!("cannot wait for {}: {error}", self.name))?;
        self.status = status;
        Ok(status.map(|status| status.success()))
    }

    /// Whether it ended by a signal, which no supervisor's restart excuses.
    pub(super) fn crashed(&self) -> bool {
        self.status.is_some_and(|status| status.code().is_none())
    }

    /// How it ended, and what it said last.
    pub(super) fn last_words(&self, directory: &Path) -> String {
        let path = directory.join(format!("{}.err", self.name));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        let status = self
            .status
            .map_or(String::new(), |status| status.to_string());
        format!(
            "{} ({status}): {}",
            self.name,
            last.unwrap_or("nothing said")
        )
    }

    /// Waits for its success.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<bool, String> {
        let start = clock::now();
        loop {
            if let Some(success) = self.ended()? {
                return Ok(success);
            }
            if start.elapsed() > limit {
                return Err(format!(
                    "{} does not end within {} s",
                    self.name,
                    limit.as_secs()
                ));
            }
            clock::pause(POLL);
        }
    }

    pub(super) fn signal(&mut self, name: &str) -> Result<(), String> {
        match self.ended()? {
            // Its exit code is fetched: the id may be somebody else's.
            Some(_) => Ok(()),
            None => services::send(name, self.child.id()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error: it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
