//! Input that no handler was written for: each a dead letter or a clear error, nothing lost, no panic.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::delivery::{Delivery, control};
use dotmsg_core::error::ErrorKind;
use dotmsg_core::handler::Json;
use dotmsg_core::message::Message;
use dotmsg_core::testing::{Became, TestApp, TestBrokers, run};

use super::{Handled, app, bill, permanent, transient};

async fn takes_a_number(Json(number): Json<u64>) {
    let _ = number;
}

async fn takes_anything(_: Delivery) {}

#[test]
fn an_undecodable_payload_is_a_dead_letter_that_the_handler_never_saw() {
    run(async {
        let mut test =
            TestApp::start(app(bill().with("retry.tiers", ["5s"]), takes_a_number)).await;
        let bad: [&[u8]; 5] = [b"", b"{", b"\"seven\"", b"\xff\xfe", b"-1"];
        for payload in bad {
            test.publish_raw("orders", Message::new(Bytes::from_static(payload)))
                .key("k")
                .await;
        }
        test.publish("orders", &7).key("k").id("good").await;
        test.run_until_idle().await;
        let letters = test.assert_dead_letters("bill", &["decode"; 5]);
        for (letter, payload) in letters.iter().zip(bad) {
            assert_eq!(letter.message.payload.as_deref(), Some(payload));
            assert!(!letter.reason.is_empty());
        }
        test.assert_became("bill", "good", &[Became::Handled]);
        test.assert_settled("bill");
    });
}

#[test]
fn a_null_payload_is_a_dead_letter_unless_the_handler_takes_tombstones() {
    async fn takes_tombstones(number: Option<Json<u64>>) {
        assert!(number.is_none());
    }
    run(async {
        let mut test = TestApp::start(app(bill(), takes_a_number)).await;
        test.publish_raw("orders", Message::tombstone())
            .id("t")
            .await;
        test.run_until_idle().await;
        let letters = test.assert_dead_letters("bill", &["null_payload"]);
        assert_eq!(letters[0].message.payload, None);
        let mut test = TestApp::start(app(bill(), takes_tombstones)).await;
        test.publish_raw("orders", Message::tombstone())
            .id("t")
            .await;
        test.run_until_idle().await;
        test.assert_became("bill", "t", &[Became::Handled]);
    });
}

#[test]
fn null_and_empty_keys_and_payloads_reach_the_handler_as_they_are() {
    type Seen = Arc<Mutex<Vec<(Option<Bytes>, Option<Bytes>)>>>;
    run(async {
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        let handler = move |delivery: Delivery| {
            let pair = (delivery.key().cloned(), delivery.payload().cloned());
            notes.lock().unwrap().push(pair);
            async { Ok(()) as Handled }
        };
        let brokers = TestBrokers::new().partitions(1);
        let mut test = brokers
            .start(app(bill().with("concurrency", 1), handler))
            .await;
        test.publish_raw("orders", Message::tombstone()).await;
        test.publish_raw("orders", Message::new("")).key("").await;
        test.publish_raw("orders", Message::tombstone())
            .key("")
            .await;
        test.run_until_idle().await;
        let empty = Some(Bytes::new());
        let mut have = seen.lock().unwrap().clone();
        have.sort();
        let want = [(None, None), (empty.clone(), None), (empty.clone(), empty)];
        assert_eq!(have, want);
    });
}

#[test]
fn what_is_beyond_a_limit_is_a_dead_letter_before_it_is_decoded() {
    run(async {
        let route = bill()
            .with("max_payload_bytes", "1KiB")
            .with("max_key_bytes", "16B")
            .with("max_header_bytes", "64B");
        let mut test = TestApp::start(app(route, takes_anything)).await;
        let payload = |bytes: usize| Message::new(vec![b'x'; bytes]);
        test.publish_raw("orders", payload(1024))
            .key("k")
            .id("fits")
            .await;
        test.publish_raw("orders", payload(1025))
            .key("k")
            .id("payload")
            .await;
        let long_key = vec![b'k'; 17];
        test.publish_raw("orders", payload(1))
            .key(long_key)
            .id("key")
            .await;
        test.publish_raw("orders", payload(1))
            .id("headers")
            .header("trace", vec![b'h'; 64])
            .await;
        test.run_until_idle().await;
        test.assert_became("bill", "fits", &[Became::Handled]);
        test.assert_calls("bill", 1);
        let letters = test.assert_dead_letters("bill", &["too_large"; 3]);
        for setting in ["max_payload_bytes", "max_key_bytes", "max_header_bytes"] {
            let of_setting = |reason: &str| reason.contains(setting);
            let named = letters.iter().filter(|letter| of_setting(&letter.reason));
            assert_eq!(named.count(), 1, "{setting}");
        }
        assert!(letters.iter().all(|letter| letter.attempts() == 0));
        test.assert_settled("bill");
    });
}

