//! A position that stopped its route: reset, and what keeps, comes back, or is lost by it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::app::App;
use dotmsg_core::backend::{
    AssignmentEvent, Backend, CommitOutcome, Progress, PublishRecord, Retention, Subscription,
    TopicSpec,
};
use dotmsg_core::clock::{Clock, Timestamp, TokioClock};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::ErrorKind;
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_core::message::Message;
use dotmsg_core::progress::{Origin, PositionRecord};
use dotmsg_core::reset::{HeadFate, Reset, ResetReport};
use dotmsg_core::router::{RouteSpec, Topology};
use dotmsg_core::testing::{TestApp, TestBrokers, run};

use super::flaky::Flaky;
use super::{Handled, app, bill, transient};

const MINUTE: Duration = Duration::from_secs(60);

/// Payloads in the order of their calls, and whether those that start with `!` fail.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>);

impl Calls {
    /// Two tiers, so that one of them can lose its records.
    fn app(&self) -> App {
        let calls = self.clone();
        let handler = move |delivery: Delivery| {
            let payload = delivery.payload().cloned().unwrap_or_default();
            let text = String::from_utf8_lossy(&payload).into_owned();
            let fails = text.starts_with('!') && !calls.1.load(Relaxed);
            calls.0.lock().unwrap().push(text);
            async move {
                if fails {
                    return Err(transient("later")) as Handled;
                }
                Ok(())
            }
        };
        app(bill().with("retry.tiers", ["1m", "5m"]), handler)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn put(test: &TestApp, key: &str, payload: &'static str) {
    let message = Message::new(payload).with_key(key.to_owned());
    test.publish_raw("orders", message).await;
}

fn reset(brokers: &TestBrokers) -> Reset {
    let spec = RouteSpec::new("bill", "orders", "billing");
    let topology = Arc::new(Topology::of(&spec, ""));
    Reset::new(Arc::new(brokers.broker("main")), topology)
}

/// Before and after, by partition.
fn moves(report: &ResetReport) -> Vec<(u32, Option<u64>, Option<u64>)> {
    let partitions = report.partitions.iter();
    partitions
        .map(|one| (one.partition, one.before, one.after))
        .collect()
}

#[test]
fn a_head_that_its_tier_has_lost_is_taken_up_again_and_nothing_else_is_touched() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "!a1").await;
        put(&test, "a", "a2").await;
        put(&test, "b", "b").await;
        test.advance(MINUTE).await;
        put(&test, "c", "!c").await;
        test.run_until_idle().await;
        // !a1 waits in the second tier, a2 behind it, !c in the first.
        assert_eq!(calls.take(), ["!a1", "b", "!a1", "!c"]);
        test.shutdown().await;
        let broker = brokers.broker("main");
        broker
            .delete_topic("orders.billing.retry.5m")
            .await
            .unwrap();
        for _ in 0..2 {
            let error = brokers.start(calls.app()).await.failure().await;
            assert_eq!(error.kind(), ErrorKind::PositionLost);
            assert!(
                error.to_string().contains("dotmsg::reset::Reset"),
                "{error}"
            );
        }
        let dry = reset(&brokers).dry_run(true).run().await.unwrap();
        let report = reset(&brokers).run().await.unwrap();
        assert_eq!(dry, report);
        let partition = &report.partitions[0];
        assert_eq!(moves(&report), [(0, Some(1), Some(0))]);
        assert_eq!((partition.written, partition.waiting), (true, 1));
        let [head] = &partition.heads[..] else {
            panic!("one head was lost: {report}")
        };
        assert_eq!(
            (head.tier, head.offset, head.origin, head.fate),
            (MINUTE * 5, 0, Origin::Source(0), HeadFate::FromOrigin)
        );
        // It is done: once more has nothing to do.
        let again = reset(&brokers).run().await.unwrap();
        assert!(!again.partitions[0].written, "{again}");

        calls.1.store(true, Relaxed);
        let mut test = brokers.start(calls.app()).await;
        test.run_until_idle().await;
        assert_eq!(calls.take(), ["!a1", "a2"]);
        test.advance(MINUTE).await;
        assert_eq!(calls.take(), ["!c"]);
        assert!(test.route("bill").is_settled().await.unwrap());
        test.shutdown().await;
    });
}

