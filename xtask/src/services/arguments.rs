//! The command line of `cargo xtask services`, as plain values: what is asked for, and of which servers or nodes.
//!
//! A name that is not known is refused with those that are, before anything is started or ended.

use super::kafka::{self, NodeSpec, SERVERS, Server};

/// How the task is called.
pub(crate) const USAGE: &str = "\
usage: cargo xtask services <command>

  up [NAME…]            starts servers and waits until they answer; without a name: kafka
  down [NAME…]          ends them and removes their data; without a name: all
  env [NAME…]           prints the variables by which tests find those that are up, for `eval`
  status                one line for every node
  kill NODE…            SIGKILL; the data stay
  stop NODE…            SIGTERM; the data stay
  start NODE…           starts nodes that were killed or stopped, on their data
  pause NODE…           SIGSTOP
  continue NODE…        SIGCONT

NAME: kafka (one node), kafka3 (three nodes), kafka-alone (one node, which tests restart), kafka-secure (TLS, SASL, ACLs). NODE: kafka, kafka3.2, …; a NAME means all its nodes";

/// What is done to nodes in a test of faults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
    /// A new process on the data.
    Start,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Continue,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Start these and wait.
    Up(Vec<&'static Server>),
    /// End these.
    Down(Vec<&'static Server>),
    /// Print the variables of these.
    Environment(Vec<&'static Server>),
    /// Print what every node does.
    Status,
    /// Something that breaks or mends nodes.
    Fault(Fault, Vec<&'static NodeSpec>),
}

impl Action {
    /// Reads the arguments behind `services`.
    ///
    /// # Errors
    /// An unknown command or name, or a missing one.
    pub(super) fn parse(args: &[String]) -> Result<Self, String> {
        let (command, names) = args
            .split_first()
            .ok_or_else(|| format!("no command named\n{USAGE}"))?;
        match command.as_str() {
            "up" => servers(names, &[&SERVERS[0]]).map(Self::Up),
            "down" => servers(names, &all()).map(Self::Down),
            "env" => servers(names, &all()).map(Self::Environment),
            "status" => match names.first() {
                Some(extra) => Err(format!(
                    "`status` takes no argument, not `{extra}`\n{USAGE}"
                )),
                None => Ok(Self::Status),
            },
            "kill" => nodes(names).map(|nodes| Self::Fault(Fault::Kill, nodes)),
            "stop" => nodes(names).map(|nodes| Self::Fault(Fault::Stop, nodes)),
            "start" => nodes(names).map(|nodes| Self::Fault(Fault::Start, nodes)),
            "pause" => nodes(names).map(|nodes| Self::Fault(Fault::Pause, nodes)),
            "continue" => nodes(names).map(|nodes| Self::Fault(Fault::Continue, nodes)),
            other => Err(format!("no command `{other}`\n{USAGE}")),
        }
    }
}

fn all() -> Vec<&'static Server> {
    SERVERS.iter().collect()
}

fn servers(names: &[String], default: &[&'static Server]) -> Result<Vec<&'static Server>, String> {
    if names.is_empty() {
        return Ok(default.to_vec());
    }
    names.iter().map(|name| kafka::server(name)).collect()
}

/// The nodes of these names; the name of a server stands for all its nodes.
fn nodes(names: &[String]) -> Result<Vec<&'static NodeSpec>, String> {
    if names.is_empty() {
        return Err(format!("no node named\n{USAGE}"));
    }
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        for server in SERVERS {
            let is_meant = |node: &&NodeSpec| node.name == name || server.name == name;
            found.extend(server.nodes.iter().filter(is_meant));
        }
        if found.len() == before {
            let known: Vec<_> = SERVERS
                .iter()
                .flat_map(|server| server.nodes)
                .map(|node| node.name)
                .collect();
            return Err(format!("no node `{name}`; there are {}", known.join(", ")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Action, Fault};
    use crate::services::kafka::SERVERS;

    fn parse(line: &str) -> Result<Action, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Action::parse(&args)
    }

    #[test]
    fn without_a_name_one_server_comes_up_and_all_go_down() {
        assert_eq!(parse("up"), Ok(Action::Up(vec![&SERVERS[0]])));
        assert_eq!(SERVERS[0].name, "kafka");
        let Ok(Action::Down(servers)) = parse("down") else {
            panic!("`down` is a command");
        };
        assert_eq!(servers.len(), SERVERS.len());
    }

    #[test]
    fn names_are_servers() {
        let Ok(Action::Up(servers)) = parse("up kafka3 kafka") else {
            panic!("`up` takes names");
        };
        let names: Vec<_> = servers.iter().map(|server| server.name).collect();
        assert_eq!(names, ["kafka3", "kafka"]);
        assert!(parse("up kafak").unwrap_err().contains("kafka-secure"));
        assert!(
            parse("up kafka3.1")
                .unwrap_err()
                .contains("no server `kafka3.1`")
        );
    }

    #[test]
    fn faults_take_nodes_or_all_of_a_server() {
        let Ok(Action::Fault(Fault::Kill, nodes)) = parse("kill kafka3.2") else {
            panic!("`kill` takes a node");
        };
        assert_eq!(nodes[0].name, "kafka3.2");
        let Ok(Action::Fault(Fault::Start, nodes)) = parse("start kafka3") else {
            panic!("`start` takes a server");
        };
        assert_eq!(nodes.len(), 3);
        assert!(parse("pause").unwrap_err().starts_with("no node named"));
        assert!(
            parse("stop kafka3.4")
                .unwrap_err()
                .contains("kafka3.1, kafka3.2")
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse("").unwrap_err().starts_with("no command named"));
        assert!(
            parse("restart")
                .unwrap_err()
                .starts_with("no command `restart`")
        );
        assert!(parse("status kafka").unwrap_err().contains("no argument"));
    }
}
