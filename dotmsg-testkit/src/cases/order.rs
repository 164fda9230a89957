//! Order: of a key, of a partition, after failures; and what has none runs side by side.

use dotmsg_core::delivery::Delivery;
use dotmsg_core::message::Message;
use tokio::time::sleep;

use crate::calls::{Call, Calls, assert_key_order};
use crate::feed::{by_key, in_turns, numbered, publish_all};
use crate::service::{Service, WORK, noting, permanent, transient, works};
use crate::trial::{Trial, to};

/// The n-th message of each of the keys `a` to `h`.
const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn overlap(first: &Call, second: &Call) -> bool {
    first.ended.is_none_or(|(ended, _)| ended > second.began)
}

/// Messages of one key are handled one at a time and in log order, while keys run side by side.
pub(crate) async fn of_a_key(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    publish_all(&*backend, in_turns(&topic, &KEYS, 25)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, works);
    let service = Service::start(backend, trial.route(&topic, &trial.name()), handler).await;
    calls.until_succeeded(200).await;
    service.settled().await;
    service.drain().await;
    for key in KEYS {
        let expected: Vec<String> = (0..25).map(|n| format!("{key}-{n}")).collect();
        assert_eq!(calls.ids_of_key(key), expected);
    }
    let calls = calls.all();
    assert_eq!(calls.len(), 200, "nothing runs twice without a cause");
    assert_key_order(&calls);
    let side_by_side = calls
        .windows(2)
        .any(|pair| pair[0].key != pair[1].key && overlap(&pair[0], &pair[1]));
    assert!(side_by_side, "no two keys ran side by side");
}

/// The same with several workers.
pub(crate) async fn of_a_key_over_several_workers(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 3).await;
    publish_all(&*backend, in_turns(&topic, &KEYS, 25)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, works);
    let app = trial
        .route(&topic, &trial.name())
        .with("workers", 3)
        .with("concurrency", 16);
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(200).await;
    service.drain().await;
    assert_eq!(calls.count(), 200);
    trial.assert_key_order(&calls);
}

/// Under `ordering = "partition"` the messages of a partition run one at a time, those without a key too.
pub(crate) async fn of_a_partition(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let any_key = |n: usize| match n % 3 {
        0 => Message::new(n.to_string()),
        key => numbered(&format!("k{key}"), n),
    };
    let both = (0..60).flat_map(|n| [to(&topic, 0, any_key(n)), to(&topic, 1, any_key(n))]);
    publish_all(&*backend, both.collect()).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, works);
    let app = trial
        .route(&topic, &trial.name())
        .with("ordering", "partition");
    let service = Service::start(backend, app, handler).await;
    calls
        .until("120 calls have ended", |calls| {
            calls.iter().filter(|call| call.ended.is_some()).count() == 120
        })
        .await;
    service.drain().await;
    for partition in [0, 1] {
        let calls: Vec<Call> = calls
            .all()
            .into_iter()
            .filter(|call| call.partition == partition)
            .collect();
        assert_eq!(calls.len(), 60);
        assert!(calls.is_sorted_by_key(|call| call.offset));
        let overlaps = calls.windows(2).any(|pair| overlap(&pair[0], &pair[1]));
        assert!(!overlaps, "two messages of a partition ran at once");
    }
}

/// A message that fails for now holds up its key, and its key alone: nothing of the key overtakes it, on any tier.
pub(crate) async fn after_failures(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    publish_all(&*backend, in_turns(&topic, &KEYS, 12)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        let id = String::from_utf8_lossy(&delivery.id()).into_owned();
        sleep(WORK).await;
        match &*id {
            "a-2" | "b-5" | "c-0" if delivery.attempt() <= 2 => Err(transient("not yet")),
            "d-11" if delivery.attempt() <= 1 => Err(transient("not yet")),
            "e-3" => Err(permanent("never")),
            _ => Ok(()),
        }
    });
    let app = trial
        .route(&topic, &trial.name())
        .with("retry.tiers", ["20ms", "50ms"]);
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(95).await;
    service.settled().await;
    service.drain().await;
    trial.assert_key_order(&calls);
    let of_a = calls.ids_of_key("a");
    let expected: Vec<String> = [0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
        .map(|n| format!("a-{n}"))
        .into();
    assert_eq!(of_a, expected);
}

/// Messages without a key have no order: one that is stuck holds up none of the others.
pub(crate) async fn null_keys_have_none(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let null = |n: usize| Message::new(n.to_string()).with_id(n.to_string());
    let nulls = (0..20).map(|n| by_key(&topic, null(n)));
    publish_all(&*backend, nulls.collect()).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        if *delivery.id() == *b"0" {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let service = Service::start(backend, trial.route(&topic, &trial.name()), handler).await;
    calls.until_succeeded(19).await;
    assert_eq!(calls.running(), 1);
    service.crash().await;
}

/// Under `ordering = "none"` a stuck message holds up none of its key either.
pub(crate) async fn none_when_none_is_asked_for(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, in_turns(&topic, &["k"], 20)).await;
    let calls = Calls::new();
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        if *delivery.id() == *b"k-0" {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let app = trial.unordered(&topic, &trial.name());
    let service = Service::start(backend, app, handler).await;
    calls.until_succeeded(19).await;
    service.crash().await;
}
