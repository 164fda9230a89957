//! One app on two backends, by configuration alone, and what it says of its configuration.

use std::sync::{Arc, Mutex};

use crate::app::{Adapters, App};
use crate::backend::Registry;
use crate::config::{Config, RouteDefaults};
use crate::handler::{Json, State};
use crate::log::{MemoryLogs, check_setting, memory_factory, setting_list};
use crate::message::Message;

/// Logs in memory, by URL.
struct Memory;

impl Adapters for Memory {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("memory", memory_factory(MemoryLogs::new()));
        registry.check_settings("memory", check_setting);
        registry.list_settings("memory", setting_list());
        registry
    }
}

type Seen = Arc<Mutex<Vec<(&'static str, u64)>>>;

async fn bill(State(seen): State<Seen>, Json(number): Json<u64>) {
    seen.lock().unwrap().push(("bill", number));
}

async fn ship(State(seen): State<Seen>, Json(number): Json<u64>) {
    seen.lock().unwrap().push(("ship", number));
}

const FILE: &str = "
[backend.main]
url = 'memory:orders'
auto_create = true
[backend.second]
url = 'memory:parcels'
auto_create = true
auto_create_partitions = 3
topic_prefix = 'second.'
memory.session_timeout = '10s'
[store.main]
url = 'postgres://app:canary@host/app'
[store.audit]
url = 'postgres://audit:canary@host/audit'
[routes.ship]
backend = 'second'
concurrency = 2
[profile.local.backend.second]
topic_prefix = 'local.'
";

/// Both consume one topic in one group, each on a backend of its own.
fn app(seen: &Seen) -> App<Seen, Memory> {
    let route = |handler: &str| {
        RouteDefaults::new(handler)
            .with("topic", "orders")
            .with("group", "workers")
    };
    let config = Config::from_toml("dotmsg.toml", FILE).unwrap();
    App::<(), Memory>::with_config(config.profile(Some("local")))
        .state(Arc::clone(seen))
        .route(route("bill"), bill)
        .route(route("ship"), ship)
}

#[tokio::test(start_paused = true)]
async fn routes_of_two_backends_share_an_app_and_nothing_else() {
    let seen = Seen::default();
    let running = app(&seen).start().await.unwrap();
    let handle = running.handle();
    for (backend, number) in [("main", 1), ("second", 2)] {
        let publisher = handle.publisher(backend).unwrap();
        let message = Message::new(number.to_string());
        publisher.publish("orders", message).await.unwrap();
    }
    handle.idle().await;
    let mut calls = seen.lock().unwrap().clone();
    calls.sort_unstable();
    assert_eq!(calls, [("bill", 1), ("ship", 2)]);
    for (backend, topic, partitions) in [("main", "orders", 12), ("second", "local.orders", 3)] {
        let admin = handle.backend(backend).unwrap().admin();
        let found = admin.topic(topic).await.unwrap().unwrap();
        assert_eq!(found.partitions, partitions, "{backend}");
        let group = format!("{topic}.workers.dlq");
        assert!(admin.topic(&group).await.unwrap().is_some(), "{backend}");
        let other = if backend == "main" {
            "local.orders"
        } else {
            "orders"
        };
        assert!(admin.topic(other).await.unwrap().is_none(), "{backend}");
    }
    handle.drain();
    running.wait().await.unwrap();
}

#[test]
fn an_app_explains_its_configuration_with_handlers_and_adapters() {
    let text = app(&Seen::default()).explain().unwrap().to_string();
    for line in [
        "# profile local, chosen by: set in code",
        "[backend.second]",
        "topic_prefix = \"local.\" # profile local, dotmsg.toml:19",
        "memory.session_timeout = \"10s\" # dotmsg.toml:10",
        "memory.fsync = \"group\" # default",
        "[store.audit]",
        "url = \"postgres://audit:***@host/audit\" # dotmsg.toml:14",
        "[routes.ship]",
        "topic = \"orders\" # attribute of handler ship",
        "backend = \"second\" # dotmsg.toml:16",
        "concurrency = 2 # dotmsg.toml:17",
    ] {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let found = text.lines().any(|printed| words(printed) == words(line));
        assert!(found, "{line}\n{text}");
    }
    assert!(!text.contains("canary"), "{text}");
}
