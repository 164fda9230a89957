//! What is returned for messages of one key: told one after the other, and put back behind what could not be published.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::handler::Outgoing;

type Running = Vec<(Delivery, super::super::ResponseFuture)>;

fn returning(offsets: &[u64]) -> Result<Answer, HandlerError> {
    let outgoing = Outgoing::new("bills", "one");
    let returned = Returned {
        outgoing: vec![outgoing],
        ..Returned::default()
    };
    Ok(Answer::all(&returned, offsets.len()))
}

/// Six messages of two keys, in a batch whose maker tells it what they came to.
fn begin(keep: bool) -> (Arc<Gathering>, Running) {
    let (_, handler) = handler(&open_gate(), returning);
    let parts = BatchParts { keep, ..parts(6) };
    let mut service = BatchLayer::new(parts).layer(handler);
    let (stream, gathering) = (stream(0), Arc::new(Gathering::heard(6)));
    let running = [0, 1, 3, 4, 6, 7].map(|offset| {
        let mut delivery = delivery(&stream, offset);
        delivery.accompany(Arc::clone(&gathering) as _);
        (delivery.clone(), service.call(delivery))
    });
    (gathering, running.into())
}

/// Polls all, the last one first, as often as anything comes of it; what they came to, by offset.
fn poll(running: &mut Running) -> Vec<(u64, HandlerResult)> {
    let mut ended = Vec::new();
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        let before = ended.len();
        for index in (0..running.len()).rev() {
            let (delivery, call) = &mut running[index];
            if let Poll::Ready(result) = std::pin::Pin::new(call).poll(cx) {
                ended.push((delivery.position().offset, result));
                running.remove(index);
            }
        }
        if ended.len() == before {
            return ended;
        }
    }
}

fn ended_well(ended: &[(u64, HandlerResult)]) -> Vec<u64> {
    assert!(ended.iter().all(|(_, result)| result.is_ok()));
    ended.iter().map(|(offset, _)| *offset).collect()
}

#[tokio::test(start_paused = true)]
async fn each_is_told_when_the_one_ahead_of_it_is_through() {
    let (gathering, mut running) = begin(true);
    let deliveries: Vec<_> = running
        .iter()
        .map(|(delivery, _)| delivery.clone())
        .collect();
    assert_eq!(ended_well(&poll(&mut running)), [0, 1]);
    assert!(poll(&mut running).is_empty());
    gathering.ended(&deliveries[0], true);
    assert_eq!(ended_well(&poll(&mut running)), [3]);
    gathering.ended(&deliveries[2], true);
    assert_eq!(ended_well(&poll(&mut running)), [6]);
    gathering.ended(&deliveries[1], true);
    assert_eq!(ended_well(&poll(&mut running)), [4]);
    // Nothing of it is left when they are dropped in between.
    drop((running, deliveries));
    assert_eq!(Arc::strong_count(&gathering), 1);
}

#[tokio::test(start_paused = true)]
async fn behind_one_that_could_not_be_published_all_are_put_back() {
    let (gathering, mut running) = begin(true);
    let first = running[0].0.clone();
    assert_eq!(ended_well(&poll(&mut running)), [0, 1]);
    gathering.ended(&first, false);
    let ended = poll(&mut running);
    assert_eq!(ended.len(), 2);
    for (offset, result) in ended {
        assert_eq!(offset % 3, 0);
        assert!(result.unwrap_err().is_put_back());
    }
}

/// A repeat in place says by itself that the call before did not go well.
#[tokio::test(start_paused = true)]
async fn a_repeat_puts_back_what_is_behind_it() {
    let (_, handler) = handler(&open_gate(), returning);
    let mut repeating = BatchLayer::new(parts(1)).layer(handler);
    let (_gathering, mut running) = begin(true);
    let first = running[0].0.clone();
    assert_eq!(ended_well(&poll(&mut running)), [0, 1]);
    let repeat = repeating.call(first.with_attempt(2));
    assert_eq!(poll(&mut running).len(), 2);
    assert!(repeat.await.is_ok());
}

/// The second half waits until what the first one returned is published, and its partition is given up, while the first half
/// is called or then. The call is free in the end, although results are still held.
#[tokio::test(start_paused = true)]
async fn a_half_that_goes_while_messages_are_published_leaves_no_call_behind() {
    for in_the_call in [true, false] {
        let gate = Arc::new(Semaphore::new(1));
        let (_, handler) = handler(&gate, |offsets| match offsets.len() {
            4 => Err(HandlerError::transient("the whole")),
            _ => returning(offsets),
        });
        let mut parts = parts(4);
        parts.concurrency = 1;
        let mut service = BatchLayer::new(parts).layer(handler);
        let (stays, goes, gathering) = (stream(0), stream(1), Arc::new(Gathering::heard(4)));
        let mut running: Running = [(&stays, 0), (&stays, 3), (&goes, 1), (&goes, 4)]
            .map(|(stream, offset)| {
                let mut delivery = delivery(stream, offset);
                delivery.accompany(Arc::clone(&gathering) as _);
                (delivery.clone(), service.call(delivery))
            })
            .into();
        let first = running[0].0.clone();
        assert!(poll(&mut running).is_empty(), "its first half is called");
        if in_the_call {
            goes.stop();
            assert_eq!(poll(&mut running).len(), 2);
        }
        gate.add_permits(10);
        assert_eq!(ended_well(&poll(&mut running)), [0]);
        if !in_the_call {
            goes.stop();
            assert_eq!(poll(&mut running).len(), 2);
        }
        let other = service.call(delivery(&stays, 6));
        let other = tokio::time::timeout(2 * LINGER, other).await;
        assert!(
            other.expect("the only call there is is free").is_ok(),
            "it is called"
        );
        gathering.ended(&first, true);
        assert_eq!(ended_well(&poll(&mut running)), [3]);
    }
}
