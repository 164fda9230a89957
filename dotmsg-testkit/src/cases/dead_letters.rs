//! Dead letters: complete, of every kind of end, never in a loop.

use bytes::Bytes;
use dotmsg_core::clock::{Clock, SystemClock, Timestamp};
use dotmsg_core::delivery::{Delivery, Settlement, control};
use dotmsg_core::error::{Error, ErrorKind};
use dotmsg_core::handler::{HandlerError, Json};
use dotmsg_core::message::Message;

use crate::calls::Calls;
use crate::feed::{in_turns, publish, publish_all};
use crate::service::{Handled, Service, noting, permanent, transient, well};
use crate::topic::{all, dead_letters};
use crate::trial::{Trial, to};

/// A dead letter has all of the message and of its lineage: topic, partition, offset, key, payload, timestamp, every header,
/// group, handler, attempts, times, kind, reason and causes. What a producer forged is not in it.
pub(crate) async fn are_complete(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 3).await, trial.name());
    // Not long ago: where retention goes by the producer's time, an old record is gone before it is read.
    let made = Timestamp(SystemClock.now().0 - 3_600_123);
    let mut message = Message::new(vec![0, 159, 146, 150])
        .with_key(vec![255, 0, 1])
        .with_id("id-1")
        .with_timestamp(made);
    for value in [Some("1"), None, Some("")] {
        message.headers.append("repeated", value.map(Bytes::from));
    }
    let sent = message.clone();
    message
        .headers
        .append(control::ATTEMPT, Some(Bytes::from("99")));
    message
        .headers
        .append(control::ORIGIN_TOPIC, Some(Bytes::from("forged")));
    let before = SystemClock.now();
    let origin = publish_all(&*backend, vec![to(&topic, 2, message)]).await[0];
    let handler = |delivery: Delivery| async move {
        let cause = std::io::Error::other("the cause");
        let outer = Error::new(ErrorKind::Unexpected, "rate", "no rate").source_error(cause);
        match delivery.attempt() {
            1 => Err(transient("not yet")),
            _ => Err::<(), _>(HandlerError::permanent(outer).kind("no_rate")),
        }
    };
    let app = trial.route(&topic, &group).with("retry.tiers", ["60ms"]);
    let service = Service::start(trial.connect().await, app, handler).await;
    service
        .until("the dead letter", |stats| stats.dead_lettered() == 1)
        .await;
    service.settled().await;
    service.drain().await;
    let mut letters = dead_letters(&*backend, &topic, &group).await;
    assert_eq!(letters.len(), 1);
    let letter = letters.remove(0);
    assert_eq!(letter.message, sent);
    assert_eq!(letter.partition, 2, "the partition of its origin");
    let lineage = &letter.lineage;
    assert_eq!(
        (&*lineage.topic, lineage.partition, lineage.offset),
        (&*topic, 2, origin.offset)
    );
    assert_eq!(lineage.timestamp, sent.timestamp);
    assert_eq!((&*lineage.group, &*lineage.handler), (&*group, "case"));
    assert_eq!((letter.attempts(), letter.replays()), (2, 0));
    assert_eq!(&*letter.kind, "no_rate");
    assert!(!letter.reason.is_empty());
    assert_eq!(letter.chain.len(), 2, "{:?}", letter.chain);
    assert!(!letter.by_reference);
    let (Some(first), Some(last)) = (lineage.first_failure, letter.last_failure) else {
        panic!("the times of the failures are missing: {letter:?}")
    };
    assert!(before <= first && first < last && last <= SystemClock.now());
}

/// A payload that does not decode is a dead letter at once, once; the others are handled.
pub(crate) async fn of_payloads_that_do_not_decode(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    for payload in ["1", "{\"not\": \"a number\"", "", "2"] {
        publish(&*backend, &topic, Message::new(payload).with_key("k")).await;
    }
    publish(&*backend, &topic, Message::tombstone().with_key("k")).await;
    publish(&*backend, &topic, Message::new("3").with_key("k")).await;
    let sum = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = std::sync::Arc::clone(&sum);
    let handler = move |Json(n): Json<u32>| {
        let sum = std::sync::Arc::clone(&counted);
        async move {
            sum.fetch_add(n, std::sync::atomic::Ordering::SeqCst);
        }
    };
    let app = trial.route(&topic, &group).with("retry.tiers", ["10ms"]);
    let service = Service::start(trial.connect().await, app, handler).await;
    service.settled().await;
    assert_eq!(service.stats().retried(), 0, "it would not decode later");
    assert_eq!(service.stats().handled(), 3);
    service.drain().await;
    assert_eq!(sum.load(std::sync::atomic::Ordering::SeqCst), 6);
    let letters = dead_letters(&*backend, &topic, &group).await;
    let payloads: Vec<Option<&[u8]>> = letters
        .iter()
        .map(|letter| letter.message.payload.as_deref())
        .collect();
    assert_eq!(
        payloads,
        [Some(&b"{\"not\": \"a number\""[..]), Some(&b""[..]), None],
        "null and empty stay apart"
    );
}

