//! `at_most_once`: what is settled before it runs is run by whoever settled it, or by nobody, and by nobody only in a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{sleep, timeout};

use super::gated::{Answer, Gated, Valve};
use super::{HANDLED, Route, World};
use crate::backend::{Backend, PublishOutcome, PublishRecord};
use crate::message::Message;
use crate::router::{DeliverySemantics, RouteSpec};
use crate::runtime::Shutdown;

const LONG: Duration = Duration::from_secs(600);

async fn gated(partitions: u32) -> (World, Arc<Valve>) {
    let mut world = World::new(partitions).await;
    let gated = Gated::new(&world.broker);
    let valve = Arc::clone(&gated.valve);
    world.face = Some(Arc::new(gated));
    (world, valve)
}

fn spec() -> RouteSpec {
    let mut spec = World::spec();
    spec.delivery = DeliverySemantics::AtMostOnce;
    spec.drain_timeout = Duration::from_secs(10);
    spec
}

async fn put(world: &World, topic: &str, partition: u32, key: &str) {
    let record = PublishRecord {
        topic: topic.into(),
        partition: Some(partition),
        message: Message::new("payload").with_key(key.to_owned()),
    };
    let outcome = world.broker.publisher().publish(vec![record]).await;
    assert!(matches!(outcome[0], PublishOutcome::Ok(_)), "{outcome:?}");
}

async fn idle(route: &Route) {
    timeout(LONG, route.stats.idle()).await.expect("idle");
}

fn keys(world: &World) -> Vec<String> {
    world.seen().into_iter().map(|(key, _)| key).collect()
}

/// A message in a commit that is on its way, and one of another partition that waits for the next commit.
async fn two_wait(world: &World, valve: &Valve) -> Route {
    let route = world.start(spec(), |_| async { HANDLED });
    idle(&route).await;
    valve.commits(false);
    let before = valve.arrived();
    put(world, "orders", 0, "covered").await;
    while valve.arrived() == before {
        sleep(Duration::from_millis(1)).await;
    }
    put(world, "orders", 1, "waits").await;
    while route.stats.delivered() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    route.signal(Shutdown::Drain);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [], "nothing runs before it is settled");
    route
}

async fn rest(world: &World) -> Vec<String> {
    let route = world.start(spec(), |_| async { HANDLED });
    idle(&route).await;
    route.drain().await;
    keys(world)
}

