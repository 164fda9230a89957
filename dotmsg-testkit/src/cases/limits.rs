//! Limits: whatever the backlog and however slow the handlers, what is held stays within what is configured.

use std::sync::Arc;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::message::Message;
use tokio::sync::watch;

use crate::calls::Calls;
use crate::feed::{by_key, in_turns, numbered, publish_all};
use crate::service::{Handled, Service, fails_a_0_once, noting, transient};
use crate::trial::Trial;
use crate::wait::until;

/// Handlers that wait until they are let go.
fn held(
    calls: &Calls,
    let_go: &Arc<watch::Sender<bool>>,
) -> impl Fn(Delivery) -> dotmsg_core::backend::BoxFuture<'static, Handled> + Clone + Send + Sync + 'static
{
    let let_go = Arc::clone(let_go);
    noting(calls, 0, move |_| {
        let mut let_go = let_go.subscribe();
        async move {
            // The sender outlives the app.
            let _ = let_go.wait_for(|go| *go).await;
            Ok(())
        }
    })
}

fn many_keys(topic: &Arc<str>, count: usize) -> Vec<dotmsg_core::backend::PublishRecord> {
    let one = |n: usize| by_key(topic, numbered(&format!("k{n}"), 0));
    (0..count).map(one).collect()
}

/// No more handlers run than `concurrency` allows, over all partitions and workers.
pub(crate) async fn handlers_running(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 3).await;
    publish_all(&*backend, many_keys(&topic, 60)).await;
    let (calls, let_go) = (Calls::new(), Arc::new(watch::Sender::new(false)));
    let app = trial
        .route(&topic, &trial.name())
        .with("concurrency", 8)
        .with("workers", 2);
    let service = Service::start(backend, app, held(&calls, &let_go)).await;
    calls
        .until("8 handlers run", |calls| {
            let running = calls.iter().filter(|call| call.ended.is_none()).count();
            assert!(running <= 8, "{running} handlers run");
            running == 8
        })
        .await;
    // Others were handed over, and wait for one of the eight to end.
    service.until("others wait", |stats| stats.held() > 8).await;
    assert_eq!(calls.running(), 8);
    let_go.send_replace(true);
    calls
        .until("all are handled", |calls| {
            let running = calls.iter().filter(|call| call.ended.is_none()).count();
            assert!(running <= 8, "{running} handlers run");
            calls.len() == 60 && running == 0
        })
        .await;
    service.drain().await;
}

/// No more messages are held than `max_held_messages`; what was not read is read when there is room.
pub(crate) async fn messages_held(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    // Few keys: while a permit is free, followers of busy keys are read up to the limit.
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c", "d"], 100)).await;
    let (calls, let_go) = (Calls::new(), Arc::new(watch::Sender::new(false)));
    let app = trial
        .route(&topic, &trial.name())
        .with("concurrency", 8)
        // Not a divisor: the second batch has to be a smaller one.
        .with("batch_messages", 30)
        .with("max_held_messages", 50);
    let service = Service::start(backend, app, held(&calls, &let_go)).await;
    until("it holds what it may", || async {
        let held = service.stats().held();
        assert!(held <= 50, "{held} are held");
        (held == 50).then_some(())
    })
    .await;
    let_go.send_replace(true);
    until("all are handled", || async {
        let held = service.stats().held();
        assert!(held <= 50, "{held} are held");
        (calls.succeeded().len() == 400).then_some(())
    })
    .await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.count(), 400, "each ran once");
}

/// The same in bytes; a message larger than the limit still comes through, alone.
pub(crate) async fn bytes_held(trial: Trial) {
    const SIZE: usize = 10_000;
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let one = |n: usize| {
        let message = Message::new(vec![b'x'; SIZE]).with_id(n.to_string());
        by_key(&topic, message.with_key(format!("k{n}")))
    };
    publish_all(&*backend, (0..100).map(one).collect()).await;
    let (calls, let_go) = (Calls::new(), Arc::new(watch::Sender::new(false)));
    let app = trial
        .route(&topic, &trial.name())
        .with("max_held_bytes", "100kB")
        .with("max_payload_bytes", "20kB");
    let service = Service::start(backend, app, held(&calls, &let_go)).await;
    // Up to the limit there is room for nine, and one more where the last may go beyond.
    service
        .until("it holds what it may", |stats| stats.held() >= 9)
        .await;
    let most = |stats: &dotmsg_core::runtime::RouteStats| {
        let held = stats.held();
        assert!(held <= 10, "{held} messages of 10 kB are held");
        true
    };
    let_go.send_replace(true);
    until("all are handled", || async {
        most(service.stats());
        (calls.succeeded().len() == 100).then_some(())
    })
    .await;
    service.settled().await;
    service.drain().await;
}

/// Followers of failing keys are held up to `park.max_held_messages`; at the cap the partition pauses and says so, loses
/// nothing and reorders nothing.
pub(crate) async fn followers_parked(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let mut records = in_turns(&topic, &["a", "b"], 60);
    publish_all(&*backend, records.drain(..2).collect()).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, fails_a_0_once);
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["700ms"])
        .with("park.max_held_messages", 10)
        .with("batch_messages", 4);
    let service = Service::start(trial.connect().await, app, handler).await;
    // What was held when the head went away is parked with it; so the followers are published afterwards.
    service
        .until("a-0 is away", |stats| stats.away() == 1)
        .await;
    publish_all(&*backend, records).await;
    until("the partition pauses at the cap", || async {
        let stats = service.stats();
        // The batch with which the cap is reached is held whole.
        assert!(stats.parked() < 10 + 4, "{} are parked", stats.parked());
        (stats.parked() >= 10 && stats.paused() == 1).then_some(())
    })
    .await;
    assert!(calls.count() < 120, "it read on past the cap");
    calls.until_succeeded(120).await;
    service.settled().await;
    assert_eq!(service.stats().paused(), 0);
    service.drain().await;
    trial.assert_key_order(&calls);
    assert_eq!(calls.count(), 121, "nothing but a-0 ran twice");
}

/// No more keys are away than `park.max_keys`.
pub(crate) async fn keys_away(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, many_keys(&topic, 60)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        match delivery.attempt() {
            1 => Err(transient("not yet")),
            _ => Ok(()),
        }
    });
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["150ms"])
        .with("park.max_keys", 10)
        .with("concurrency", 4)
        .with("batch_messages", 4);
    let service = Service::start(backend, app, handler).await;
    until("all are handled", || async {
        // Those that were in hand when the cap was reached go away too.
        let away = service.stats().away();
        assert!(away <= 10 + 4 + 4, "{away} keys are away");
        (calls.succeeded().len() == 60).then_some(())
    })
    .await;
    service.settled().await;
    service.drain().await;
}
