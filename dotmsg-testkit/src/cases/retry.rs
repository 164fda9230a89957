//! Retries: never early, never in the way of other keys, as often as configured, and drained when the ladder changes.

use std::time::Duration;

use dotmsg_core::delivery::{Delivery, Settlement};
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::feed::{in_turns, numbered, publish, publish_all};
use crate::service::{Handled, Service, fails_a_0_once, noting, transient};
use crate::topic::dead_letters;
use crate::trial::Trial;
use crate::wait::until;

/// Stamps of brokers have a millisecond's grain.
const GRAIN: Duration = Duration::from_millis(1);

/// Fails twice, after a time that differs from message to message: what is due together would hide who comes early.
async fn fails_twice(delivery: Delivery) -> Handled {
    let number = delivery.origin().offset % 16;
    sleep(Duration::from_millis(5 * number)).await;
    match delivery.attempt() {
        1 | 2 => Err(transient("not yet")),
        _ => Ok(()),
    }
}

/// No retry comes before its tier's delay has passed since the failure, tier by tier.
pub(crate) async fn is_never_early(trial: Trial) {
    const TIERS: [Duration; 2] = [Duration::from_millis(80), Duration::from_millis(200)];
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    publish_all(&*backend, in_turns(&topic, &keys, 1)).await;
    let calls = Calls::new();
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["80ms", "200ms"]);
    let service = Service::start(backend, app, noting(&calls, 0, fails_twice)).await;
    calls.until_succeeded(20).await;
    service.settled().await;
    service.drain().await;
    for key in keys {
        let calls = calls.of(&format!("{key}-0"));
        assert_eq!(calls.len(), 3, "{key}");
        for (pair, tier) in calls.windows(2).zip(TIERS) {
            let failed = pair[0].ended.map_or(pair[0].began, |(ended, _)| ended);
            let waited = pair[1].began - failed;
            assert!(
                waited + GRAIN >= tier,
                "{key} came after {waited:?}, not {tier:?}"
            );
        }
    }
}

/// While a key waits in a tier the others run on, and its followers wait for it.
pub(crate) async fn others_run_on(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c"], 10)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, fails_a_0_once);
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["400ms"]);
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(30).await;
    let all = calls.all();
    let retried = all.iter().position(|call| call.attempt == 2);
    let Some(retried) = retried else {
        panic!("a-0 was not retried")
    };
    let others = all[..retried].iter().filter(|call| call.key != "a");
    assert_eq!(others.count(), 20, "the others did not wait for it");
    if trial.keeps_order() {
        let followers = all[..retried].iter().filter(|call| call.key == "a");
        assert_eq!(followers.count(), 1, "its followers waited for it");
    }
    service.settled().await;
    service.drain().await;
}

/// Under `order = "relax"` its followers run on too.
pub(crate) async fn followers_run_on_when_order_is_relaxed(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, in_turns(&topic, &["a"], 10)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, fails_a_0_once);
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["300ms"])
        .with("retry.order", "relax");
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(10).await;
    let last = calls.all().pop().map(|call| (call.id, call.attempt));
    assert_eq!(last, Some(("a-0".to_owned(), 2)));
    service.settled().await;
    service.drain().await;
}

/// Without tiers a message is tried a few times in place, and is a dead letter then; its key waits, and goes on.
pub(crate) async fn in_place(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a"], 2)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        match &*delivery.id() {
            b"a-0" => Err(transient("never")),
            _ => Ok(()),
        }
    });
    let app = trial
        .route(&topic, &group)
        .with("retry.attempts", 4)
        .with("retry.backoff", "1ms");
    let service = Service::start(trial.connect().await, app, handler).await;
    calls.until_succeeded(1).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.of("a-0").len(), 4);
    let letters = dead_letters(&*backend, &topic, &group).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attempts(), 4);
}

/// The ladder ends: one call per tier and one more, then the dead letter.
pub(crate) async fn walks_the_whole_ladder(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish(&*backend, &topic, numbered("a", 0)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |_| async { Err(transient("never")) });
    let app = trial
        .route(&topic, &group)
        .with("retry.tiers", ["10ms", "20ms", "30ms"]);
    let service = Service::start(trial.connect().await, app, handler).await;
    until("it is a dead letter", || async {
        (service.stats().dead_lettered() == 1).then_some(())
    })
    .await;
    service.settled().await;
    assert_eq!(service.stats().away(), 0);
    service.drain().await;
    let attempts: Vec<u32> = calls.all().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let letters = dead_letters(&*backend, &topic, &group).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attempts(), 4);
}

