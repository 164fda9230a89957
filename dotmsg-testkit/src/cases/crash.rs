//! Crashes at each step of a settlement: whatever was not settled comes again, whatever was committed does not, and in order.
//!
//! One scenario, stopped at another point each time: four keys in two partitions; `a-3` fails for now twice and walks two tiers,
//! `b-4` fails for good. The first app stops at the point and is killed; a second one, on a connection of its own, finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dotmsg_core::backend::Backend;
use dotmsg_core::config::RouteDefaults;
use dotmsg_core::delivery::Delivery;

use crate::calls::{Calls, at_rest};
use crate::feed::{in_turns, numbered, publish, publish_all};
use crate::interpose::{Interposed, Point};
use crate::positions::{committed, is_settled};
use crate::service::{Handled, Service, noting, permanent, transient};
use crate::topic::{self, dead_letters};
use crate::trial::Trial;
use crate::wait::until;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const EACH: usize = 8;

/// What the handlers of the scenario do.
async fn handle(delivery: Delivery) -> Handled {
    match &*delivery.id() {
        b"a-3" if delivery.attempt() < 3 => Err(transient("not yet")),
        b"b-4" => Err(permanent("never")),
        _ => Ok(()),
    }
}

struct Scenario {
    trial: Trial,
    backend: Arc<dyn Backend>,
    topic: Arc<str>,
    group: Arc<str>,
    calls: Calls,
}

impl Scenario {
    async fn begin(trial: Trial) -> Self {
        let backend = trial.connect().await;
        let topic = trial.topic(&*backend, 2).await;
        publish_all(&*backend, in_turns(&topic, &KEYS, EACH)).await;
        Self {
            backend,
            topic,
            group: trial.name(),
            calls: Calls::new(),
            trial,
        }
    }

    fn route(&self) -> RouteDefaults {
        self.trial
            .route(&self.topic, &self.group)
            .with("retry.tiers", ["30ms", "60ms"])
    }

    /// The second app: finishes, and then everything is as if nothing had happened but for repeats of what was in flight.
    /// Gives the number of dead letters of `b-4`.
    async fn finish(&self) -> usize {
        let before = committed(&*self.backend, &self.topic, &self.group).await;
        let done = self.calls.succeeded();
        for (partition, records) in topic::all(&*self.backend, &self.topic).await {
            let Some(position) = before.get(&partition) else {
                continue;
            };
            let letters = dead_letters(&*self.backend, &self.topic, &self.group).await;
            for record in records {
                let id = String::from_utf8_lossy(record.message.id().unwrap()).into_owned();
                let dead = letters.iter().any(|letter| *letter.id() == *id.as_bytes());
                assert!(
                    !is_settled(position, record.offset) || done.contains(&id) || dead,
                    "{id} was committed as settled, and nothing became of it"
                );
            }
        }
        let handler = noting(&self.calls, 1, handle);
        let service = Service::start(Arc::clone(&self.backend), self.route(), handler).await;
        self.calls.until_succeeded(KEYS.len() * EACH - 1).await;
        service.settled().await;
        let letters = dead_letters(&*self.backend, &self.topic, &self.group).await;
        service.drain().await;
        at_rest(&self.calls).await;
        for letter in &letters {
            assert_eq!(*letter.id(), *b"b-4", "{letter}");
        }
        self.trial.assert_key_order(&self.calls);
        let calls = self.calls.all();
        for call in calls.iter().filter(|call| call.by == 1) {
            let settled = before.get(&call.partition);
            let settled = settled.is_some_and(|position| is_settled(position, call.offset));
            assert!(!settled, "{} was settled and ran again", call.id);
        }
        letters.len()
    }

    /// The first app, killed when it comes to the point.
    async fn killed_at(&self, point: Point) {
        let (backend, gate) = Interposed::stopping_at(self.trial.connect().await, point);
        let handler = noting(&self.calls, 0, handle);
        let service = Service::start(backend, self.route(), handler).await;
        gate.stopped().await;
        service.crash().await;
        self.calls.forget_running();
    }
}

async fn killed_at(trial: Trial, point: Point, letters: std::ops::RangeInclusive<usize>) {
    let scenario = Scenario::begin(trial).await;
    scenario.killed_at(point).await;
    let found = scenario.finish().await;
    assert!(
        letters.contains(&found),
        "{found} dead letters of one message, {letters:?} expected"
    );
}

