//! What a route reaches on the wall clock, on the memory log.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotmsg::Delivery;
use dotmsg::clock::{Clock, SystemClock};
use dotmsg::handler::{HandlerError, HandlerService, Returned};
use dotmsg::log::{LogBroker, LogOptions};
use dotmsg::router::{RouteSpec, stack};
use dotmsg::runtime::run;

use super::counted::Counted;
use super::{BODY, Latch, Outcome, Workload, drain, fill, memory, one_thread, start, two_threads};
use crate::zipf::Zipf;

/// Keys and exponent of the skewed workload.
const ZIPF_KEYS: u32 = 10_000;
/// What a handler of the skewed workload takes.
const WORK: Duration = Duration::from_millis(10);
/// Its only tier.
const TIER: Duration = Duration::from_millis(100);

pub(super) const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "own.zero_work",
        messages: 2_000_000,
        warm_up: 50_000,
        run: |messages| zero_work(messages, 1),
    },
    Workload {
        name: "own.zero_work_2_workers",
        messages: 2_000_000,
        warm_up: 50_000,
        run: |messages| zero_work(messages, 2),
    },
    Workload {
        name: "own.slow",
        messages: 250_000,
        warm_up: 5_000,
        run: |messages| slow(messages, spec().commit_interval),
    },
    Workload {
        // As the other counted ones: a commit is not to come fifty times as often per message as it does.
        name: "own.slow_counted",
        messages: 250_000,
        warm_up: 5_000,
        run: |messages| slow(messages, Duration::from_secs(10)),
    },
    Workload {
        name: "own.zipf",
        messages: 100_000,
        warm_up: 0,
        run: zipf,
    },
];

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_nothing(Counted(latch): Counted<'_>, frame: &[u8]) {
    black_box(frame[0]);
    latch.arrived();
}

#[dotmsg::handler(topic = "orders", group = "bench", state = Latch)]
async fn take_slowly(Counted(latch): Counted<'_>, frame: &[u8]) {
    black_box(frame[0]);
    latch.enter();
    tokio::time::sleep(Duration::from_millis(100)).await;
    latch.leave();
}

fn spec() -> RouteSpec {
    RouteSpec::new("bench", "orders", "bench")
}

/// 100,000 keys, two threads.
fn zero_work(messages: u64, workers: usize) -> Result<Outcome, String> {
    let mut spec = spec();
    spec.limits.workers = workers;
    memory(two_threads()?, messages, spec, |context, parts, latch| {
        start(take_nothing, context, parts, latch)
    })
}

/// 100 ms each, 5,000 at a time, one partition.
fn slow(messages: u64, commit_interval: Duration) -> Result<Outcome, String> {
    let mut spec = spec();
    spec.commit_interval = commit_interval;
    spec.limits.concurrency = 5_000;
    memory(one_thread()?, messages, spec, |context, parts, latch| {
        start(take_slowly, context, parts, latch)
    })
}

/// What is noted of the hottest key.
#[derive(Debug, Default)]
struct Hottest {
    calls: AtomicU64,
    failures: AtomicU64,
    busy_us: AtomicU64,
    /// When it failed last; its next call is that message's second attempt, as its lane runs one at a time.
    failed: Mutex<Option<Instant>>,
    /// From failures to their second attempts.
    away_us: AtomicU64,
}

impl Hottest {
    /// One call of the key.
    fn note(&self, began: Instant, ended: Instant, fails: bool) {
        let add = |counter: &AtomicU64, more| counter.fetch_add(more, Ordering::Relaxed);
        let us = |time: Duration| time.as_micros() as u64;
        add(&self.calls, 1);
        add(&self.failures, u64::from(fails));
        add(&self.busy_us, us(ended - began));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = std::mem::replace(&mut *failed, fails.then_some(ended)) {
            add(&self.away_us, us(began - failed));
        }
    }
}

/// Skewed keys, one in a hundred calls fails: how much of the run is the serial time of the hottest key?
fn zipf(messages: u64) -> Result<Outcome, String> {
    let runtime = one_thread()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let broker = LogBroker::memory(LogOptions::new(clock));
    let mut keys = Zipf::new(ZIPF_KEYS, 1.0, 7);
    runtime.block_on(fill(&broker, messages, |_| {
        (keys.sample() as u64, BODY.into())
    }))?;
    let mut spec = spec();
    spec.retry.in_place.attempts = 1;
    spec.retry.tiers = vec![TIER];
    let hottest = Arc::new(Hottest::default());
    let noted = Arc::clone(&hottest);
    let mut outcome = drain(
        &runtime,
        &broker,
        messages,
        spec,
        |context, parts, latch| {
            let work = move |delivery: Delivery| {
                one_in_a_hundred(delivery, Arc::clone(&latch), Arc::clone(&noted))
            };
            tokio::spawn(run(
                context,
                stack(
                    HandlerService::new(move |delivery| {
                        let work = work(delivery);
                        async move { work.await.map(|()| Returned::default()) }
                    }),
                    parts,
                ),
            ))
        },
    )?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let (calls, failures) = (count(&hottest.calls), count(&hottest.failures));
    let delays = failures * TIER.as_secs_f64();
    let nominal = calls * WORK.as_secs_f64() + delays;
    let actual = count(&hottest.busy_us) / 1e6 + delays;
    let mut figure = |name: &str, value: f64| outcome.figures.insert(name.to_owned(), value);
    figure("hottest_nominal_share", nominal / outcome.seconds);
    figure("hottest_share", actual / outcome.seconds);
    figure("hottest_messages", calls - failures);
    figure("hottest_failures", failures);
    figure(
        "delay_ms",
        count(&hottest.away_us) / 1e3 / failures.max(1.0),
    );
    Ok(outcome)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn one_in_a_hundred(
    delivery: Delivery,
    latch: Arc<Latch>,
    hottest: Arc<Hottest>,
) -> Result<(), HandlerError> {
    let began = Instant::now();
    // tokio's timer has a resolution of 1 ms and rounds up: it would take 11.2 ms.
    async_io::Timer::after(WORK).await;
    let origin = delivery.origin().offset;
    let draw = fastrand::Rng::with_seed(origin << 8 | u64::from(delivery.attempt())).u32(..100);
    // One tier means two attempts: the second must not fail, or the message would be dead.
    let fails = draw == 0 && delivery.attempt() == 1;
    if delivery
        .key()
        .is_some_and(|key| **key == *super::key_of(0).as_bytes())
    {
        hottest.note(began, Instant::now(), fails);
    }
    if fails {
        return Err(HandlerError::transient("one in a hundred"));
    }
    latch.arrived();
    Ok(())
}
