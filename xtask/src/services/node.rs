//! One node: its directory, and what can be done to it.
//!
//! The directory holds `server.properties`, `data/`, `log`, and `pid` or, where Docker runs the node, `container`. A node that
//! was killed or stopped has data and no process; one that went down has its log alone, for whoever asks what happened.

use super::docker::Container;
use super::install::{Java, Runner};
use super::kafka::{HOST, NodeSpec, Server};
use super::process::{self, Process, State};
use super::{access, cannot, probe};
use crate::clock;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a node may take until it answers; two seconds on an idle machine.
const READY: Duration = Duration::from_secs(90);
/// How long a node may take to end by itself.
const STOP: Duration = Duration::from_secs(20);
/// How long the system may take to end a process that was killed.
const KILL: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when a node does not come.
const TAIL: usize = 30;

/// A node and where it lives.
pub(super) struct Node {
    pub(super) spec: &'static NodeSpec,
    pub(super) directory: PathBuf,
    process: Process,
    container: Container,
}

impl Node {
    pub(super) fn new(root: &Path, spec: &'static NodeSpec) -> Self {
        let directory = root.join(spec.name);
        let process = Process {
            file: directory.join("pid"),
        };
        let container = Container {
            file: directory.join("container"),
        };
        Self {
            spec,
            directory,
            process,
            container,
        }
    }