/// A handler may ask for a retry, a panic and a call beyond its time limit are failures like any other.
pub(crate) async fn whatever_fails_is_tried_again(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, in_turns(&topic, &["ask", "panic", "late"], 1)).await;
    let calls = Calls::new();
    let noted = calls.clone();
    let handler = move |delivery: Delivery| {
        let calls = noted.clone();
        async move {
            let call = calls.begin(0, &delivery);
            let first = delivery.attempt() == 1;
            calls.end(call, !first);
            match &*delivery.id() {
                b"ask-0" if first => {
                    return Settlement::Retry {
                        reason: "asked for".to_owned(),
                    };
                }
                b"late-0" if first => std::future::pending::<()>().await,
                id => assert!(!(first && *id == *b"panic-0"), "a panic on purpose"),
            }
            Settlement::Ack
        }
    };
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["20ms"])
        .with("timeout", "100ms");
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(3).await;
    service.settled().await;
    assert_eq!(service.stats().retried(), 3);
    assert_eq!(service.stats().dead_lettered(), 0);
    service.drain().await;
}

/// A tier that is taken out of the configuration is drained: what waits in it comes back when it is due.
pub(crate) async fn a_removed_tier_is_drained(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b"], 3)).await;
    let calls = Calls::new();
    let handler = |by| {
        noting(&calls, by, |delivery: Delivery| async move {
            match (&*delivery.id(), delivery.attempt()) {
                (b"a-0" | b"b-1", 1) => Err(transient("not yet")),
                _ => Ok(()),
            }
        })
    };
    let before = trial
        .route(&topic, &group)
        .with("retry.tiers", ["300ms", "5s"]);
    let service = Service::start(trial.connect().await, before, handler(0)).await;
    service
        .until("two are away", |stats| stats.away() == 2)
        .await;
    service.drain().await;
    let failed = Instant::now();
    let after = trial.route(&topic, &group).with("retry.tiers", ["5s"]);
    let service = Service::start(backend, after, handler(1)).await;
    calls.until_succeeded(6).await;
    service.settled().await;
    assert_eq!(service.stats().away(), 0);
    service.drain().await;
    assert!(
        failed.elapsed() < Duration::from_secs(5),
        "in the removed tier"
    );
    trial.assert_key_order(&calls);
    for id in ["a-0", "b-1"] {
        assert_eq!(calls.of(id).len(), 2, "{id}");
    }
}

/// Heads that are away survive a clean stop: neither lost nor repeated early, and nothing of their keys overtakes them.
pub(crate) async fn away_heads_survive_a_stop(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c", "d"], 5)).await;
    let calls = Calls::new();
    let app = || trial.route(&topic, &group).with("retry.tiers", ["250ms"]);
    let handler = |by| {
        noting(&calls, by, |delivery: Delivery| async move {
            match (&*delivery.id(), delivery.attempt()) {
                (b"a-0" | b"b-0" | b"c-4", 1) => Err(transient("not yet")),
                _ => Ok(()),
            }
        })
    };
    let service = Service::start(trial.connect().await, app(), handler(0)).await;
    service
        .until("three are away", |stats| stats.away() == 3)
        .await;
    let report = service.drain().await;
    assert_eq!(report.routes[0].abandoned, 0);
    let service = Service::start(backend, app(), handler(1)).await;
    calls.until_succeeded(20).await;
    service.settled().await;
    service.drain().await;
    trial.assert_key_order(&calls);
    for id in ["a-0", "b-0", "c-4"] {
        let calls = calls.of(id);
        assert_eq!(calls.len(), 2, "{id}");
        let failed = calls[0].ended.map_or(calls[0].began, |(ended, _)| ended);
        let waited = calls[1].began - failed;
        assert!(
            waited + GRAIN >= Duration::from_millis(250),
            "{id}: {waited:?}"
        );
    }
    let all = calls.all();
    assert_eq!(all.len(), 23, "nothing else ran twice");
}
