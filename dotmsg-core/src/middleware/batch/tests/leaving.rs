//! Members whose partition is given up, or that are dropped, at each stage of a batch.

use std::pin::pin;

use tokio::sync::Notify;

use super::*;

/// Calls in a task of its own that is polled whenever `stop` says so, as slots are when their partition is given up.
fn stoppable(
    service: &Batcher<Handler>,
    delivery: Delivery,
    stop: &Arc<Notify>,
) -> JoinHandle<HandlerResult> {
    let (call, stop) = (service.clone().call(delivery), Arc::clone(stop));
    tokio::spawn(async move {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                biased;
                () = stop.notified() => {}
                result = &mut call => return result,
            }
        }
    })
}

/// So that what waits to be polled is polled, and no timer runs out.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn assert_put_back(members: Vec<JoinHandle<HandlerResult>>) {
    for member in members {
        assert!(member.is_finished(), "it waits for what is not its own");
        assert!(member.await.unwrap().unwrap_err().is_put_back());
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_more_is_put_back_and_the_others_wait_on() {
    for goes_first in [true, false] {
        let (calls, handler) = handler(&open_gate(), all_well);
        let service = BatchLayer::new(parts(100)).layer(handler);
        let (stays, goes, stop) = (stream(0), stream(1), Arc::new(Notify::new()));
        let begin = Instant::now();
        let mut streams = [(&goes, 8), (&stays, 7)];
        if !goes_first {
            streams.reverse();
        }
        let mut members = streams
            .map(|(stream, offset)| Some(stoppable(&service, delivery(stream, offset), &stop)));
        settle().await;
        goes.stop();
        stop.notify_waiters();
        settle().await;
        let gone = members[usize::from(!goes_first)].take().unwrap();
        assert_put_back(vec![gone]).await;
        let left = members.into_iter().flatten().next().unwrap();
        assert!(left.await.unwrap().is_ok());
        assert_eq!(begin.elapsed(), LINGER);
        assert_eq!(*calls.lock().unwrap(), [[7]]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_call_does_not_wait_for_it_to_be_given_up() {
    let gate = Arc::new(Semaphore::new(0));
    let (calls, handler) = handler(&gate, all_well);
    let mut parts = parts(2);
    parts.concurrency = 1;
    let service = BatchLayer::new(parts).layer(handler);
    let (stays, goes, stop) = (stream(0), stream(1), Arc::new(Notify::new()));
    let running: Vec<_> = (0..2)
        .map(|offset| call(&service, delivery(&stays, offset)))
        .collect();
    let waiting: Vec<_> = (2..4)
        .map(|offset| stoppable(&service, delivery(&goes, offset), &stop))
        .collect();
    settle().await;
    goes.stop();
    stop.notify_waiters();
    settle().await;
    assert_put_back(waiting).await;
    gate.add_permits(10);
    for running in running {
        assert!(running.await.unwrap().is_ok());
    }
    assert_eq!(*calls.lock().unwrap(), [[0, 1]]);
}

/// The whole fails; while one half is called, the partition of the other half is given up.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_another_half_does_not_wait_for_it_to_be_given_up() {
    for stopped_early in [true, false] {
        let gate = Arc::new(Semaphore::new(0));
        let (calls, handler) = handler(&gate, |offsets| match offsets.len() {
            4 => Err(HandlerError::transient("the whole")),
            _ => all_well(offsets),
        });
        let service = BatchLayer::new(parts(4)).layer(handler);
        let (stays, goes, stop) = (stream(0), stream(1), Arc::new(Notify::new()));
        let first: Vec<_> = (0..2)
            .map(|offset| stoppable(&service, delivery(&stays, offset), &stop))
            .collect();
        let second: Vec<_> = (2..4)
            .map(|offset| stoppable(&service, delivery(&goes, offset), &stop))
            .collect();
        settle().await;
        if stopped_early {
            // They are in the call, so they wait for its end.
            goes.stop();
            stop.notify_waiters();
            settle().await;
            assert!(second.iter().all(|member| !member.is_finished()));
        }
        gate.add_permits(1);
        settle().await;
        goes.stop();
        stop.notify_waiters();
        settle().await;
        assert_put_back(second).await;
        gate.add_permits(10);
        for member in first {
            assert!(member.await.unwrap().is_ok());
        }
        assert_eq!(*calls.lock().unwrap(), [vec![0, 1, 2, 3], vec![0, 1]]);
    }
}

/// A member that is in no call at the moment can be dropped without the call.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_dropped_beside_a_call_leaves_it_alone() {
    for dropped in [2, 3] {
        let gate = Arc::new(Semaphore::new(1));
        let (calls, handler) = handler(&gate, |offsets| match offsets.len() {
            4 => Err(HandlerError::transient("the whole")),
            _ => all_well(offsets),
        });
        let service = BatchLayer::new(parts(4)).layer(handler);
        let stream = stream(0);
        let mut running: Vec<_> = (0..4)
            .map(|offset| call(&service, delivery(&stream, offset)))
            .collect();
        settle().await;
        running.remove(dropped).abort();
        settle().await;
        gate.add_permits(10);
        for running in running {
            assert!(running.await.unwrap().is_ok());
        }
        let other = if dropped == 2 { 3 } else { 2 };
        assert_eq!(
            *calls.lock().unwrap(),
            [vec![0, 1, 2, 3], vec![0, 1], vec![other]]
        );
    }
}
