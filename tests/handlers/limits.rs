//! Limits that routes share: how many calls there are and when, who waits, and that nothing else does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg::testing::{Became, TestApp, TestBrokers};
use dotmsg::{App, Batch, Config, HandlerError, Json, State};
use tokio::time::{Instant, sleep};

/// What was called: the route, its numbers, and when it began and ended.
type Calls = Arc<Mutex<Vec<Call>>>;

#[derive(Clone, Debug)]
struct Call {
    route: &'static str,
    numbers: Vec<u64>,
    began: Instant,
    ended: Option<Instant>,
}

/// Notes the call, and takes 10 milliseconds for it, or as many seconds as the largest number beyond 1000.
async fn work(calls: &Calls, route: &'static str, numbers: Vec<u64>) {
    let seconds = numbers
        .iter()
        .map(|number| number.saturating_sub(1_000))
        .max();
    let took = match seconds {
        Some(0) | None => Duration::from_millis(10),
        Some(seconds) => Duration::from_secs(seconds),
    };
    let index = {
        let mut calls = calls.lock().unwrap();
        calls.push(Call {
            route,
            numbers,
            began: Instant::now(),
            ended: None,
        });
        calls.len() - 1
    };
    sleep(took).await;
    calls.lock().unwrap()[index].ended = Some(Instant::now());
}

#[dotmsg::handler(topic = "reads", group = "reads")]
async fn reads(State(calls): State<Calls>, Json(number): Json<u64>) {
    work(&calls, "reads", vec![number]).await;
}

#[dotmsg::handler(topic = "writes", group = "writes")]
async fn writes(State(calls): State<Calls>, Json(number): Json<u64>) {
    work(&calls, "writes", vec![number]).await;
}

/// Fails at odd numbers.
#[dotmsg::handler(topic = "shaky", group = "shaky", retry(attempts = 3))]
async fn shaky(State(calls): State<Calls>, Json(number): Json<u64>) -> Result<(), HandlerError> {
    work(&calls, "shaky", vec![number]).await;
    match number % 2 {
        1 => Err(HandlerError::transient("odd")),
        _ => Ok(()),
    }
}

#[dotmsg::handler(topic = "rows", group = "rows", batch(size = 10, linger = "20ms"))]
async fn rows(State(calls): State<Calls>, Batch(rows): Batch<Json<u64>>) {
    work(
        &calls,
        "rows",
        rows.into_iter().map(|Json(row)| row).collect(),
    )
    .await;
}

fn app(config: Config) -> (Calls, App<Calls>) {
    let calls = Calls::default();
    let app = App::with_config(config).state(Arc::clone(&calls));
    (calls, app)
}

/// A limit `database`, and routes that name it.
fn limited(key: &str, value: impl Into<dotmsg::config::Value>, routes: &[&str]) -> Config {
    let config = Config::new().set(&format!("limits.database.{key}"), value);
    routes.iter().fold(config, |config, route| {
        config.set(&format!("routes.{route}.limits"), ["database"])
    })
}

async fn publish(test: &TestApp, topic: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let key = format!("{number}");
        test.publish(topic, &number).key(key.clone()).id(key).await;
    }
}

fn began(calls: &Calls, since: Instant) -> Vec<u128> {
    let calls = calls.lock().unwrap();
    let at = |call: &Call| call.began.duration_since(since).as_millis();
    calls.iter().map(at).collect()
}

fn called(calls: &Calls, route: &str) -> usize {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|call| call.route == route).count()
}

/// The most calls that ran at one time.
fn most_at_once(calls: &Calls) -> usize {
    let calls = calls.lock().unwrap();
    let runs =
        |call: &Call, at: Instant| call.began <= at && call.ended.is_none_or(|ended| ended > at);
    let at_begin_of = |one: &Call| calls.iter().filter(|call| runs(call, one.began)).count();
    calls.iter().map(at_begin_of).max().unwrap_or(0)
}