/// Killed in its takeover, before its first record is written: the next owner begins where this one would have.
pub(crate) async fn in_a_takeover(trial: Trial) {
    killed_in_a_takeover(trial, Point::BeforeCommit(0)).await;
}

async fn killed_in_a_takeover(trial: Trial, point: Point) {
    let scenario = Scenario::begin(trial).await;
    scenario.killed_at(point).await;
    assert_eq!(
        scenario.calls.count(),
        0,
        "dispatched before it was taken over"
    );
    assert_eq!(scenario.finish().await, 1, "dead letters");
}

/// Killed in its takeover, after its first record is written: the next owner takes over from that record.
pub(crate) async fn after_a_takeover_is_written(trial: Trial) {
    killed_in_a_takeover(trial, Point::AfterCommit(0)).await;
}

/// Killed before its handler has any effect: the message comes again.
pub(crate) async fn before_the_effect(trial: Trial) {
    stuck_in_the_handler(trial, "c-2", false).await;
}

/// Killed after the effect and before anything is settled: the message comes again, and the others are not lost.
pub(crate) async fn after_the_effect(trial: Trial) {
    stuck_in_the_handler(trial, "c-2", true).await;
}

async fn stuck_in_the_handler(trial: Trial, id: &'static str, effect: bool) {
    let scenario = Scenario::begin(trial).await;
    let (backend, gate) = Interposed::stopping_at(scenario.trial.connect().await, Point::Told);
    let stop = Arc::clone(&gate);
    let noted = scenario.calls.clone();
    let handler = move |delivery: Delivery| {
        let (stop, calls) = (Arc::clone(&stop), noted.clone());
        async move {
            let call = calls.begin(0, &delivery);
            let is_it = *delivery.id() == *id.as_bytes();
            if is_it && effect {
                calls.end(call, true);
            }
            if is_it {
                stop.shut();
                std::future::pending::<()>().await;
            }
            let handled = handle(delivery).await;
            calls.end(call, handled.is_ok());
            handled
        }
    };
    let service = Service::start(backend, scenario.route(), handler).await;
    gate.stopped().await;
    service.crash().await;
    // A call that was cut off never ends; the next owner's call of the message is another one.
    let cut_off = scenario.calls.of(id);
    assert_eq!(cut_off.len(), 1);
    scenario.calls.forget_running();
    let letters = scenario.finish().await;
    assert!((1..=2).contains(&letters), "{letters} dead letters");
    let by_second = scenario
        .calls
        .of(id)
        .into_iter()
        .filter(|call| call.by == 1);
    assert_eq!(by_second.count(), 1, "{id} comes again, once");
}

/// Killed before progress is committed: what was handled since the last commit comes again.
pub(crate) async fn before_a_commit(trial: Trial) {
    killed_at(trial, Point::BeforeCommit(3), 1..=2).await;
}

/// Killed after progress is committed and before it hears so: what was committed does not come again.
pub(crate) async fn after_a_commit(trial: Trial) {
    killed_at(trial, Point::AfterCommit(3), 1..=2).await;
}

/// Killed before the copy of a failed message is in its retry topic: the attempt is repeated.
pub(crate) async fn before_a_retry_is_published(trial: Trial) {
    killed_at(trial, Point::BeforeTier, 1..=2).await;
}

/// Killed when the copy is in the retry topic and nobody has named it: the copy is void, the attempt is repeated, and the
/// message is handled with success once.
pub(crate) async fn after_a_retry_is_published(trial: Trial) {
    let scenario = Scenario::begin(trial).await;
    scenario.killed_at(Point::AfterTier(0)).await;
    scenario.finish().await;
    assert_eq!(scenario.calls.successes()["a-3"], 1);
}

