//! Batches: when they are called, who is in them, and what becomes of the members.

mod leaving;
mod parts;
mod sending;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::util::{BoxCloneService, ServiceExt};
use tower_layer::Layer;
use tower_service::Service;

use super::{BatchLayer, BatchOrder, BatchParts, Batcher, Gathering};
use crate::clock::Timestamp;
use crate::delivery::{Delivery, Role, Stream};
use crate::handler::{Answer, Call, ErrorClasses, HandlerError, HandlerResult, Returned};
use crate::message::Message;

const LINGER: Duration = Duration::from_millis(50);

fn stream(partition: u32) -> Arc<Stream> {
    Arc::new(Stream::new("orders".into(), partition, 1, Role::Source))
}

/// The message at this offset, whose key is its offset modulo 3.
fn delivery(stream: &Arc<Stream>, offset: u64) -> Delivery {
    let key = Bytes::from((offset % 3).to_string());
    let message = Message::new("").with_key(key);
    Delivery::new(Arc::clone(stream), offset, Timestamp(0), message)
}

fn parts(size: usize) -> BatchParts {
    BatchParts {
        size,
        linger: LINGER,
        concurrency: 2,
        order: BatchOrder::Key,
        keep: true,
        classes: ErrorClasses::default(),
    }
}

/// The offsets of each call so far.
type Calls = Arc<Mutex<Vec<Vec<u64>>>>;

type Handler = BoxCloneService<Call, Answer, HandlerError>;

fn offsets(call: &Call) -> Vec<u64> {
    let deliveries = call.deliveries().iter();
    deliveries
        .map(|delivery| delivery.position().offset)
        .collect()
}

/// A handler that notes its calls, and lets them go on when `gate` has a permit for them.
fn handler(
    gate: &Arc<Semaphore>,
    answer: impl Fn(&[u64]) -> Result<Answer, HandlerError> + Clone + Send + 'static,
) -> (Calls, Handler) {
    let calls = Calls::default();
    let (noting, gate) = (Arc::clone(&calls), Arc::clone(gate));
    let service = tower::service_fn(move |call: Call| {
        let (noting, gate, answer) = (Arc::clone(&noting), Arc::clone(&gate), answer.clone());
        async move {
            let offsets = offsets(&call);
            noting.lock().unwrap().push(offsets.clone());
            gate.acquire().await.unwrap().forget();
            answer(&offsets)
        }
    });
    (calls, Handler::new(service))
}

fn all_well(offsets: &[u64]) -> Result<Answer, HandlerError> {
    Ok(Answer::all(&Returned::default(), offsets.len()))
}

fn open_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1_000))
}

