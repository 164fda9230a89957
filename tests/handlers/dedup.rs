//! Duplicates in an app: which messages are one, and what happens to the others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg::testing::{Became, TestApp, TestBrokers};
use dotmsg::{App, Batch, Config, Each, HandlerError, Json, Outgoing, State};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The values in the order of their calls.
type Seen = Arc<Mutex<Vec<u64>>>;

/// Takes a second. 13 fails each time; 14 fails the first time.
#[dotmsg::handler(topic = "orders", group = "billing", retry(tiers = ["5s"], attempts = 1))]
async fn bill(State(seen): State<Seen>, Json(value): Json<u64>) -> Result<Outgoing, HandlerError> {
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(value);
        seen.iter().filter(|other| **other == value).count()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    match value {
        13 => Err(HandlerError::transient("unlucky")),
        14 if before == 1 => Err(HandlerError::transient("not yet")),
        15 => Err(HandlerError::permanent("never")),
        _ => Ok(Outgoing::new("bills", value.to_string())),
    }
}

fn app(seen: &Seen, config: &[(&str, &'static str)]) -> App<Seen> {
    let config = config.iter().fold(Config::new(), |config, (key, value)| {
        config.set(&format!("routes.bill.{key}"), *value)
    });
    App::with_config(config.set("routes.bill.dedup.max_ids", 3))
        .state(Arc::clone(seen))
        .handler(bill)
}

async fn start(config: &[(&str, &'static str)]) -> (Seen, TestApp) {
    let seen = Seen::default();
    let brokers = TestBrokers::new().partitions(2);
    let test = brokers.start(app(&seen, config)).await;
    (seen, test)
}

fn duplicates(test: &TestApp) -> u64 {
    test.route("bill").stats.duplicates()
}

#[test]
fn a_message_that_its_producer_sends_again_is_handled_once() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start(&[]).await;
        for _ in 0..2 {
            test.publish("orders", &1).key("a").id("one").await;
        }
        // Without an id each record is a message of its own.
        for _ in 0..2 {
            test.publish("orders", &2).key("a").await;
        }
        test.run_until_idle().await;
        assert_eq!(*seen.lock().unwrap(), [1, 2, 2]);
        test.assert_became("bill", "one", &[Became::Handled, Became::Duplicate]);
        // What a duplicate would have returned is not there either.
        test.assert_published("bills", 3);
        let stats = &test.route("bill").stats;
        assert_eq!((stats.handled(), stats.duplicates()), (3, 1));
        test.assert_settled("bill");
        test.shutdown().await;
    });
}

#[test]
fn copies_under_different_keys_run_one_after_the_other() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start(&[("ordering", "none")]).await;
        let before = test.now();
        for key in ["a", "b", "c", "d"] {
            test.publish("orders", &1).key(key).id("one").await;
            test.publish("orders", &14).key(key).id("two").await;
        }
        test.run_until_idle().await;
        test.advance(Duration::from_secs(5)).await;
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        // The first copy of the second fails and goes to a tier; another one runs in its place. What comes back is a duplicate.
        assert_eq!(seen, [1, 14, 14]);
        assert_eq!(test.became("bill", "one").len(), 4);
        let became = test.became("bill", "two");
        assert_eq!(became.len(), 5, "{became:?}");
        let count = |what| became.iter().filter(|one| **one == what).count();
        assert_eq!(count(Became::Away(Duration::from_secs(5))), 1);
        assert_eq!((count(Became::Handled), count(Became::Duplicate)), (1, 3));
        assert_eq!(*became.last().unwrap(), Became::Duplicate);
        assert!(test.now().since(before) < Duration::from_secs(10));
        test.assert_published("bills", 2);
        test.assert_settled("bill");
        test.shutdown().await;
    });
}

#[test]
fn what_was_not_handled_runs_again_also_from_the_dead_letters() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start(&[]).await;
        for _ in 0..2 {
            test.publish("orders", &15).key("a").id("one").await;
        }
        test.run_until_idle().await;
        test.assert_became("bill", "one", &[Became::DeadLettered, Became::DeadLettered]);
        assert_eq!(duplicates(&test), 0);
        test.replay("bill").await;
        test.run_until_idle().await;
        assert_eq!(*seen.lock().unwrap(), [15; 4]);
        test.shutdown().await;
    });
}

#[test]
fn a_copy_of_a_head_that_is_away_waits_for_its_turn() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start(&[]).await;
        for value in [14, 14, 1] {
            let id = value.to_string();
            test.publish("orders", &value).key("a").id(id).await;
        }
        test.run_until_idle().await;
        test.advance(Duration::from_secs(5)).await;
        test.run_until_idle().await;
        assert_eq!(*seen.lock().unwrap(), [14, 14, 1]);
        let away = Became::Away(Duration::from_secs(5));
        test.assert_became("bill", "14", &[away, Became::Handled, Became::Duplicate]);
        test.assert_became("bill", "1", &[Became::Handled]);
        test.shutdown().await;
    });
}

