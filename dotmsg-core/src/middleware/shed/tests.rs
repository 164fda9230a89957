//! Tests of the layer.

use std::convert::Infallible;
use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::clock::{Timestamp, TokioClock};
use crate::delivery::{Role, Stream};
use crate::message::Message;
use crate::middleware::Ended;
use crate::middleware::testing::handled;
use crate::seen::Seen;

const SHED: Outcome = Outcome::Settled(Ended::Shed);
const BEGIN: Timestamp = Timestamp(1_000_000_000);

fn shedding(keep_ppm: u32, older_than: Option<Duration>) -> Arc<Shedding> {
    Arc::new(Shedding::new(ShedParts {
        handler: "count".into(),
        keep_ppm,
        older_than,
        clock: Arc::new(TokioClock::starting_at(BEGIN)),
    }))
}

async fn outcome(shedding: &Arc<Shedding>, delivery: Delivery) -> Outcome {
    let service = service_fn(|_: Delivery| async { Ok::<_, Infallible>(handled()) });
    let service = ShedLayer::new(Some(Arc::clone(shedding))).layer(service);
    service.oneshot(delivery).await.unwrap()
}

fn made(at: Timestamp, role: Role) -> Delivery {
    let stream = Arc::new(Stream::new("clicks".into(), 0, 1, role));
    Delivery::new(stream, 7, at, Message::new("x").with_timestamp(at))
}

fn with_id(id: &str, offset: u64) -> Delivery {
    let stream = Arc::new(Stream::new("clicks".into(), 0, 1, Role::Source));
    let message = Message::new("x").with_id(id.to_owned());
    Delivery::new(stream, offset, BEGIN, message)
}

#[tokio::test(start_paused = true)]
async fn a_fraction_is_kept_and_every_delivery_of_a_message_is_decided_the_same() {
    let (one, other) = (shedding(100_000, None), shedding(100_000, None));
    let mut kept = 0;
    for n in 0..1_000 {
        let id = format!("click-{n}");
        let first = outcome(&one, with_id(&id, n)).await;
        assert_eq!(outcome(&other, with_id(&id, n + 5_000)).await, first);
        kept += u64::from(first == handled());
    }
    assert!((70..130).contains(&kept), "{kept}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_at_its_turn_is_shed() {
    let limit = Duration::from_secs(300);
    let shedding = shedding(1_000_000, Some(limit));
    assert_eq!(
        outcome(&shedding, made(BEGIN, Role::Source)).await,
        handled()
    );
    tokio::time::advance(limit).await;
    assert_eq!(
        outcome(&shedding, made(BEGIN, Role::Source)).await,
        handled()
    );
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(outcome(&shedding, made(BEGIN, Role::Source)).await, SHED);
    let now = BEGIN.after(limit);
    assert_eq!(outcome(&shedding, made(now, Role::Source)).await, handled());
}

#[tokio::test(start_paused = true)]
async fn retries_and_replays_are_never_shed() {
    let shedding = shedding(1, Some(Duration::from_millis(1)));
    tokio::time::advance(Duration::from_secs(60)).await;
    let delay = Duration::from_secs(5);
    for role in [Role::Tier { delay }, Role::Replay] {
        assert_eq!(outcome(&shedding, made(BEGIN, role)).await, handled());
    }
    assert_eq!(outcome(&shedding, made(BEGIN, Role::Source)).await, SHED);
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_that_it_begins_and_not_of_each_message() {
    let seen = Seen::new();
    let shedding = shedding(1_000_000, Some(Duration::from_secs(1)));
    let warned = || seen.of("messages are shed because they are too old").len();
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..100 {
        assert_eq!(outcome(&shedding, made(BEGIN, Role::Source)).await, SHED);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(warned(), 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(outcome(&shedding, made(BEGIN, Role::Source)).await, SHED);
    assert_eq!(warned(), 2);
}
