//! A broker that never answers: every shutdown ends within its limit, and says what it did not hear of.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::gated::{Gated, Valve};
use super::{HANDLED, Route, World};
use crate::runtime::{RouteReport, Shutdown};

const LONG: Duration = Duration::from_secs(600);
const DRAIN: Duration = Duration::from_secs(20);
/// The drain itself, its last commit, dropping and leaving.
const DRAINED_WITHIN: Duration = Duration::from_millis(20_000 + 5_200 + 500 + 5_000);
const ABANDONED_WITHIN: Duration = Duration::from_secs(5);

async fn gated() -> (World, Arc<Valve>) {
    let mut world = World::new(2).await;
    let gated = Gated::new(&world.broker);
    let valve = Arc::clone(&gated.valve);
    world.face = Some(Arc::new(gated));
    (world, valve)
}

/// One message that never ends, one that does.
fn start(world: &World) -> Route {
    let mut spec = World::spec();
    spec.drain_timeout = DRAIN;
    world.start(spec, |delivery| async move {
        if delivery.key().is_some_and(|key| key[..] == *b"stuck") {
            std::future::pending::<()>().await;
        }
        HANDLED
    })
}

/// The report, and how long it took; a little over a limit is the timer's granularity.
async fn ended(route: Route, since: Instant) -> (RouteReport, Duration) {
    let ended = timeout(LONG, route.task).await.expect("it ends");
    (ended.unwrap().unwrap(), since.elapsed())
}

async fn drained(route: Route) -> RouteReport {
    let signalled = Instant::now();
    route.signal(Shutdown::Drain);
    let (report, took) = ended(route, signalled).await;
    assert!(
        took <= DRAINED_WITHIN + Duration::from_millis(5),
        "{took:?}"
    );
    report
}

async fn abandoned(route: Route) -> RouteReport {
    route.signal(Shutdown::Drain);
    sleep(Duration::from_secs(1)).await;
    let signalled = Instant::now();
    route.signal(Shutdown::Abandon);
    let (report, took) = ended(route, signalled).await;
    assert!(
        took <= ABANDONED_WITHIN + Duration::from_millis(5),
        "{took:?}"
    );
    report
}

/// Lets one of the valve's gates be shut before or after the route runs, and gives what each kind of shutdown reports.
async fn both(shut: fn(&Valve), early: bool) -> Vec<RouteReport> {
    let mut reports = Vec::new();
    for second in [false, true] {
        let (world, valve) = gated().await;
        if early {
            shut(&valve);
        }
        world.publish(["stuck", "a", "b", "c"].map(Some)).await;
        let route = start(&world);
        sleep(Duration::from_secs(1)).await;
        shut(&valve);
        reports.push(if second {
            abandoned(route).await
        } else {
            drained(route).await
        });
    }
    reports
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_never_answered() {
    for report in both(|valve| valve.commits(false), false).await {
        assert_eq!(
            (report.abandoned, &*report.unanswered),
            (1, &["commit"][..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_never_answered() {
    for report in both(|valve| valve.releases(false), false).await {
        assert_eq!(
            (report.abandoned, &*report.unanswered),
            (1, &["release"][..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_answered() {
    for report in both(|valve| valve.closes(false), false).await {
        assert_eq!((report.abandoned, &*report.unanswered), (1, &["close"][..]));
    }
}

/// The group has let the member go, and its source says so before the answer is here: that is no failure of the route.
#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered_late() {
    let (world, valve) = gated().await;
    world.publish(["a", "b", "c"].map(Some)).await;
    let route = start(&world);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    valve.close_answers(false);
    route.signal(Shutdown::Drain);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(valve.closed.load(Ordering::SeqCst), 1);
    assert!(!route.task.is_finished());
    valve.close_answers(true);
    let (report, _) = ended(route, Instant::now()).await;
    assert_eq!((report.abandoned, report.unanswered), (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_is_never_answered() {
    for report in both(|valve| valve.positions(false), true).await {
        assert_eq!(
            (report.abandoned, &*report.unanswered),
            (0, &["takeover"][..])
        );
    }
    for report in both(|valve| valve.commits(false), true).await {
        assert_eq!(
            (report.abandoned, &*report.unanswered),
            (0, &["takeover"][..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_never_answered() {
    for report in both(|valve| valve.joins(false), true).await {
        assert_eq!((report.abandoned, &*report.unanswered), (0, &["start"][..]));
    }
}

/// A route that waits for its broker has no turns to take: a restart would not help.
#[tokio::test(start_paused = true)]
async fn a_route_that_is_not_let_into_its_group_is_not_blocked() {
    let (world, valve) = gated().await;
    valve.joins(false);
    let route = start(&world);
    sleep(Duration::from_secs(60)).await;
    let answers = timeout(Duration::from_secs(5), route.stats.answer()).await;
    answers.expect("nothing blocks its thread");
    assert!(!route.stats.is_ready());
    valve.joins(true);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    route.stats.answer().await;
    assert!(route.stats.is_ready());
    drained(route).await;
}

/// Looks are rare while nothing comes, and not any more once something does.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_after_a_quiet_hour_is_told_within_two_minutes() {
    let world = World::new(1).await;
    let route = start(&world);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    // Right after a look: the next one is five minutes away.
    sleep(Duration::from_secs(3_620)).await;
    world.publish([Some("stuck")]).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(route.stats.stuck_calls(), 1);
    let told = route.stats.stuck();
    assert_eq!((told[0].partition, told[0].offset), (0, 0));
    assert_eq!(drained(route).await.abandoned, 1);
}

/// The second signal cuts the handlers short, not the commit of what they did.
#[tokio::test(start_paused = true)]
async fn what_is_settled_is_still_committed_after_the_second_signal() {
    let (world, valve) = gated().await;
    world.publish(["a", "b", "c"].map(Some)).await;
    let route = start(&world);
    timeout(LONG, route.stats.idle()).await.expect("idle");
    world.publish(["a", "b", "c"].map(Some)).await;
    valve.commits(false);
    sleep(Duration::from_secs(1)).await;
    route.signal(Shutdown::Drain);
    sleep(Duration::from_millis(10)).await;
    route.signal(Shutdown::Abandon);
    sleep(Duration::from_secs(2)).await;
    valve.commits(true);
    let (report, _) = ended(route, Instant::now()).await;
    assert_eq!(report.unanswered, [""; 0]);
    let records = world.records().await;
    let settled: u64 = records.values().map(|record| record.watermark()).sum();
    assert_eq!(settled, 6);
    assert!(records.values().all(|record| record.clean));
}
