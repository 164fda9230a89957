//! TLS, SASL and rights on a real broker, found by `DOTMSG_TEST_KAFKA_SECURE_URL` and its kind (`cargo xtask services up
//! kafka-secure`). Skipped with a line where it is not set.

mod common;
#[path = "secure/journal.rs"]
mod journal;
#[path = "secure/rights.rs"]
mod rights;

use std::error::Error as _;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::open;
use dotmsg_core::app::{Adapters, App, NoAdapters};
use dotmsg_core::backend::{
    Backend, BatchLimits, PublishOutcome, PublishRecord, ReadBatch, Registry, Retention,
    Subscription, TopicSpec,
};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::{Error, ErrorKind, Result};
use dotmsg_core::handler::HandlerError;
use dotmsg_core::message::Message;
use dotmsg_kafka::{kafka_check_setting, kafka_factory};
use rights::{On, Right, To};
use tokio::time::Instant;

/// A condition comes true within it, or the test fails.
const DEADLINE: Duration = Duration::from_secs(30);
/// A mistake is told within it.
const SOON: Duration = Duration::from_secs(5);
const CANARY: &str = "canary-pw";

/// Where the broker is, and who may log in.
struct Server {
    url: String,
    user: String,
    password: String,
    ca: String,
    other_ca: String,
    admin_url: String,
}

impl Server {
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn find() -> Option<Self> {
        let read = |name: &str| std::env::var(format!("DOTMSG_TEST_KAFKA_SECURE_{name}")).ok();
        let Some(url) = read("URL") else {
            println!(
                "skipped: DOTMSG_TEST_KAFKA_SECURE_URL is not set (`cargo xtask services up kafka-secure`)"
            );
            return None;
        };
        let read = |name: &str| {
            read(name).unwrap_or_else(|| panic!("DOTMSG_TEST_KAFKA_SECURE_{name} is not set"))
        };
        Some(Self {
            url,
            user: read("USER"),
            password: read("PASSWORD"),
            ca: read("CA"),
            other_ca: read("OTHER_CA"),
            admin_url: read("ADMIN_URL"),
        })
    }

    fn hosts(&self) -> &str {
        self.url.strip_prefix("kafka://").unwrap()
    }

    fn admin_hosts(&self) -> &str {
        self.admin_url.strip_prefix("kafka://").unwrap()
    }

    /// The settings with which the user logs in.
    fn login(&self) -> Vec<(&str, &str)> {
        vec![
            ("tls", "true"),
            ("ca_file", &self.ca),
            ("username", &self.user),
            ("password", &self.password),
        ]
    }

    async fn open(&self) -> Result<Arc<dyn Backend>> {
        open(&self.url, &self.login()).await
    }
}

/// A name that no other run has.
fn fresh(stem: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let now = SystemClock.now().0;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{}-{now}-{number}", std::process::id())
}

/// All that can be read of an error.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        retention: Retention::AsBackend,
    }
}

fn record(topic: &str, payload: &str) -> PublishRecord {
    PublishRecord {
        topic: topic.into(),
        partition: Some(0),
        message: Message::new(payload.to_owned()).with_key("k"),
    }
}

async fn publish(backend: &dyn Backend, topic: &str, payload: &str) -> Result<()> {
    match backend
        .publisher()
        .publish(vec![record(topic, payload)])
        .await
        .pop()
    {
        Some(PublishOutcome::Ok(_)) => Ok(()),
        Some(PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)) => Err(error),
        None => panic!("no outcome"),
    }
}

