//! Handlers of batches in an app: what is called together, in which order, and what becomes of the messages that fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg::handler::{Annotated as _, Answer, Call, Next, from_fn};
use dotmsg::testing::{Became, TestApp, TestBrokers};
use dotmsg::{App, Batch, Config, Each, HandlerError, Json, Key, Outgoing, State};

/// The batches that were called, in their order: keys and values.
type Seen = Arc<Mutex<Vec<Vec<(String, u64)>>>>;

fn note(seen: &Seen, rows: &[(Key<String>, Json<u64>)]) {
    let rows = rows
        .iter()
        .map(|(Key(key), Json(value))| (key.clone(), *value));
    seen.lock().unwrap().push(rows.collect());
}

/// Fails as a whole when a 13 is among them.
#[dotmsg::handler(
    topic = "rows",
    group = "insert",
    retry(tiers = ["5s"]),
    batch(size = 8, linger = "20ms")
)]
async fn insert(
    State(seen): State<Seen>,
    Batch(rows): Batch<(Key<String>, Json<u64>)>,
) -> Result<(), HandlerError> {
    note(&seen, &rows);
    tokio::time::sleep(Duration::from_millis(3)).await;
    match rows.iter().any(|(_, Json(value))| *value == 13) {
        true => Err(HandlerError::transient("a 13 is among them").kind("thirteen")),
        false => Ok(()),
    }
}

/// Says of each what it came to.
#[dotmsg::handler(topic = "rows", group = "each", batch(size = 8, linger = "20ms"))]
async fn each(Batch(rows): Batch<Json<u64>>) -> Each<Result<Option<Outgoing>, HandlerError>> {
    let answer = |Json(value): Json<u64>| match value {
        13 => Err(HandlerError::permanent("unlucky").kind("thirteen")),
        value if value % 2 == 0 => Ok(Some(Outgoing::new("even", value.to_string()))),
        _ => Ok(None),
    };
    rows.into_iter().map(answer).collect()
}

fn values(seen: &Seen) -> Vec<Vec<u64>> {
    let seen = seen.lock().unwrap();
    let values = |rows: &Vec<(String, u64)>| rows.iter().map(|(_, value)| *value).collect();
    seen.iter().map(values).collect()
}

async fn start() -> (Seen, TestApp) {
    let seen = Seen::default();
    let app: App<Seen> = App::with_config(Config::new()).state(Arc::clone(&seen));
    let test = TestBrokers::new()
        .partitions(1)
        .start(app.handler(insert))
        .await;
    (seen, test)
}

async fn publish(test: &TestApp, rows: &[(&'static str, u64)]) {
    for (index, (key, value)) in rows.iter().enumerate() {
        let id = format!("{index}");
        test.publish("rows", value).key(*key).id(id).await;
    }
}

#[test]
fn messages_are_handled_together_those_of_one_key_too() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start().await;
        publish(&test, &[("a", 1), ("b", 2), ("a", 3), ("a", 4)]).await;
        test.run_until_idle().await;
        assert_eq!(values(&seen), [[1, 2, 3, 4]]);
        // A full batch does not wait.
        let before = test.now();
        let rows: Vec<_> = (0..8).map(|value| ("a", value)).collect();
        publish(&test, &rows).await;
        test.run_until_idle().await;
        assert_eq!(values(&seen)[1], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(test.now().since(before) < Duration::from_millis(20));
        assert_eq!(test.handle().route("insert").unwrap().stats.handled(), 12);
        test.shutdown().await;
    });
}

#[test]
fn one_that_fails_does_not_fail_the_others_and_holds_up_its_key() {
    dotmsg::testing::run(async {
        let (seen, mut test) = start().await;
        publish(
            &test,
            &[("a", 1), ("b", 2), ("c", 13), ("c", 4), ("d", 5), ("c", 6)],
        )
        .await;
        test.run_until_idle().await;
        for id in ["0", "1", "4"] {
            test.assert_became("insert", id, &[Became::Handled]);
        }
        test.assert_became("insert", "2", &[Became::Away(Duration::from_secs(5))]);
        test.assert_became("insert", "3", &[]);
        test.advance(Duration::from_secs(5)).await;
        test.assert_dead_letters("insert", &["thirteen"]);
        test.assert_became("insert", "3", &[Became::Handled]);
        test.assert_became("insert", "5", &[Became::Handled]);
        // Those behind it ran after its end, in their order.
        let calls = values(&seen);
        let last = |value| {
            calls
                .iter()
                .rposition(|call| call.contains(&value))
                .unwrap()
        };
        let first_alone = |value| {
            let bad = |call: &Vec<u64>| call.contains(&value) && !call.contains(&13);
            calls.iter().position(bad).unwrap()
        };
        assert!(
            last(13) < first_alone(4) && first_alone(4) <= first_alone(6),
            "{calls:?}"
        );
        test.shutdown().await;
    });
}

