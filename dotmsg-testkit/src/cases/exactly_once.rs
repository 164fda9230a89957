//! `delivery = "exactly_once"`: what handlers return is in the output topic once, however the app ends and whatever its
//! transactions come to.
//!
//! Every case passes the messages of one topic on to another and counts what a read-committed reader finds there: each message
//! once, those of a key in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use dotmsg_core::backend::Backend;
use dotmsg_core::config::RouteDefaults;
use dotmsg_core::delivery::Delivery;
use dotmsg_core::handler::{HandlerError, Outgoing};
use dotmsg_core::message::Message;
use tokio::time::sleep;

use crate::calls::Calls;
use crate::feed::{in_turns, publish_all};
use crate::interpose::{Interposed, Point};
use crate::service::{Service, WORK, permanent, transient};
use crate::topic::{self, dead_letters};
use crate::trial::{Trial, range, to};
use crate::wait::until;

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const EACH: usize = 20;
const PARTITIONS: u32 = 4;
/// The payload of what is written behind everything, to know that all before it was read.
const LAST: &str = "last";

struct Passing {
    trial: Trial,
    backend: Arc<dyn Backend>,
    topic: Arc<str>,
    out: Arc<str>,
    group: Arc<str>,
    calls: Calls,
}

impl Passing {
    async fn begin(trial: Trial) -> Self {
        let backend = trial.connect().await;
        let topic = trial.topic(&*backend, PARTITIONS).await;
        let out = trial.topic(&*backend, PARTITIONS).await;
        publish_all(&*backend, in_turns(&topic, &KEYS, EACH)).await;
        Self {
            backend,
            topic,
            out,
            group: trial.name(),
            calls: Calls::new(),
            trial,
        }
    }

    fn route(&self) -> RouteDefaults {
        self.trial
            .route(&self.topic, &self.group)
            .with("delivery", "exactly_once")
            .with("concurrency", 8)
            .with("max_held_messages", 32)
            .with("batch_messages", 8)
            .with("retry.tiers", ["30ms"])
            .with("retry.attempts", 1)
    }

    /// An app that passes on, unless `fails` has something against it.
    async fn start(
        &self,
        backend: Arc<dyn Backend>,
        by: usize,
        fails: fn(&Delivery) -> Option<HandlerError>,
    ) -> Service {
        let (calls, out) = (self.calls.clone(), Arc::clone(&self.out));
        let handler = move |delivery: Delivery| {
            let (calls, out) = (calls.clone(), out.clone());
            Box::pin(async move {
                let call = calls.begin(by, &delivery);
                sleep(WORK).await;
                let failure = fails(&delivery);
                calls.end(call, failure.is_none());
                match failure {
                    Some(error) => Err(error),
                    None => Ok(passed_on(&out, &delivery)),
                }
            })
                as dotmsg_core::backend::BoxFuture<'static, Result<Outgoing, HandlerError>>
        };
        Service::start(backend, self.route(), handler).await
    }

    /// What the output topic holds: the ids, by key and in order.
    async fn found(&self) -> BTreeMap<String, Vec<String>> {
        let last = |partition| to(&self.out, partition, Message::new(LAST));
        publish_all(&*self.backend, (0..PARTITIONS).map(last).collect()).await;
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let start = range(&*self.backend, &self.out, partition).await.start;
            let mut reader = topic::reader(&*self.backend).await;
            let assigned = reader.assign(&self.out, partition, start);
            assigned.unwrap_or_else(|error| panic!("{} is not read: {error}", self.out));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            'reading: loop {
                for record in topic::next(&mut *reader, topic::ALL).await.records {
                    let payload = text(&record.message.payload.unwrap_or_default());
                    if payload == LAST {
                        break 'reading;
                    }
                    let key = text(&record.message.key.unwrap_or_default());
                    found.entry(key).or_default().push(payload);
                }
            }
        }
        found
    }

    /// Each message was passed on once, but for those named.
    async fn is_exact(&self, but_for: &[&str]) {
        let found = self.found().await;
        for key in KEYS {
            let ids = (0..EACH).map(|n| format!("{key}-{n}"));
            let wanted: Vec<String> = ids.filter(|id| !but_for.contains(&&**id)).collect();
            let got = found.get(key).cloned().unwrap_or_default();
            assert_eq!(got, wanted, "of key {key}");
        }
    }
}

/// The message itself, with its id as its payload.
fn passed_on(out: &str, delivery: &Delivery) -> Outgoing {
    let id = String::from_utf8_lossy(&delivery.id()).into_owned();
    let outgoing = Outgoing::new(out.to_owned(), id);
    match delivery.key() {
        Some(key) => outgoing.key(key.clone()),
        None => outgoing,
    }
}

fn never(_: &Delivery) -> Option<HandlerError> {
    None
}

/// What is returned is there once, and the progress past it.
pub(crate) async fn messages_and_progress_are_one(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let service = passing.start(passing.trial.connect().await, 0, never).await;
    service.settled().await;
    service.drain().await;
    passing.is_exact(&[]).await;
    assert_eq!(
        passing.calls.count(),
        KEYS.len() * EACH,
        "each is called once"
    );
}

