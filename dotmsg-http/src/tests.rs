//! A running app, asked over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::app::{Adapters, App, FIGURES, FigureKind, NoAdapters, Running, ServeHttp};
use dotmsg_core::backend::Registry;
use dotmsg_core::config::{Config, RouteDefaults};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::handler::HandlerError;
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_core::message::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bind;

const DEADLINE: Duration = Duration::from_secs(20);

/// Fails for the payload `bad`.
async fn bill(delivery: Delivery) -> Result<(), HandlerError> {
    tokio::task::yield_now().await;
    match delivery.payload() {
        Some(payload) if payload == "bad" => {
            Err(HandlerError::permanent("no").kind("bad \"order\"\n"))
        }
        _ => Ok(()),
    }
}

struct Served {
    app: Running,
    address: SocketAddr,
    server: JoinHandle<()>,
}

async fn served() -> Served {
    let broker = Arc::new(LogBroker::memory(LogOptions::default()));
    let route = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let config = Config::new().set("backend.main.auto_create", true);
    let app: App<(), NoAdapters> = App::with_config(config).backend("main", broker);
    let app = app.measured().route(route, bill).start().await.unwrap();
    let endpoint = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = endpoint.address().unwrap();
    let server = tokio::spawn(endpoint.serve(app.handle().clone()));
    Served {
        app,
        address,
        server,
    }
}

impl Served {
    /// Status line, header and body.
    async fn ask(&self, method: &str, path: &str) -> (String, String) {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(DEADLINE, ask).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.ask("GET", path).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body)
    }

    async fn until_ready(&self) {
        let ready = async {
            while self.get("/health/ready").await.0 != 200 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, ready).await.unwrap();
    }

    async fn publish(&self, payloads: &[&'static str]) {
        let publisher = self.app.handle().publisher("main").unwrap();
        for payload in payloads {
            let message = Message::new(*payload).with_key("k");
            publisher.publish("orders", message).await.unwrap();
        }
        timeout(DEADLINE, self.app.handle().idle()).await.unwrap();
    }
}

/// The value of a line of the text.
fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|one| one.strip_prefix(line));
    let found = found.unwrap_or_else(|| panic!("no line {line} in\n{text}"));
    found.trim().parse().unwrap()
}

const ROUTE: &str = r#"dotmsg_handler="bill",messaging_destination_name="orders",messaging_consumer_group_name="billing""#;

