//! Tests of the layer, in virtual time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{advance, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::clock::Timestamp;
use crate::delivery::{Role, Stream};
use crate::error::{Error, ErrorKind};
use crate::message::Message;
use crate::middleware::Away;
use crate::middleware::testing::handled;

const AWAY: Outcome = Outcome::Away(Away {
    delay: Duration::from_secs(5),
    partition: 0,
    offset: 0,
    appended_at: Timestamp(0),
});
const DISCARDED: Outcome = Outcome::Settled(Ended::Discarded);
const DEAD: Outcome = Outcome::Settled(Ended::DeadLettered);
const RETURNED: Outcome = Outcome::Settled(Ended::Returned { discarded: false });

fn stream() -> Arc<Stream> {
    Arc::new(Stream::new("orders".into(), 0, 1, Role::Source))
}

fn on(stream: &Arc<Stream>, id: &'static str, offset: u64) -> Delivery {
    let message = Message::new("x").with_key("k").with_id(id);
    Delivery::new(Arc::clone(stream), offset, Timestamp(0), message)
}

fn copy(id: &'static str, offset: u64) -> Delivery {
    on(&stream(), id, offset)
}

/// Takes a second and answers what its script says, then that it handled; the offsets that it was called with.
#[derive(Clone, Default)]
struct Script {
    outcomes: Arc<Mutex<VecDeque<Outcome>>>,
    called: Arc<Mutex<Vec<u64>>>,
}

impl Script {
    fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let script = Self::default();
        script.outcomes.lock().unwrap().extend(outcomes);
        script
    }

    fn called(&self) -> Vec<u64> {
        self.called.lock().unwrap().clone()
    }

    async fn handle(self, delivery: Delivery) -> Result<Outcome, Infallible> {
        let offset = delivery.position().offset;
        self.called.lock().unwrap().push(offset);
        let outcome = self.outcomes.lock().unwrap().pop_front();
        sleep(Duration::from_secs(1)).await;
        Ok(outcome.unwrap_or_else(handled))
    }

    fn in_layer<D: DedupStore + ?Sized>(&self, layer: &DedupLayer<D>) -> TestService {
        let script = self.clone();
        let service = service_fn(move |delivery| script.clone().handle(delivery));
        tower::util::BoxCloneService::new(layer.layer(service))
    }
}

type TestService = tower::util::BoxCloneService<Delivery, Outcome, Infallible>;

fn memory() -> (Arc<MemoryStore>, DedupLayer) {
    memory_of(DedupLimits::default())
}

fn memory_of(limits: DedupLimits) -> (Arc<MemoryStore>, DedupLayer) {
    let store = Arc::new(MemoryStore::new(limits));
    (Arc::clone(&store), DedupLayer::new(Some(store)))
}

