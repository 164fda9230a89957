//! A stack that knows duplicates behaves as the layer of its own does around one that does not.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::delivery::{Span, Story};
use crate::middleware::dedup::{Claim, DedupLayer, DedupLimits, DedupStore, MemoryStore, Reply};
use crate::router::DedupSpec;

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Succeeds,
    Returns,
    FailsTwice,
    Fails,
    FailsForGood,
    Panics,
}

/// A message, and when it comes and goes.
#[derive(Clone, Debug)]
struct Step {
    id: u8,
    way: Way,
    takes: u64,
    /// Its future is dropped then; where it has not ended.
    dropped_after: u64,
    pause: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let way = prop_oneof![
        4 => Just(Way::Succeeds),
        2 => Just(Way::Returns),
        1 => Just(Way::FailsTwice),
        2 => Just(Way::Fails),
        1 => Just(Way::FailsForGood),
        1 => Just(Way::Panics),
    ];
    let dropped_after = prop_oneof![3 => Just(10_000_000_u64), 1 => 0..40_u64];
    let step = (0..3_u8, way, 0..4_u64, dropped_after, 0..3_u64).prop_map(
        |(id, way, takes, dropped_after, pause)| Step {
            id,
            way,
            takes: takes * 7,
            dropped_after,
            pause: pause * 5,
        },
    );
    proptest::collection::vec(step, 1..24)
}

/// What became of each message (`None`: it was dropped); which were called, in their order; and which ids are remembered.
type Seen = (Vec<Option<Outcome>>, Vec<u64>, [bool; 3]);

/// Runs them through a stack that knows duplicates itself, or through the layer.
async fn seen(steps: &[Step], itself: bool) -> Seen {
    let publisher = ScriptedPublisher::new([]);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (calls, steps) = (Arc::clone(&calls), steps.to_vec());
        service_fn(move |delivery: Delivery| {
            calls.lock().unwrap().push(delivery.position().offset);
            let step = steps[delivery.position().offset as usize].clone();
            async move {
                if step.takes > 0 {
                    tokio::time::sleep(Duration::from_millis(step.takes)).await;
                }
                match step.way {
                    Way::Succeeds => Ok(Returned::default()),
                    Way::Returns => Ok(vec![Outgoing::new("miles", "1")].into()),
                    Way::FailsTwice if delivery.attempt() > 2 => Ok(Returned::default()),
                    Way::FailsTwice | Way::Fails => Err(transient("down")),
                    Way::FailsForGood => Err(HandlerError::permanent("never")),
                    Way::Panics => panic!("on purpose"),
                }
            }
        })
    };
    let mut route = route();
    route.retry.in_place.attempts = 3;
    route.retry.in_place.backoff = Duration::from_millis(3);
    route.timeout = Some(Duration::from_millis(20));
    let (store, ends) = if itself {
        let (parts, store) = knowing(parts(route, &publisher));
        (store, start_all(stack(handler, parts), steps).await)
    } else {
        let store = Arc::new(MemoryStore::new(DedupLimits::default()));
        let layer = DedupLayer::new(Some(Arc::clone(&store)));
        let service = layer.layer(stack(handler, parts(route, &publisher)));
        (store, start_all(service, steps).await)
    };
    let mut outcomes = Vec::new();
    for end in ends {
        outcomes.push(end.await.unwrap());
    }
    let calls = calls.lock().unwrap().clone();
    let remembered = [0, 1, 2].map(|id| {
        let after = with_id(&format!("order-{id}"), steps.len() as u64);
        match store.claim(&after) {
            Reply::Now(Claim::Granted(_)) => false,
            Reply::Now(Claim::Handled) => true,
            running => panic!("order-{id} is claimed by nobody: {running:?}"),
        }
    });
    (outcomes, calls, remembered)
}

/// Begins all of them, each when it comes.
async fn start_all<S>(service: S, steps: &[Step]) -> Vec<JoinHandle<Option<Outcome>>>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut ends = Vec::new();
    for (offset, step) in (0..).zip(steps) {
        let delivery = with_id(&format!("order-{}", step.id), offset);
        let until = Duration::from_millis(step.dropped_after);
        let call = tokio::time::timeout(until, service.clone().oneshot(delivery));
        ends.push(tokio::spawn(
            async move { call.await.ok().map(Result::unwrap) },
        ));
        tokio::time::sleep(Duration::from_millis(step.pause)).await;
    }
    ends
}

/// The same with duplicates known, by this store.
fn knowing(mut parts: StackParts) -> (StackParts, Arc<MemoryStore>) {
    let mut route = (*parts.route).clone();
    route.dedup = Some(DedupSpec::default());
    parts.front = Front::of(&route, &clock());
    parts.route = Arc::new(route);
    let store = parts.front.store().map(Arc::clone);
    (parts, store.unwrap())
}

