//! Apps that must not start or are stopped while they do, what they log, and one whose broker does not let it end.

mod backends;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tracing::Level;

use super::running::start_unless;
use super::{Adapters, App, NoAdapters};
use crate::backend::{
    Admin, Backend, BoxFuture, Face, GroupDescription, OffsetRange, Registry, TopicDescription,
    TopicSpec,
};
use crate::clock::{Timestamp, TokioClock};
use crate::config::{Config, RouteDefaults};
use crate::delivery::Delivery;
use crate::error::{ErrorKind, Result};
use crate::handler::HandlerError;
use crate::log::{LogBroker, LogOptions};
use crate::message::Message;
use crate::publisher::Publisher;
use crate::seen::Seen;

fn app() -> App<(), NoAdapters> {
    App::with_config(Config::new().default_value("backend.main.url", "memory:"))
}

async fn nothing() {}

fn bill() -> RouteDefaults {
    RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing")
}

fn clock() -> Arc<TokioClock> {
    Arc::new(TokioClock::starting_at(Timestamp(0)))
}

fn memory() -> Arc<dyn Backend> {
    Arc::new(LogBroker::memory(LogOptions::new(clock())))
}

/// A broker with URLs that hold secrets.
struct Acme;

impl Adapters for Acme {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("acme", Arc::new(|_| Box::pin(async { Ok(memory()) })));
        registry
    }
}

#[test]
fn an_app_may_be_started_and_run_in_a_task() {
    fn may_be_spawned(_: impl Future + Send + 'static) {}
    may_be_spawned(app().route(bill(), nothing).start());
    may_be_spawned(app().route(bill(), nothing).run());
    may_be_spawned(app().route(bill(), nothing).open());
}

#[tokio::test]
async fn handlers_from_before_the_state_are_refused_and_not_forgotten() {
    let bill = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let error = app()
        .route(bill, nothing)
        .state(7_u8)
        .run()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("handlers bill") && text.contains("App::state before"),
        "{text}"
    );
}

#[tokio::test]
async fn an_app_without_handlers_does_not_pretend_to_be_done() {
    let error = app().run().await.unwrap_err();
    assert!(error.to_string().contains("no handlers"), "{error}");
}