/// Has a topic's records removed after ten minutes.
async fn limit(broker: &LogBroker, name: &str) {
    let topic = TopicSpec {
        name: name.into(),
        partitions: 1,
        retention: Retention::For(MINUTE * 10),
    };
    broker.admin().create_topic(topic).await.unwrap();
}

/// A broker on which `orders` is removed by age, and an app on it.
async fn with_retention(calls: &Calls) -> (LogBroker, Arc<dyn Clock>, App) {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(Timestamp(1_000_000)));
    let mut options = LogOptions::new(Arc::clone(&clock));
    options.segment_bytes = 1;
    let broker = LogBroker::memory(options);
    limit(&broker, "orders").await;
    let backend: Arc<dyn Backend> = Arc::new(broker.clone());
    let app = calls
        .app()
        .backend("main", Arc::new(Flaky::new(&backend)))
        .clock(Arc::clone(&clock));
    (broker, clock, app)
}

#[test]
fn dead_letters_that_retention_removed_unreplayed_are_told_once() {
    run(async {
        let calls = Calls::default();
        let (broker, _, app) = with_retention(&calls).await;
        let running = app.start().await.unwrap();
        let handle = running.handle().clone();
        let publisher = handle.publisher("main").unwrap();
        for _ in 0..5 {
            publisher
                .publish("orders", Message::new("!x"))
                .await
                .unwrap();
        }
        tokio::time::sleep(MINUTE * 7).await;
        handle.idle().await;
        let route = handle.route("bill").unwrap();
        assert_eq!(route.stats.dead_lettered(), 5);
        tokio::time::sleep(MINUTE * 20).await;
        // The route keeps them for ever; somebody changed that on the broker. All but the newest go.
        limit(&broker, "orders.billing.dlq").await;
        broker.apply_retention().unwrap();
        let looked = route.replay().dry_run(true).run().await.unwrap();
        assert_eq!((looked.removed, looked.replayed), (4, 1));
        let none = route.replay().kind("other").run().await.unwrap();
        assert_eq!((none.removed, none.filtered), (4, 1));
        let report = route.replay().run().await.unwrap();
        assert_eq!((report.removed, report.replayed), (0, 1));
        handle.drain();
        running.wait().await.unwrap();
    });
}

#[test]
fn a_message_that_is_gone_everywhere_is_lost_only_when_that_is_accepted() {
    run(async {
        let calls = Calls::default();
        let (broker, clock, app) = with_retention(&calls).await;
        let running = app.start().await.unwrap();
        let handle = running.handle().clone();
        let publisher = handle.publisher("main").unwrap();
        for (key, payload) in [("a", "!a"), ("b", "b1"), ("b", "b2")] {
            let message = Message::new(payload).with_key(key);
            publisher.publish("orders", message).await.unwrap();
        }
        handle.idle().await;
        handle.drain();
        running.wait().await.unwrap();
        assert_eq!(calls.take(), ["!a", "b1", "b2"]);
        tokio::time::sleep(MINUTE * 60).await;
        broker.apply_retention().unwrap();
        broker
            .delete_topic("orders.billing.retry.1m")
            .await
            .unwrap();

        let topology = Arc::clone(&handle.routes()[0].topology);
        let reset = Reset::new(Arc::new(broker.clone()), topology);
        for reset in [
            reset.clone(),
            reset.clone().to_latest(),
            reset.clone().to_earliest(),
        ] {
            let error = reset.run().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PositionLost);
            for part in ["messages 1", "offset 0", "drop_lost_heads", "group billing"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
        let report = reset.drop_lost_heads().run().await.unwrap();
        assert_eq!(moves(&report), [(0, Some(3), Some(3))]);
        let heads = &report.partitions[0].heads;
        assert_eq!((heads.len(), heads[0].fate), (1, HeadFate::Dropped));
        assert!(report.to_string().contains("LOST"), "{report}");

        let backend: Arc<dyn Backend> = Arc::new(broker);
        let app = calls.app().backend("main", backend).clock(clock);
        let running = app.start().await.unwrap();
        let handle = running.handle().clone();
        handle.idle().await;
        assert!(handle.routes()[0].is_settled().await.unwrap());
        assert_eq!(calls.take(), [""; 0]);
        handle.drain();
        running.wait().await.unwrap();
    });
}

async fn record(brokers: &TestBrokers) -> PositionRecord {
    let admin = brokers.broker("main").admin();
    let positions = admin.positions("billing", "orders").await.unwrap();
    PositionRecord::decode(&positions[0].1).unwrap()
}

#[test]
fn a_head_behind_the_new_position_comes_again_and_one_before_it_keeps_waiting() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "!0").await;
        put(&test, "b", "1").await;
        put(&test, "c", "!2").await;
        test.run_until_idle().await;
        test.crash().await;
        calls.take();
        let before = record(&brokers).await;
        assert!(!before.clean);
        let report = reset(&brokers).to_offset(0, 1).run().await.unwrap();
        let partition = &report.partitions[0];
        assert_eq!((partition.waiting, partition.heads.len()), (1, 1));
        let head = partition.heads[0];
        assert_eq!(
            (head.origin, head.fate),
            (Origin::Source(2), HeadFate::FromOrigin)
        );
        // A takeover like any other, left cleanly: it is no crash for whoever comes next.
        let after = record(&brokers).await;
        assert_eq!((after.epoch, after.clean), (before.epoch + 1, true));
        assert_ne!(after.owner, before.owner);
        calls.1.store(true, Relaxed);
        let mut test = brokers.start(calls.app()).await;
        test.run_until_idle().await;
        assert_eq!(calls.take(), ["1", "!2"]);
        test.advance(MINUTE * 2).await;
        assert_eq!(calls.take(), ["!0"]);
    });
}

