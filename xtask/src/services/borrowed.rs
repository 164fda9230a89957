//! The servers of one run of `cargo xtask test`.
//!
//! Somebody who works on an adapter has one up already, or names one of their own: it is used and left alone. What this run
//! brought up goes down with it. Only a run that is killed, or ended by Ctrl-C, leaves its server up; the next one uses it.

use super::kafka::{self, Server};
use super::{Services, environment, install};
use crate::workspace::Workspace;

/// The servers that tests need.
const FOR_TESTS: &[&str] = &["kafka", "kafka-alone", "kafka-secure"];

/// The servers of one run of `cargo xtask test`: what it started goes down with it, however it ends.
pub(crate) struct Borrowed<'w> {
    workspace: &'w Workspace,
    started: Vec<&'static Server>,
    /// What the processes of tests find them by.
    pub(crate) variables: Vec<(String, String)>,
}

impl<'w> Borrowed<'w> {
    /// No server, and no variable.
    pub(crate) fn none(workspace: &'w Workspace) -> Self {
        Self {
            workspace,
            started: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// Those that the caller's environment names, or else all that tests need: what is not up already is brought up.
    ///
    /// # Errors
    /// When one does not come.
    pub(crate) fn take(&mut self) -> Result<(), String> {
        self.variables = environment::named(std::env::vars_os());
        if !self.variables.is_empty() {
            for (name, value) in &self.variables {
                let shown = if name.ends_with("_PASSWORD") {
                    "…"
                } else {
                    value
                };
                println!("from the environment: {name}={shown}");
            }
            return Ok(());
        }
        let services = Services::open(self.workspace)?;
        let mut servers = Vec::new();
        for name in FOR_TESTS {
            let server = kafka::server(name)?;
            match install::suits(&services.root, server) {
                Ok(()) => servers.push(server),
                Err(reason) => println!("tests that need {name} are skipped: {reason}"),
            }
        }
        self.started = services.up(&servers)?;
        self.variables = services.environment(&servers);
        Ok(())
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.started.is_empty() {
            return;
        }
        let down = Services::open(self.workspace).and_then(|open| open.down(&self.started));
        if let Err(error) = down {
            eprintln!("error: {error}");
        }
    }
}
