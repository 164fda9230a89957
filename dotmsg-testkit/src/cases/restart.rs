//! Restarts of the broker: what was confirmed is there afterwards, and apps go on.
//!
//! An adapter may reconnect by itself or fail for good when its broker goes away. The cases take both: an app that ended is
//! started again, as a process supervisor would, and a publisher whose records were not confirmed publishes them again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{Backend, PublishOutcome};
use dotmsg_core::delivery::Delivery;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::calls::Calls;
use crate::feed::{by_key, in_turns, numbered, publish_all};
use crate::member::{Member, record_of, stored};
use crate::service::{Service, noting, transient, well};
use crate::topic;
use crate::trial::Trial;
use crate::wait::within;

/// Records, positions and topics are there after a restart, as they were.
pub(crate) async fn keeps_what_was_confirmed(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c"], 30)).await;
    let before = topic::all(&*backend, &topic).await;
    let described = within("a description", backend.admin().topic(&topic)).await;
    let member = Member::owner(&*backend, &topic, &group, 2).await;
    let grant = member.owned[&1];
    stored(&member.commit(1, 7).await);
    member.leave().await;
    trial.restart().await;
    let backend = trial.connect().await;
    let after = topic::all(&*backend, &topic).await;
    let messages = |all: &std::collections::BTreeMap<u32, Vec<dotmsg_core::backend::Record>>| {
        let records = all.values().flatten();
        let one =
            |one: &dotmsg_core::backend::Record| (one.offset, one.appended_at, one.message.clone());
        records.map(one).collect::<Vec<_>>()
    };
    assert_eq!(messages(&before), messages(&after));
    let again = within("a description", backend.admin().topic(&topic)).await;
    assert_eq!(
        described.ok(),
        again.ok(),
        "the same topic, not another one"
    );
    let member = Member::owner(&*backend, &topic, &group, 2).await;
    assert_eq!(member.position(1).await, Some(record_of(7)));
    assert_ne!(member.owned[&1], grant, "a grant is never given twice");
}

/// Heads that are away, and who waits behind them, survive a restart.
pub(crate) async fn keeps_what_is_away(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b"], 5)).await;
    let calls = Calls::new();
    let app = || trial.route(&topic, &group).with("retry.tiers", ["300ms"]);
    let handler = |by| {
        noting(&calls, by, |delivery: Delivery| async move {
            match (&*delivery.id(), delivery.attempt()) {
                (b"a-1" | b"b-0", 1) => Err(transient("not yet")),
                _ => Ok(()),
            }
        })
    };
    let service = Service::start(backend, app(), handler(0)).await;
    service
        .until("two are away", |stats| stats.away() == 2)
        .await;
    service.drain().await;
    trial.restart().await;
    let service = Service::start(trial.connect().await, app(), handler(1)).await;
    calls.until_succeeded(10).await;
    service.settled().await;
    service.drain().await;
    trial.assert_key_order(&calls);
    assert_eq!(calls.count(), 12);
}

