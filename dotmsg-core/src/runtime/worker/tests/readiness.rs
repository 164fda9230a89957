//! What a worker holds of a service that reserves something when it is asked: nothing without a message in hand.

use std::future::{Future, poll_fn};
use std::pin::Pin;

use tower_layer::Layer;

use super::*;
use crate::clock::SystemClock;
use crate::middleware::concurrency_limit::{CallPermits, ConcurrencyLimit, ConcurrencyLimitLayer};
use crate::middleware::dedup::{Dedup, DedupLayer, DedupLimits, MemoryStore};
use crate::middleware::shed::{ShedLayer, ShedParts, Shedding};
use crate::runtime::reports::Report;

type Handling = Pin<Box<dyn Future<Output = Result<Outcome, Infallible>> + Send>>;

/// A handler that ends when it is polled for the second time.
fn limited(
    permits: &CallPermits,
) -> ConcurrencyLimit<
    impl Service<Delivery, Response = Outcome, Error = Infallible, Future = Handling> + Clone + use<>,
> {
    let handler = tower::service_fn(|_: Delivery| {
        let mut polled = false;
        let twice = poll_fn(move |_| match std::mem::replace(&mut polled, true) {
            false => Poll::Pending,
            true => Poll::Ready(Ok(End::Handled.outcome(0))),
        });
        Box::pin(twice) as Handling
    });
    ConcurrencyLimitLayer::all([permits.clone()]).layer(handler)
}

fn is_ready<S: Service<Delivery>>(service: &mut S) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    service.poll_ready(&mut cx).is_ready()
}

struct Subject<S: Service<Delivery>> {
    worker: Worker<S>,
    reports: Reports,
    next: u64,
}

impl<S> Subject<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    fn new(worker: Worker<S>) -> Self {
        Self {
            worker,
            reports: Reports::default(),
            next: 0,
        }
    }

    fn offer(&mut self, key: &'static str) {
        self.offer_message(Message::new("payload").with_key(key));
    }

    fn offer_with_id(&mut self, key: &'static str, id: &'static str) {
        self.offer_message(Message::new("payload").with_key(key).with_id(id));
    }

    fn offer_message(&mut self, message: Message) {
        let (mut record, ticket) = offered(self.next, message);
        self.next += 1;
        let cx = &mut Context::from_waker(Waker::noop());
        let Self {
            worker, reports, ..
        } = self;
        worker.offer(cx, &stream(0), &mut record, &ticket, None, reports);
    }

    fn poll(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        self.worker.poll(cx, &mut self.reports);
    }

    /// Polls whatever runs once more.
    fn wake_all(&mut self) {
        for slot in self.worker.slots.iter() {
            slot.wake();
        }
        self.poll();
    }

    fn is_drained(&self) -> bool {
        let drained = |report: &Report| matches!(report, Report::Drained { .. });
        self.reports.others.iter().any(drained)
    }
}

#[test]
fn an_idle_worker_holds_no_permit_of_its_service() {
    let permits = CallPermits::new(1);
    let mut subject = Subject::new(worker(limited(&permits)));
    subject.offer("a");
    subject.offer("b");
    subject.poll();
    assert_eq!(permits.free(), 0);
    subject.wake_all();
    assert_eq!(permits.free(), 0, "the second runs");
    subject.wake_all();
    assert_eq!(subject.reports.handled.len(), 2);
    assert_eq!(permits.free(), 1);
}

/// A worker stands in the queue for a message, which goes with its partition: the permit that it is given then is another's.
#[test]
fn a_worker_whose_messages_are_gone_leaves_the_queue() {
    let permits = CallPermits::new(1);
    let (mut runs, mut waits) = (limited(&permits), limited(&permits));
    assert!(is_ready(&mut runs));
    let mut subject = Subject::new(worker(limited(&permits)));
    subject.offer("a");
    subject.poll();
    assert!(!is_ready(&mut waits), "it is behind the worker");
    let Subject {
        worker, reports, ..
    } = &mut subject;
    worker.stop_partition(0, 1, reports);
    assert!(subject.is_drained(), "nothing runs");
    subject.poll();
    drop(runs);
    assert!(is_ready(&mut waits));
    // It was given the permit before it was polled again.
    drop(waits);
    assert_eq!(permits.free(), 1);
}

