//! Who may do what on the secure server: one user, known to SCRAM and to PLAIN, with the rights of a service.
//!
//! The user may create, read, write and look at topics, join groups and use transactions whose names begin with `app-`, and
//! nothing else: a test of a missing right takes another name.

use super::install::Runner;
use super::kafka::{HOST, Server};
use std::path::Path;

/// The name of the user.
pub(super) const USER: &str = "app";
/// The password of the user; that of a server for tests on this machine, hence no secret.
pub(super) const PASSWORD: &str = "app-pw";
/// What names begin with that the user has rights on.
const PREFIX: &str = "app-";

/// The arguments of the tool that formats a node's data: the SCRAM user has to be there before the first connection.
pub(super) fn format_arguments(properties: &Path, server: &Server) -> Vec<String> {
    let mut args = vec![
        "format".to_owned(),
        "-t".to_owned(),
        "test-cluster-of-mine-0A".to_owned(),
        "-c".to_owned(),
        properties.display().to_string(),
    ];
    if server.is_secure {
        args.push("--add-scram".to_owned());
        args.push(format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"));
    }
    args
}

/// Gives the user its rights; those it has already stay.
///
/// # Errors
/// What the tool of Kafka says.
pub(super) fn grant(runner: &Runner, server: &Server) -> Result<(), String> {
    let Runner::Java(java) = runner else {
        return Ok(());
    };
    let run = |rights: &[&str]| {
        java.run(
            "org.apache.kafka.tools.AclCommand",
            &arguments(server, rights),
        )
    };
    // Each tool takes a second, most of it to start: side by side.
    std::thread::scope(|scope| {
        let topics = scope.spawn(|| run(&["--topic", PREFIX, "--operation", "DescribeConfigs"]));
        run(&[
            "--producer",
            "--consumer",
            "--topic",
            PREFIX,
            "--group",
            PREFIX,
            "--transactional-id",
            PREFIX,
        ])?;
        topics
            .join()
            .map_err(|_| "the thread that grants rights on topics panicked".to_owned())?
    })
}

fn arguments(server: &Server, rights: &[&str]) -> Vec<String> {
    let bootstrap = format!("{HOST}:{}", server.nodes[0].port);
    let principal = format!("User:{USER}");
    let mut args = vec![
        "--bootstrap-server",
        &bootstrap,
        "--add",
        "--allow-principal",
        &principal,
        "--resource-pattern-type",
        "prefixed",
    ];
    args.extend(rights);
    args.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{arguments, format_arguments};
    use crate::services::kafka::server;
    use std::path::Path;

    #[test]
    fn only_the_secure_server_has_a_user() {
        let plain = format_arguments(Path::new("/p"), server("kafka").unwrap());
        assert_eq!(plain[plain.len() - 2..], ["-c", "/p"]);
        let secure = format_arguments(Path::new("/p"), server("kafka-secure").unwrap());
        assert_eq!(
            secure.last().unwrap(),
            "SCRAM-SHA-512=[name=app,password=app-pw]"
        );
    }

    #[test]
    fn rights_are_given_through_the_plaintext_port() {
        let args = arguments(server("kafka-secure").unwrap(), &["--topic", "app-"]);
        assert_eq!(args[..2], ["--bootstrap-server", "127.0.0.1:29192"]);
        assert_eq!(
            args[args.len() - 4..],
            ["--resource-pattern-type", "prefixed", "--topic", "app-"]
        );
    }
}