#[tokio::test]
async fn a_plain_function_that_publishes_at_once_is_refused_in_a_transaction() {
    async fn at_once(_: Publisher) {}
    let exactly = || bill().with("delivery", "exactly_once");
    let app = || app().backend("main", memory());
    let error = app().route(exactly(), at_once).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in ["route bill, extractor Publisher", "at_least_once"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(app().route(exactly(), nothing).open().await.is_ok());
    assert!(app().route(bill(), at_once).open().await.is_ok());
}

#[tokio::test]
async fn all_missing_source_topics_are_named_at_once_and_how_they_come_to_exist() {
    let route = |handler: &str, topic: &str, group: &str| {
        RouteDefaults::new(handler)
            .with("topic", topic)
            .with("group", group)
    };
    let error = app()
        .configure(|config| config.set("backend.second.url", "memory:"))
        .backend("main", memory())
        .backend("second", memory())
        .route(route("bill", "orders", "billing"), nothing)
        .route(route("ship", "parcels", "shipping"), nothing)
        .route(
            route("look", "orders", "looking").with("backend", "second"),
            nothing,
        )
        // This one appears when `bill` starts.
        .route(route("read", "orders.billing.dlq", "reading"), nothing)
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    for part in [
        "3 source topics missing",
        "orders (route bill, backend main), parcels (route ship, backend main), orders (route look, backend second)",
        "auto_create = true in [backend.main]",
        "the same for [backend.second]",
        "create_topic of Backend::admin",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("dlq"), "{text}");
}

#[tokio::test]
async fn one_line_tells_the_configuration_and_a_route_starts_with_its_first_takeover() {
    let seen = Seen::new();
    let file = "[profile.production.backend.main]\ntopic_prefix = 'live.'\nauto_create = true\n\
                [backend.main]\nurl = 'acme://u:canary@h/?p=canary'";
    let variables = [
        ("DOTMSG_PROFILE".to_owned(), "production".to_owned()),
        (
            "DOTMSG__ROUTES__BILL__CONCURRENCY".to_owned(),
            "3".to_owned(),
        ),
    ];
    let config = Config::from_toml("dotmsg.toml", file)
        .unwrap()
        .env(variables);
    let running = App::<(), Acme>::with_config(config)
        .route(bill(), nothing)
        .start()
        .await
        .unwrap();
    assert!(
        seen.of("route started").is_empty(),
        "nothing was taken over yet"
    );
    running.handle().idle().await;
    let [line] = &seen.of("configuration is resolved")[..] else {
        panic!("{:?}", seen.lines())
    };
    assert_eq!(line.field("profile"), Some("production"));
    let backends = Some("main = acme://***@h/ (topics live.*)");
    assert_eq!(line.field("backends"), backends);
    let sources = Some("dotmsg.toml, DOTMSG_PROFILE, DOTMSG__ROUTES__BILL__CONCURRENCY");
    assert_eq!(line.field("configuration"), sources);
    let [line] = &seen.of("route started")[..] else {
        panic!("{:?}", seen.lines())
    };
    for (field, value) in [
        ("route", "bill"),
        ("group", "billing"),
        ("topic", "live.orders"),
        ("partitions", "12"),
    ] {
        assert_eq!(line.field(field), Some(value));
    }
    running.handle().drain();
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whatever_a_route_warns_of_says_whose_it_is() {
    let seen = Seen::new();
    let stuck = |delivery: Delivery| async move {
        match delivery.payload().map(|payload| &payload[..]) {
            Some(b"fails") => Err::<(), _>(HandlerError::permanent("no")),
            _ => std::future::pending().await,
        }
    };
    let running = app()
        .backend("main", memory())
        .configure(|config| config.set("backend.main.auto_create", true))
        .route(bill(), stuck)
        .start()
        .await
        .unwrap();
    let handle = running.handle().clone();
    handle.idle().await;
    let publisher = handle.publisher("main").unwrap();
    let keyed = |key: &str, payload: &'static str| Message::new(payload).with_key(key.to_owned());
    publisher
        .publish("orders", keyed("\n\"", "fails"))
        .await
        .unwrap();
    publisher
        .publish("orders", keyed("k", "hangs"))
        .await
        .unwrap();
    publisher
        .publish("orders", keyed("k", "waits"))
        .await
        .unwrap();
    let stats = Arc::clone(&handle.route("bill").unwrap().stats);
    let until = async {
        while stats.delivered() < 3 || stats.dead_lettered() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), until)
        .await
        .expect("it gets there");
    handle.abandon();
    let report = running.wait().await.unwrap();
    assert_eq!(
        report.routes[0].abandoned, 2,
        "one ran, one waited behind it"
    );
    assert_eq!((stats.held(), stats.parked(), stats.away()), (0, 0, 0));
    let [letter] = &seen.of("given up; it becomes a dead letter")[..] else {
        panic!("{:?}", seen.lines())
    };
    assert_eq!(letter.field("key"), Some(r#""\n\"""#), "quoted once");
    assert_eq!(letter.field("attempts"), Some("1"));
    assert_eq!(letter.field("error"), Some("no"));
    assert_eq!(seen.of("drain ended: given up unsettled").len(), 1);
    for line in seen.lines() {
        let whose = (line.field("route"), line.field("group"));
        assert!(
            line.level > Level::WARN || whose == (Some("bill"), Some("billing")),
            "{line:?}"
        );
    }
}

/// Every partition of the route is suspected, since the process is; the operator needs to read it once.
#[cfg(feature = "testing")]
#[test]
fn a_crash_loop_is_one_line_for_the_route_and_says_for_how_many_partitions() {
    crate::testing::run(async {
        let brokers = crate::testing::TestBrokers::new().partitions(12);
        let hangs = |_: Delivery| async { std::future::pending::<()>().await };
        let route = || bill().with("crash_loop.takeovers", 2);
        for life in 0..3 {
            let seen = Seen::new();
            let mut test = brokers.start(app().route(route(), hangs)).await;
            if life == 0 {
                test.publish("orders", "poison").key("k").await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            let lines = seen.of("crash loop");
            assert_eq!(lines.len(), usize::from(life == 2), "{lines:?}");
            for line in lines {
                assert_eq!(line.field("route"), Some("bill"));
                assert_eq!(line.field("group"), Some("billing"));
                assert_eq!(line.field("partitions"), Some("12"));
            }
            test.crash().await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_stopped_closes_what_it_opened_and_runs_nothing() {
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let backend = Arc::new(NeverAnswers {
        log: LogBroker::memory(LogOptions::new(clock())),
        asked: Mutex::new(Some(asked)),
        closed: AtomicBool::new(false),
    });
    let app = app()
        .backend("main", Arc::clone(&backend) as _)
        .route(bill(), nothing);
    let stop = async { was_asked.await.unwrap() };
    let ended = start_unless(app, stop);
    let ended = timeout(Duration::from_secs(600), ended).await;
    assert!(ended.expect("it ends").unwrap().is_none());
    assert!(backend.closed.load(Ordering::SeqCst));
}

/// A log that says when it is asked for its topics, and has no answer.
#[derive(Debug)]
struct NeverAnswers {
    log: LogBroker,
    asked: Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
    closed: AtomicBool,
}

impl Face for NeverAnswers {
    fn broker(&self) -> &LogBroker {
        &self.log
    }

    fn admin(&self) -> Arc<dyn Admin> {
        let asked = self.asked.lock().unwrap().take();
        Arc::new(SaysNothing(Mutex::new(asked)))
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.closed.store(true, Ordering::SeqCst);
        self.log.close()
    }
}

#[derive(Debug)]
struct SaysNothing(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

impl SaysNothing {
    fn never<'a, T: 'a>(&'a self) -> BoxFuture<'a, Result<T>> {
        if let Some(asked) = self.0.lock().unwrap().take() {
            asked.send(()).unwrap();
        }
        Box::pin(std::future::pending())
    }
}

impl Admin for SaysNothing {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        self.never()
    }
    fn topics<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        self.never()
    }
    fn topic<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        self.never()
    }
    fn create_topic(&self, _: TopicSpec) -> BoxFuture<'_, Result<()>> {
        self.never()
    }
    fn offsets<'a>(&'a self, _: &'a str, _: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        self.never()
    }
    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        self.never()
    }
    fn positions<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        self.never()
    }
}

/// A log whose close is never answered.
#[derive(Debug)]
struct NeverCloses(LogBroker);

impl Face for NeverCloses {
    fn broker(&self) -> &LogBroker {
        &self.0
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_close_does_not_keep_the_app() {
    let bill = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing");
    let clock = Arc::new(TokioClock::starting_at(Timestamp(0)));
    let broker = LogBroker::memory(LogOptions::new(clock));
    let ended = app()
        .backend("main", Arc::new(NeverCloses(broker)))
        .configure(|config| config.set("backend.main.auto_create", true))
        .route(bill, nothing)
        .run_until(std::future::ready(()));
    let started = Instant::now();
    let report = timeout(Duration::from_secs(600), ended).await;
    assert_eq!(report.expect("it ends").unwrap().routes.len(), 1);
    assert!(started.elapsed() <= Duration::from_millis(5_005));
}

#[tokio::test(start_paused = true)]
async fn a_run_on_one_message_says_what_became_of_it() {
    async fn fails() -> Result<(), HandlerError> {
        Err(HandlerError::transient("the rates service is down").kind("no_rate"))
    }
    let app = || {
        app()
            .backend("main", memory_with_topics())
            .configure(|config| config.set("backend.main.auto_create", true))
    };
    app()
        .route(bill(), nothing)
        .run_on("orders", 7)
        .await
        .unwrap();

    let elsewhere = app().route(bill(), nothing).run_on("bills", 7).await;
    let error = elsewhere.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no handler took"), "{error}");

    let dead = app().route(bill(), fails).run_on("orders", 7).await;
    let text = dead.unwrap_err().to_string();
    for part in [
        "dead letter",
        "route bill",
        "kind no_rate",
        "rates service is down",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let tiers = bill().with("retry.tiers", ["5s"]);
    let away = app().route(tiers, fails).run_on("orders", 7).await;
    let error = away.unwrap_err();
    assert!(error.to_string().contains("waits in a tier"), "{error}");
}

fn memory_with_topics() -> Arc<dyn Backend> {
    let mut options = LogOptions::new(clock());
    options.auto_create = true;
    Arc::new(LogBroker::memory(options))
}

/// A start looks at topics twice, before any route runs and when each joins; what it advises is said when it joins.
#[tokio::test(start_paused = true)]
async fn an_advice_about_a_route_is_given_once() {
    let seen = Seen::new();
    let partition_order = bill()
        .with("ordering", "partition")
        .with("concurrency", 999);
    let app = app().backend("main", memory_with_topics());
    let ran = app
        .configure(|config| config.set("backend.main.auto_create", true))
        .route(partition_order, nothing)
        .run_on("orders", 7);
    ran.await.unwrap();
    assert_eq!(seen.of("more concurrency than can be used").len(), 1);
}