    pub(super) fn properties(&self) -> PathBuf {
        self.directory.join("server.properties")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    pub(super) fn state(&self) -> State {
        if self.container.exists() {
            self.container.state()
        } else {
            self.process.state()
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state() != State::Ended
    }

    pub(super) fn has_data(&self) -> bool {
        self.container.exists() || self.data().join("meta.properties").is_file()
    }

    /// What runs the node on the data it has.
    pub(super) fn runner(&self, root: &Path) -> Runner {
        match self.container.exists() {
            true => Runner::Docker,
            false => Runner::Java(Java::new(root)),
        }
    }

    /// For `status`.
    pub(super) fn describe(&self) -> String {
        let id = self
            .process
            .id()
            .map_or(String::new(), |id| format!(", process {id}"));
        match self.state() {
            State::Paused => format!("paused{id}"),
            State::Running => match probe::brokers(self.spec.port) {
                Some(brokers) => format!("up, answers, {brokers} in its cluster{id}"),
                None => format!("up, does not answer{id}"),
            },
            State::Ended if self.has_data() => "ended, has data".to_owned(),
            State::Ended => "down".to_owned(),
        }
    }

    /// Writes the properties and formats an empty directory for data.
    pub(super) fn prepare(
        &self,
        runner: &Runner,
        properties: &str,
        server: &Server,
    ) -> Result<(), String> {
        self.clear()?;
        std::fs::create_dir_all(self.data()).map_err(cannot("make", &self.data()))?;
        let file = self.properties();
        std::fs::write(&file, properties).map_err(cannot("write", &file))?;
        match runner {
            Runner::Java(java) => java.run(
                "kafka.tools.StorageTool",
                &access::format_arguments(&file, server),
            ),
            // The container formats when it starts.
            Runner::Docker => Ok(()),
        }
    }

    /// A port that is taken would only be found in the log of the broker.
    pub(super) fn check_ports(&self) -> Result<(), String> {
        for port in self.spec.ports() {
            TcpListener::bind((HOST, port)).map_err(|error| {
                format!(
                    "port {port} of {} is taken ({error}), by a process that this did not start. End it; or, if it is \
                     a broker for tests, let tests use it: `export DOTMSG_TEST_KAFKA_URL=kafka://{HOST}:29092`",
                    self.spec.name
                )
            })?;
        }
        Ok(())
    }

    /// Starts the node on its data; `wait` tells whether it came.
    pub(super) fn start(&self, runner: &Runner) -> Result<(), String> {
        self.check_ports()?;
        match runner {
            Runner::Java(java) => {
                let args =
                    java.arguments("kafka.Kafka", &[self.properties().display().to_string()]);
                self.process.start("java", &args, &self.log())
            }
            Runner::Docker => self.container.start(self.spec, &self.properties()),
        }
    }

    /// Waits until the node answers and knows of this many brokers.
    pub(super) fn wait(&self, brokers: usize) -> Result<(), String> {
        let start = clock::now();
        loop {
            let known = probe::brokers(self.spec.port);
            if known >= Some(brokers) {
                return Ok(());
            }
            let problem = match self.state() {
                State::Ended => "ended by itself",
                State::Paused => "is paused, `cargo xtask services continue` wakes it",
                State::Running if start.elapsed() > READY => "does not answer in time",
                State::Running => {
                    clock::pause(process::POLL);
                    continue;
                }
            };
            return Err(self.failure(problem, known));
        }
    }

    fn failure(&self, problem: &str, known: Option<usize>) -> String {
        let log = match self.container.exists() {
            true => self.container.log(),
            false => std::fs::read_to_string(self.log()).unwrap_or_default(),
        };
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        let known = known.map_or(String::new(), |known| {
            format!(", with {known} brokers in its cluster")
        });
        format!(
            "{} {problem}{known}; the end of {}:\n{tail}",
            self.spec.name,
            self.log().display()
        )
    }

    fn signal(&self, name: &str) -> Result<(), String> {
        if self.container.exists() {
            self.container.signal(name)
        } else {
            self.process.signal(name)
        }
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let start = clock::now();
        while self.is_up() {
            if start.elapsed() >= limit {
                return false;
            }
            clock::pause(process::POLL);
        }
        true
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) -> Result<(), String> {
        self.expect_up("pause")?;
        self.signal("STOP")?;
        self.reaches(State::Paused)
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> Result<(), String> {
        self.expect_up("continue")?;
        self.signal("CONT")?;
        self.reaches(State::Running)
    }

    fn reaches(&self, state: State) -> Result<(), String> {
        let start = clock::now();
        while self.state() != state {
            if start.elapsed() > KILL {
                return Err(format!(
                    "{} is not {state:?} after its signal",
                    self.spec.name
                ));
            }
            clock::pause(process::POLL);
        }
        Ok(())
    }

    fn expect_up(&self, what: &str) -> Result<(), String> {
        match self.is_up() {
            true => Ok(()),
            false => Err(format!("cannot {what} {}: it is not up", self.spec.name)),
        }
    }

    /// Removes what belongs to a node that has ended; its log stays.
    pub(super) fn remove(&self) -> Result<(), String> {
        self.container.remove()?;
        self.clear()
    }

    fn clear(&self) -> Result<(), String> {
        if self.data().exists() {
            std::fs::remove_dir_all(self.data()).map_err(cannot("remove", &self.data()))?;
        }
        for file in [self.properties(), self.process.file.clone()] {
            if file.exists() {
                std::fs::remove_file(&file).map_err(cannot("remove", &file))?;
            }
        }
        Ok(())
    }
}

/// Ends nodes by SIGKILL.
///
/// # Errors
/// When one is not up: a test of faults would test nothing.
pub(super) fn kill(nodes: &[Node]) -> Result<(), String> {
    for node in nodes {
        node.expect_up("kill")?;
    }
    nodes.iter().try_for_each(|node| node.signal("KILL"))?;
    ended(nodes, KILL)
}

/// Ends nodes by SIGTERM, all at once, and by SIGKILL those that do not end. Those that are not up are left alone.
pub(super) fn stop(nodes: &[Node]) -> Result<(), String> {
    for node in nodes {
        node.signal("TERM")?;
        // A paused process ends only when it runs again.
        node.signal("CONT")?;
    }
    if ended(nodes, STOP).is_err() {
        nodes.iter().try_for_each(|node| node.signal("KILL"))?;
    }
    ended(nodes, KILL)
}

fn ended(nodes: &[Node], limit: Duration) -> Result<(), String> {
    let start = clock::now();
    for node in nodes {
        if !node.ends_within(limit.saturating_sub(start.elapsed())) {
            return Err(format!("{} does not end", node.spec.name));
        }
    }
    Ok(())
}
