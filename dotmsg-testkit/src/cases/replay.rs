//! Replays of dead letters: each once, to their own group alone, with their identity and fresh attempts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dotmsg_core::delivery::Delivery;
use dotmsg_core::replay::Replay;

use crate::calls::Calls;
use crate::feed::{in_turns, publish_all};
use crate::service::{Handled, Service, noting, permanent, well};
use crate::topic::dead_letters;
use crate::trial::Trial;

/// After a fix, a replay has each dead letter handled once, however often it is run; the group is settled then.
pub(crate) async fn is_once(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c"], 4)).await;
    let fixed = Arc::new(AtomicBool::new(false));
    let calls = Calls::new();
    let switch = Arc::clone(&fixed);
    let handler = noting(&calls, 0, move |delivery: Delivery| {
        let broken = !switch.load(Ordering::SeqCst);
        async move {
            match delivery.payload().is_some_and(|n| **n == *b"2") && broken {
                true => Err(permanent("a mistake")),
                false => Ok(()),
            }
        }
    });
    let app = trial.route(&topic, &group);
    let service = Service::start(trial.connect().await, app, handler).await;
    service
        .until("three dead letters", |stats| stats.dead_lettered() == 3)
        .await;
    service.settled().await;
    fixed.store(true, Ordering::SeqCst);
    let replay = || async {
        let report = service.route().replay().run().await;
        report.unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(replay().await.replayed, 3);
    calls.until_succeeded(12).await;
    let again = replay().await;
    assert_eq!((again.replayed, again.replayed_before), (0, 3));
    service.settled().await;
    service.drain().await;
    for key in ["a", "b", "c"] {
        let calls = calls.of(&format!("{key}-2"));
        let attempts: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, [1, 1], "the attempts begin anew");
    }
    let letters = dead_letters(&*backend, &topic, &group).await;
    assert_eq!(letters.len(), 3, "they stay where they are");
}

/// A replay is the group's own: another group of the topic does not see it.
pub(crate) async fn is_private_to_the_group(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let groups = [trial.name(), trial.name()];
    publish_all(&*backend, in_turns(&topic, &["a"], 3)).await;
    let failing = |_: Delivery| async { Err(permanent("never")) as Handled };
    let app = trial.route(&topic, &groups[0]);
    let first = Service::start(trial.connect().await, app, failing).await;
    let calls = Calls::new();
    let app = trial.route(&topic, &groups[1]);
    let second = Service::start(backend, app, noting(&calls, 1, well)).await;
    first
        .until("three dead letters", |stats| stats.dead_lettered() == 3)
        .await;
    calls.until_succeeded(3).await;
    let report = first.route().replay().run().await;
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.replayed, 3);
    first
        .until("they failed again", |stats| stats.dead_lettered() == 6)
        .await;
    second.settled().await;
    second.drain().await;
    first.drain().await;
    assert_eq!(calls.count(), 3, "the other group saw each once");
}

/// A replay that nobody has handled yet waits for the next owner.
pub(crate) async fn survives_a_stop(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a"], 3)).await;
    let failing = |_: Delivery| async { Err(permanent("never")) as Handled };
    let app = || trial.route(&topic, &group);
    let service = Service::start(trial.connect().await, app(), failing).await;
    service
        .until("three dead letters", |stats| stats.dead_lettered() == 3)
        .await;
    let topology = Arc::clone(&service.route().topology);
    service.drain().await;
    let calls = Calls::new();
    let report = Replay::new(Arc::clone(&backend), topology).run().await;
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.replayed, 3);
    let service = Service::start(backend, app(), noting(&calls, 1, well)).await;
    calls.until_succeeded(3).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.ids_of_key("a"), ["a-0", "a-1", "a-2"]);
}