#[tokio::test(start_paused = true)]
async fn what_a_commit_in_flight_settles_still_runs_and_what_waits_for_one_is_left() {
    let (world, valve) = gated(2).await;
    let route = two_wait(&world, &valve).await;
    valve.commits(true);
    let report = timeout(LONG, route.task).await.expect("it ends");
    let report = report.unwrap().unwrap();
    assert_eq!((report.abandoned, report.lost), (0, 0));
    assert_eq!(keys(&world), ["covered"]);
    assert_eq!(rest(&world).await, ["waits"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_commit_fails_leaves_its_messages_to_the_next_owner() {
    for answer in [
        Answer::Failed,
        Answer::Short,
        Answer::UnknownStored,
        Answer::UnknownNotStored,
    ] {
        let (world, valve) = gated(2).await;
        let route = two_wait(&world, &valve).await;
        valve.answer(answer);
        valve.commits(true);
        sleep(Duration::from_millis(100)).await;
        valve.answer(Answer::Stored);
        let report = timeout(LONG, route.task).await.expect("it ends");
        assert_eq!(report.unwrap().unwrap().lost, 0);
        assert_eq!(keys(&world), [""; 0], "{answer:?}");
        let mut rest = rest(&world).await;
        rest.sort();
        assert_eq!(rest, ["covered", "waits"], "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_commit_is_never_answered_counts_what_it_gives_up() {
    let (world, valve) = gated(2).await;
    let route = two_wait(&world, &valve).await;
    let report = timeout(LONG, route.task).await.expect("it ends");
    let report = report.unwrap().unwrap();
    assert_eq!((report.abandoned, report.lost), (1, 0));
    assert_eq!(report.unanswered, ["commit"]);
    assert_eq!(keys(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_repeated_and_its_messages_run_once() {
    for answer in [
        Answer::Failed,
        Answer::Short,
        Answer::UnknownStored,
        Answer::UnknownNotStored,
    ] {
        let (world, valve) = gated(1).await;
        let route = world.start(spec(), |_| async { HANDLED });
        idle(&route).await;
        valve.answer(answer);
        put(&world, "orders", 0, "a").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.seen(), [], "{answer:?}");
        valve.answer(Answer::Stored);
        idle(&route).await;
        assert_eq!(keys(&world), ["a"], "{answer:?}");
        route.drain().await;
        assert_eq!(rest(&world).await, [""; 0], "{answer:?}");
    }
}

/// Settled messages wait for a permit, or behind their key: a drain lets them run.
#[tokio::test(start_paused = true)]
async fn what_waits_in_lanes_is_run_before_the_route_ends() {
    for workers in [1, 2] {
        let (world, _valve) = gated(1).await;
        let mut spec = spec();
        spec.limits.concurrency = 2;
        spec.limits.workers = workers;
        for key in ["a", "a", "b", "c", "b", "a"] {
            put(&world, "orders", 0, key).await;
        }
        let route = world.start(spec, |_| async {
            sleep(Duration::from_secs(1)).await;
            HANDLED
        });
        while world.seen.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        let report = route.drain().await;
        assert_eq!((report.abandoned, report.lost), (0, 0));
        assert_eq!(keys(&world).len(), 6, "with {workers} workers");
        assert_eq!(rest(&world).await, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_still_not_done_at_the_deadline_is_counted_as_lost() {
    for workers in [1, 2] {
        let (world, _valve) = gated(1).await;
        let mut spec = spec();
        spec.limits.workers = workers;
        spec.limits.concurrency = 2;
        for key in ["a", "a", "b", "c"] {
            put(&world, "orders", 0, key).await;
        }
        let route = world.start(spec, |_| std::future::pending());
        while world.seen.lock().unwrap().len() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        let report = route.drain().await;
        assert_eq!((report.abandoned, report.lost), (0, 4), "{workers} workers");
        world.seen();
        assert_eq!(rest(&world).await, [""; 0], "never twice");
    }
}

/// It is counted as lost by then, and its late end changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_may_end_when_it_was_given_up() {
    let (world, valve) = gated(1).await;
    let mut spec = spec();
    spec.limits.workers = 2;
    spec.drain_timeout = Duration::from_secs(2);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    put(&world, "orders", 0, "a").await;
    let route = world.start(spec, move |_| {
        let wait = Arc::clone(&wait);
        async move {
            let _ = wait.lock().unwrap().recv();
            HANDLED
        }
    });
    while world.seen.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    valve.commits(false);
    let before = valve.arrived();
    route.signal(Shutdown::Drain);
    route.signal(Shutdown::Abandon);
    while valve.arrived() == before {
        sleep(Duration::from_millis(1)).await;
    }
    go.send(()).unwrap();
    sleep(Duration::from_millis(100)).await;
    valve.commits(true);
    let report = timeout(LONG, route.task).await.expect("it ends");
    let report = report.expect("no panic").unwrap();
    assert_eq!((report.abandoned, report.lost), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_settled_before_it_runs() {
    let (world, valve) = gated(1).await;
    let route = world.start(spec(), |_| std::future::pending());
    idle(&route).await;
    valve.commits(false);
    put(&world, "orders.billing.replay", 0, "again").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seen(), [], "nothing runs before it is settled");
    valve.commits(true);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(keys(&world), ["again"]);
    kill(&world, route).await;
    assert_eq!(rest(&world).await, [""; 0], "it ran before the crash");
}

async fn kill(world: &World, route: Route) {
    route.task.abort();
    let _ = route.task.await;
    world.broker.lose("billing", "orders", &[0, 1]);
}

/// What may happen to a route.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(u32),
    Replay(u32),
    Gate(bool),
    Answer(Answer),
    Wait(u64),
    Drain,
    Revoke(u32),
    Crash,
}

fn step(crashes: bool) -> impl Strategy<Value = Step> {
    let answers = prop_oneof![
        2 => Just(Answer::Stored),
        1 => Just(Answer::Failed),
        1 => Just(Answer::UnknownStored),
        1 => Just(Answer::UnknownNotStored),
    ];
    prop_oneof![
        6 => (0u32..2).prop_map(Step::Publish),
        3 => (0u32..2).prop_map(Step::Replay),
        3 => any::<bool>().prop_map(Step::Gate),
        2 => answers.prop_map(Step::Answer),
        5 => (0u64..400).prop_map(Step::Wait),
        1 => Just(Step::Drain),
        1 => (0u32..2).prop_map(Step::Revoke),
        1 => Just(if crashes { Step::Crash } else { Step::Drain }),
    ]
}

/// How often each message ran, by key; every key is published once.
async fn history(steps: &[Step], workers: usize) -> (usize, BTreeMap<String, usize>) {
    let (world, valve) = gated(2).await;
    let start = || {
        let mut spec = spec();
        spec.limits.concurrency = 2;
        spec.limits.workers = workers;
        world.start(spec, |_| async {
            sleep(Duration::from_millis(30)).await;
            HANDLED
        })
    };
    let mut published = 0;
    let mut route = start();
    idle(&route).await;
    for step in steps {
        match *step {
            Step::Publish(partition) | Step::Replay(partition) => {
                let topic = match step {
                    Step::Replay(_) => "orders.billing.replay",
                    _ => "orders",
                };
                put(&world, topic, partition, &format!("k{published}")).await;
                published += 1;
            }
            Step::Gate(open) => valve.commits(open),
            Step::Answer(answer) => valve.answer(answer),
            Step::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            Step::Drain | Step::Crash => {
                if let Step::Drain = step {
                    route.signal(Shutdown::Drain);
                    sleep(Duration::from_millis(20)).await;
                    valve.commits(true);
                    sleep(Duration::from_millis(20)).await;
                    valve.answer(Answer::Stored);
                    let report = timeout(LONG, route.task).await.expect("it ends");
                    let report = report.unwrap().unwrap();
                    assert_eq!((report.abandoned, report.lost), (0, 0));
                } else {
                    kill(&world, route).await;
                    valve.commits(true);
                    valve.answer(Answer::Stored);
                }
                route = start();
                idle(&route).await;
            }
            Step::Revoke(partition) => {
                let within = Duration::from_secs(60);
                world
                    .broker
                    .revoke("billing", "orders", &[partition], within);
                sleep(Duration::from_millis(20)).await;
                valve.commits(true);
                valve.answer(Answer::Stored);
                sleep(Duration::from_secs(3)).await;
                world.broker.reassign("billing", "orders", &[partition]);
                idle(&route).await;
            }
        }
    }
    valve.commits(true);
    valve.answer(Answer::Stored);
    idle(&route).await;
    route.drain().await;
    let mut ran = BTreeMap::new();
    for key in keys(&world) {
        *ran.entry(key).or_default() += 1;
    }
    (published, ran)
}

fn run(steps: &[Step], workers: usize) -> (usize, BTreeMap<String, usize>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(history(steps, workers))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the broker answers, and when: without a crash nothing is lost and nothing runs twice.
    #[test]
    fn without_a_crash_everything_runs_exactly_once(
        steps in prop::collection::vec(step(false), 1..40),
        workers in 1usize..3,
    ) {
        let (published, ran) = run(&steps, workers);
        prop_assert_eq!(ran.len(), published, "{:?}", ran);
        prop_assert!(ran.values().all(|times| *times == 1), "{:?}", ran);
    }

    #[test]
    fn with_crashes_nothing_runs_twice(
        steps in prop::collection::vec(step(true), 1..40),
        workers in 1usize..3,
    ) {
        let (_, ran) = run(&steps, workers);
        prop_assert!(ran.values().all(|times| *times == 1), "{:?}", ran);
    }
}