#[tokio::test]
async fn metrics_tell_what_happened() {
    let served = served().await;
    served.until_ready().await;
    served.publish(&["good", "good", "bad"]).await;
    served.app.handle().lag("bill").await.unwrap();
    let (status, text) = served.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let of = |name: &str| value(&text, &format!("{name}{{{ROUTE}}}"));
    let with = |name: &str, label: &str| value(&text, &format!("{name}{{{ROUTE},{label}}}"));
    assert_eq!(of("messaging_client_consumed_messages_total"), 3.0);
    assert_eq!(
        with("dotmsg_messages_total", r#"dotmsg_outcome="handled""#),
        2.0
    );
    assert_eq!(
        with("dotmsg_messages_total", r#"dotmsg_outcome="dead_lettered""#),
        1.0
    );
    // What a handler writes into a kind is escaped.
    let kind = r#"error_type="bad \"order\"\n""#;
    assert_eq!(with("dotmsg_dead_letters_total", kind), 1.0);
    assert_eq!(with("dotmsg_call_failures_total", kind), 1.0);
    assert_eq!(of("messaging_process_duration_seconds_count"), 3.0);
    assert!(of("messaging_process_duration_seconds_sum") > 0.0);
    let all = format!(r#"messaging_process_duration_seconds_bucket{{le="+Inf",{ROUTE}}}"#);
    assert_eq!(value(&text, &all), 3.0);
    assert!(of("dotmsg_commit_duration_seconds_count") >= 1.0);
    assert!(of("dotmsg_settlement_duration_seconds_count") >= 1.0);
    assert_eq!(of("dotmsg_calls_running"), 0.0);
    assert_eq!(of("dotmsg_partitions_owned"), 12.0);
    assert_eq!(of("dotmsg_ready"), 1.0);
    let lag: f64 = (0..12)
        .map(|one| {
            with(
                "dotmsg_lag",
                &format!(r#"messaging_destination_partition_id="{one}""#),
            )
        })
        .sum();
    assert_eq!(lag, 0.0);
    served.stop().await;
}

impl Served {
    async fn stop(self) {
        self.app.handle().drain();
        timeout(DEADLINE, self.app.wait()).await.unwrap().unwrap();
        self.server.abort();
    }
}

#[tokio::test]
async fn health_is_ready_while_the_routes_work_and_live_until_the_end() {
    let served = served().await;
    served.until_ready().await;
    let (status, body) = served.get("/health/live").await;
    assert_eq!(status, 200);
    for part in [
        r#""live":true"#,
        r#""ready":true"#,
        r#""state":"ready""#,
        r#""stuck_calls":[]"#,
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    served.app.handle().drain();
    let (status, body) = served.get("/health/ready").await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(served.get("/health/live").await.0, 200);
    served.stop().await;
}

#[tokio::test]
async fn lag_is_for_people_and_other_paths_say_what_there_is() {
    let served = served().await;
    served.until_ready().await;
    served.app.handle().lag("bill").await.unwrap();
    let (status, text) = served.get("/lag").await;
    assert_eq!(status, 200);
    assert!(text.starts_with("bill: orders, group billing\n"), "{text}");
    assert!(
        text.contains("watermark") && text.contains("idle"),
        "{text}"
    );
    let (status, text) = served.get("/").await;
    assert!(status == 404 && text.contains("/metrics"), "{text}");
    let (head, _) = served.ask("POST", "/metrics").await;
    assert!(
        head.contains(" 405 ") && head.contains("allow: GET, HEAD"),
        "{head}"
    );
    served.stop().await;
}

/// Requests that are sent without end, ahead of their answers, would keep the room of others.
#[tokio::test]
async fn a_connection_is_for_one_request() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    // Sooner than a request has to be there.
    let ended = timeout(Duration::from_secs(8), stream.read_to_string(&mut answer)).await;
    ended.expect("the connection ends").unwrap();
    assert!(answer.contains("connection: close"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused_by_name() {
    let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.address().unwrap();
    let error = bind(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("free port"), "{error}");
}

#[test]
fn every_figure_is_in_the_guide() {
    let guide = include_str!("../../docs/telemetry.md");
    for figure in FIGURES {
        let name = figure.name.replace('.', "_");
        let seconds = if figure.unit == "s" { "_seconds" } else { "" };
        let total = if figure.kind() == FigureKind::Counter {
            "_total"
        } else {
            ""
        };
        let name = format!("`{name}{seconds}{total}`");
        assert!(guide.contains(&name), "{name}: {}", figure.help);
    }
}

struct WithHttp;

impl Adapters for WithHttp {
    fn registry() -> Registry {
        Registry::new()
    }

    fn http() -> Option<ServeHttp> {
        Some(crate::serve_http)
    }
}

/// An app that is to listen there, started.
async fn listening<R: Adapters>(address: SocketAddr) -> Result<Running, String> {
    let broker = Arc::new(LogBroker::memory(LogOptions::default()));
    let config = Config::new()
        .set("backend.main.auto_create", true)
        .set("telemetry.http.listen", address.to_string());
    let route = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let app: App<(), R> = App::with_config(config).backend("main", broker);
    let started = app.route(route, bill).start().await;
    started.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_configuration_opens_the_endpoint_and_a_port_that_is_taken_ends_the_start() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.address().unwrap();
    let error = listening::<WithHttp>(address).await.unwrap_err();
    assert!(error.contains(&address.to_string()), "{error}");
    drop(taken);
    let app = listening::<WithHttp>(address).await.unwrap();
    let connected = timeout(DEADLINE, TcpStream::connect(address)).await;
    connected.unwrap().unwrap();
    app.handle().drain();
    timeout(DEADLINE, app.wait()).await.unwrap().unwrap();
    let gone = timeout(DEADLINE, TcpStream::connect(address)).await;
    assert!(gone.unwrap().is_err(), "the endpoint ends with the app");
}

#[tokio::test]
async fn a_program_without_the_endpoint_refuses_to_be_asked_for_it() {
    let address = "127.0.0.1:9464".parse().unwrap();
    let error = listening::<NoAdapters>(address).await.unwrap_err();
    assert!(error.contains("feature `http`"), "{error}");
    assert!(
        error.contains("telemetry.http.listen 127.0.0.1:9464"),
        "{error}"
    );
}
