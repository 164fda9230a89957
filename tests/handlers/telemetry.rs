//! What an app tells of itself: calls that do not end, health, what is measured.

use std::sync::Arc;
use std::time::Duration;

use dotmsg::app::RouteState;
use dotmsg::testing::TestApp;
use dotmsg::{App, Attempt, Config, HandlerError, Json, Key, State};
use tokio::sync::Notify;

#[derive(Default)]
struct Gate {
    open: Notify,
}

/// Waits at the gate for the value 7.
#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(State(gate): State<Arc<Gate>>, Key(_): Key<String>, Json(value): Json<u64>) {
    if value == 7 {
        gate.open.notified().await;
    }
}

#[dotmsg::handler(topic = "orders", group = "pricing", retry(tiers = ["5s"]))]
async fn price(Attempt(attempt): Attempt, Json(value): Json<u64>) -> Result<(), HandlerError> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    match (value, attempt) {
        (1, _) => Err(HandlerError::permanent("no price").kind("unknown_item")),
        (2, 1) => Err(HandlerError::transient("busy").kind("busy")),
        _ => Ok(()),
    }
}

fn stuck_is_told_and_forgotten(workers: i64) {
    dotmsg::testing::run(async move {
        let gate = Arc::new(Gate::default());
        let config = Config::new().set("routes.bill.workers", workers);
        let app: App<Arc<Gate>> = App::with_config(config).state(Arc::clone(&gate));
        let mut app = TestApp::start(app.handler(bill)).await;
        for value in [1, 7, 8] {
            let key = if value == 1 { "other" } else { "same" };
            app.publish("orders", &value).key(key).await;
        }
        let stats = Arc::clone(&app.route("bill").stats);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(stats.stuck(), [], "not for long enough");
        assert_eq!(stats.running(), 1);
        tokio::time::sleep(Duration::from_secs(120)).await;
        let stuck = stats.stuck();
        let [call] = &stuck[..] else {
            panic!("{stuck:?}")
        };
        assert!(call.key_hash.is_some());
        assert!(
            app.now().since(call.since) >= Duration::from_secs(60),
            "{call:?}"
        );
        assert_eq!(stats.stuck_calls(), 1);
        let health = app.handle().health().await;
        assert!(
            health.is_ready(),
            "somebody has to look, but a restart would not help"
        );
        assert_eq!(health.routes[0].stuck, stuck);
        gate.open.notify_one();
        app.run_until_idle().await;
        app.advance(Duration::from_secs(120)).await;
        assert_eq!(
            (stats.stuck(), stats.stuck_calls(), stats.running()),
            (Vec::new(), 0, 0)
        );
        assert_eq!(stats.handled(), 3);
        app.shutdown().await;
    });
}

#[test]
fn a_call_that_does_not_end_is_told_until_it_ends() {
    stuck_is_told_and_forgotten(1);
}

#[test]
fn a_call_that_does_not_end_is_told_of_workers_in_tasks_of_their_own() {
    stuck_is_told_and_forgotten(2);
}

#[test]
fn calls_failures_and_dead_letters_are_measured() {
    dotmsg::testing::run(async {
        let app: App = App::with_config(Config::new()).measured();
        let mut app = TestApp::start(app.handler(price)).await;
        for value in [0_u64, 1, 2] {
            app.publish("orders", &value).key(value.to_string()).await;
        }
        app.run_until_idle().await;
        app.advance(Duration::from_secs(6)).await;
        let metrics = Arc::clone(app.route("price").stats.metrics());
        let calls = metrics.calls.snapshot();
        assert_eq!(calls.count(), 4, "{calls:?}");
        assert!((0.079..0.1).contains(&calls.sum_seconds), "{calls:?}");
        assert_eq!(
            metrics.failures.snapshot(),
            [("busy".into(), 1), ("unknown_item".into(), 1)]
        );
        assert_eq!(
            metrics.dead_letters.snapshot(),
            [("unknown_item".into(), 1)]
        );
        assert!(metrics.commits.snapshot().count() > 0);
        let settled = metrics.settlements.snapshot();
        assert!(
            settled.count() > 0 && settled.sum_seconds >= 0.02,
            "{settled:?}"
        );
        app.shutdown().await;
    });
}

/// A handler whose thread does not come back: the route's task cannot answer.
#[test]
fn who_blocks_the_thread_of_a_route_is_not_live() {
    #[dotmsg::handler(topic = "orders", group = "blocking")]
    async fn block(State(barrier): State<Arc<std::sync::Barrier>>, _: &[u8]) {
        barrier.wait();
        barrier.wait();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let config = Config::new()
            .set("backend.main.url", "memory:")
            .set("backend.main.auto_create", true);
        let app: App<_> = App::with_config(config).state(Arc::clone(&barrier));
        let running = app.handler(block).start().await.unwrap();
        let app = running.handle().clone();
        let stats = Arc::clone(&app.route("block").unwrap().stats);
        stats.answer().await;
        let publisher = app.publisher("main").unwrap();
        publisher
            .publish("orders", dotmsg::Message::new("x"))
            .await
            .unwrap();
        tokio::task::block_in_place(|| barrier.wait());
        let answered = tokio::time::timeout(Duration::from_millis(50), stats.answer()).await;
        assert!(answered.is_err(), "its thread is blocked");
        tokio::task::block_in_place(|| barrier.wait());
        stats.answer().await;
        let health = app.health().await;
        assert!(health.is_live(), "{health:?}");
        app.drain();
        running.wait().await.unwrap();
        let health = app.health().await;
        assert_eq!(health.routes[0].state, RouteState::Ended);
        assert!(health.is_live() && !health.is_ready());
    });
}