#[test]
fn a_rate_is_kept_however_many_workers_there_are() {
    for workers in [1, 2] {
        dotmsg::testing::run(async {
            let config = limited("rate", "10/s", &["reads"]).set("routes.reads.workers", workers);
            let (calls, app) = app(config);
            let mut test = TestApp::start(app.handler(reads)).await;
            test.run_until_idle().await;
            let begin = Instant::now();
            publish(&test, "reads", 0..50).await;
            test.run_until_idle().await;
            let began = began(&calls, begin);
            assert_eq!(began.len(), 50);
            assert_eq!(began[..10], [began[0]; 10], "the burst");
            let steps: Vec<u128> = began[9..]
                .windows(2)
                .map(|pair| pair[1] - pair[0])
                .collect();
            assert_eq!(steps, [100; 40]);
            let took = begin.elapsed();
            assert!(took < Duration::from_millis(4_300), "{took:?}");
            test.shutdown().await;
        });
    }
}

#[test]
fn a_rate_is_of_all_routes_that_name_it() {
    dotmsg::testing::run(async {
        let (calls, app) = app(limited("rate", "10/s", &["reads", "writes"]));
        let mut test = TestApp::start(app.handler(reads).handler(writes)).await;
        test.run_until_idle().await;
        let begin = Instant::now();
        publish(&test, "reads", 0..30).await;
        publish(&test, "writes", 0..30).await;
        test.run_until_idle().await;
        let began = began(&calls, begin);
        assert_eq!(began.len(), 60);
        assert!(began[59].abs_diff(5_000) <= 10, "{began:?}");
        let calls = calls.lock().unwrap().split_off(10);
        let early = calls[..30].iter().filter(|call| call.route == "writes");
        assert!((10..=20).contains(&early.count()), "they take turns");
        test.shutdown().await;
    });
}

#[test]
fn repeats_wait_as_well() {
    dotmsg::testing::run(async {
        let (calls, app) = app(limited("rate", "60/m", &["shaky"]));
        let mut test = TestApp::start(app.handler(shaky)).await;
        test.run_until_idle().await;
        // 60 messages at once; then 30 of them fail, twice again each.
        let begin = Instant::now();
        publish(&test, "shaky", 0..60).await;
        test.run_until_idle().await;
        let began = began(&calls, begin);
        assert_eq!(began.len(), 120);
        assert!(began[119].abs_diff(60_000) <= 10, "{began:?}");
        assert_eq!(test.dead_letters("shaky").len(), 30);
        test.shutdown().await;
    });
}

#[test]
fn two_routes_share_one_call_at_a_time_and_neither_starves() {
    for workers in [1, 2] {
        dotmsg::testing::run(async {
            let config = limited("concurrency", 1, &["reads", "writes"])
                .set("routes.reads.workers", workers)
                .set("routes.writes.workers", workers);
            let (calls, app) = app(config);
            let mut test = TestApp::start(app.handler(reads).handler(writes)).await;
            publish(&test, "reads", 0..20).await;
            publish(&test, "writes", 0..20).await;
            test.run_until_idle().await;
            assert_eq!(most_at_once(&calls), 1);
            let routes: Vec<_> = calls
                .lock()
                .unwrap()
                .iter()
                .map(|call| call.route)
                .collect();
            assert_eq!(routes.len(), 40);
            for part in routes.chunks(8) {
                let reads = part.iter().filter(|route| **route == "reads").count();
                assert!((2..=6).contains(&reads), "{workers} workers: {routes:?}");
            }
            test.shutdown().await;
        });
    }
}

/// One message of each route at a time, repeats in place, two workers each: whoever holds a permit of its route waits for
/// the limit, and whoever could hold the limit waits for the permit of its route.
#[test]
fn a_route_does_not_lock_itself_out() {
    dotmsg::testing::run(async {
        let mut config = limited("concurrency", 1, &["shaky", "writes"]);
        for (route, key, value) in [
            ("shaky", "concurrency", 2),
            ("shaky", "workers", 2),
            ("writes", "concurrency", 2),
            ("writes", "workers", 2),
        ] {
            config = config.set(&format!("routes.{route}.{key}"), value);
        }
        let (calls, app) = app(config);
        let mut test = TestApp::start(app.handler(shaky).handler(writes)).await;
        publish(&test, "shaky", 0..20).await;
        publish(&test, "writes", 0..20).await;
        test.run_until_idle().await;
        assert_eq!(
            (called(&calls, "shaky"), called(&calls, "writes")),
            (40, 20)
        );
        assert_eq!(most_at_once(&calls), 1);
        assert!(
            test.now()
                .since(dotmsg::clock::Timestamp(1_767_225_600_000))
                < Duration::from_secs(10)
        );
        test.shutdown().await;
    });
}