fn with_id(id: &str, offset: u64) -> Delivery {
    let message = Message::new("x").with_id(id.to_owned());
    let stream = Arc::new(Stream::new("orders".into(), 3, 1, Role::Source));
    Delivery::new(stream, offset, Timestamp(0), message)
}

/// The same steps on both, each in a runtime of its own; `looked_at` by who logs, so that each call begins in the full stack.
fn compare(steps: &[Step], looked_at: bool) -> Result<(), TestCaseError> {
    let _log = looked_at.then(crate::seen::Seen::new);
    let run = |itself| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(seen(steps, itself))
    };
    prop_assert_eq!(run(true), run(false));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stack_knows_them_as_the_layer_does(steps in steps(), looked_at in any::<bool>()) {
        compare(&steps, looked_at)?;
    }
}

/// What a call holds. It looks, when it is dropped, whether its id is still claimed.
struct Inside(Arc<MemoryStore>, Arc<Mutex<Vec<bool>>>);

impl Drop for Inside {
    fn drop(&mut self) {
        let claim = self.0.claim(&with_id("order-7", 1));
        let running = matches!(claim, Reply::Now(Claim::Running(_)));
        self.1.lock().unwrap().push(running);
    }
}

#[test]
fn a_claim_is_given_up_after_its_call_was_dropped() {
    let (parts, store) = knowing(parts(route(), &ScriptedPublisher::new([])));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
        service_fn(move |_: Delivery| {
            let inside = Inside(Arc::clone(&store), Arc::clone(&seen));
            async move {
                std::future::pending::<()>().await;
                drop(inside);
                Ok(Returned::default())
            }
        })
    };
    let mut service = stack(handler, parts);
    let mut call = Box::pin(service.call(with_id("order-7", 0)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    drop(call);
    assert_eq!(*seen.lock().unwrap(), [true]);
    let claim = store.claim(&with_id("order-7", 2));
    assert!(matches!(claim, Reply::Now(Claim::Granted(_))), "{claim:?}");
}

/// Cannot be cloned any more once it is spent.
#[derive(Default)]
struct Fragile(Arc<AtomicBool>);

impl Fragile {
    /// Of the whole, which a closure captures then.
    fn spent(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Relaxed), "on purpose");
        Self(Arc::clone(&self.0))
    }
}

#[test]
fn a_claim_is_given_up_when_the_way_on_panics() {
    let (parts, store) = knowing(parts(route(), &ScriptedPublisher::new([])));
    let fragile = Fragile::default();
    let handler = service_fn(move |_: Delivery| {
        let spent = fragile.spent();
        async move {
            spent.store(true, Relaxed);
            Err(transient("down"))
        }
    });
    let mut service = stack(handler, parts);
    let mut call = Box::pin(service.call(with_id("order-7", 0)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // The handler is cloned for its repeats.
    let polled = std::panic::AssertUnwindSafe(|| call.as_mut().poll(&mut cx).is_ready());
    assert!(std::panic::catch_unwind(polled).is_err());
    drop(call);
    let claim = store.claim(&with_id("order-7", 1));
    assert!(matches!(claim, Reply::Now(Claim::Granted(_))), "{claim:?}");
}

#[derive(Debug)]
struct Panicking;

impl RouteTracer for Panicking {
    fn follow(&self, _: &Delivery) -> Option<Arc<dyn Story>> {
        panic!("on purpose")
    }

    fn batch(&self, _: &[Delivery]) -> Option<Box<dyn Span>> {
        None
    }
}

#[test]
fn a_claim_is_given_up_when_the_tracer_panics() {
    let (mut parts, store) = knowing(parts(route(), &ScriptedPublisher::new([])));
    parts.tracer = Some(Arc::new(Panicking));
    let mut service = stack(
        service_fn(|_: Delivery| async { Ok(Returned::default()) }),
        parts,
    );
    let called = std::panic::AssertUnwindSafe(|| drop(service.call(with_id("order-7", 0))));
    assert!(std::panic::catch_unwind(called).is_err());
    let claim = store.claim(&with_id("order-7", 1));
    assert!(matches!(claim, Reply::Now(Claim::Granted(_))), "{claim:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_waits_holds_nothing_that_is_shared() {
    let publisher = ScriptedPublisher::new([]);
    let mut route = route();
    route.retry.in_place.attempts = 2;
    route.retry.in_place.backoff = Duration::from_secs(60);
    let (parts, mut other) = limited(&publisher, route);
    let (parts, _) = knowing(parts);
    let failing = service_fn(|_: Delivery| async { Err(transient("down")) });
    let mut service = full_stack(Erased::new(failing), parts);
    assert!(is_ready(&mut service));
    let mut first = Box::pin(service.call(with_id("order-7", 0)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending(), "it pauses");
    assert!(is_ready(&mut service));
    let mut copy = Box::pin(service.call(with_id("order-7", 1)));
    assert!(copy.as_mut().poll(&mut cx).is_pending());
    assert!(is_ready(&mut other), "the copy waits without a permit");
}