/// Killed when a copy is in the retry topic that nobody has named, behind one that was named: the next owner reads both, calls
/// the one when it is due and takes the other for void.
pub(crate) async fn a_retry_that_nobody_named_is_void(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    let calls = Calls::new();
    let handler = |by| {
        noting(&calls, by, |delivery: Delivery| async move {
            match delivery.attempt() {
                1 => Err(transient("not yet")),
                _ => Ok(()),
            }
        })
    };
    // Long: the first app has to be gone before the one that is named is due, on a slow machine too.
    let app = || trial.route(&topic, &group).with("retry.tiers", ["3s"]);
    let (gated, gate) = Interposed::stopping_at(trial.connect().await, Point::AfterTier(1));
    let service = Service::start(gated, app(), handler(0)).await;
    publish(&*backend, &topic, numbered("a", 0)).await;
    until("the first one is named", || async {
        let committed = committed(&*backend, &topic, &group).await;
        (committed.get(&0)?.names.len() == 1).then_some(())
    })
    .await;
    publish(&*backend, &topic, numbered("b", 0)).await;
    gate.stopped().await;
    service.crash().await;
    calls.forget_running();
    let service = Service::start(backend, app(), handler(1)).await;
    calls.until_succeeded(2).await;
    service.settled().await;
    assert_eq!(service.stats().void(), 1, "the copy that nobody named");
    service.drain().await;
    let attempts = |id: &str| {
        let calls = calls.of(id);
        let what = |call: &crate::calls::Call| (call.by, call.attempt);
        calls.iter().map(what).collect::<Vec<_>>()
    };
    assert_eq!(attempts("a-0"), [(0, 1), (1, 2)]);
    assert_eq!(attempts("b-0"), [(0, 1), (1, 1), (1, 2)]);
}

/// Answers to commits and to publishes get lost, those of the takeover first: nothing is dispatched before the takeover is
/// confirmed, and what was not answered is done again until it is. No message is lost, and none is handled twice.
pub(crate) async fn lost_answers_are_asked_for_again(trial: Trial) {
    let scenario = Scenario::begin(trial).await;
    let (losing, gate) = Interposed::losing(scenario.trial.connect().await, 4);
    let early = Arc::new(AtomicBool::new(false));
    let (seen, lost) = (Arc::clone(&early), Arc::clone(&gate));
    let first = Arc::new(AtomicBool::new(true));
    let handler = noting(&scenario.calls, 0, move |delivery: Delivery| {
        // A takeover asks again until it is answered, so by now all of the first four are lost.
        if first.swap(false, Ordering::SeqCst) && lost.to_lose() > 0 {
            seen.store(true, Ordering::SeqCst);
        }
        // These publish a copy, or a dead letter, next.
        if matches!(&*delivery.id(), b"a-3" | b"b-4") {
            lost.lose(2);
        }
        handle(delivery)
    });
    let service = Service::start(losing, scenario.route(), handler).await;
    scenario.calls.until_succeeded(KEYS.len() * EACH - 1).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(gate.to_lose(), 0, "answers were not lost");
    let letters = dead_letters(&*scenario.backend, &scenario.topic, &scenario.group).await;
    assert!(
        !letters.is_empty(),
        "its answer was lost, and its letter with it"
    );
    assert!(
        !early.load(Ordering::SeqCst),
        "dispatched before its takeover was confirmed"
    );
    let twice = scenario.calls.successes().into_values().max();
    assert_eq!(twice, Some(1));
    scenario.trial.assert_key_order(&scenario.calls);
}

/// Killed before the dead letter is published: it is published by the next owner.
pub(crate) async fn before_a_dead_letter(trial: Trial) {
    killed_at(trial, Point::BeforeDeadLetter, 1..=1).await;
}

/// Killed when the dead letter is published and its message is not settled: it is published again by the next owner, of the
/// same origin, and nothing is lost.
pub(crate) async fn after_a_dead_letter(trial: Trial) {
    killed_at(trial, Point::AfterDeadLetter, 1..=2).await;
}

/// Killed again and again after one commit or another: nothing is lost, and order holds under each owner.
pub(crate) async fn again_and_again(trial: Trial) {
    let scenario = Scenario::begin(trial).await;
    for commit in [1, 2, 0, 3, 1, 4] {
        let (backend, gate) =
            Interposed::stopping_at(scenario.trial.connect().await, Point::AfterCommit(commit));
        let handler = noting(&scenario.calls, 0, handle);
        let service = Service::start(backend, scenario.route(), handler).await;
        // When nothing is left to commit, this point is not reached any more.
        tokio::select! {
            biased;
            () = gate.stopped() => {}
            () = service.settled() => {}
        }
        service.crash().await;
    }
    scenario.calls.forget_running();
    scenario.finish().await;
}