/// Calls in a task of its own.
fn call(service: &Batcher<Handler>, delivery: Delivery) -> JoinHandle<HandlerResult> {
    // It joins now, in the order of the calls here.
    tokio::spawn(service.clone().call(delivery))
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_called_when_it_is_full_or_has_waited() {
    let (calls, handler) = handler(&open_gate(), all_well);
    let service = BatchLayer::new(parts(3)).layer(handler);
    let stream = stream(0);
    let begin = Instant::now();
    let running: Vec<_> = (0..4)
        .map(|offset| call(&service, delivery(&stream, offset)))
        .collect();
    let mut ended = Vec::new();
    for running in running {
        assert!(running.await.unwrap().is_ok());
        ended.push(begin.elapsed());
    }
    assert_eq!(*calls.lock().unwrap(), [vec![0, 1, 2], vec![3]]);
    assert_eq!(ended[..3], [Duration::ZERO; 3]);
    assert_eq!(ended[3], LINGER);
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_limited_and_what_waits_for_one_takes_more() {
    let gate = Arc::new(Semaphore::new(0));
    let (calls, handler) = handler(&gate, all_well);
    let service = BatchLayer::new(parts(2)).layer(handler);
    let stream = stream(0);
    let mut running: Vec<_> = (0..5)
        .map(|offset| call(&service, delivery(&stream, offset)))
        .collect();
    tokio::time::sleep(2 * LINGER).await;
    assert_eq!(calls.lock().unwrap().len(), 2, "the limit of calls");
    // The third has waited for long enough, but not for a call: it is joined.
    running.push(call(&service, delivery(&stream, 5)));
    gate.add_permits(1_000);
    for running in running {
        assert!(running.await.unwrap().is_ok());
    }
    assert_eq!(*calls.lock().unwrap(), [[0, 1], [2, 3], [4, 5]]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_before_the_call_is_not_in_it() {
    let (calls, handler) = handler(&open_gate(), all_well);
    let service = BatchLayer::new(parts(3)).layer(handler);
    let stream = stream(0);
    let leader = call(&service, delivery(&stream, 0));
    let other = call(&service, delivery(&stream, 1));
    tokio::task::yield_now().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert!(
        other.await.unwrap().is_ok(),
        "another member goes on with it"
    );
    assert_eq!(*calls.lock().unwrap(), [[1]]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_dropped_in_the_call_ends_it_and_the_others_are_put_back() {
    for dropped in [0, 1] {
        let gate = Arc::new(Semaphore::new(0));
        let (calls, handler) = handler(&gate, all_well);
        let service = BatchLayer::new(parts(3)).layer(handler);
        let stream = stream(0);
        let mut running: Vec<_> = (0..3)
            .map(|offset| call(&service, delivery(&stream, offset)))
            .collect();
        tokio::time::sleep(LINGER).await;
        running.remove(dropped).abort();
        for running in running {
            assert!(running.await.unwrap().unwrap_err().is_put_back());
        }
        assert_eq!(calls.lock().unwrap().len(), 1);
        gate.add_permits(1);
        tokio::task::yield_now().await;
        assert_eq!(gate.available_permits(), 1, "the call itself is gone");
    }
}

/// Halves are called one after the other; what is known of a member does not wait for the rest, and is not lost with it.
#[tokio::test(start_paused = true)]
async fn a_member_has_its_result_as_soon_as_it_is_known() {
    let gate = Arc::new(Semaphore::new(0));
    let (calls, handler) = handler(&gate, |offsets| match offsets {
        [0, 1, 2, 3] => Err(HandlerError::transient("the whole")),
        _ => all_well(offsets),
    });
    let service = BatchLayer::new(parts(4)).layer(handler);
    let stream = stream(0);
    let mut running: Vec<_> = (0..4)
        .map(|offset| call(&service, delivery(&stream, offset)))
        .collect();
    gate.add_permits(2);
    let last = running.split_off(2);
    for first in running {
        assert!(first.await.unwrap().is_ok());
    }
    assert_eq!(
        *calls.lock().unwrap(),
        [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3]]
    );
    last[0].abort();
    let [_, other] = <[_; 2]>::try_from(last).unwrap();
    assert!(other.await.unwrap().unwrap_err().is_put_back());
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_called_alone_and_at_once() {
    let (calls, handler) = handler(&open_gate(), all_well);
    let mut service = BatchLayer::new(parts(10)).layer(handler);
    let mut delivery = delivery(&stream(0), 0);
    let gathering = Arc::new(Gathering::new(10));
    delivery.accompany(Arc::clone(&gathering) as _);
    let other = call(&service, self::delivery(&stream(0), 1));
    assert!(service.call(delivery.clone()).await.is_ok());
    assert!(!gathering.is_open(), "it was called");
    let begin = Instant::now();
    assert!(service.call(delivery.with_attempt(2)).await.is_ok());
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(other.await.unwrap().is_ok());
    let calls = calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|call| **call == [0]).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_batch_that_is_over() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    let (_, handler) = handler(&open_gate(), move |offsets| {
        let _ = &inside;
        all_well(offsets)
    });
    let service = BatchLayer::new(parts(2)).layer(handler);
    let (stream, gathering) = (stream(0), Arc::new(Gathering::new(2)));
    let mut running = Vec::new();
    for offset in 0..2 {
        let mut delivery = delivery(&stream, offset);
        delivery.accompany(Arc::clone(&gathering) as _);
        running.push(call(&service, delivery));
    }
    for running in running {
        running.await.unwrap().unwrap();
    }
    drop(service);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(Arc::strong_count(&gathering), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_usable_alone() {
    let (_, handler) = handler(&open_gate(), |offsets| {
        let answer = |offset: &u64| match offset {
            1 => Err(HandlerError::permanent("one")),
            _ => Ok(Returned::default()),
        };
        Ok(Answer::each(offsets.iter().map(answer).collect()))
    });
    let service = BatchLayer::new(parts(2)).layer(handler);
    let stream = stream(0);
    let [zero, one] = [0, 1].map(|offset| service.clone().oneshot(delivery(&stream, offset)));
    let (zero, one) = tokio::join!(zero, one);
    assert!(zero.is_ok());
    assert_eq!(one.unwrap_err().to_string(), "one");
}
