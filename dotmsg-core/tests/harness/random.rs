//! Random histories, each from its seed: outcomes, keys, tiers, crashes, restarts, partitions taken and given back. Whatever happens, nothing is lost,
//! each message ends as its plan says, and the messages of a key end in the order of their source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::config::RouteDefaults;
use dotmsg_core::delivery::Delivery;
use dotmsg_core::testing::{Became, Entry, TestBrokers, What, run};

use super::{Handled, app, bill, permanent, transient};

const CASES: u64 = 60;

/// What a message does at each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Attempts that fail transiently before the last word.
    failures: u32,
    /// The last word.
    permanent: bool,
    /// How long each attempt takes.
    millis: u64,
}

/// Handlers that run now, by key: two of one key at once break the promise.
type Running = Arc<Mutex<BTreeSet<Vec<u8>>>>;

struct Runs {
    running: Running,
    key: Option<Vec<u8>>,
}

impl Runs {
    fn enter(running: &Running, delivery: &Delivery) -> Self {
        let key = delivery.key().map(|key| key.to_vec());
        if let Some(key) = &key {
            let alone = running.lock().unwrap().insert(key.clone());
            assert!(
                alone,
                "two handlers of one key at once: {}",
                delivery.origin()
            );
        }
        Self {
            running: Arc::clone(running),
            key,
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.running.lock().unwrap().remove(key);
        }
    }
}

struct Case {
    seed: u64,
    tiers: &'static [&'static str],
    plans: Arc<BTreeMap<Vec<u8>, Plan>>,
    order: Vec<(String, String)>,
    concurrency: i64,
    workers: i64,
    /// `retry.order = "keep"`; else only that nothing is lost can be promised.
    keep: bool,
}

impl Case {
    fn of(seed: u64, random: &mut fastrand::Rng) -> Self {
        let ladders: [&[&str]; 4] = [&[], &["1s"], &["1s", "7s"], &["1s", "7s", "1m"]];
        let mut plans = BTreeMap::new();
        let mut order = Vec::new();
        let keys = random.u32(1..6);
        for id in 0..random.u32(1..60) {
            let id = id.to_string();
            let plan = Plan {
                failures: if random.u8(..4) == 0 {
                    random.u32(..6)
                } else {
                    0
                },
                permanent: random.u8(..8) == 0,
                millis: random.u64(..30),
            };
            plans.insert(id.clone().into_bytes(), plan);
            order.push((id, random.u32(..keys).to_string()));
        }
        let concurrency = random.i64(1..12);
        Self {
            seed,
            tiers: ladders[random.usize(..4)],
            plans: Arc::new(plans),
            order,
            concurrency,
            workers: random.i64(1..3).min(concurrency),
            keep: random.u8(..5) > 0,
        }
    }

    fn route(&self) -> RouteDefaults {
        let route = bill()
            .with("concurrency", self.concurrency)
            .with("workers", self.workers)
            .with("retry.order", if self.keep { "keep" } else { "relax" });
        match *self.tiers {
            [a] => route.with("retry.tiers", [a]),
            [a, b] => route.with("retry.tiers", [a, b]),
            [a, b, c] => route.with("retry.tiers", [a, b, c]),
            _ => route.with("retry.attempts", 2),
        }
    }

    /// Attempts that a message has.
    fn attempts(&self) -> u32 {
        match self.tiers.len() {
            0 => 2,
            tiers => 1 + u32::try_from(tiers).unwrap(),
        }
    }

    fn handler(
        &self,
    ) -> impl Fn(Delivery) -> std::pin::Pin<Box<dyn Future<Output = Handled> + Send>>
    + Clone
    + Send
    + Sync
    + 'static {
        let plans = Arc::clone(&self.plans);
        let running = Running::default();
        let keep = self.keep;
        move |delivery: Delivery| {
            let plan = plans[&*delivery.id()];
            let running = Arc::clone(&running);
            Box::pin(async move {
                let _runs = keep.then(|| Runs::enter(&running, &delivery));
                if plan.millis > 0 {
                    tokio::time::sleep(Duration::from_millis(plan.millis)).await;
                }
                if delivery.attempt() <= plan.failures {
                    return Err(transient("not yet"));
                }
                if plan.permanent {
                    return Err(permanent("never"));
                }
                Ok(())
            })
        }
    }

    fn expected(&self, plan: Plan) -> Became {
        if plan.failures >= self.attempts() || plan.permanent {
            Became::DeadLettered
        } else {
            Became::Handled
        }
    }
}

/// The offset in an origin `topic/partition/offset`.
fn offset(entry: &Entry) -> u64 {
    let (_, offset) = entry.origin.rsplit_once('/').unwrap();
    offset.parse().unwrap()
}