/// The last message of a route is a duplicate, or is shed: what its worker was ready with is not its to keep.
#[test]
fn a_message_that_is_not_called_keeps_nothing_from_another_route() {
    for (key, called_once) in [
        ("dedup.max_ids", 10_i64.into()),
        ("shed.older_than", "1h".into()),
    ] as [(&str, dotmsg::config::Value); 2]
    {
        dotmsg::testing::run(async {
            let config = limited("concurrency", 1, &["reads", "writes"]);
            let config = config.set(&format!("routes.reads.{key}"), called_once);
            let (calls, app) = app(config);
            let mut test = TestApp::start(app.handler(reads).handler(writes)).await;
            let long_ago = dotmsg::clock::Timestamp(0);
            for number in [1_u64, 1] {
                let published = test.publish("reads", &number).key("k").id("one");
                published.timestamp(long_ago).await;
            }
            test.run_until_idle().await;
            publish(&test, "writes", 0..3).await;
            test.run_until_idle().await;
            assert_eq!(called(&calls, "writes"), 3, "{key}");
            test.shutdown().await;
        });
    }
}

#[test]
fn several_limits_named_in_any_order_all_count() {
    dotmsg::testing::run(async {
        let config = Config::new()
            .set("limits.a.concurrency", 2)
            .set("limits.b.concurrency", 1)
            .set("limits.b.rate", "100/s")
            .set("routes.reads.limits", ["b", "a"])
            .set("routes.writes.limits", ["a"])
            .set("routes.shaky.limits", ["a", "b"]);
        let (calls, app) = app(config);
        let app = app.handler(reads).handler(writes).handler(shaky);
        let mut test = TestApp::start(app).await;
        for topic in ["reads", "writes", "shaky"] {
            publish(&test, topic, 0..30).await;
        }
        test.run_until_idle().await;
        assert_eq!(calls.lock().unwrap().len(), 30 + 30 + 60);
        assert_eq!(most_at_once(&calls), 2);
        calls.lock().unwrap().retain(|call| call.route != "writes");
        assert_eq!(most_at_once(&calls), 1);
        test.shutdown().await;
    });
}

#[test]
fn a_batch_is_one_call_and_as_many_messages() {
    dotmsg::testing::run(async {
        let (calls, app) = app(limited("rate", "25/s", &["rows"]));
        let mut test = TestBrokers::new()
            .partitions(1)
            .start(app.handler(rows))
            .await;
        publish(&test, "rows", 0..50).await;
        let begin = Instant::now();
        test.run_until_idle().await;
        let began = began(&calls, begin);
        assert!(began.last().unwrap().abs_diff(1_000) <= 30, "{began:?}");
        test.shutdown().await;
    });
    dotmsg::testing::run(async {
        let (calls, app) = app(limited("concurrency", 2, &["rows", "reads"]));
        let mut test = TestBrokers::new()
            .partitions(1)
            .start(app.handler(rows).handler(reads))
            .await;
        publish(&test, "rows", 0..100).await;
        publish(&test, "reads", 0..20).await;
        test.run_until_idle().await;
        assert_eq!(most_at_once(&calls), 2);
        assert_eq!((called(&calls, "rows"), called(&calls, "reads")), (10, 20));
        test.shutdown().await;
    });
}

