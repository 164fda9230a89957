//! The Kafka servers: their nodes, ports and `server.properties`.
//!
//! Every node is broker and controller (KRaft), the controller's port is the broker's plus one. Some nodes have a second
//! listener, for clients whose connections are to be broken: what it tells them is the port of a proxy in front of it. Ports lie below 32768, above
//! which Linux takes those of outgoing connections. Settings differ from Kafka's defaults only where a test would wait
//! otherwise, or where a default needs more than one node.

use std::fmt::Write as _;

/// The version of the broker and of its tools.
pub(super) const VERSION: &str = "4.3.1";
/// The host of every listener.
pub(super) const HOST: &str = "127.0.0.1";
/// The TLS port of `kafka-secure`.
pub(super) const SECURE_PORT: u16 = 29194;

/// One node.
#[derive(Debug, PartialEq)]
pub(crate) struct NodeSpec {
    /// Its name on the command line and that of its directory.
    pub(super) name: &'static str,
    /// `node.id`.
    pub(super) id: u16,
    /// The plaintext port.
    pub(super) port: u16,
    /// Whether clients may come through a proxy.
    pub(super) has_line: bool,
}

impl NodeSpec {
    /// The port at which a proxy in front of the node is to listen, and the port behind it.
    pub(crate) fn line(&self) -> Option<(u16, u16)> {
        self.has_line.then_some((self.port + 2, self.port + 3))
    }

    /// Every port that the node listens at.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let behind = self.line().map(|(_, behind)| behind);
        [self.port, self.port + 1].into_iter().chain(behind)
    }
}

/// One node or a cluster, with a name.
#[derive(Debug, PartialEq)]
pub(crate) struct Server {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    pub(super) nodes: &'static [NodeSpec],
    /// Whether it has TLS, SASL and ACLs.
    pub(super) is_secure: bool,
}

/// Every server, the one for most tests first. `kafka-alone` is for tests that restart their broker.
pub(super) const SERVERS: &[Server] = &[
    Server {
        name: "kafka",
        nodes: &[node("kafka", 1, 29092).with_line()],
        is_secure: false,
    },
    Server {
        name: "kafka3",
        nodes: &[
            node("kafka3.1", 1, 29110).with_line(),
            node("kafka3.2", 2, 29120).with_line(),
            node("kafka3.3", 3, 29130).with_line(),
        ],
        is_secure: false,
    },
    Server {
        name: "kafka-alone",
        nodes: &[node("kafka-alone", 1, 29096)],
        is_secure: false,
    },
    Server {
        name: "kafka-secure",
        nodes: &[node("kafka-secure", 1, 29192)],
        is_secure: true,
    },
];

const fn node(name: &'static str, id: u16, port: u16) -> NodeSpec {
    NodeSpec {
        name,
        id,
        port,
        has_line: false,
    }
}

impl NodeSpec {
    const fn with_line(self) -> Self {
        Self {
            has_line: true,
            ..self
        }
    }
}

/// The server of this name.
///
/// # Errors
/// When there is none.
pub(super) fn server(name: &str) -> Result<&'static Server, String> {
    SERVERS
        .iter()
        .find(|server| server.name == name)
        .ok_or_else(|| {
            let known: Vec<_> = SERVERS.iter().map(|server| server.name).collect();
            format!("no server `{name}`; there are {}", known.join(", "))
        })
}

/// Where a node finds and puts its files, and which address it listens at.
pub(super) struct Places {
    /// The directory of its log.
    pub(super) data: String,
    /// The address it binds; clients are always told 127.0.0.1.
    pub(super) bind: &'static str,
}

/// The text of a node's `server.properties`; `certificates` is the directory of `tls`, for a server that is secure.
pub(super) fn properties(
    server: &Server,
    node: &NodeSpec,
    places: &Places,
    certificates: Option<&str>,
) -> String {
    let mut text = common(server, node, places);
    text.push_str(QUICK);
    if let Some(certificates) = certificates {
        text.push_str(&secure(certificates));
    }
    text
}

fn common(server: &Server, node: &NodeSpec, places: &Places) -> String {
    let NodeSpec { id, port, .. } = node;
    let Places { data, bind } = places;
    let controller = port + 1;
    let voters: Vec<String> = server
        .nodes
        .iter()
        .map(|node| format!("{}@{HOST}:{}", node.id, node.port + 1))
        .collect();
    let mut listeners = format!("PLAINTEXT://{bind}:{port},CONTROLLER://{HOST}:{controller}");
    let mut advertised = format!("PLAINTEXT://{HOST}:{port}");
    if server.is_secure {
        write!(listeners, ",SASL_SSL://{bind}:{SECURE_PORT}").unwrap_or_default();
        write!(advertised, ",SASL_SSL://{HOST}:{SECURE_PORT}").unwrap_or_default();
    }
    if let Some((proxy, behind)) = node.line() {
        write!(listeners, ",PROXIED://{bind}:{behind}").unwrap_or_default();
        write!(advertised, ",PROXIED://{HOST}:{proxy}").unwrap_or_default();
    }
    let replicas = server.nodes.len();
    let in_sync = replicas.min(2);
    let voters = voters.join(",");
    format!(
        "\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs={data}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
"
    )
}