#[test]
fn a_huge_payload_passes_through_tier_dead_letter_and_replay() {
    run(async {
        let handler = |_: Delivery| async { Err(transient("later")) as Handled };
        let mut test = TestApp::start(app(bill().with("retry.tiers", ["5s"]), handler)).await;
        let huge = vec![b'x'; 15 << 20];
        test.publish_raw("orders", Message::new(huge.clone()))
            .key("k")
            .id("huge")
            .await;
        test.advance(Duration::from_secs(5)).await;
        let letters = test.assert_dead_letters("bill", &["handler"]);
        assert_eq!(letters[0].message.payload.as_deref(), Some(&huge[..]));
        assert!(!letters[0].by_reference);
        let report = test.replay("bill").await;
        assert_eq!(report.replayed, 1);
        let [.., last] = &test.became("bill", "huge")[..] else {
            panic!("nothing")
        };
        assert_eq!(*last, Became::Away(Duration::from_secs(5)));
    });
}

#[test]
fn forged_control_headers_on_a_source_topic_are_inert() {
    run(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let handler = move |delivery: Delivery| {
            let origin = delivery.origin().to_string();
            notes.lock().unwrap().push((delivery.attempt(), origin));
            async { Err(transient("later")) as Handled }
        };
        let brokers = TestBrokers::new().partitions(1);
        let mut test = brokers
            .start(app(bill().with("retry.tiers", ["5s"]), handler))
            .await;
        test.publish("orders", &1)
            .header(control::ATTEMPT, "99")
            .header(control::ORIGIN_TOPIC, "salaries")
            .header(control::ORIGIN_PARTITION, "7")
            .header(control::ORIGIN_OFFSET, "1000000")
            .header(control::ORIGIN_TIMESTAMP, "0")
            .header(control::GROUP, "other")
            .header(control::REPLAY_COUNT, "3")
            .header(control::REPLAY_OFFSET, "12")
            .header(control::FAILURE_KIND, "forged")
            .header(control::BY_REFERENCE, "true")
            .header("dotmsg-of-tomorrow", "x")
            .header("trace", "kept")
            .await;
        test.advance(Duration::from_secs(5)).await;
        let origin = "orders/0/0".to_owned();
        let want = [(1, origin.clone()), (2, origin.clone())];
        assert_eq!(seen.lock().unwrap()[..], want);
        let letters = test.assert_dead_letters("bill", &["handler"]);
        let letter = &letters[0];
        assert_eq!(letter.origin().to_string(), origin);
        assert_eq!((letter.attempts(), letter.replays()), (2, 0));
        assert_eq!(&*letter.lineage.group, "billing");
        assert!(!letter.by_reference);
        assert_eq!(letter.message.headers.len(), 1);
        assert_eq!(letter.message.headers.get_str("trace"), Some("kept"));
        assert_eq!(test.replay("bill").await.replayed, 1);
    });
}

#[test]
fn a_foreign_record_on_a_replay_topic_is_a_dead_letter() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let mut test = brokers.start(app(bill(), takes_anything)).await;
        test.run_until_idle().await;
        test.publish("orders.billing.replay", &1).id("stray").await;
        test.publish("orders", &2).id("own").await;
        test.run_until_idle().await;
        test.assert_became("bill", "own", &[Became::Handled]);
        test.assert_dead_letters("bill", &["foreign_record"]);
        assert_eq!(test.replay("bill").await.foreign, 1);
    });
}

#[test]
fn an_unknown_topic_is_an_error_that_names_it_and_the_remedy() {
    run(async {
        let brokers = TestBrokers::new().auto_create(false);
        let started = brokers.try_start(app(bill(), takes_anything)).await;
        let error = started.expect_err("the topic does not exist");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        for part in ["orders", "bill", "auto_create = true"] {
            assert!(text.contains(part), "{text}");
        }
    });
}

