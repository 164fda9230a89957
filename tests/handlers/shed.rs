//! Shedding in an app.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dotmsg::testing::{Became, TestApp, TestBrokers};
use dotmsg::{App, Batch, Config, HandlerError, Json, State};

type Count = Arc<AtomicU64>;

/// Takes a second; 13 fails the first time.
#[dotmsg::handler(topic = "clicks", group = "counting", concurrency = 1, retry(tiers = ["5s"]))]
async fn count(State(count): State<Count>, Json(value): Json<u64>) -> Result<(), HandlerError> {
    let before = count.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    match (value, before) {
        (13, 0) => Err(HandlerError::transient("unlucky")),
        _ => Ok(()),
    }
}

async fn start(config: Config) -> (Count, TestApp) {
    let calls = Count::default();
    let app: App<Count> = App::with_config(config)
        .state(Arc::clone(&calls))
        .handler(count);
    let test = TestBrokers::new().partitions(1).start(app).await;
    (calls, test)
}

async fn publish(test: &TestApp, clicks: u64) {
    for click in 0..clicks {
        let id = format!("{click}");
        test.publish("clicks", &click).key("k").id(id).await;
    }
}

fn became(test: &TestApp, clicks: u64) -> Vec<Became> {
    let one = |click: u64| test.became("count", &click.to_string());
    (0..clicks).flat_map(one).collect()
}

#[test]
fn all_members_keep_the_same_tenth() {
    dotmsg::testing::run(async {
        let config = Config::new().set("routes.count.shed.keep", 0.1);
        let (calls, mut test) = start(config.clone()).await;
        publish(&test, 200).await;
        test.run_until_idle().await;
        let first = became(&test, 200);
        let kept = first.iter().filter(|one| **one == Became::Handled).count() as u64;
        assert!((8..32).contains(&kept), "{kept}");
        assert_eq!(calls.load(Ordering::Relaxed), kept);
        let stats = &test.route("count").stats;
        assert_eq!((stats.handled(), stats.shed()), (kept, 200 - kept));
        test.assert_settled("count");
        test.shutdown().await;

        let (_, mut test) = start(config).await;
        publish(&test, 200).await;
        test.run_until_idle().await;
        assert_eq!(became(&test, 200), first);
        test.shutdown().await;
    });
}

#[test]
fn what_has_waited_too_long_is_shed_and_a_retry_is_not() {
    dotmsg::testing::run(async {
        let config = Config::new()
            .set("routes.count.shed.older_than", "3s")
            .set("routes.count.ordering", "none");
        let (calls, mut test) = start(config).await;
        test.publish("clicks", &13).id("first").await;
        publish(&test, 6).await;
        test.run_until_idle().await;
        // One call a second: those whose turn comes later are too old.
        let handled = became(&test, 6);
        let shed = handled.iter().filter(|one| **one == Became::Shed).count();
        assert_eq!((handled.len(), shed), (6, 3), "{handled:?}");
        test.advance(Duration::from_secs(5)).await;
        test.run_until_idle().await;
        let away = Became::Away(Duration::from_secs(5));
        test.assert_became("count", "first", &[away, Became::Handled]);
        assert_eq!(calls.load(Ordering::Relaxed), 5);
        test.shutdown().await;
    });
}

#[test]
fn what_is_settled_early_is_shed_too() {
    dotmsg::testing::run(async {
        let config = Config::new()
            .set("routes.count.shed.keep", 0.5)
            .set("routes.count.delivery", "at_most_once")
            .set("routes.count.retry.tiers", [""; 0]);
        let (calls, mut test) = start(config).await;
        publish(&test, 20).await;
        test.run_until_idle().await;
        let stats = &test.route("count").stats;
        assert_eq!(stats.handled() + stats.shed(), 20);
        assert_eq!(stats.handled(), calls.load(Ordering::Relaxed));
        assert!(stats.shed() > 0 && stats.lost() == 0);
        test.shutdown().await;
    });
}

#[test]
fn batches_are_made_of_what_is_left() {
    #[dotmsg::handler(topic = "clicks", group = "rows", batch(size = 100, linger = "20ms"))]
    async fn rows(State(count): State<Count>, Batch(rows): Batch<Json<u64>>) {
        count.fetch_add(rows.len() as u64, Ordering::Relaxed);
    }

    dotmsg::testing::run(async {
        let calls = Count::default();
        let app: App<Count> = App::with_config(Config::new().set("routes.rows.shed.keep", 0.5))
            .state(Arc::clone(&calls))
            .handler(rows);
        let mut test = TestBrokers::new().partitions(1).start(app).await;
        publish(&test, 50).await;
        test.run_until_idle().await;
        let stats = &test.route("rows").stats;
        assert_eq!(stats.handled(), calls.load(Ordering::Relaxed));
        assert_eq!(stats.handled() + stats.shed(), 50);
        assert!(stats.shed() > 0 && stats.handled() > 0);
        test.assert_settled("rows");
        test.shutdown().await;
    });
}

#[test]
fn what_is_shed_is_not_remembered_as_handled() {
    dotmsg::testing::run(async {
        let config = Config::new()
            .set("routes.count.shed.older_than", "3s")
            .set("routes.count.dedup.max_ids", 10);
        let (_, mut test) = start(config).await;
        let old = test.now();
        test.advance(Duration::from_secs(10)).await;
        test.publish("clicks", &1).id("a").timestamp(old).await;
        test.publish("clicks", &1).id("a").await;
        test.publish("clicks", &1).id("a").await;
        test.run_until_idle().await;
        let want = [Became::Shed, Became::Handled, Became::Duplicate];
        test.assert_became("count", "a", &want);
        test.shutdown().await;
    });
}
