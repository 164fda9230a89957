//! The lines between clients and brokers: a proxy in front of each broker, which breaks connections.
//!
//! The proxies are the testkit's, in one process of its own: this program is not async, and has no other dependency of the
//! workspace. They end when their standard input does, and so with this process, however it ends.

use super::draw::NODES;
use crate::cargo;
use crate::services::Cluster;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

/// The proxies of a campaign; they end when this is dropped.
pub(super) struct Lines {
    child: Child,
    commands: Option<ChildStdin>,
    url: String,
}

impl Lines {
    /// Starts one proxy for each node, at the port that the node tells its clients.
    ///
    /// # Errors
    /// When a port is taken.
    pub(super) fn start(target: &Path, cluster: &Cluster<'_>) -> Result<Self, String> {
        let lines = cluster.lines();
        assert_eq!(lines.len(), NODES, "a line for each node");
        let program = target.join("release/examples/proxy");
        let shown = program.display();
        let mut child = cargo::command(&program, target)
            .args(lines.iter().map(|(at, behind)| format!("{at}:{behind}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {shown}: {error}"))?;
        let mut ready = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out)
                .read_line(&mut ready)
                .map_err(|error| format!("{shown} says nothing: {error}"))?;
        }
        if ready.trim() != "ready" {
            return Err(format!("{shown} does not start"));
        }
        let hosts: Vec<String> = lines
            .iter()
            .map(|(at, _)| format!("127.0.0.1:{at}"))
            .collect();
        Ok(Self {
            commands: child.stdin.take(),
            child,
            url: format!("kafka://{}", hosts.join(",")),
        })
    }

    /// Where clients find the cluster, through the proxies.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Resets every connection to a node.
    pub(super) fn reset(&mut self, node: usize) -> Result<(), String> {
        self.tell(&format!("reset {node}"))
    }

    /// Bytes from and to a node are so late, and so few a second.
    pub(super) fn slow(&mut self, node: usize, ms: u64, bytes: u64) -> Result<(), String> {
        self.tell(&format!("slow {node} {ms} {bytes}"))
    }

    /// Nothing passes from or to a node.
    pub(super) fn hold(&mut self, node: usize) -> Result<(), String> {
        self.tell(&format!("hold {node}"))
    }

    /// Nothing passes from a node, which hears everything.
    pub(super) fn mute(&mut self, node: usize) -> Result<(), String> {
        self.tell(&format!("mute {node}"))
    }

    /// The line to a node is as it should be.
    pub(super) fn heal(&mut self, node: usize) -> Result<(), String> {
        self.tell(&format!("heal {node}"))
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let commands = self.commands.as_mut();
        commands
            .ok_or("the proxies have ended")?
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("the proxies do not listen: {error}"))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // An error of either: it has ended.
        self.commands = None;
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