#[test]
fn each_message_has_an_answer_of_its_own() {
    dotmsg::testing::run(async {
        let app: App = App::with_config(Config::new()).handler(each);
        let mut test = TestBrokers::new().partitions(1).start(app).await;
        publish(&test, &[("a", 1), ("b", 2), ("c", 13), ("c", 4)]).await;
        test.publish_raw("rows", dotmsg::Message::new("no number").with_key("d"))
            .await;
        test.run_until_idle().await;
        test.assert_dead_letters("each", &["thirteen", "decode"]);
        assert_eq!(test.published_json::<u64>("even"), [2, 4]);
        // One call: what is permanent holds up nobody, and what does not decode is not in the batch.
        assert_eq!(test.calls("each"), 5);
        test.shutdown().await;
    });
}

/// Returns each value, in a topic where its order shows.
#[dotmsg::handler(topic = "rows", group = "pass", batch(size = 8, linger = "20ms"))]
async fn pass(Batch(rows): Batch<Json<u64>>) -> Each<Result<Outgoing, HandlerError>> {
    let outgoing = |Json(value): &Json<u64>| Outgoing::json("passed", value);
    let outgoing = rows.iter().map(outgoing);
    outgoing.map(|one| one.map(|one| one.key("a"))).collect()
}

#[test]
fn what_is_returned_for_a_key_is_published_in_its_order() {
    dotmsg::testing::run(async {
        let app: App = App::with_config(Config::new()).handler(pass);
        let mut test = TestBrokers::new().partitions(1).start(app).await;
        // Slots are used again in another order.
        for batch in 0..3 {
            let rows: Vec<_> = (batch * 5..batch * 5 + 5)
                .map(|value| ("a", value))
                .collect();
            publish(&test, &rows).await;
            test.run_until_idle().await;
        }
        let passed = test.published_json::<u64>("passed");
        assert_eq!(passed, (0..15).collect::<Vec<_>>());
        test.shutdown().await;
    });
}

#[test]
fn layers_are_around_the_calls_of_both_kinds_of_handlers() {
    #[dotmsg::handler(topic = "rows", group = "single")]
    async fn single(Json(value): Json<u64>) -> Result<(), HandlerError> {
        match value {
            13 => Err(HandlerError::permanent("unlucky").kind("thirteen")),
            _ => Ok(()),
        }
    }

    async fn refuse(call: Call, _: Next) -> Result<Answer, HandlerError> {
        let messages = call.deliveries().len();
        Err(HandlerError::permanent(format!("{messages} refused")).kind("refused"))
    }

    dotmsg::testing::run(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let tell = from_fn(move |call: Call, next: Next| {
            let telling = Arc::clone(&telling);
            async move {
                let (batch, messages) = (call.is_batch(), call.deliveries().len());
                let answer = next.run(call).await;
                let failed = answer.as_ref().map_or(messages, Answer::failures);
                telling.lock().unwrap().push((batch, messages, failed));
                answer
            }
        });
        let app: App = App::with_config(Config::new())
            .layer(tell)
            .handler(each)
            .handler(single)
            .configure(|config| config.set("routes.single.retry.attempts", 1));
        let mut test = TestBrokers::new().partitions(1).start(app).await;
        publish(&test, &[("a", 1), ("b", 13)]).await;
        test.run_until_idle().await;
        let mut told = std::mem::take(&mut *told.lock().unwrap());
        told.sort_unstable();
        assert_eq!(told, [(false, 1, 0), (false, 1, 1), (true, 2, 1)]);
        test.shutdown().await;

        let app: App = App::with_config(Config::new()).handler(single.layer(from_fn(refuse)));
        let mut test = TestApp::start(app).await;
        publish(&test, &[("a", 1)]).await;
        test.run_until_idle().await;
        test.assert_dead_letters("single", &["refused"]);
        test.shutdown().await;
    });
}

#[test]
fn a_batch_handler_is_a_function_that_a_test_calls() {
    dotmsg::testing::run(async {
        let Each(answers) = each(Batch(vec![Json(1), Json(13)])).await;
        assert!(answers[0].as_ref().is_ok_and(Option::is_none));
        assert_eq!(answers[1].as_ref().unwrap_err().kind_name(), "thirteen");
    });
}