#[test]
fn it_is_refused_while_the_route_runs_and_may_look_meanwhile() {
    run(async {
        let brokers = TestBrokers::new().partitions(2);
        let mut test = brokers.start(Calls::default().app()).await;
        put(&test, "a", "a").await;
        test.run_until_idle().await;
        let error = reset(&brokers).to_earliest().run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("Stop the route"), "{error}");
        let looked = reset(&brokers)
            .to_earliest()
            .dry_run(true)
            .run()
            .await
            .unwrap();
        assert_eq!(looked.partitions.len(), 2);
        test.run_until_idle().await;
        test.shutdown().await;
        reset(&brokers).to_earliest().run().await.unwrap();
    });
}

#[test]
fn to_earliest_to_latest_and_one_partition_to_an_offset() {
    run(async {
        let brokers = TestBrokers::new().partitions(2);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        for payload in ["0", "1", "2", "3"] {
            let record = PublishRecord {
                topic: "orders".into(),
                partition: Some(1),
                message: Message::new(payload),
            };
            let publisher = brokers.broker("main").publisher();
            publisher.publish(vec![record]).await;
        }
        test.run_until_idle().await;
        test.shutdown().await;
        calls.take();
        let report = reset(&brokers).to_offset(1, 2).run().await.unwrap();
        assert_eq!(moves(&report), [(1, Some(4), Some(2))]);
        let mut test = brokers.start(calls.app()).await;
        test.run_until_idle().await;
        test.shutdown().await;
        let mut again = calls.take();
        again.sort_unstable();
        assert_eq!(again, ["2", "3"]);
        let report = reset(&brokers).to_earliest().run().await.unwrap();
        assert_eq!(
            moves(&report),
            [(0, Some(0), Some(0)), (1, Some(4), Some(0))]
        );
        let report = reset(&brokers).to_latest().run().await.unwrap();
        assert_eq!(
            moves(&report),
            [(0, Some(0), Some(0)), (1, Some(0), Some(4))]
        );
        let mut test = brokers.start(calls.app()).await;
        test.run_until_idle().await;
        assert_eq!(calls.take(), [""; 0]);
        test.shutdown().await;
        for (partition, offset) in [(1, 5), (2, 0)] {
            let wrong = reset(&brokers).to_offset(1, 0).to_offset(partition, offset);
            assert_eq!(wrong.run().await.unwrap_err().kind(), ErrorKind::Invalid);
        }
        // Nothing of a refused reset is written.
        let still = reset(&brokers).dry_run(true).run().await.unwrap();
        assert_eq!(
            moves(&still),
            [(0, Some(0), Some(0)), (1, Some(4), Some(4))]
        );
    });
}