/// The same when it has the permit already, and only its task's budget kept it from the call.
#[tokio::test]
async fn a_worker_that_is_ready_and_has_nothing_to_call_it_with_gives_the_permit_back() {
    let permits = CallPermits::new(1);
    let mut runs = limited(&permits);
    assert!(is_ready(&mut runs));
    let mut subject = Subject::new(worker(limited(&permits)));
    subject.offer("a");
    subject.poll();
    drop(runs);
    assert_eq!(permits.free(), 0, "it is the worker's");
    let Subject {
        worker, reports, ..
    } = &mut subject;
    worker.stop_partition(0, 1, reports);
    subject.poll();
    assert_eq!(permits.free(), 1);
}

/// Two workers of a route with one message at a time: the one that may not start anything keeps nothing from the one that runs.
#[test]
fn a_worker_without_a_permit_of_its_route_holds_none_of_its_service() {
    let permits = CallPermits::new(1);
    let mut runs = limited(&permits);
    assert!(is_ready(&mut runs));
    let own = Arc::new(Permits::new(1));
    let of_route = |service| {
        let policy = LanePolicy {
            ordering: Ordering::Key,
            keep: true,
            hash_seed: 1,
            batch: None,
        };
        Subject::new(Worker::new(service, policy, Arc::clone(&own), 1))
    };
    let (mut one, mut other) = (of_route(limited(&permits)), of_route(limited(&permits)));
    one.offer("a");
    one.poll();
    other.offer("b");
    other.poll();
    drop(runs);
    one.poll();
    assert_eq!((own.used(), permits.free()), (1, 0), "the first one runs");
    one.wake_all();
    // Its message is to be repeated, say: the permit of the route stays in use.
    assert!(own.acquire(Waker::noop()));
    other.poll();
    assert_eq!(permits.free(), 1);
    own.release();
    other.poll();
    assert_eq!(permits.free(), 0, "now it runs");
}

/// What is shed is not called: the service is still ready then, and the permit is not that message's.
#[test]
fn a_message_that_is_shed_leaves_no_permit_behind() {
    let permits = CallPermits::new(1);
    let shedding = Shedding::new(ShedParts {
        handler: "count".into(),
        keep_ppm: 0,
        older_than: None,
        clock: Arc::new(SystemClock),
    });
    let service = ShedLayer::new(Some(Arc::new(shedding))).layer(limited(&permits));
    let mut subject = Subject::new(worker(service));
    for _ in 0..2 {
        subject.offer("a");
    }
    subject.poll();
    assert!(!subject.reports.is_empty(), "they have ended");
    assert_eq!(permits.free(), 1);
}

fn without_duplicates<S>(service: S) -> Dedup<S> {
    let store = Arc::new(MemoryStore::new(DedupLimits::default()));
    DedupLayer::new(Some(store)).layer(service)
}

#[test]
fn a_duplicate_leaves_no_permit_behind() {
    let permits = CallPermits::new(1);
    let mut subject = Subject::new(worker(without_duplicates(limited(&permits))));
    subject.offer_with_id("a", "one");
    subject.poll();
    subject.wake_all();
    assert_eq!((subject.reports.handled.len(), permits.free()), (1, 1));
    subject.offer_with_id("b", "one");
    subject.poll();
    assert_eq!(permits.free(), 1);
}

#[test]
fn a_duplicate_that_waits_leaves_no_permit_behind() {
    let permits = CallPermits::new(2);
    let mut subject = Subject::new(worker(without_duplicates(limited(&permits))));
    subject.offer_with_id("a", "one");
    subject.offer_with_id("b", "one");
    subject.poll();
    assert_eq!(permits.free(), 1, "the first runs, the second waits");
    subject.wake_all();
    subject.wake_all();
    assert_eq!(permits.free(), 2);
}