/// Settings of every node. Four partitions of offsets: groups of tests that run side by side commit side by side. Groups
/// form at once, and a member that is gone is noticed within a second or three. Retention acts within a second. A broker that
/// is gone is noticed after three seconds, not nine.
const QUICK: &str = "\
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=500
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
group.consumer.migration.policy=bidirectional
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
unclean.leader.election.interval.ms=1000
";

/// TLS with the one CA, SCRAM and PLAIN, and ACLs. Who comes through the plaintext port may do everything: tests create
/// and look at topics there, without a second set of rights.
fn secure(certificates: &str) -> String {
    use super::access::{PASSWORD, USER};
    use super::tls::KEY_STORE;
    format!(
        "\
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/{KEY_STORE}
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"
    )
}

#[cfg(test)]
mod tests {
    use super::{Places, SERVERS, properties, server};
    use std::collections::BTreeSet;

    /// The value of a key that is there exactly once.
    fn value<'t>(text: &'t str, key: &str) -> &'t str {
        let found: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| *name == key)
            .map(|(_, value)| value)
            .collect();
        assert_eq!(found.len(), 1, "{key} in\n{text}");
        found[0]
    }

    fn of(name: &str, index: usize) -> String {
        let server = server(name).unwrap();
        let places = Places {
            data: "/d".to_owned(),
            bind: "127.0.0.1",
        };
        let certificates = server.is_secure.then_some("/tls");
        properties(server, &server.nodes[index], &places, certificates)
    }

    #[test]
    fn one_node_needs_no_other() {
        let text = of("kafka", 0);
        assert_eq!(value(&text, "default.replication.factor"), "1");
        assert_eq!(value(&text, "min.insync.replicas"), "1");
        assert_eq!(value(&text, "offsets.topic.replication.factor"), "1");
        assert_eq!(value(&text, "transaction.state.log.min.isr"), "1");
        assert_eq!(
            value(&text, "controller.quorum.voters"),
            "1@127.0.0.1:29093"
        );
        assert!(!text.contains("sasl.enabled"), "{text}");
    }

    #[test]
    fn three_nodes_survive_one() {
        let text = of("kafka3", 1);
        assert_eq!(value(&text, "node.id"), "2");
        assert_eq!(value(&text, "default.replication.factor"), "3");
        assert_eq!(value(&text, "min.insync.replicas"), "2");
        assert_eq!(
            value(&text, "listeners"),
            "PLAINTEXT://127.0.0.1:29120,CONTROLLER://127.0.0.1:29121,PROXIED://127.0.0.1:29123"
        );
        assert!(
            value(&text, "advertised.listeners").ends_with("PROXIED://127.0.0.1:29122"),
            "{text}"
        );
        assert_eq!(
            value(&text, "controller.quorum.voters"),
            "1@127.0.0.1:29111,2@127.0.0.1:29121,3@127.0.0.1:29131"
        );
    }

    #[test]
    fn the_secure_server_has_a_port_for_each_protocol() {
        let text = of("kafka-secure", 0);
        assert!(value(&text, "listeners").contains("SASL_SSL://127.0.0.1:29194"));
        assert!(value(&text, "advertised.listeners").contains("SASL_SSL://127.0.0.1:29194"));
        assert_eq!(
            value(&text, "sasl.enabled.mechanisms"),
            "SCRAM-SHA-512,PLAIN"
        );
        assert_eq!(value(&text, "ssl.keystore.location"), "/tls/server.both");
    }

    #[test]
    fn no_key_is_set_twice_and_no_port_is_shared() {
        let mut ports = BTreeSet::from([super::SECURE_PORT]);
        for server in SERVERS {
            for (index, node) in server.nodes.iter().enumerate() {
                let text = of(server.name, index);
                for line in text.lines() {
                    let (key, _) = line.split_once('=').unwrap();
                    value(&text, key);
                }
                let proxy = node.line().map(|(proxy, _)| proxy);
                for port in node.ports().chain(proxy) {
                    assert!(ports.insert(port), "{}: {port}", node.name);
                }
                assert!(node.port < 32768);
            }
        }
    }
}