/// What fails for good is a dead letter after one call, also when tiers are configured; its key goes on.
pub(crate) async fn of_what_fails_for_good(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &["a"], 4)).await;
    let calls = Calls::new();
    let noted = calls.clone();
    let handler = move |delivery: Delivery| {
        let calls = noted.clone();
        async move {
            let call = calls.begin(0, &delivery);
            calls.end(call, true);
            match &*delivery.id() {
                b"a-0" => Err(permanent("never")),
                b"a-1" => Ok(Settlement::DeadLetter {
                    kind: "no_air_time".to_owned(),
                    reason: "said so".to_owned(),
                }),
                b"a-2" => Ok(Settlement::Discard),
                _ => Ok(Settlement::Ack),
            }
        }
    };
    let app = trial.route(&topic, &group).with("retry.tiers", ["5s"]);
    let service = Service::start(trial.connect().await, app, handler).await;
    calls.until_succeeded(4).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.count(), 4, "each was called once");
    let letters = dead_letters(&*backend, &topic, &group).await;
    let kinds: Vec<&str> = letters.iter().map(|letter| &*letter.kind).collect();
    assert_eq!(kinds, ["handler", "no_air_time"]);
}

/// A message as large as the backend takes, which cannot carry its failure as well, is a dead letter by reference; a replay
/// finds it where it was.
pub(crate) async fn of_the_largest_messages(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    let mut message = Message::new(Bytes::new()).with_key("k").with_id("large");
    let room = trial.capability.max_record_bytes - message.size();
    message.payload = Some(vec![b'x'; room].into());
    publish(&*backend, &topic, message.clone()).await;
    let limits = || {
        trial
            .route(&topic, &group)
            .with("max_payload_bytes", i64::try_from(room).unwrap_or(i64::MAX))
            .with("max_held_bytes", "256MiB")
    };
    let handler = |_: Delivery| async { Err(permanent("never")) as Handled };
    let service = Service::start(trial.connect().await, limits(), handler).await;
    service
        .until("the dead letter", |stats| stats.dead_lettered() == 1)
        .await;
    service.settled().await;
    service.drain().await;
    let letters = dead_letters(&*backend, &topic, &group).await;
    assert!(letters[0].by_reference, "{}", letters[0]);
    let calls = Calls::new();
    let service = Service::start(backend, limits(), noting(&calls, 0, well)).await;
    let report = service.route().replay().run().await;
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    // Where the message cannot be published again with its lineage, the replay says so and does not lose it.
    assert_eq!(report.replayed + report.too_large, 1, "{report:?}");
    if report.replayed == 1 {
        calls.until_succeeded(1).await;
    }
    service.drain().await;
}

/// A record above the limit is refused, by its outcome.
pub(crate) async fn records_above_the_limit_are_refused(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let limit = trial.capability.max_record_bytes;
    let too_large = to(&topic, 0, Message::new(vec![0; limit + 1]));
    let fits = to(&topic, 0, Message::new(vec![0; limit]));
    let outcomes = backend.publisher().publish(vec![too_large, fits]).await;
    let refused = crate::feed::refused(&outcomes[0]);
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(
        all(&*backend, &topic).await[&0].len(),
        1,
        "the other is there"
    );
}

/// Many dead letters at once: every one of them is there, once, and no key lost its place.
pub(crate) async fn many_at_once(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 4).await, trial.name());
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    publish_all(&*backend, in_turns(&topic, &keys, 10)).await;
    let handler = |delivery: Delivery| async move {
        match delivery.payload().is_some_and(|n| **n == *b"5") {
            true => Err(permanent("never")),
            false => Ok(()) as Handled,
        }
    };
    let app = trial.route(&topic, &group);
    let service = Service::start(trial.connect().await, app, handler).await;
    service.settled().await;
    service.drain().await;
    let letters = dead_letters(&*backend, &topic, &group).await;
    let ids: std::collections::BTreeSet<Vec<u8>> =
        letters.iter().map(|letter| letter.id().to_vec()).collect();
    let expected = keys.iter().map(|key| format!("{key}-5").into_bytes());
    assert_eq!(ids, expected.collect());
    assert_eq!(letters.len(), 50);
}
