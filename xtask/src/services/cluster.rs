//! The cluster of three whose nodes a fault campaign breaks and mends.
//!
//! A campaign needs servers that it may kill, so it takes none that the environment names: only those that were started here.
//! As with tests, what it brought up goes down with it, and a cluster that was up before stays up.

use super::arguments::Fault;
use super::install::Runner;
use super::kafka::{self, Server};
use super::node::Node;
use super::{Services, environment};
use crate::workspace::Workspace;

const NAME: &str = "kafka3";
/// The tool of Kafka for topics.
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

/// `kafka3`, up.
pub(crate) struct Cluster<'w> {
    workspace: &'w Workspace,
    server: &'static Server,
    started: bool,
}

impl<'w> Cluster<'w> {
    /// Brings it up, unless it is.
    ///
    /// # Errors
    /// When it does not come.
    pub(crate) fn take(workspace: &'w Workspace) -> Result<Self, String> {
        let server = kafka::server(NAME)?;
        let started = !Services::open(workspace)?.up(&[server])?.is_empty();
        Ok(Self {
            workspace,
            server,
            started,
        })
    }

    /// Where its clients find it, not by way of a proxy.
    pub(crate) fn url(&self) -> String {
        environment::url(self.server)
    }

    /// For each node the port at which its clients expect a proxy, and the port behind it.
    pub(crate) fn lines(&self) -> Vec<(u16, u16)> {
        let nodes = self.server.nodes.iter();
        nodes.filter_map(|node| node.line()).collect()
    }

    /// SIGKILL.
    pub(crate) fn kill(&self, node: usize) -> Result<(), String> {
        self.fault(Fault::Kill, node)
    }

    /// A new process on the node's data; returns when it answers.
    pub(crate) fn start(&self, node: usize) -> Result<(), String> {
        self.fault(Fault::Start, node)
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self, node: usize) -> Result<(), String> {
        self.fault(Fault::Pause, node)
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, node: usize) -> Result<(), String> {
        self.fault(Fault::Continue, node)
    }

    fn fault(&self, fault: Fault, node: usize) -> Result<(), String> {
        Services::open(self.workspace)?.fault(fault, &[&self.server.nodes[node]])
    }

    /// Waits until every node knows of all the others.
    ///
    /// # Errors
    /// When one does not in time.
    pub(crate) fn whole(&self) -> Result<(), String> {
        Services::open(self.workspace)?.wait(self.server)
    }

    /// Makes a topic with one partition: the nodes of its replicas, the leader first, and settings as `name=value`.
    ///
    /// # Errors
    /// What the tool of Kafka says.
    pub(crate) fn create_topic(
        &self,
        name: &str,
        replicas: &[usize],
        settings: &[&str],
    ) -> Result<(), String> {
        let ids: Vec<String> = replicas
            .iter()
            .map(|node| self.server.nodes[*node].id.to_string())
            .collect();
        let ids = ids.join(":");
        let mut args = vec!["--create", "--topic", name, "--replica-assignment", &ids];
        args.extend(settings.iter().flat_map(|setting| ["--config", setting]));
        self.topics(&args)
    }

    /// Deletes all topics whose names begin so: a broker's memory and files grow with each partition.
    ///
    /// # Errors
    /// What the tool of Kafka says.
    pub(crate) fn delete_topics(&self, prefix: &str) -> Result<(), String> {
        let pattern = format!("{}.*", prefix.replace('.', "\\."));
        self.topics(&["--delete", "--topic", &pattern])
    }

    fn topics(&self, args: &[&str]) -> Result<(), String> {
        let services = Services::open(self.workspace)?;
        let node = Node::new(&services.root, &self.server.nodes[0]);
        let Runner::Java(java) = node.runner(&services.root) else {
            return Ok(());
        };
        let boot = self.url().replacen("kafka://", "", 1);
        let args = [&["--bootstrap-server", &boot], args].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        java.run(TOPICS, &args)
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if !self.started {
            return;
        }
        let down = Services::open(self.workspace).and_then(|open| open.down(&[self.server]));
        if let Err(error) = down {
            eprintln!("error: {error}");
        }
    }
}
