//! Shutdown: nothing is lost, nothing is repeated after a clean one, and it ends in time whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dotmsg_core::delivery::Delivery;
use dotmsg_core::error::ErrorKind;
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::feed::{in_turns, publish_all};
use crate::member::Member;
use crate::service::{Service, noting, transient, well, works};
use crate::trial::Trial;
use crate::wait::within;

const KEYS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Stopped and started again in the middle of the work, five times: each message is handled once, in order.
pub(crate) async fn loses_and_repeats_nothing(trial: Trial) {
    let (topic, group) = {
        let backend = trial.connect().await;
        let topic = trial.topic(&*backend, 3).await;
        publish_all(&*backend, in_turns(&topic, &KEYS, 60)).await;
        (topic, trial.name())
    };
    let calls = Calls::new();
    for by in 0..6 {
        let handler = noting(&calls, by, works);
        let app = trial.route(&topic, &group);
        let service = Service::start(trial.connect().await, app, handler).await;
        match by {
            5 => {
                calls.until_succeeded(600).await;
                service.settled().await;
            }
            _ => calls.until_succeeded((by + 1) * 100).await,
        }
        let report = service.drain().await;
        assert_eq!(report.routes[0].abandoned, 0, "{report:?}");
        assert_eq!(report.routes[0].unanswered, Vec::<&str>::new());
    }
    let successes = calls.successes();
    assert_eq!(successes.len(), 600);
    let twice: Vec<_> = successes.iter().filter(|(_, count)| **count > 1).collect();
    assert_eq!(twice, [], "handled twice, although every stop was clean");
    trial.assert_key_order(&calls);
}

/// A handler that does not end holds up the shutdown for its drain timeout only; what it had in hand is told and comes again.
pub(crate) async fn ends_in_time(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a", "b", "c"], 3)).await;
    let calls = Calls::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let guard = Arc::clone(&dropped);
    let stuck = noting(&calls, 0, move |delivery: Delivery| {
        let guard = OnDrop(Arc::clone(&guard));
        async move {
            if *delivery.id() == *b"b-1" {
                std::future::pending::<()>().await;
            }
            // Only what did not come so far is dropped unfinished.
            std::mem::forget(guard);
            Ok(())
        }
    });
    let app = || trial.route(&topic, &group).with("drain_timeout", "150ms");
    let service = Service::start(trial.connect().await, app(), stuck).await;
    let others = match trial.keeps_order() {
        true => 7,
        false => 8,
    };
    calls.until_succeeded(others).await;
    calls
        .until("the stuck one runs", |calls| {
            calls.iter().any(|call| call.ended.is_none())
        })
        .await;
    let began = Instant::now();
    let report = service.drain().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(150), "it had {took:?} to end");
    assert!(took < Duration::from_secs(10), "the shutdown took {took:?}");
    assert!(dropped.load(Ordering::SeqCst), "its handler still runs");
    // The one that was stuck, and the one that waited behind it.
    let abandoned = report.routes[0].abandoned;
    assert!((1..=2).contains(&abandoned), "{report:?}");
    calls.forget_running();
    let service = Service::start(backend, app(), noting(&calls, 1, well)).await;
    calls.until_succeeded(9).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.successes().values().max(), Some(&1));
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Running handlers finish within the drain, with what they write: their messages are settled.
pub(crate) async fn lets_running_handlers_end(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 2).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &KEYS, 1)).await;
    let calls = Calls::new();
    let slow = noting(&calls, 0, |_| async {
        sleep(Duration::from_millis(150)).await;
        Ok(())
    });
    let app = || trial.route(&topic, &group);
    let service = Service::start(trial.connect().await, app(), slow).await;
    calls.until_called(10).await;
    let report = service.drain().await;
    assert_eq!(report.routes[0].abandoned, 0);
    assert_eq!(calls.succeeded().len(), 10);
    let service = Service::start(backend, app(), noting(&calls, 1, well)).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.count(), 10, "none ran again");
}

/// A shutdown does not wait for retries that are not due.
pub(crate) async fn leaves_what_is_away(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a"], 3)).await;
    let handler = |_: Delivery| async { Err(transient("not yet")) as crate::service::Handled };
    let app = trial.route(&topic, &group).with("retry.tiers", ["1h"]);
    let service = Service::start(backend, app, handler).await;
    service
        .until("one is away", |stats| stats.away() >= 1)
        .await;
    let began = Instant::now();
    let report = service.drain().await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(report.routes[0].abandoned, 0, "{report:?}");
}

/// Ten apps of ten groups stop at once, and connections are closed twice and side by side; each ends, and the others' messages
/// still come.
pub(crate) async fn at_once_and_twice(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    publish_all(&*backend, in_turns(&topic, &["a", "b"], 25)).await;
    let calls = Calls::new();
    let mut services = Vec::new();
    for by in 0..10 {
        let app = trial.route(&topic, &trial.name());
        let handler = noting(&calls, by, well);
        services.push(Service::start(trial.connect().await, app, handler).await);
    }
    let mut drains = tokio::task::JoinSet::new();
    for service in services.drain(1..) {
        drains.spawn(service.drain());
    }
    let reports = within("all apps end", drains.join_all()).await;
    assert_eq!(reports.len(), 9);
    calls
        .until("the last one gets all", |calls| {
            calls.iter().filter(|call| call.by == 0).count() == 50
        })
        .await;
    for service in services {
        service.drain().await;
    }
    let closing = trial.connect().await;
    let (first, second) = tokio::join!(closing.close(), closing.close());
    for closed in [first, second, closing.close().await] {
        closed.unwrap_or_else(|error| panic!("to close twice is no error: {error}"));
    }
}

/// A closed connection refuses everything, by its error.
pub(crate) async fn a_closed_connection_refuses(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let closed = trial.connect().await;
    let publisher = closed.publisher();
    within("it closes", closed.close())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let joined = Member::try_join(&*closed, &topic, &trial.name()).await;
    assert_eq!(
        joined.err().map(|error| error.kind()),
        Some(ErrorKind::Closed)
    );
    let reader = within("refused", closed.reader()).await;
    assert_eq!(
        reader.err().map(|error| error.kind()),
        Some(ErrorKind::Closed)
    );
    let record = crate::feed::by_key(&topic, crate::feed::numbered("a", 0));
    let outcomes = within("refused", publisher.publish(vec![record])).await;
    let refused = crate::feed::refused(&outcomes[0]);
    assert_eq!(refused.kind(), ErrorKind::Closed);
    crate::feed::publish(&*backend, &topic, crate::feed::numbered("a", 1)).await;
}