/// Within one ownership: calls of a key never go back, and each message of it ends before the next is called.
fn check_strict(seed: u64, history: &[Entry]) {
    let mut at: BTreeMap<&str, (u64, bool)> = BTreeMap::new();
    for entry in history {
        let Some(key) = entry.key.as_deref() else {
            continue;
        };
        let now = offset(entry);
        let before = at.get(key).copied();
        let ended = match entry.what {
            What::Called(_) => false,
            What::Became(Became::Away(_) | Became::Interrupted) => false,
            What::Became(_) => true,
        };
        if let Some((last, last_ended)) = before {
            let fine = if now == last {
                !last_ended
            } else {
                now > last && last_ended
            };
            assert!(
                fine,
                "seed {seed}: key {key} at {now} after {last}: {entry}"
            );
        }
        at.insert(key, (now, ended));
    }
}

#[test]
fn nothing_is_lost_and_keys_keep_their_order() {
    for seed in 0..CASES {
        run(one(seed));
    }
}

async fn one(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let case = Case::of(seed, &mut random);
    let brokers = TestBrokers::new().partitions(random.u32(1..4)).seed(seed);
    let mut test = brokers.start(app(case.route(), case.handler())).await;
    let mut histories = Vec::new();
    let mut deaths = random.u32(..4);
    let mut seen = 0;
    let mut left = &case.order[..];
    loop {
        let (some, rest) = left.split_at(random.usize(..=left.len().min(20)));
        for (id, key) in some {
            test.publish("orders", "x")
                .key(key.clone())
                .id(id.clone())
                .await;
        }
        left = rest;
        tokio::time::sleep(Duration::from_millis(random.u64(..3_000))).await;
        if deaths > 0 && random.bool() {
            deaths -= 1;
            // Entries before belong to an earlier ownership.
            seen = match random.u8(..4) {
                0 | 1 => {
                    let killed = random.bool();
                    if killed {
                        test.crash().await
                    } else {
                        drop(test.shutdown().await)
                    }
                    histories.push(test.history("bill").split_off(seen));
                    test = brokers.start(app(case.route(), case.handler())).await;
                    0
                }
                taken => {
                    take_and_give_back(&brokers, taken == 2, &mut random).await;
                    let mut history = test.history("bill");
                    let all = history.len();
                    histories.push(history.split_off(seen));
                    all
                }
            };
        }
        if left.is_empty() {
            break;
        }
    }
    for _ in 0..200 {
        test.advance(Duration::from_secs(30)).await;
        if test.route("bill").is_settled().await.unwrap() {
            break;
        }
    }
    test.assert_settled("bill");
    histories.push(test.history("bill").split_off(seen));
    check(&case, &histories);
    let mut dead: Vec<Vec<u8>> = test
        .dead_letters("bill")
        .iter()
        .map(|l| l.id().to_vec())
        .collect();
    dead.sort();
    dead.dedup();
    let planned = case
        .plans
        .iter()
        .filter(|(_, plan)| case.expected(**plan) == Became::DeadLettered)
        .map(|(id, _)| id.clone());
    let mut planned: Vec<Vec<u8>> = planned.collect();
    planned.sort();
    assert_eq!(dead, planned, "seed {seed}");
    test.shutdown().await;
}

/// A partition is lost, or revoked with time to drain, and comes back.
async fn take_and_give_back(brokers: &TestBrokers, lost: bool, random: &mut fastrand::Rng) {
    let broker = brokers.broker("main");
    if lost {
        broker.lose("billing", "orders", &[0]);
    } else {
        let within = Duration::from_millis(random.u64(..100));
        broker.revoke("billing", "orders", &[0], within);
    }
    tokio::time::sleep(Duration::from_millis(500 + random.u64(..2_000))).await;
    broker.reassign("billing", "orders", &[0]);
}

fn check(case: &Case, histories: &[Vec<Entry>]) {
    let seed = case.seed;
    let mut first = BTreeMap::new();
    let mut ends: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for history in histories {
        if case.keep {
            check_strict(seed, history);
        }
        for entry in history {
            let What::Became(became @ (Became::Handled | Became::DeadLettered)) = entry.what else {
                continue;
            };
            if first.insert(entry.id.clone(), became).is_none() {
                let key = entry.key.as_deref().unwrap();
                ends.entry(key).or_default().push(offset(entry));
            }
        }
    }
    for (id, plan) in &*case.plans {
        let id = String::from_utf8(id.clone()).unwrap();
        let became = first.get(&id).copied();
        assert_eq!(
            became,
            Some(case.expected(*plan)),
            "seed {seed}: message {id}"
        );
    }
    for (key, offsets) in ends.into_iter().filter(|_| case.keep) {
        assert!(
            offsets.is_sorted(),
            "seed {seed}: key {key} ended in order {offsets:?}"
        );
    }
}