/// A service with a ladder handles what succeeds, what succeeds later and what never does.
async fn a_service_runs(server: &Server, backend: Arc<dyn Backend>, topic: &str, group: &str) {
    let handler = |delivery: Delivery| async move {
        match (
            delivery.payload().map(|payload| &payload[..]),
            delivery.attempt(),
        ) {
            (Some(b"later"), 1) => Err(HandlerError::transient("not yet")),
            (Some(b"never"), _) => Err(HandlerError::permanent("no")),
            _ => Ok(()),
        }
    };
    let admin = open(&server.admin_url, &[]).await.unwrap();
    for payload in ["now", "later", "never"] {
        publish(&*admin, topic, payload).await.unwrap();
    }
    let route = RouteDefaults::new("case")
        .with("topic", topic)
        .with("group", group)
        .with("retry.tiers", ["100ms"]);
    let app = App::<(), NoAdapters>::with_config(Config::new())
        .backend("main", backend)
        .route(route, handler);
    let running = app.start().await.unwrap();
    let handle = running.handle().clone();
    let waiting = tokio::spawn(running.wait());
    let stats = Arc::clone(&handle.routes()[0].stats);
    let until = Instant::now() + DEADLINE;
    while (stats.handled(), stats.dead_lettered()) != (2, 1) {
        assert!(!waiting.is_finished(), "the app ended: {:?}", waiting.await);
        assert!(
            Instant::now() < until,
            "{} handled, {} dead",
            stats.handled(),
            stats.dead_lettered()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    handle.drain();
    waiting.await.unwrap().unwrap();
    admin.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_runs_over_tls_with_scram_and_with_plain() {
    let Some(server) = Server::find() else { return };
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let mut login = server.login();
        login.push(("sasl_mechanism", mechanism));
        let backend = open(&server.url, &login).await.unwrap();
        let (topic, group) = (fresh("app-t"), fresh("app-g"));
        backend.admin().create_topic(spec(&topic)).await.unwrap();
        a_service_runs(&server, backend, &topic, &group).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_in_the_url_or_a_file_will_do() {
    let Some(server) = Server::find() else { return };
    let tls = [("tls", "true"), ("ca_file", server.ca.as_str())];
    let url = format!(
        "kafka://{}:{}@{}",
        server.user,
        server.password.replace('-', "%2D"),
        server.hosts()
    );
    open(&url, &tls).await.unwrap().close().await.unwrap();
    let file = std::env::temp_dir().join(fresh("dotmsg-password"));
    std::fs::write(&file, format!("{}\n", server.password)).unwrap();
    let login = [
        ("username", server.user.as_str()),
        ("password_file", file.to_str().unwrap()),
    ];
    let opened = open(&server.url, &[tls, login].concat()).await;
    std::fs::remove_file(&file).unwrap();
    opened.unwrap().close().await.unwrap();
}

struct Kafka;

impl Adapters for Kafka {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("kafka", kafka_factory());
        registry.check_settings("kafka", kafka_check_setting);
        registry
    }
}

/// A wrong password, from wherever it comes, is an error within seconds, and nothing shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_at_once_and_shown_nowhere() {
    journal::begin();
    let Some(server) = Server::find() else { return };
    let tls = [
        ("tls", "true"),
        ("ca_file", server.ca.as_str()),
        ("debug", "all"),
    ];
    let user = ("username", server.user.as_str());
    let file = std::env::temp_dir().join(fresh("dotmsg-canary"));
    std::fs::write(&file, CANARY).unwrap();
    let in_url = format!("kafka://{}:{CANARY}@{}", server.user, server.hosts());
    let mut errors = Vec::new();
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let mechanism = [("sasl_mechanism", mechanism)];
        for (url, login) in [
            (&server.url, vec![user, ("password", CANARY)]),
            (
                &server.url,
                vec![user, ("password_file", file.to_str().unwrap())],
            ),
            (
                &server.url,
                vec![("sasl.username", user.1), ("sasl.password", CANARY)],
            ),
            (&in_url, vec![]),
        ] {
            let protocol = match login.first() {
                Some(("sasl.username", _)) => vec![
                    ("security.protocol", "sasl_ssl"),
                    ("ssl.ca.location", server.ca.as_str()),
                ],
                _ => [&tls[..], &mechanism].concat(),
            };
            let mechanism = match login.first() {
                Some(("sasl.username", _)) => vec![("sasl.mechanisms", mechanism[0].1)],
                _ => vec![],
            };
            let began = Instant::now();
            errors.push(
                open(url, &[protocol, mechanism, login].concat())
                    .await
                    .map(drop)
                    .unwrap_err(),
            );
            assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
        }
    }
    std::fs::remove_file(&file).unwrap();
    errors.push(from_the_environment(&server).await);
    for error in &errors {
        let text = shown(error);
        assert!(!text.contains(CANARY), "{text}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{text}");
        assert!(text.contains("Check username, password"), "{text}");
    }
    let lines = journal::lines();
    assert!(
        lines.contains("DEBUG librdkafka"),
        "nothing was logged: {lines}"
    );
    assert!(!lines.contains(CANARY), "a log line holds the password");
}

async fn from_the_environment(server: &Server) -> Error {
    let file = format!(
        "[backend.main]\nurl = '{}'\n[backend.main.kafka]\ntls = true\nca_file = '{}'\nusername = '{}'",
        server.url, server.ca, server.user
    );
    let password = (
        "DOTMSG__BACKEND__MAIN__KAFKA__PASSWORD".to_owned(),
        CANARY.to_owned(),
    );
    let config = Config::from_toml("dotmsg.toml", &file)
        .unwrap()
        .env([password]);
    assert!(!format!("{config:?}").contains(CANARY));
    let route = RouteDefaults::new("case")
        .with("topic", "app-none")
        .with("group", "app-none");
    let app = App::<(), Kafka>::with_config(config)
        .route(route, |_: Delivery| async { Ok::<(), HandlerError>(()) });
    app.start().await.map(drop).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_be_made_shows_no_secret() {
    journal::begin();
    for settings in [
        vec![
            ("tls", "true"),
            ("ssl.key.pem", CANARY),
            ("ssl.certificate.pem", CANARY),
        ],
        vec![("tls", "true"), ("ssl.ca.pem", CANARY)],
        vec![
            ("tls", "true"),
            ("ssl.keystore.location", "/dev/null"),
            ("ssl.keystore.password", CANARY),
        ],
        vec![("security.protocol", CANARY)],
        vec![("sasl.passwort", CANARY)],
        vec![("linger.ms", CANARY), ("password", CANARY)],
    ] {
        let opened = open("kafka://127.0.0.1:1", &settings).await;
        let text = shown(&opened.map(drop).unwrap_err());
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(
        !journal::lines().contains(CANARY),
        "a log line holds a secret"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_no_trusted_authority_signed_is_refused() {
    let Some(server) = Server::find() else { return };
    let mut login = server.login();
    login[1].1 = &server.other_ca;
    let began = Instant::now();
    let error = open(&server.url, &login).await.map(drop).unwrap_err();
    assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Denied, "{text}");
    assert!(
        text.contains("certificate verify failed") && text.contains("Check ca_file"),
        "{text}"
    );
    login[1].1 = "/no/such/file.pem";
    let error = open(&server.url, &login).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("/no/such/file.pem"), "{error}");
}

/// What docs/kafka.md says of the texts.
#[tokio::test(flavor = "multi_thread")]
async fn what_else_stands_in_the_way_is_named() {
    let Some(server) = Server::find() else { return };
    let opened = async |url: &str, settings: &[(&str, &str)]| {
        open(url, settings).await.map(drop).unwrap_err().to_string()
    };
    let (nobody, nowhere, bare, spoken) = tokio::join!(
        opened("kafka://127.0.0.1:1", &[]),
        opened("kafka://no-such-host.invalid:9092", &[]),
        opened(&server.url, &[]),
        opened(&server.admin_url, &[("tls", "true")]),
    );
    for (text, says) in [
        (nobody, ["no broker answers", "Connection refused"]),
        (
            nowhere,
            ["the broker's name has no address", "no-such-host"],
        ),
        (bare, ["no broker answers", "Disconnected"]),
        (spoken, ["no broker answers", "SSL connection closed"]),
    ] {
        assert!(
            says.iter().all(|part| text.contains(part)),
            "{says:?}: {text}"
        );
    }
}

/// What a service needs: docs/kafka.md has this list as a table.
fn needed(topic: &str, group: &str, out: &str) -> Vec<Right> {
    let right = |on, name: &str, prefixed, to| Right {
        on,
        name: name.to_owned(),
        prefixed,
        to,
    };
    let own = format!("{topic}.{group}.");
    vec![
        right(On::Topic, topic, false, To::Read),
        right(On::Topic, topic, false, To::DescribeConfigs),
        right(On::Group, group, false, To::Read),
        right(On::Topic, &own, true, To::Create),
        right(On::Topic, &own, true, To::Read),
        right(On::Topic, &own, true, To::Write),
        right(On::Topic, &own, true, To::DescribeConfigs),
        right(On::Topic, out, false, To::Write),
        right(On::TransactionalId, &own, true, To::Write),
    ]
}

/// Everything that needs a right, once; the first refusal.
async fn use_all(server: &Server, topic: &str, group: &str, out: &str) -> Result<()> {
    let backend = server.open().await?;
    let used = use_backend(&*backend, topic, group, out).await;
    backend.close().await?;
    used
}

async fn use_backend(backend: &dyn Backend, topic: &str, group: &str, out: &str) -> Result<()> {
    let admin = backend.admin();
    let missing = || Error::new(ErrorKind::NotFound, "look", "the topic is not seen");
    admin.topic(topic).await?.ok_or_else(missing)?;
    admin.positions(group, topic).await?;
    let own: Arc<str> = fresh(&format!("{topic}.{group}.retry")).into();
    let kept = TopicSpec {
        retention: Retention::Forever,
        ..spec(&own)
    };
    admin.create_topic(kept.clone()).await?;
    admin.create_topic(kept).await?;
    publish(backend, &own, "retry").await?;
    publish(backend, out, "out").await?;
    let member = Subscription::new(topic, group).transactions(Duration::from_millis(100));
    let (_source, control) = backend.subscribe(member).await?;
    control.close(DEADLINE).await?;
    let mut reader = backend.reader().await?;
    reader.assign(&own, 0, 0)?;
    let limits = BatchLimits {
        messages: 1,
        bytes: 1,
    };
    let mut batch = ReadBatch::default();
    let read = poll_fn(|cx| reader.poll_batch(cx, limits, &mut batch));
    tokio::time::timeout(DEADLINE, read)
        .await
        .expect("a record or a refusal")
}

/// Waits until using everything ends as it is to; a broker learns of rights a moment after they are given.
async fn until(
    server: &Server,
    names: (&str, &str, &str),
    what: &str,
    is: impl Fn(&Result<()>) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let used = use_all(server, names.0, names.1, names.2).await;
        if is(&used) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {used:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_suffice_and_each_is_needed() {
    let Some(server) = Server::find() else { return };
    let (topic, group, out) = (fresh("least-t"), fresh("least-g"), fresh("least-out"));
    let names = (topic.as_str(), group.as_str(), out.as_str());
    let admin = open(&server.admin_url, &[]).await.unwrap();
    for topic in [&topic, &out] {
        admin.admin().create_topic(spec(topic)).await.unwrap();
    }
    let rights = needed(&topic, &group, &out);
    rights::give(server.admin_hosts(), &server.user, &rights);
    until(&server, names, "with all rights", Result::is_ok).await;
    a_service_runs(&server, server.open().await.unwrap(), &topic, &group).await;
    let is_denied = |used: &Result<()>| {
        used.as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Denied)
    };
    for right in &rights {
        rights::take(server.admin_hosts(), &server.user, right);
        until(&server, names, &format!("without {right:?}"), is_denied).await;
        rights::give(
            server.admin_hosts(),
            &server.user,
            std::slice::from_ref(right),
        );
        until(&server, names, "with all rights again", Result::is_ok).await;
    }
    admin.close().await.unwrap();
}
