//! Real servers for tests and CI, without Docker: `cargo xtask services`.
//!
//! A test that needs a server does not start one: it reads a variable such as `DOTMSG_TEST_KAFKA_URL` and is skipped with a
//! message where none is set. So a server may be of any kind, and it outlives the runs of a test that somebody is working
//! on. What this task starts listens on 127.0.0.1 at fixed ports, keeps everything it needs below `<target>/services/`, and
//! is ended by it alone: a process that it did not start is never touched, also when it has the port.
//!
//! `kill`, `stop`, `start`, `pause` and `continue` are for tests of faults: a node keeps its data through all of them, and
//! loses it with `down`, so that every `up` begins with an empty server.
//!
//! One command at a time works on a directory: each holds the lock of it.

mod access;
mod arguments;
mod borrowed;
mod cluster;
mod docker;
mod environment;
mod install;
mod kafka;
mod node;
mod probe;
mod process;
mod tls;

use crate::workspace::Workspace;
use arguments::{Action, Fault};
pub(crate) use borrowed::Borrowed;
pub(crate) use cluster::Cluster;
use kafka::{NodeSpec, Server};
use node::Node;
pub(crate) use process::send;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What the names of variables that tests find servers by begin with.
pub(crate) const VARIABLES: &str = "DOTMSG_TEST_";

/// Obeys one command line.
///
/// # Errors
/// A wrong argument, or what a server or the system answered.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let action = Action::parse(args)?;
    let services = Services::open(&Workspace::load()?)?;
    match action {
        Action::Up(servers) => services.up(&servers).map(drop),
        Action::Down(servers) => services.down(&servers),
        Action::Environment(servers) => services.print_environment(&servers),
        Action::Status => {
            services.print_status();
            Ok(())
        }
        Action::Fault(fault, nodes) => services.fault(fault, &nodes),
    }
}

/// The directory of all servers, locked.
struct Services {
    root: PathBuf,
    _lock: File,
}

impl Services {
    /// Waits until no other command works on the directory.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    fn open(workspace: &Workspace) -> Result<Self, String> {
        let root = workspace.target.join("services");
        std::fs::create_dir_all(&root)
            .map_err(|error| format!("cannot make {}: {error}", root.display()))?;
        let file = root.join("lock");
        let lock = File::create(&file)
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|error| format!("cannot lock {}: {error}", file.display()))?;
        Ok(Self { root, _lock: lock })
    }

    /// Brings servers up that are not, waits until they answer, and returns those that it brought up.
    ///
    /// # Errors
    /// When one does not come. If it began anew it goes down again, for the next attempt; those that came stay up.
    fn up(&self, servers: &[&'static Server]) -> Result<Vec<&'static Server>, String> {
        let mut started = Vec::new();
        for server in servers {
            if self.nodes(server).iter().all(Node::is_up) {
                self.wait(server)?;
                println!("{} is up already", server.name);
                continue;
            }
            let begins = !self.nodes(server).iter().any(Node::has_data);
            self.bring_up(server).inspect_err(|_| {
                if begins {
                    // The first error is the one that tells what happened.
                    drop(self.end(server));
                }
            })?;
            started.push(*server);
        }
        Ok(started)
    }

    fn bring_up(&self, server: &'static Server) -> Result<(), String> {
        let start = crate::clock::now();
        for node in self.nodes(server).iter().filter(|node| !node.is_up()) {
            node.check_ports()?;
        }
        let runner = install::provide(&self.root, server)?;
        let certificates = match server.is_secure {
            true => Some(tls::provide(&self.root)?),
            false => None,
        };
        for node in self.nodes(server) {
            if node.is_up() {
                continue;
            }
            if node.has_data() {
                node.start(&node.runner(&self.root))?;
                continue;
            }
            let places = runner.places(&node);
            let properties = kafka::properties(server, node.spec, &places, certificates.as_deref());
            node.prepare(&runner, &properties, server)?;
            node.start(&runner)?;
        }
        self.wait(server)?;
        if server.is_secure {
            access::grant(&runner, server)?;
        }
        println!(
            "{} is up after {:.1} s",
            server.name,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Waits until every node of a server answers and knows of all the others.
    fn wait(&self, server: &'static Server) -> Result<(), String> {
        let brokers = server.nodes.len();
        self.nodes(server)
            .iter()
            .try_for_each(|node| node.wait(brokers))
    }

    /// Ends what was started of these servers and removes their data; logs stay.
    ///
    /// # Errors
    /// When a process does not end.
    fn down(&self, servers: &[&'static Server]) -> Result<(), String> {
        for server in servers {
            let up = self.nodes(server).iter().any(Node::is_up);
            self.end(server)?;
            println!("{} is {}", server.name, if up { "down" } else { "not up" });
        }
        Ok(())
    }

    fn end(&self, server: &Server) -> Result<(), String> {
        let nodes = self.nodes(server);
        // Together: a node of a cluster that leaves last waits for the others otherwise.
        node::stop(&nodes)?;
        nodes.iter().try_for_each(Node::remove)
    }

    /// The variables by which tests find those of these servers that are up.
    fn environment(&self, servers: &[&'static Server]) -> Vec<(String, String)> {
        servers
            .iter()
            .filter(|server| self.nodes(server).iter().any(Node::is_up))
            .flat_map(|server| environment::variables(server, &self.root.join(tls::DIRECTORY)))
            .collect()
    }

    fn print_environment(&self, servers: &[&'static Server]) -> Result<(), String> {
        let variables = self.environment(servers);
        if variables.is_empty() {
            let names: Vec<_> = servers.iter().map(|server| server.name).collect();
            return Err(format!(
                "none of these is up: {}; `cargo xtask services up NAME` brings one up",
                names.join(", ")
            ));
        }
        print!("{}", environment::lines(&variables));
        Ok(())
    }

    fn print_status(&self) {
        for server in kafka::SERVERS {
            for node in self.nodes(server) {
                println!(
                    "{:<14} port {}  {}",
                    node.spec.name,
                    node.spec.port,
                    node.describe()
                );
            }
        }
    }

    fn fault(&self, fault: Fault, nodes: &[&'static NodeSpec]) -> Result<(), String> {
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|spec| Node::new(&self.root, spec))
            .collect();
        match fault {
            Fault::Kill => node::kill(&nodes),
            Fault::Stop => node::stop(&nodes),
            Fault::Pause => nodes.iter().try_for_each(Node::pause),
            Fault::Continue => nodes.iter().try_for_each(Node::resume),
            Fault::Start => self.start(&nodes),
        }
    }

    /// Starts nodes on the data they have. All before any is waited for: a cluster answers only when most of it is there.
    fn start(&self, nodes: &[Node]) -> Result<(), String> {
        for node in nodes {
            if node.is_up() {
                continue;
            }
            if !node.has_data() {
                return Err(format!(
                    "{} has no data to start on: `cargo xtask services up` comes first",
                    node.spec.name
                ));
            }
            node.start(&node.runner(&self.root))?;
        }
        nodes.iter().try_for_each(|node| node.wait(1))
    }

    fn nodes(&self, server: &Server) -> Vec<Node> {
        server
            .nodes
            .iter()
            .map(|spec| Node::new(&self.root, spec))
            .collect()
    }
}

/// Names a path in an error.
fn cannot(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> String {
    let shown = format!("cannot {what} {}", path.display());
    move |error| format!("{shown}: {error}")
}
