//! Sharing inside a group, by whole apps: nothing is lost or handled twice at a clean hand-over, order holds across owners, and
//! whoever was killed or frozen is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dotmsg_core::backend::Backend;
use dotmsg_core::delivery::Delivery;
use tokio::time::sleep;

use crate::calls::{Call, Calls};
use crate::feed::{in_turns, publish_all};
use crate::interpose::{Interposed, Point};
use crate::positions::committed;
use crate::service::{Service, WORK, noting, transient, well, works};
use crate::trial::Trial;
use crate::wait::until;

/// Long enough for a group to share anew before a head is due, also on a busy machine.
const TIER: Duration = Duration::from_secs(4);

const KEYS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// Across all owners the first success of each message of a key comes in log order, and none of a key ran while another did.
fn assert_order_across_owners(calls: &[Call]) {
    let mut by_key: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_key.entry(&*call.key).or_default().push(call);
    }
    for (key, calls) in by_key {
        for pair in calls.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            assert!(
                first.offset <= second.offset,
                "{key}: {} by {} after {} by {}",
                second.id,
                second.by,
                first.id,
                first.by
            );
            let over = first.ended.is_some_and(|(ended, _)| ended <= second.began);
            assert!(over, "{key}: {} began while {} ran", second.id, first.id);
        }
    }
}

/// Several apps of one group share the work: each message is handled once, by one of them, and each of them handles some.
pub(crate) async fn apps_share_the_work(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 6).await, trial.name());
    let calls = Calls::new();
    let mut services = Vec::new();
    for by in 0..3 {
        let app = trial.route(&topic, &group);
        let handler = noting(&calls, by, works);
        services.push(Service::start(trial.connect().await, app, handler).await);
    }
    // Until all three have partitions, messages go to those that do.
    let sent = AtomicUsize::new(0);
    until("all three handle messages", || async {
        let round = in_turns(&topic, &KEYS, 1);
        let number = sent.fetch_add(round.len(), Ordering::Relaxed);
        publish_all(&*backend, unique(round, number)).await;
        let by: BTreeSet<usize> = calls.all().iter().map(|call| call.by).collect();
        (by.len() == 3).then_some(())
    })
    .await;
    let sent = sent.into_inner();
    calls.until_succeeded(sent).await;
    services[0].settled().await;
    for service in services {
        let report = service.drain().await;
        assert_eq!(report.routes[0].abandoned, 0, "{report:?}");
    }
    assert_eq!(
        calls.count(),
        sent,
        "some ran twice, and every hand-over was clean"
    );
    assert_order_across_owners(&calls.all());
}

/// The same records with identities of their own: round by round, keys repeat.
fn unique(
    mut records: Vec<dotmsg_core::backend::PublishRecord>,
    round: usize,
) -> Vec<dotmsg_core::backend::PublishRecord> {
    for (n, record) in records.iter_mut().enumerate() {
        let message = std::mem::take(&mut record.message);
        record.message = message.with_id(format!("{round}-{n}"));
    }
    records
}

/// Apps join and leave while messages keep coming: each is handled once, and keys stay in order across all owners.
pub(crate) async fn joining_and_leaving_lose_and_repeat_nothing(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 6).await, trial.name());
    let calls = Calls::new();
    let start = async |by: usize| {
        let app = trial.route(&topic, &group);
        Service::start(trial.connect().await, app, noting(&calls, by, works)).await
    };
    let mut services = vec![start(0).await];
    let mut sent = 0;
    for round in 1..=8 {
        for _ in 0..4 {
            let records = in_turns(&topic, &KEYS, 2);
            sent += records.len();
            publish_all(&*backend, unique(records, sent)).await;
        }
        match round % 4 {
            1 | 2 => services.push(start(round).await),
            _ => {
                let report = services.remove(0).drain().await;
                assert_eq!(report.routes[0].abandoned, 0, "{report:?}");
            }
        }
        // Some progress under each constellation.
        calls.until_succeeded(sent / 2).await;
    }
    calls.until_succeeded(sent).await;
    services[0].settled().await;
    for service in services {
        service.drain().await;
    }
    let twice: Vec<(String, usize)> = calls
        .successes()
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .collect();
    assert_eq!(twice, [], "handled twice, and every hand-over was clean");
    assert_order_across_owners(&calls.all());
}

/// One of three apps is killed with work in hand: the others finish it, nothing is lost, and keys are in order under each owner.
pub(crate) async fn a_killed_app_is_followed(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 6).await, trial.name());
    let calls = Calls::new();
    let mut services = Vec::new();
    for by in 0..3 {
        let app = trial.route(&topic, &group).with("retry.tiers", ["30ms"]);
        let handler = noting(&calls, by, |delivery: Delivery| async move {
            sleep(WORK).await;
            match delivery.payload().is_some_and(|n| **n == *b"5") && delivery.attempt() == 1 {
                true => Err(transient("not yet")),
                false => Ok(()),
            }
        });
        services.push(Service::start(trial.connect().await, app, handler).await);
    }
    publish_all(&*backend, in_turns(&topic, &KEYS, 40)).await;
    calls.until_succeeded(100).await;
    services.remove(1).crash().await;
    calls.forget_running_of(1);
    calls.until_succeeded(KEYS.len() * 40).await;
    services[0].settled().await;
    for service in services {
        service.drain().await;
    }
    trial.assert_key_order(&calls);
}