/// Another route has the only permit for ten seconds.
#[test]
fn a_batch_that_waits_takes_more_and_does_not_hold_up_a_shutdown() {
    for ends in [true, false] {
        dotmsg::testing::run(async {
            let (calls, app) = app(limited("concurrency", 1, &["rows", "reads"]));
            let brokers = TestBrokers::new().partitions(1);
            let mut test = brokers.start(app.handler(rows).handler(reads)).await;
            publish(&test, "reads", [1_010]).await;
            sleep(Duration::from_secs(1)).await;
            for row in 0..5 {
                publish(&test, "rows", [row]).await;
                sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(called(&calls, "rows"), 0);
            if ends {
                test.run_until_idle().await;
                let rows = calls.lock().unwrap()[1].numbers.clone();
                assert_eq!(rows, [0, 1, 2, 3, 4], "one batch");
            }
            let report = test.shutdown().await;
            assert_eq!(called(&calls, "rows"), usize::from(ends));
            // The other one still has the permit then: it is waited for.
            let first = &report.routes[0].handler;
            assert!(ends || first == "rows", "{report:?}");
            assert!(report.routes.iter().all(|route| route.abandoned == 0));
        });
    }
}

#[test]
fn a_shutdown_is_prompt_while_messages_and_repeats_wait() {
    for workers in [1, 2] {
        dotmsg::testing::run(async {
            let config = limited("rate", "2/h", &["shaky"]).set("routes.shaky.workers", workers);
            let brokers = TestBrokers::new();
            let (calls, first) = app(config.clone());
            let mut test = brokers.start(first.handler(shaky)).await;
            publish(&test, "shaky", 1..20).await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(called(&calls, "shaky"), 2);
            let begin = Instant::now();
            let report = test.shutdown().await;
            assert!(begin.elapsed() < Duration::from_secs(1), "{report:?}");
            assert_eq!(report.routes[0].abandoned, 0);
            // Nothing is lost: the next start has them all.
            let (calls, second) = app(Config::new());
            let mut test = brokers.start(second.handler(shaky)).await;
            test.run_until_idle().await;
            let mut numbers: Vec<u64> = calls
                .lock()
                .unwrap()
                .iter()
                .map(|call| call.numbers[0])
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            let even = numbers.iter().filter(|number| *number % 2 == 0).count();
            assert!(even >= 8, "{numbers:?}");
            for number in (1..20).step_by(2) {
                assert!(numbers.contains(&number), "{numbers:?}");
            }
            test.shutdown().await;
        });
    }
}

/// A second app takes over half of the partitions while their messages wait.
#[test]
fn partitions_move_while_messages_wait() {
    dotmsg::testing::run(async {
        let brokers = TestBrokers::new().partitions(4);
        let config = limited("concurrency", 1, &["reads", "writes"]);
        let (calls, first) = app(config);
        let mut one = brokers.start(first.handler(reads).handler(writes)).await;
        publish(&one, "writes", [1_600]).await;
        sleep(Duration::from_secs(1)).await;
        publish(&one, "reads", 0..40).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(called(&calls, "reads"), 0);
        let (others, second) = app(Config::new());
        let mut other = brokers.start(second.handler(reads)).await;
        sleep(Duration::from_secs(5)).await;
        let moved = called(&others, "reads");
        assert!((1..40).contains(&moved), "{moved}");
        one.run_until_idle().await;
        other.run_until_idle().await;
        assert_eq!(called(&calls, "reads") + moved, 40);
        for test in [&mut one, &mut other] {
            test.shutdown().await;
        }
    });
}

#[test]
fn a_message_that_is_refused_or_fails_takes_nothing_with_it() {
    dotmsg::testing::run(async {
        let config = limited("concurrency", 1, &["reads"]).set("routes.reads.max_payload_bytes", 4);
        let (calls, app) = app(config);
        let mut test = TestApp::start(app.handler(reads)).await;
        publish(&test, "reads", [1, 123_456, 2]).await;
        test.publish("reads", "x").key("k").id("x").await;
        publish(&test, "reads", [3]).await;
        test.run_until_idle().await;
        test.assert_became("reads", "123456", &[Became::DeadLettered]);
        test.assert_became("reads", "x", &[Became::DeadLettered]);
        assert_eq!(called(&calls, "reads"), 3);
        test.shutdown().await;
    });
}