async fn call(service: &TestService, delivery: Delivery) -> Outcome {
    service.clone().oneshot(delivery).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn only_a_success_is_remembered() {
    let others = [
        AWAY,
        DISCARDED,
        DEAD,
        RETURNED,
        Outcome::Interrupted,
        Outcome::PutBack,
    ];
    let script = Script::of(others);
    let (store, layer) = memory();
    let service = script.in_layer(&layer);
    for (offset, want) in (0..).zip(others) {
        assert_eq!(call(&service, copy("a", offset)).await, want);
    }
    assert!(store.is_empty());
    assert_eq!(call(&service, copy("a", 6)).await, handled());
    assert_eq!(call(&service, copy("a", 7)).await, DUPLICATE);
    assert_eq!(call(&service, copy("b", 8)).await, handled());
    assert_eq!(script.called(), [0, 1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(store.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_store_everything_passes() {
    let script = Script::default();
    let service = script.in_layer(&DedupLayer::<MemoryStore>::new(None));
    for offset in 0..2 {
        assert_eq!(call(&service, copy("a", offset)).await, handled());
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_altogether_was_not_handled() {
    let (store, layer) = memory();
    let failing = service_fn(|_: Delivery| async { Err::<Outcome, _>("no") });
    let service = layer.layer(failing);
    assert_eq!(service.oneshot(copy("a", 0)).await, Err("no"));
    assert!(store.is_empty());
    let service = Script::default().in_layer(&layer);
    assert_eq!(call(&service, copy("a", 1)).await, handled());
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_one_that_runs_waits_for_it() {
    let script = Script::default();
    let (_, layer) = memory();
    // Two services of one layer, as two workers have them.
    let [one, other] = [(); 2].map(|()| script.in_layer(&layer));
    let begin = tokio::time::Instant::now();
    let (first, second, third) = tokio::join!(
        call(&one, copy("a", 0)),
        call(&other, copy("a", 1)),
        call(&one, copy("a", 2)),
    );
    assert_eq!((first, second, third), (handled(), DUPLICATE, DUPLICATE));
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
    assert_eq!(script.called(), [0]);
}

#[tokio::test(start_paused = true)]
async fn it_runs_itself_when_the_first_one_fails() {
    let script = Script::of([AWAY, DEAD]);
    let (_, layer) = memory();
    let service = script.in_layer(&layer);
    let (first, second, third, fourth) = tokio::join!(
        call(&service, copy("a", 0)),
        call(&service, copy("a", 1)),
        call(&service, copy("a", 2)),
        call(&service, copy("a", 3)),
    );
    assert_eq!(first, AWAY);
    // Which of those that wait is next is not promised.
    let others = [second, third, fourth];
    for outcome in [DEAD, handled(), DUPLICATE] {
        assert!(others.contains(&outcome), "{outcome:?} in {others:?}");
    }
    assert_eq!(script.called().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_gives_up_its_claim() {
    let script = Script::default();
    let (_, layer) = memory();
    let service = script.in_layer(&layer);
    let dropped = timeout(Duration::from_millis(1), call(&service, copy("a", 0)));
    let (dropped, second) = tokio::join!(dropped, call(&service, copy("a", 1)));
    assert!(dropped.is_err());
    assert_eq!(second, handled());
    // One that waits holds nothing.
    let first = call(&service, copy("b", 2));
    let waits = timeout(Duration::from_millis(1), call(&service, copy("b", 3)));
    let (first, waits) = tokio::join!(first, waits);
    assert_eq!((first, waits.is_err()), (handled(), true));
    assert_eq!(call(&service, copy("b", 4)).await, DUPLICATE);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_ends_when_its_partition_is_given_up() {
    let script = Script::default();
    let (_, layer) = memory();
    let service = script.in_layer(&layer);
    let stream = stream();
    let first = call(&service, copy("a", 0));
    let second = call(&service, on(&stream, "a", 1));
    tokio::pin!(first, second);
    assert!(futures_pending(&mut first).await && futures_pending(&mut second).await);
    stream.stop();
    // Whoever stops a stream wakes what runs of it.
    assert_eq!(second.await, Outcome::Interrupted);
    assert_eq!(first.await, handled());
}

async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_forgotten_by_number_and_by_time() {
    let limits = DedupLimits {
        max_ids: 2,
        keep_for: Duration::from_secs(10),
    };
    let script = Script::default();
    let (store, layer) = memory_of(limits);
    let service = script.in_layer(&layer);
    for (offset, id) in (0..).zip(["a", "b", "c"]) {
        assert_eq!(call(&service, copy(id, offset)).await, handled());
    }
    assert_eq!(store.len(), 2);
    assert_eq!(call(&service, copy("b", 3)).await, DUPLICATE);
    assert_eq!(call(&service, copy("a", 4)).await, handled());
    assert_eq!(call(&service, copy("b", 5)).await, handled());
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(call(&service, copy("b", 6)).await, DUPLICATE);
    advance(Duration::from_millis(1)).await;
    assert_eq!(call(&service, copy("b", 7)).await, handled());
}

#[tokio::test(start_paused = true)]
async fn before_a_batch_it_is_put_back_and_closes_its_batch() {
    let script = Script::of([AWAY, handled()]);
    let (_, layer) = memory();
    let service = script.in_layer(&layer.before_batches());
    let gathering = Arc::new(crate::middleware::batch::Gathering::new(8));
    let mut second = copy("a", 1);
    second.accompany(Arc::clone(&gathering) as _);
    let (first, put_back) = tokio::join!(call(&service, copy("a", 0)), async {
        let outcome = service.clone().oneshot(second);
        tokio::pin!(outcome);
        assert!(gathering.is_open() && futures_pending(&mut outcome).await);
        assert!(!gathering.is_open(), "nothing joins in its place");
        outcome.await.unwrap()
    },);
    assert_eq!((first, put_back), (AWAY, Outcome::PutBack));
    let (first, second) = tokio::join!(call(&service, copy("a", 2)), call(&service, copy("a", 3)),);
    assert_eq!((first, second), (handled(), DUPLICATE));
}

/// A store elsewhere: every answer takes a second, and the first of each kind is an error.
#[derive(Debug)]
struct Elsewhere {
    memory: Arc<MemoryStore>,
    errors: Mutex<(bool, bool)>,
}

fn later<T: Send + 'static>(first: bool, answer: impl FnOnce() -> Reply<T>) -> Reply<T> {
    let answer = match first {
        true => Err(Error::new(ErrorKind::Unreachable, "ask", "no connection")),
        false => match answer() {
            Reply::Now(answer) => Ok(answer),
            Reply::Later(_) => unreachable!("memory answers at once"),
        },
    };
    Reply::Later(Box::pin(async move {
        sleep(Duration::from_secs(1)).await;
        answer
    }))
}

impl DedupStore for Elsewhere {
    fn claim(&self, delivery: &Delivery) -> Reply<Claim> {
        let first = !std::mem::replace(&mut self.errors.lock().unwrap().0, true);
        later(first, || self.memory.claim(delivery))
    }

    fn succeed(&self, delivery: &Delivery, token: u64) -> Reply<()> {
        let first = !std::mem::replace(&mut self.errors.lock().unwrap().1, true);
        later(first, || self.memory.succeed(delivery, token))
    }

    fn release(&self, delivery: &Delivery, token: u64) {
        self.memory.release(delivery, token);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_later_is_asked_until_it_does() {
    let script = Script::of([AWAY]);
    let (memory, _) = memory();
    let store: Arc<dyn DedupStore> = Arc::new(Elsewhere {
        memory: Arc::clone(&memory),
        errors: Mutex::default(),
    });
    let service = script.in_layer(&DedupLayer::new(Some(store)));
    assert_eq!(call(&service, copy("a", 0)).await, AWAY);
    assert_eq!(call(&service, copy("a", 1)).await, handled());
    assert_eq!(
        memory.len(),
        1,
        "it is remembered before the message is settled"
    );
    assert_eq!(call(&service, copy("a", 2)).await, DUPLICATE);
    // A partition that is given up does not wait for a store that has gone; what was handled was handled.
    let stream = stream();
    stream.stop();
    assert_eq!(
        call(&service, on(&stream, "b", 3)).await,
        Outcome::Interrupted
    );
    assert_eq!(call(&service, copy("b", 4)).await, handled());
}