/// What was appended before a restart and after it is read at once, and settled up to somewhere behind it: a broker that counts its
/// leaders has a new one there, and the log is not cut short for that.
pub(crate) async fn goes_on_from_a_position_behind_it(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b"], 5)).await;
    trial.restart().await;
    let backend = trial.connect().await;
    publish_all(&*backend, in_turns(&topic, &["c", "d"], 5)).await;
    let calls = Calls::new();
    let app = || trial.route(&topic, &group).with("drain_timeout", "150ms");
    let stops_at_c_3 = noting(&calls, 0, |delivery: Delivery| async move {
        if matches!(&*delivery.id(), b"c-3" | b"d-2") {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let service = Service::start(backend, app(), stops_at_c_3).await;
    calls.until_succeeded(15).await;
    service.drain().await;
    calls.forget_running();
    let handler = noting(&calls, 1, well);
    let service = Service::start(trial.connect().await, app(), handler).await;
    calls.until_succeeded(20).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.of("c-2").len(), 1, "its progress was committed");
}

const MESSAGES: usize = 10_000;

/// 10,000 messages from many publishers to an app, across two restarts of the broker: every one that was confirmed, and every
/// one that was published again until it was, is handled; keys stay in order under each owner.
pub(crate) async fn ten_thousand_messages_across_two(trial: Trial) {
    let trial = Arc::new(trial);
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 4).await, trial.name());
    drop(backend);
    let calls = Calls::new();
    let (published, mut progress) = mpsc::unbounded_channel();
    let mut publishers = tokio::task::JoinSet::new();
    for key in 0..20 {
        let (trial, topic) = (Arc::clone(&trial), Arc::clone(&topic));
        publishers.spawn(publish_persistently(trial, topic, key, published.clone()));
    }
    drop(published);
    let stop = Arc::new(watch::Sender::new(false));
    let supervised = tokio::spawn(supervise(
        Arc::clone(&trial),
        (Arc::clone(&topic), Arc::clone(&group)),
        calls.clone(),
        stop.subscribe(),
    ));
    let mut confirmed = 0;
    for restart_at in [MESSAGES / 3, 2 * MESSAGES / 3] {
        while confirmed < restart_at {
            confirmed += within("messages are confirmed", progress.recv())
                .await
                .unwrap_or_else(|| panic!("the publishers ended early"));
        }
        trial.restart().await;
    }
    within("all publishers end", publishers.join_all()).await;
    calls.until_succeeded(MESSAGES).await;
    stop.send_replace(true);
    let starts = within("the app ends", supervised).await;
    let starts = starts.unwrap_or_else(|error| panic!("the app panicked: {error}"));
    let expected = (0..20).flat_map(|key| (0..MESSAGES / 20).map(move |n| format!("k{key}-{n}")));
    assert_eq!(calls.succeeded(), expected.collect::<BTreeSet<_>>());
    assert!(starts >= 1);
    trial.assert_key_order(&calls);
}

/// Publishes the messages of one key in batches, each again until it is confirmed whole.
async fn publish_persistently(
    trial: Arc<Trial>,
    topic: Arc<str>,
    key: usize,
    confirmed: mpsc::UnboundedSender<usize>,
) {
    const BATCH: usize = 25;
    let key = format!("k{key}");
    let mut backend = trial.connect().await;
    for batch in 0..MESSAGES / 20 / BATCH {
        let records = || {
            let numbers = batch * BATCH..(batch + 1) * BATCH;
            numbers.map(|n| by_key(&topic, numbered(&key, n))).collect()
        };
        loop {
            let outcomes = within("outcomes", backend.publisher().publish(records())).await;
            if outcomes
                .iter()
                .all(|outcome| matches!(outcome, PublishOutcome::Ok(_)))
            {
                break;
            }
            // The connection may be of a broker that is gone, and the next one of one that is not there yet.
            sleep(Duration::from_millis(5)).await;
            backend = trial.connect().await;
        }
        // The case counts only until the last restart.
        let _ = confirmed.send(BATCH);
    }
}

/// Runs the app, and starts it again whenever it ends, until it is told to stop; gives how often it was started.
async fn supervise(
    trial: Arc<Trial>,
    (topic, group): (Arc<str>, Arc<str>),
    calls: Calls,
    mut stop: watch::Receiver<bool>,
) -> usize {
    let mut starts = 0;
    loop {
        let backend: Arc<dyn Backend> = trial.connect().await;
        let app = trial.route(&topic, &group);
        let handler = noting(&calls, starts, well);
        let Ok(mut service) = Service::try_start(backend, app, handler).await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        starts += 1;
        let stopped = tokio::select! {
            biased;
            told = stop.wait_for(|stop| *stop) => told.is_ok(),
            // What it ends with is the adapter's matter; that it is started again is the supervisor's.
            () = service.ended() => false,
        };
        if stopped {
            service.drain().await;
            return starts;
        }
        calls.forget_running();
    }
}

/// A reader's and a member's connections from before a restart either go on or fail; they never go quiet.
pub(crate) async fn old_connections_do_not_go_quiet(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    let mut member = Member::owner(&*backend, &topic, &group, 1).await;
    member.resume_all(0);
    trial.restart().await;
    let new = trial.connect().await;
    publish_all(&*new, in_turns(&topic, &["a"], 1)).await;
    let heard = member.next(topic::ALL).await;
    // Either is an answer; `next` fails the case when there is none.
    drop(heard);
    let publisher = backend.publisher();
    let outcomes = publisher.publish(vec![by_key(&topic, numbered("a", 1))]);
    let outcomes = within("the old publisher answers", outcomes).await;
    assert_eq!(outcomes.len(), 1);
}
