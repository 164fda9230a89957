//! A node in a container, for systems without Java and Maven: the one node of `kafka` or of `kafka-alone`, no more.
//!
//! The nodes of a cluster would have to reach each other at 127.0.0.1, and certificates to be handed in: who needs those
//! servers installs Java. The file holds the id of the container, so that only what was started here is ended.

use super::cannot;
use super::install::HEAP;
use super::kafka::{HOST, NodeSpec, Places, Server, VERSION};
use super::process::State;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Formats its data once and becomes the broker, which then gets the signals.
const SCRIPT: &str = "/opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t test-cluster-of-mine-0A -c /server.properties \
                      && exec /opt/kafka/bin/kafka-server-start.sh /server.properties";

/// Whether Docker can run a server.
///
/// # Errors
/// When it needs Java.
pub(super) fn suits(server: &Server) -> Result<(), String> {
    match server.nodes.len() == 1 && !server.is_secure {
        true => Ok(()),
        false => Err(format!(
            "{} does not run in Docker: install Java 17, Maven and openssl",
            server.name
        )),
    }
}

/// Places inside of a container.
pub(super) fn places() -> Places {
    Places {
        data: "/tmp/data".to_owned(),
        bind: "0.0.0.0",
    }
}

/// A container, known by a file.
pub(super) struct Container {
    /// The file with its id.
    pub(super) file: PathBuf,
}

impl Container {
    /// Whether a container was made, running or not.
    pub(super) fn exists(&self) -> bool {
        self.file.is_file()
    }

    /// Makes and starts a container, or starts the one that was made, on its data.
    pub(super) fn start(&self, node: &NodeSpec, properties: &Path) -> Result<(), String> {
        if self.exists() {
            return docker(&["start", &self.id()]).map(drop);
        }
        let id = docker(&run_arguments(node, properties))?;
        std::fs::write(&self.file, id).map_err(cannot("write", &self.file))
    }

    fn id(&self) -> String {
        let id = std::fs::read_to_string(&self.file).unwrap_or_default();
        id.trim().to_owned()
    }

    pub(super) fn state(&self) -> State {
        match docker(&["inspect", "--format", "{{.State.Status}}", &self.id()]).as_deref() {
            Ok("running") => State::Running,
            Ok("paused") => State::Paused,
            _ => State::Ended,
        }
    }

    /// The end of what the broker said.
    pub(super) fn log(&self) -> String {
        docker(&["logs", "--tail", "30", &self.id()]).unwrap_or_else(|error| error)
    }

    /// Sends a signal. Docker freezes a container instead of SIGSTOP, and a frozen one takes no other signal.
    pub(super) fn signal(&self, name: &str) -> Result<(), String> {
        let id = self.id();
        match (name, self.state()) {
            (_, State::Ended) | ("STOP", State::Paused) | ("CONT", State::Running) => Ok(()),
            ("STOP", State::Running) => docker(&["pause", &id]).map(drop),
            ("CONT", State::Paused) => docker(&["unpause", &id]).map(drop),
            (_, State::Paused) => docker(&["unpause", &id])
                .and_then(|_| docker(&["kill", "--signal", name, &id]))
                .map(drop),
            (_, State::Running) => docker(&["kill", "--signal", name, &id]).map(drop),
        }
    }

    /// Removes the container and its data.
    pub(super) fn remove(&self) -> Result<(), String> {
        if !self.exists() {
            return Ok(());
        }
        docker(&["rm", "--force", "--volumes", &self.id()])?;
        std::fs::remove_file(&self.file).map_err(cannot("remove", &self.file))
    }
}

/// The arguments that make a container. The port is published on the loopback device alone.
fn run_arguments(node: &NodeSpec, properties: &Path) -> Vec<String> {
    let port = node.port;
    [
        "run",
        "--detach",
        "--publish",
        &format!("{HOST}:{port}:{port}"),
        "--volume",
        &format!("{}:/server.properties:ro", properties.display()),
        "--env",
        &format!("KAFKA_HEAP_OPTS={HEAP}"),
        "--entrypoint",
        "sh",
        &format!("apache/kafka:{VERSION}"),
        "-c",
        SCRIPT,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Runs the client to its end and returns what it printed.
fn docker<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `docker`: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let command = args
        .first()
        .map_or("", |arg| arg.as_ref().to_str().unwrap_or(""));
    Err(format!(
        "`docker {command}` ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::{run_arguments, suits};
    use crate::services::kafka::server;
    use std::path::Path;

    #[test]
    fn only_one_plain_node_runs_in_a_container() {
        assert_eq!(suits(server("kafka").unwrap()), Ok(()));
        assert!(
            suits(server("kafka3").unwrap())
                .unwrap_err()
                .contains("Java")
        );
        assert!(suits(server("kafka-secure").unwrap()).is_err());
    }

    #[test]
    fn the_port_is_open_to_this_machine_alone() {
        let node = &server("kafka").unwrap().nodes[0];
        let args = run_arguments(node, Path::new("/p"));
        assert!(
            args.contains(&"127.0.0.1:29092:29092".to_owned()),
            "{args:?}"
        );
        assert!(
            args.contains(&"/p:/server.properties:ro".to_owned()),
            "{args:?}"
        );
        assert!(args.contains(&"apache/kafka:4.3.1".to_owned()), "{args:?}");
    }
}