#[test]
fn what_is_remembered_is_bounded_in_number_and_in_time() {
    dotmsg::testing::run(async {
        let (_, mut test) = start(&[("dedup.keep_for", "1d")]).await;
        let publish = async |test: &mut TestApp, value: u64| {
            let id = format!("{value}");
            test.publish("orders", &value).key("a").id(id).await;
            test.run_until_idle().await;
        };
        // Three ids are remembered.
        for value in [1, 2, 3, 4, 1, 4] {
            publish(&mut test, value).await;
        }
        test.assert_became("bill", "1", &[Became::Handled, Became::Handled]);
        test.assert_became("bill", "4", &[Became::Handled, Became::Duplicate]);
        test.advance(DAY).await;
        publish(&mut test, 1).await;
        assert_eq!(test.became("bill", "1"), [Became::Handled; 3]);
        test.shutdown().await;
    });
}

#[test]
fn memory_is_gone_with_the_process() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start(&[]).await;
        test.publish("orders", &1).key("a").id("one").await;
        test.run_until_idle().await;
        test.crash().await;
        let mut test = test.brokers().clone().start(app(&seen, &[])).await;
        test.publish("orders", &1).key("a").id("one").await;
        test.run_until_idle().await;
        assert!(seen.lock().unwrap().len() >= 2);
        assert_eq!(test.became("bill", "one").last(), Some(&Became::Handled));
        test.shutdown().await;
    });
}

#[test]
fn a_duplicate_that_waits_does_not_hold_up_a_shutdown() {
    dotmsg::testing::run(async {
        let (_, mut test) = start(&[("ordering", "none")]).await;
        for key in ["a", "b"] {
            test.publish("orders", &1).key(key).id("one").await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let report = test.shutdown().await;
        assert_eq!(report.routes[0].abandoned, 0);
        test.assert_became("bill", "one", &[Became::Interrupted, Became::Handled]);
    });
}

/// The batches in their order. 13 fails for good, 14 the first time.
type Batches = Arc<Mutex<Vec<Vec<u64>>>>;

#[dotmsg::handler(
    topic = "rows",
    group = "insert",
    retry(tiers = ["5s"], attempts = 1),
    batch(size = 8, linger = "20ms")
)]
async fn insert(
    State(batches): State<Batches>,
    Batch(rows): Batch<Json<u64>>,
) -> Each<Result<(), HandlerError>> {
    let rows: Vec<u64> = rows.into_iter().map(|Json(value)| value).collect();
    let before = batches.lock().unwrap().concat();
    batches.lock().unwrap().push(rows.clone());
    tokio::time::sleep(Duration::from_millis(3)).await;
    let answer = |value: u64| match value {
        13 => Err(HandlerError::permanent("never")),
        14 if !before.contains(&14) => Err(HandlerError::transient("not yet")),
        _ => Ok(()),
    };
    rows.into_iter().map(answer).collect()
}

async fn insert_rows(rows: &[(&'static str, u64)]) -> (Vec<Vec<u64>>, TestApp) {
    let batches = Batches::default();
    let app: App<Batches> = App::with_config(Config::new())
        .state(Arc::clone(&batches))
        .handler(insert)
        .configure(|config| config.set("routes.insert.dedup.keep_for", "1h"));
    let mut test = TestBrokers::new().partitions(1).start(app).await;
    for (id, value) in rows {
        test.publish("rows", value).key("k").id(*id).await;
    }
    test.run_until_idle().await;
    test.advance(Duration::from_secs(5)).await;
    test.run_until_idle().await;
    test.assert_settled("insert");
    (batches.lock().unwrap().clone(), test)
}

#[test]
fn two_copies_of_one_key_do_not_share_a_batch() {
    dotmsg::testing::run(async {
        let (batches, mut test) = insert_rows(&[("a", 1), ("b", 2), ("b", 2), ("c", 3)]).await;
        assert_eq!(batches, [vec![1, 2], vec![3]]);
        test.assert_became("insert", "b", &[Became::Handled, Became::Duplicate]);
        test.shutdown().await;
    });
}

#[test]
fn a_copy_runs_before_those_behind_it_when_the_first_fails_for_good() {
    dotmsg::testing::run(async {
        // The value differs, so that one can be told from the other.
        let (batches, mut test) = insert_rows(&[("a", 1), ("b", 13), ("b", 2), ("c", 3)]).await;
        assert_eq!(batches, [vec![1, 13], vec![2, 3]]);
        test.assert_became("insert", "b", &[Became::DeadLettered, Became::Handled]);
        test.shutdown().await;
    });
}

#[test]
fn a_copy_waits_behind_the_first_when_that_is_away() {
    dotmsg::testing::run(async {
        let (batches, mut test) = insert_rows(&[("a", 1), ("b", 14), ("b", 14), ("c", 3)]).await;
        assert_eq!(batches, [vec![1, 14], vec![14], vec![3]]);
        let away = Became::Away(Duration::from_secs(5));
        test.assert_became("insert", "b", &[away, Became::Handled, Became::Duplicate]);
        test.shutdown().await;
    });
}

#[tokio::test]
async fn where_it_cannot_be_it_is_refused_with_the_reason() {
    for (delivery, reason) in [
        ("at_most_once", "would be its second call"),
        ("exactly_once", "outlives a transaction that is aborted"),
    ] {
        let config = Config::new()
            .set("backend.main.url", "memory:")
            .set("routes.bill.delivery", delivery)
            .set("routes.bill.retry.tiers", [""; 0]);
        let app =
            app(&Seen::default(), &[]).configure(|_| config.set("routes.bill.dedup.max_ids", 3));
        let error = app.start().await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}