/// Writes bytes in place of the position record of partition 0.
async fn spoil(broker: &LogBroker) {
    let (mut source, control) = broker
        .subscribe(Subscription::new("orders", "billing"))
        .await
        .unwrap();
    let event = std::future::poll_fn(|cx| source.poll_event(cx)).await;
    let AssignmentEvent::Assigned(granted) = event.unwrap() else {
        panic!("the first event assigns")
    };
    let outcomes = control.commit(vec![Progress {
        partition: 0,
        grant: granted[0].grant,
        watermark: 0,
        record: vec![99, 1, 2].into(),
    }]);
    assert!(matches!(outcomes.await[0], CommitOutcome::Committed));
    control.close(MINUTE).await.unwrap();
}

#[test]
fn a_record_that_cannot_be_read_is_overwritten_and_that_is_said() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "a").await;
        test.run_until_idle().await;
        test.shutdown().await;
        spoil(&brokers.broker("main")).await;
        let error = brokers.start(calls.app()).await.failure().await;
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.to_string().contains("dotmsg::reset::Reset"),
            "{error}"
        );
        let error = reset(&brokers).run().await.unwrap_err();
        assert!(error.to_string().contains("to_earliest"), "{error}");
        let report = reset(&brokers).to_latest().run().await.unwrap();
        assert_eq!(moves(&report), [(0, None, Some(1))]);
        assert!(report.to_string().contains("format 99"), "{report}");
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "b").await;
        test.run_until_idle().await;
        assert_eq!(calls.take(), ["a", "b"]);
    });
}

#[test]
fn a_topic_that_was_recreated_gets_a_position_of_its_own() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "!a").await;
        test.run_until_idle().await;
        test.shutdown().await;
        brokers.broker("main").delete_topic("orders").await.unwrap();
        brokers.create_topic("main", "orders", 1).unwrap();
        let error = reset(&brokers).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PositionLost);
        // What waits in a tier belongs to the old topic.
        let error = reset(&brokers).to_earliest().run().await.unwrap_err();
        assert!(error.to_string().contains("drop_lost_heads"), "{error}");
        let report = reset(&brokers).to_earliest().drop_lost_heads().run().await;
        assert_eq!(report.unwrap().partitions[0].heads.len(), 1);
        calls.take();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "b", "b").await;
        test.advance(MINUTE * 2).await;
        assert_eq!(calls.take(), ["b"]);
    });
}

#[test]
fn a_lost_replay_is_taken_up_from_the_replay_topic() {
    run(async {
        let brokers = TestBrokers::new().partitions(1);
        let calls = Calls::default();
        let mut test = brokers.start(calls.app()).await;
        put(&test, "a", "!a").await;
        test.advance(MINUTE * 7).await;
        test.assert_dead_letters("bill", &["handler"]);
        test.replay("bill").await;
        test.shutdown().await;
        calls.take();
        let broker = brokers.broker("main");
        broker
            .delete_topic("orders.billing.retry.1m")
            .await
            .unwrap();
        let report = reset(&brokers).run().await.unwrap();
        let head = report.partitions[0].heads[0];
        assert_eq!(
            (head.origin, head.fate),
            (Origin::Replay(0), HeadFate::FromOrigin)
        );
        calls.1.store(true, Relaxed);
        let mut test = brokers.start(calls.app()).await;
        test.run_until_idle().await;
        assert_eq!(calls.take(), ["!a"]);
    });
}

#[test]
fn an_app_that_is_only_opened_runs_nothing_and_gives_its_routes() {
    run(async {
        let calls = Calls::default();
        let (broker, clock, app) = with_retention(&calls).await;
        let running = app.start().await.unwrap();
        let handle = running.handle().clone();
        let message = Message::new("x").with_key("k");
        let publisher = handle.publisher("main").unwrap();
        publisher.publish("orders", message.clone()).await.unwrap();
        handle.idle().await;
        handle.drain();
        running.wait().await.unwrap();
        let backend: Arc<dyn Backend> = Arc::new(broker);
        let app = calls.app().backend("main", backend).clock(clock);
        let opened = app.open().await.unwrap();
        let route = opened.route("bill").unwrap();
        assert!(
            route
                .dead_letters()
                .await
                .unwrap()
                .next()
                .await
                .unwrap()
                .is_none()
        );
        assert_eq!(route.replay().run().await.unwrap().replayed, 0);
        route.reset().to_earliest().run().await.unwrap();
        opened.close().await.unwrap();
        let closed = route.replay().run().await.unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Closed);
        assert_eq!(calls.take(), ["x"]);
    });
}