#[test]
fn a_topic_that_gained_partitions_is_an_error_under_key_order() {
    run(async {
        let brokers = TestBrokers::new().auto_create(false);
        brokers.create_topic("main", "orders", 3).unwrap();
        let mut test = brokers.start(app(bill(), takes_anything)).await;
        test.publish("orders", &1).key("k").await;
        test.run_until_idle().await;
        test.shutdown().await;
        brokers.broker("main").delete_topic("orders").await.unwrap();
        brokers.create_topic("main", "orders", 4).unwrap();
        let started = brokers.try_start(app(bill(), takes_anything)).await;
        let error = started.expect_err("keys have moved");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains("gained partitions"), "{text}");
        assert!(text.contains("on_partition_growth"), "{text}");
    });
}

#[test]
fn a_topic_that_was_recreated_is_an_error_and_not_a_silent_restart() {
    run(async {
        let brokers = TestBrokers::new().auto_create(false);
        brokers.create_topic("main", "orders", 3).unwrap();
        let mut test = brokers.start(app(bill(), takes_anything)).await;
        test.publish("orders", &1).key("k").await;
        test.run_until_idle().await;
        test.shutdown().await;
        brokers.broker("main").delete_topic("orders").await.unwrap();
        brokers.create_topic("main", "orders", 3).unwrap();
        let settled = test.route("bill").is_settled().await.unwrap();
        assert!(!settled, "the position says nothing of this topic");
        let error = brokers
            .start(app(bill(), takes_anything))
            .await
            .failure()
            .await;
        assert_eq!(error.kind(), ErrorKind::PositionLost);
        assert!(error.to_string().contains("on_log_mismatch"), "{error}");
        let route = bill().with("on_log_mismatch", "earliest");
        let mut test = brokers.start(app(route, takes_anything)).await;
        test.publish("orders", &2).key("k").id("new").await;
        test.run_until_idle().await;
        test.assert_became("bill", "new", &[Became::Handled]);
    });
}

#[test]
fn an_edited_ladder_drains_the_removed_tier_and_goes_on() {
    run(async {
        let handler = |_: Delivery| async { Err(transient("later")) as Handled };
        let brokers = TestBrokers::new();
        let mut test = brokers
            .start(app(bill().with("retry.tiers", ["5s"]), handler))
            .await;
        test.publish("orders", &1).key("k").id("one").await;
        test.publish("orders", &2).key("k").id("two").await;
        test.run_until_idle().await;
        test.assert_became("bill", "one", &[Became::Away(Duration::from_secs(5))]);
        test.shutdown().await;
        let mut test = brokers
            .start(app(bill().with("retry.tiers", ["10s"]), handler))
            .await;
        test.run_until_idle().await;
        test.assert_calls("bill", 0);
        test.advance(Duration::from_secs(4)).await;
        test.assert_calls("bill", 0);
        test.advance(Duration::from_secs(1)).await;
        let away = Became::Away(Duration::from_secs(10));
        test.assert_became("bill", "one", &[away]);
        test.assert_became("bill", "two", &[]);
        test.advance(Duration::from_secs(10)).await;
        test.assert_became("bill", "one", &[away, Became::DeadLettered]);
        test.assert_became("bill", "two", &[away]);
        test.advance(Duration::from_secs(10)).await;
        test.assert_became("bill", "two", &[away, Became::DeadLettered]);
        test.assert_settled("bill");
    });
}

#[test]
fn a_dead_letter_too_large_for_its_payload_is_written_by_reference() {
    run(async {
        let handler = |_: Delivery| async { Err(permanent("never")) as Handled };
        let brokers = TestBrokers::new().max_record_bytes(2_000).partitions(1);
        let mut test = brokers.start(app(bill(), handler)).await;
        let payload = vec![b'x'; 1_900];
        test.publish_raw("orders", Message::new(payload.clone()))
            .key("k")
            .id("large")
            .await;
        test.run_until_idle().await;
        let letters = test.assert_dead_letters("bill", &["handler"]);
        assert!(letters[0].by_reference);
        assert_eq!(letters[0].message.payload, None);
        // With the payload it does not fit the replay topic either; the origin it came from takes it.
        assert_eq!(test.replay("bill").await.too_large, 1);
        let report = test
            .replay_with("bill", |replay| replay.to_origin(true))
            .await;
        assert_eq!(report.replayed, 1);
        let again = test.published("orders");
        assert_eq!(again[1].payload.as_deref(), Some(&payload[..]));
        assert_eq!(again[1].id(), again[0].id());
    });
}

#[test]
fn a_wrong_configuration_does_not_start() {
    run(async {
        let wrong = bill().with("retry.tiers", ["5m", "5s"]);
        let error = TestBrokers::new()
            .try_start(app(wrong, takes_anything))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("routes.bill.retry.tiers"),
            "{error}"
        );
    });
}