/// Failing messages walk their tiers and become dead letters as ever; what they return in the end is there once.
pub(crate) async fn of_messages_that_fail_at_first(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let fails = |delivery: &Delivery| match (&*delivery.id(), delivery.attempt()) {
        (b"a-3" | b"a-4" | b"b-0", 1) => Some(transient("not yet")),
        (b"c-7", _) => Some(permanent("never")),
        _ => None,
    };
    let service = passing.start(passing.trial.connect().await, 0, fails).await;
    service.settled().await;
    service.drain().await;
    passing.is_exact(&["c-7"]).await;
    let letters = dead_letters(&*passing.backend, &passing.topic, &passing.group).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(*letters[0].id(), *b"c-7");
}

/// Killed before a transaction is committed: nothing of it is there, and all of it comes again.
pub(crate) async fn killed_before_a_commit(trial: Trial) {
    killed_at(trial, Point::BeforeCommit(3)).await;
}

/// Killed after a transaction is committed, before it hears so: nothing of it comes again.
pub(crate) async fn killed_after_a_commit(trial: Trial) {
    killed_at(trial, Point::AfterCommit(3)).await;
}

async fn killed_at(trial: Trial, point: Point) {
    let passing = Passing::begin(trial).await;
    let (backend, gate) = Interposed::stopping_at(passing.trial.connect().await, point);
    let service = passing.start(backend, 0, never).await;
    gate.stopped().await;
    service.crash().await;
    passing.calls.forget_running();
    let service = passing.start(passing.trial.connect().await, 1, never).await;
    service.settled().await;
    service.drain().await;
    passing.is_exact(&[]).await;
}

/// Answers to commits get lost: what became of the transaction is learned before anything goes on.
pub(crate) async fn lost_answers(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let (backend, gate) = Interposed::losing(passing.trial.connect().await, 0);
    let service = passing.start(backend, 0, never).await;
    service
        .until("it is at work", |stats| stats.commits() > 0)
        .await;
    gate.lose(2);
    service.settled().await;
    until("answers were lost", || async {
        (gate.to_lose() == 0).then_some(())
    })
    .await;
    service.drain().await;
    passing.is_exact(&[]).await;
}

/// Apps come and go while messages are passed on.
pub(crate) async fn across_rebalances(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let first = passing.start(passing.trial.connect().await, 0, never).await;
    first
        .until("it is at work", |stats| stats.handled() > 0)
        .await;
    let second = passing.start(passing.trial.connect().await, 1, never).await;
    publish_all(&*passing.backend, in_turns(&passing.topic, &["g"], EACH)).await;
    second.settled().await;
    first.drain().await;
    publish_all(&*passing.backend, in_turns(&passing.topic, &["h"], EACH)).await;
    second.settled().await;
    second.drain().await;
    passing.is_exact(&[]).await;
    let found = passing.found().await;
    for key in ["g", "h"] {
        let wanted: Vec<String> = (0..EACH).map(|n| format!("{key}-{n}")).collect();
        assert_eq!(found.get(key), Some(&wanted), "of key {key}");
    }
}

/// A frozen app wakes up when another one has its partitions: nothing that it has open takes effect.
pub(crate) async fn a_frozen_app_has_no_effect(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let (backend, gate) =
        Interposed::stopping_at(passing.trial.connect().await, Point::BeforeCommit(3));
    let frozen = passing.start(backend, 0, never).await;
    gate.stopped().await;
    let second = passing.start(passing.trial.connect().await, 1, never).await;
    second.settled().await;
    gate.reopen();
    // Whatever it finds, be it that its membership is over.
    frozen.handle.drain();
    let mut frozen = frozen;
    frozen.ended().await;
    second.drain().await;
    passing.is_exact(&[]).await;
}

/// What is above the limit of records ends its own message as a dead letter, and the others are there.
pub(crate) async fn of_messages_that_are_refused(trial: Trial) {
    let passing = Passing::begin(trial).await;
    let size = passing.trial.capability.max_record_bytes + 1;
    let (calls, out) = (passing.calls.clone(), Arc::clone(&passing.out));
    let handler = move |delivery: Delivery| {
        let (calls, out) = (calls.clone(), out.clone());
        Box::pin(async move {
            let call = calls.begin(0, &delivery);
            calls.end(call, true);
            match &*delivery.id() {
                b"d-5" => Outgoing::new(out.to_string(), vec![0; size]),
                _ => passed_on(&out, &delivery),
            }
        }) as dotmsg_core::backend::BoxFuture<'static, Outgoing>
    };
    let service = Service::start(passing.trial.connect().await, passing.route(), handler).await;
    service.settled().await;
    service.drain().await;
    passing.is_exact(&["d-5"]).await;
    let letters = dead_letters(&*passing.backend, &passing.topic, &passing.group).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(*letters[0].id(), *b"d-5");
}
