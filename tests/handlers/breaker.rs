//! A circuit breaker in an app: an outage longer than the ladder, and a message that always fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dotmsg::middleware::circuit_breaker::CircuitState;
use dotmsg::testing::{Became, TestApp, TestBrokers};
use dotmsg::{App, Attempt, Batch, Config, FromRef, HandlerError, Json, State};

#[derive(Default)]
struct Database {
    away: AtomicBool,
    calls: AtomicU64,
    last_attempt: AtomicU64,
}

impl Database {
    fn insert(&self, value: u64) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.away.load(Ordering::SeqCst) || value == 13 {
            true => Err(HandlerError::transient("the database is away").kind("database")),
            false => Ok(()),
        }
    }
}

#[derive(Clone, FromRef)]
struct Service {
    database: Arc<Database>,
}

#[dotmsg::handler(topic = "rows", group = "store", retry(tiers = ["5s", "1m"]))]
async fn store(
    State(database): State<Arc<Database>>,
    Attempt(attempt): Attempt,
    Json(value): Json<u64>,
) -> Result<(), HandlerError> {
    database
        .last_attempt
        .fetch_max(attempt.into(), Ordering::SeqCst);
    database.insert(value)
}

#[dotmsg::handler(topic = "rows", group = "stores", batch(size = 10, linger = "10ms"))]
async fn store_all(
    State(database): State<Arc<Database>>,
    Batch(rows): Batch<Json<u64>>,
) -> Result<(), HandlerError> {
    rows.into_iter()
        .try_for_each(|Json(value)| database.insert(value))
}

fn service(handler: &str) -> (Arc<Database>, App<Service>) {
    let database = Arc::new(Database::default());
    let config = Config::new().set(&format!("routes.{handler}.breaker.failures"), 3);
    let state = Service {
        database: Arc::clone(&database),
    };
    (database, App::with_config(config).state(state))
}

fn circuit(test: &TestApp, handler: &str) -> CircuitState {
    let breaker = test.route(handler).breaker.as_ref();
    breaker.expect("the configuration gives it one").state()
}

#[test]
fn an_outage_longer_than_the_ladder_makes_no_dead_letters() {
    dotmsg::testing::run(async {
        let (database, app) = service("store");
        let mut test = TestBrokers::new().start(app.handler(store)).await;
        database.away.store(true, Ordering::SeqCst);
        for value in 0..100_u64 {
            if value != 13 {
                test.publish("rows", &value)
                    .key(format!("{}", value % 10))
                    .await;
            }
        }
        // An outage of ten hours.
        tokio::time::sleep(Duration::from_secs(36_000)).await;
        assert_eq!(circuit(&test, "store"), CircuitState::Open);
        let calls = database.calls.load(Ordering::SeqCst);
        assert!(
            (3_600..3_700).contains(&calls),
            "one call in each pause: {calls}"
        );
        test.assert_dead_letters("store", &[]);
        database.away.store(false, Ordering::SeqCst);
        test.run_until_idle().await;
        assert_eq!(circuit(&test, "store"), CircuitState::Closed);
        test.advance(Duration::from_secs(60)).await;
        assert_eq!(test.route("store").stats.handled(), 99);
        test.assert_dead_letters("store", &[]);
        assert!(
            database.last_attempt.load(Ordering::SeqCst) <= 2,
            "those that opened it"
        );
        test.shutdown().await;
    });
}

#[test]
fn a_message_that_always_fails_does_not_keep_it_open() {
    dotmsg::testing::run(async {
        let (database, app) = service("store");
        let mut test = TestBrokers::new().start(app.handler(store)).await;
        database.away.store(true, Ordering::SeqCst);
        test.publish("rows", &13)
            .key("poisoned")
            .id("thirteen")
            .await;
        for value in 0..5 {
            test.publish("rows", &value).key(format!("{value}")).await;
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        database.away.store(false, Ordering::SeqCst);
        test.advance(Duration::from_secs(300)).await;
        assert_eq!(circuit(&test, "store"), CircuitState::Closed);
        assert_eq!(test.route("store").stats.handled(), 5);
        test.assert_dead_letters("store", &["database"]);
        let became = test.became("store", "thirteen");
        assert_eq!(became.last(), Some(&Became::DeadLettered));
        test.shutdown().await;
    });
}

#[test]
fn batches_wait_as_well() {
    dotmsg::testing::run(async {
        let (database, app) = service("store_all");
        let mut test = TestBrokers::new().start(app.handler(store_all)).await;
        database.away.store(true, Ordering::SeqCst);
        for value in 20..60 {
            test.publish("rows", &value).key(format!("{value}")).await;
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(circuit(&test, "store_all"), CircuitState::Open);
        let calls = database.calls.load(Ordering::SeqCst);
        assert!(calls < 500, "{calls}");
        database.away.store(false, Ordering::SeqCst);
        test.run_until_idle().await;
        test.assert_dead_letters("store_all", &[]);
        assert_eq!(test.route("store_all").stats.handled(), 40);
        test.shutdown().await;
    });
}

#[test]
fn a_stop_does_not_wait_for_the_circuit() {
    dotmsg::testing::run(async {
        let (database, app) = service("store");
        let mut test = TestBrokers::new().start(app.handler(store)).await;
        database.away.store(true, Ordering::SeqCst);
        for value in 20..40 {
            test.publish("rows", &value).key(format!("{value}")).await;
        }
        tokio::time::sleep(Duration::from_secs(12)).await;
        let begin = tokio::time::Instant::now();
        test.shutdown().await;
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
    });
}