/// An app that is frozen with work in hand loses its partitions; when it wakes up, it changes nothing of what the next owner
/// has committed, and goes on as a member like any other.
pub(crate) async fn a_frozen_app_has_no_effect(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 4).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &KEYS, 20)).await;
    let calls = Calls::new();
    let (frozen, gate) = Interposed::stopping_at(trial.connect().await, Point::Told);
    let app = || trial.route(&topic, &group).with("concurrency", 8);
    let first = Service::start(frozen, app(), noting(&calls, 0, works)).await;
    calls.until_succeeded(60).await;
    gate.shut();
    let handler = noting(&calls, 1, well);
    let second = Service::start(trial.connect().await, app(), handler).await;
    calls.until_succeeded(KEYS.len() * 20).await;
    second.settled().await;
    let before = watermarks(&*backend, &topic, &group).await;
    gate.reopen();
    publish_all(&*backend, unique(in_turns(&topic, &KEYS, 5), 99)).await;
    calls.until_succeeded(KEYS.len() * 25).await;
    second.settled().await;
    let after = watermarks(&*backend, &topic, &group).await;
    for (partition, watermark) in before {
        assert!(
            after.get(&partition) >= Some(&watermark),
            "the position of {partition} went back from {watermark}: {after:?}"
        );
    }
    // Both are members now; whoever leaves, the other one has everything.
    second.drain().await;
    publish_all(&*backend, unique(in_turns(&topic, &KEYS, 1), 100)).await;
    calls.until_succeeded(KEYS.len() * 26).await;
    first.settled().await;
    first.drain().await;
}

async fn watermarks(backend: &dyn Backend, topic: &str, group: &str) -> BTreeMap<u32, u64> {
    let committed = committed(backend, topic, group).await;
    let watermark = |(partition, record): (u32, dotmsg_core::progress::PositionRecord)| {
        (partition, record.watermark())
    };
    committed.into_iter().map(watermark).collect()
}

/// Heads that are away move with their partition: the next owner calls them when they are due, not before and not twice, and
/// nothing of their keys overtakes them.
pub(crate) async fn away_heads_move_with_their_partition(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 4).await, trial.name());
    publish_all(&*backend, in_turns(&topic, &KEYS, 4)).await;
    let calls = Calls::new();
    let tier = format!("{}ms", TIER.as_millis());
    let app = || trial.route(&topic, &group).with("retry.tiers", [&*tier]);
    let handler = |by| {
        noting(&calls, by, |delivery: Delivery| async move {
            match delivery.payload().is_some_and(|n| **n == *b"1") && delivery.attempt() == 1 {
                true => Err(transient("not yet")),
                false => Ok(()),
            }
        })
    };
    let first = Service::start(trial.connect().await, app(), handler(0)).await;
    first
        .until("all are away", |stats| stats.away() == 12)
        .await;
    let second = Service::start(trial.connect().await, app(), handler(1)).await;
    calls.until_succeeded(48).await;
    first.settled().await;
    first.drain().await;
    second.drain().await;
    assert_eq!(calls.count(), 60, "each head twice, all others once");
    assert_order_across_owners(&calls.all());
    let by: BTreeSet<usize> = calls.all().iter().map(|call| call.by).collect();
    assert_eq!(by.len(), 2, "nothing moved");
    for key in KEYS {
        let calls = calls.of(&format!("{key}-1"));
        let failed = calls[0].ended.map_or(calls[0].began, |(ended, _)| ended);
        let waited = calls[1].began - failed;
        let least = TIER - Duration::from_millis(1);
        assert!(waited >= least, "{key} came after {waited:?}");
    }
}

/// More members than partitions: those without any wait, and take over when the others leave.
pub(crate) async fn a_member_without_partitions_waits_for_some(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, group) = (trial.topic(&*backend, 1).await, trial.name());
    let calls = Calls::new();
    let mut services = Vec::new();
    for by in 0..3 {
        let app = trial.route(&topic, &group);
        services.push(Service::start(trial.connect().await, app, noting(&calls, by, well)).await);
    }
    let mut sent = 0;
    while let Some(service) = services.pop() {
        let records = in_turns(&topic, &["a"], 10);
        sent += 10;
        publish_all(&*backend, unique(records, sent)).await;
        calls.until_succeeded(sent).await;
        service.settled().await;
        service.drain().await;
    }
    assert_eq!(calls.count(), sent);
    assert_order_across_owners(&calls.all());
}
