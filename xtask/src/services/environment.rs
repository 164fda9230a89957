//! The variables by which tests find servers, and how a shell reads them.

use super::access::{PASSWORD, USER};
use super::kafka::{HOST, SECURE_PORT, Server};
use super::tls;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

/// The server that tests may restart.
const ALONE: &str = "kafka-alone";

/// Names and values for one server. `DOTMSG_TEST_KAFKA_ALONE_RESTART` is a command of the shell that ends the broker as by
/// SIGKILL, and starts it on what it has stored. `DOTMSG_TEST_KAFKA_LINE` is the port at which a test's proxy is to listen, and the one
/// behind it: `29094:29095`. `DOTMSG_TEST_KAFKA_SECURE_ADMIN_URL` is a port without TLS or SASL where everything is
/// allowed; the user may only touch topics, groups and transactions whose names begin with `app-`.
pub(super) fn variables(server: &Server, certificates: &Path) -> Vec<(String, String)> {
    let stem = stem(server.name);
    if !server.is_secure {
        let url = (format!("{stem}_URL"), url(server));
        let restart = (server.name == ALONE).then(|| (format!("{stem}_RESTART"), restart(server)));
        let line = line(server).map(|line| (format!("{stem}_LINE"), line));
        return std::iter::once(url).chain(restart).chain(line).collect();
    }
    let file = |name: &str| certificates.join(name).to_string_lossy().into_owned();
    [
        ("URL", format!("kafka://{HOST}:{SECURE_PORT}")),
        ("USER", USER.to_owned()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("CA", file(tls::CA)),
        ("OTHER_CA", file(tls::OTHER_CA)),
        ("ADMIN_URL", url(server)),
    ]
    .map(|(name, value)| (format!("{stem}_{name}"), value))
    .to_vec()
}

/// The shell's words that kill a server and start it on its data.
fn restart(server: &Server) -> String {
    let own = std::env::current_exe().unwrap_or_else(|_| "cargo xtask".into());
    let own = quoted(&own.to_string_lossy());
    let name = server.name;
    format!("{own} services kill {name} && {own} services start {name}")
}

/// The ports before and behind a proxy in front of a server of one node.
fn line(server: &Server) -> Option<String> {
    let [node] = server.nodes else { return None };
    let (proxy, behind) = node.line()?;
    Some(format!("{proxy}:{behind}"))
}

fn stem(name: &str) -> String {
    let name = name.to_ascii_uppercase().replace('-', "_");
    format!("{}{name}", super::VARIABLES)
}

pub(super) fn url(server: &Server) -> String {
    let nodes: Vec<String> = server
        .nodes
        .iter()
        .map(|node| format!("{HOST}:{}", node.port))
        .collect();
    format!("kafka://{}", nodes.join(","))
}

/// The variables for tests among those of a process.
pub(super) fn named(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(String, String)> {
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(super::VARIABLES))
        .collect()
}

/// One `export` a line, for `eval`.
pub(super) fn lines(variables: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        writeln!(text, "export {name}={}", quoted(value)).unwrap_or_default();
    }
    text
}

/// A value as a POSIX shell reads it back unchanged: in single quotes where it has a sign that may mean something.
fn quoted(value: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "-_./:,@+=".contains(sign);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{lines, named, quoted, variables};
    use crate::services::kafka::server;
    use std::path::Path;

    fn of(name: &str) -> String {
        lines(&variables(
            server(name).unwrap(),
            Path::new("/a target/tls"),
        ))
    }

    #[test]
    fn one_url_names_every_node() {
        assert_eq!(
            of("kafka"),
            "export DOTMSG_TEST_KAFKA_URL=kafka://127.0.0.1:29092\n\
             export DOTMSG_TEST_KAFKA_LINE=29094:29095\n"
        );
        assert_eq!(
            of("kafka3"),
            "export DOTMSG_TEST_KAFKA3_URL=kafka://127.0.0.1:29110,127.0.0.1:29120,127.0.0.1:29130\n"
        );
    }

    #[test]
    fn the_server_that_may_be_restarted_says_how() {
        let text = of("kafka-alone");
        assert!(
            text.contains("KAFKA_ALONE_URL=kafka://127.0.0.1:29096\n"),
            "{text}"
        );
        assert!(text.contains("services kill kafka-alone &&"), "{text}");
        assert!(!of("kafka").contains("RESTART"));
    }

    #[test]
    fn the_secure_server_says_how_to_log_in() {
        let text = of("kafka-secure");
        assert!(text.contains("export DOTMSG_TEST_KAFKA_SECURE_URL=kafka://127.0.0.1:29194\n"));
        assert!(
            text.contains("export DOTMSG_TEST_KAFKA_SECURE_USER=app\n"),
            "{text}"
        );
        assert!(
            text.contains("export DOTMSG_TEST_KAFKA_SECURE_CA='/a target/tls/ca.pem'\n"),
            "{text}"
        );
        assert!(
            text.contains("SECURE_ADMIN_URL=kafka://127.0.0.1:29192\n"),
            "{text}"
        );
    }

    #[test]
    fn a_shell_reads_every_value_back() {
        assert_eq!(quoted("kafka://127.0.0.1:29092"), "kafka://127.0.0.1:29092");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn only_variables_for_tests_are_taken_over() {
        let all = [
            ("PATH", "/bin"),
            ("DOTMSG__BACKEND__MAIN__URL", "memory:"),
            ("DOTMSG_TEST_KAFKA_URL", "kafka://b:1"),
        ];
        let all = all.map(|(name, value)| (name.into(), value.into()));
        let wanted = ("DOTMSG_TEST_KAFKA_URL".to_owned(), "kafka://b:1".to_owned());
        assert_eq!(named(all), [wanted]);
    }
}
