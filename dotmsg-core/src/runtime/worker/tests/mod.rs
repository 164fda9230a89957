//! A worker alone: what it holds and how long it runs here, what it starts and in which order in `model`.

mod model;
mod readiness;
mod together;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::*;
use crate::backend::Record;
use crate::clock::Timestamp;
use crate::delivery::{Role, Stream};
use crate::message::Message;
use crate::middleware::Ended;
use crate::progress::Tracker;
use crate::runtime::ticket::{Settles, Ticket};

const LIMIT: usize = 3;

#[derive(Clone, Copy, Debug)]
enum End {
    Handled,
    Away,
    Interrupted,
    PutBack,
}

impl End {
    fn outcome(self, id: u64) -> Outcome {
        match self {
            Self::Handled => Outcome::Settled(Ended::Handled),
            Self::Interrupted => Outcome::Interrupted,
            Self::PutBack => Outcome::PutBack,
            Self::Away => Outcome::Away(Away {
                delay: std::time::Duration::from_secs(5),
                partition: 0,
                offset: id,
                appended_at: Timestamp(0),
            }),
        }
    }
}

/// A worker with key order, `keep`, and [`LIMIT`] permits.
fn worker<S>(service: S) -> Worker<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    let policy = LanePolicy {
        ordering: Ordering::Key,
        keep: true,
        hash_seed: 1,
        batch: None,
    };
    Worker::new(service, policy, Arc::new(Permits::new(LIMIT)), LIMIT)
}

fn stream(partition: u32) -> Arc<Stream> {
    Arc::new(Stream::new("orders".into(), partition, 1, Role::Source))
}

/// A record of the source in partition 0, and its ticket.
fn offered(offset: u64, message: Message) -> (Record, Ticket) {
    let ticket = Ticket {
        partition: 0,
        ownership: 1,
        settles: Settles::Source(Tracker::new(0).begin(0)),
        offset,
        size: u32::try_from(message.size()).unwrap(),
    };
    let record = Record {
        offset,
        receipt: 0,
        appended_at: Timestamp(0),
        message,
    };
    (record, ticket)
}

/// What waits behind an away head, and the lane itself, hold their own bytes: not the chunk that they were read with.
#[test]
fn what_is_parked_holds_no_more_than_its_own_bytes() {
    for followers_before in [0, 2] {
        let open = Arc::new(Mutex::new(None::<Waker>));
        let pending = followers_before > 0;
        let waker = Arc::clone(&open);
        let service = tower::service_fn(move |_: Delivery| {
            let waker = Arc::clone(&waker);
            let mut pending = pending;
            std::future::poll_fn(move |cx| {
                if std::mem::take(&mut pending) {
                    *waker.lock().unwrap() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Poll::Ready(Ok(End::Away.outcome(0)))
            })
        });
        let mut worker = worker(service);
        let stream = stream(0);
        let cx = &mut Context::from_waker(Waker::noop());
        let mut reports = Reports::default();
        let chunk = Bytes::from(vec![b'a'; 1 << 20]);
        for offset in 0..followers_before + 2 {
            if offset == followers_before + 1 {
                // The head goes away, and one more arrives behind it.
                if let Some(waker) = open.lock().unwrap().take() {
                    waker.wake();
                }
                worker.poll(cx, &mut reports);
            }
            let mut message = Message::new(chunk.slice(1..10));
            message.key = Some(chunk.slice(0..1));
            let (mut record, ticket) = offered(offset, message);
            worker.offer(cx, &stream, &mut record, &ticket, None, &mut reports);
        }
        worker.poll(cx, &mut reports);
        assert!(!worker.lanes.no_keys(), "the head is away");
        assert!(chunk.is_unique(), "with {followers_before} before");
    }
}

/// A worker that has nothing to do holds no message: not even the last one, which its slot keeps warm within a batch.
#[test]
fn an_idle_worker_holds_no_message() {
    let service = tower::service_fn(|_: Delivery| std::future::ready(Ok(End::Handled.outcome(0))));
    let mut worker = worker(service);
    let stream = stream(0);
    let cx = &mut Context::from_waker(Waker::noop());
    let payload = Bytes::from(vec![b'a'; 1 << 10]);
    let (mut record, _) = offered(0, Message::new(payload.clone()));
    let called = worker.try_at_once(cx, &stream, &mut record);
    assert!(called.is_some_and(|called| called.poll.is_ready()));
    worker.poll(cx, &mut Reports::default());
    assert!(payload.is_unique());
    assert_eq!(worker.permits.used(), 0);
}

/// Between two polls the pump hears of revocations, however many messages of one key are ready at once.
#[test]
fn a_long_lane_is_not_run_to_its_end_in_one_poll() {
    let first = Arc::new(Mutex::new(None::<Waker>));
    let opened = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (waker, open) = (Arc::clone(&first), Arc::clone(&opened));
    let service = tower::service_fn(move |_: Delivery| {
        let (waker, open) = (Arc::clone(&waker), Arc::clone(&open));
        std::future::poll_fn(move |cx| {
            if open.load(std::sync::atomic::Ordering::SeqCst) {
                return Poll::Ready(Ok(End::Handled.outcome(0)));
            }
            *waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
    });
    let mut worker = worker(service);
    let stream = stream(0);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut reports = Reports::default();
    let count = 3 * DISPATCHES_PER_POLL;
    for offset in 0..count as u64 {
        let message = Message::new("payload").with_key("a");
        let (mut record, ticket) = offered(offset, message);
        worker.offer(cx, &stream, &mut record, &ticket, None, &mut reports);
    }
    opened.store(true, std::sync::atomic::Ordering::SeqCst);
    first.lock().unwrap().take().unwrap().wake();
    for polls in 1..=4 {
        worker.poll(cx, &mut reports);
        let ended = reports.handled.len();
        assert!(ended <= polls * DISPATCHES_PER_POLL, "{ended} in {polls}");
    }
    assert_eq!(reports.handled.len(), count);
    assert!(worker.lanes.no_keys());
    assert_eq!(worker.permits.used(), 0);
}
