//! Progress: what is committed is stored whole, read back by the next owner, accepted from the current owner only, and never
//! past unsettled work.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::{CommitOutcome, History, PositionStore, Progress};
use dotmsg_core::delivery::Delivery;
use dotmsg_core::lag::Lag;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::calls::Calls;
use crate::feed::{by_key, in_turns, numbered, publish_all};
use crate::interpose::Interposed;
use crate::member::{Member, fenced, record_of, stored};
use crate::positions::{committed, decoded, is_settled, outside};
use crate::service::{Service, noting, well};
use crate::trial::Trial;
use crate::wait::{until, within};

/// A commit is stored and read back byte for byte, by its owner, by the next one, and by an administrator.
pub(crate) async fn is_read_back(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let group = trial.name();
    let member = Member::owner(&*backend, &topic, &group, 2).await;
    assert_eq!(member.position(0).await, None, "a new group has no record");
    stored(&member.commit(0, 3).await);
    assert_eq!(member.position(0).await, Some(record_of(3)));
    assert_eq!(member.position(1).await, None, "of this partition alone");
    stored(&member.commit(0, 5).await);
    member.leave().await;
    let other = trial.connect().await;
    let next = Member::owner(&*other, &topic, &group, 2).await;
    assert_eq!(next.position(0).await, Some(record_of(5)));
    let listed = within("positions", other.admin().positions(&group, &topic)).await;
    let listed = listed.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(listed, [(0, record_of(5))]);
}

/// A commit is one value: as large as the backend declares, and never a mixture of two, whatever is under way.
pub(crate) async fn is_whole(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let member = Member::owner(&*backend, &topic, &trial.name(), 1).await;
    let size = match trial.capability.position {
        PositionStore::Record { max_bytes } => max_bytes.min(64 << 10),
        PositionStore::None => panic!("the register says that it has one"),
    };
    let grant = member.owned[&0];
    let record = |letter: u8| Bytes::from(vec![letter; size]);
    stored(&member.commit_as(0, grant, 0, record(b'a')).await);
    let write = async {
        for letter in b'b'..=b'z' {
            stored(&member.commit_as(0, grant, 0, record(letter)).await);
        }
    };
    let read = async {
        loop {
            let found = member.position(0).await.unwrap_or_default();
            assert_eq!(found.len(), size, "cut");
            assert!(found.iter().all(|byte| *byte == found[0]), "a mixture");
            if found[0] == b'z' {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

/// Of several partitions in one commit each has its own outcome, in order.
pub(crate) async fn has_an_outcome_per_partition(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 3).await;
    let member = Member::owner(&*backend, &topic, &trial.name(), 3).await;
    let progress = |partition: u32, grant| Progress {
        partition,
        grant,
        watermark: 1,
        record: record_of(1),
    };
    let other_grant = member.owned[&1].wrapping_add(1_000_000);
    let entries = vec![
        progress(2, member.owned[&2]),
        progress(1, other_grant),
        progress(0, member.owned[&0]),
    ];
    let outcomes = within("a commit", member.control.commit(entries)).await;
    let [last, foreign, first] = <[CommitOutcome; 3]>::try_from(outcomes)
        .unwrap_or_else(|outcomes| panic!("one outcome per entry: {outcomes:?}"));
    stored(&last);
    fenced(&foreign);
    stored(&first);
    assert_eq!(member.position(1).await, None);
}

/// Whoever was the owner has no further effect: its commits are refused, under its old grant and under the new one.
pub(crate) async fn of_a_former_owner_is_refused(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let group = trial.name();
    let former = Member::owner(&*backend, &topic, &group, 1).await;
    let former_grant = former.owned[&0];
    stored(&former.commit(0, 1).await);
    let control = Arc::clone(&former.control);
    let closed = within("left", control.close(crate::wait::DEADLINE)).await;
    closed.unwrap_or_else(|error| panic!("{error}"));
    fenced(&former.commit_as(0, former_grant, 2, record_of(2)).await);
    let other = trial.connect().await;
    let next = Member::owner(&*other, &topic, &group, 1).await;
    assert_ne!(next.owned[&0], former_grant, "a grant is never given twice");
    for grant in [former_grant, next.owned[&0]] {
        fenced(&former.commit_as(0, grant, 9, record_of(9)).await);
    }
    assert_eq!(next.position(0).await, Some(record_of(1)));
    stored(&next.commit(0, 2).await);
    assert_eq!(next.position(0).await, Some(record_of(2)));
}

/// A member that crashed is followed by another, which finds what it committed.
pub(crate) async fn survives_a_crash_of_its_owner(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let group = trial.name();
    let member = Member::owner(&*backend, &topic, &group, 1).await;
    stored(&member.commit(0, 1).await);
    drop(member);
    let other = trial.connect().await;
    let next = until("the crashed member is gone", || async {
        match Member::try_join(&*other, &topic, &group).await {
            Ok(member) => Some(member),
            Err(error) if error.kind() == dotmsg_core::error::ErrorKind::Fenced => None,
            Err(error) => panic!("{error}"),
        }
    });
    let mut next = next.await;
    next.owns(1).await;
    assert_eq!(next.position(0).await, Some(record_of(1)));
}

/// Whatever is committed, every message below it (or between its gaps) has been handled: each commit is held against the
/// calls at the moment at which it is handed over.
pub(crate) async fn is_never_past_unsettled_work(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
    let published = publish_all(&*backend, in_turns(&topic, &keys, 10)).await;
    let calls = Calls::new();
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let gaps = Arc::new(watch::Sender::new(0_usize));
    let (heard, found, seen) = (calls.clone(), Arc::clone(&wrong), Arc::clone(&gaps));
    let interposed = Interposed::hearing(trial.connect().await, move |progress| {
        let done: BTreeSet<(u32, u64)> = heard
            .all()
            .into_iter()
            .filter(|call| matches!(call.ended, Some((_, true))))
            .map(|call| (call.partition, call.offset))
            .collect();
        for entry in progress {
            let record = decoded(&entry.record);
            let end = record.source.end();
            let of_partition = published
                .iter()
                .filter(|at| at.partition == entry.partition);
            let early = of_partition
                .map(|at| at.offset)
                .filter(|offset| is_settled(&record, *offset))
                .filter(|offset| !done.contains(&(entry.partition, *offset)));
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(early.map(|offset| format!("{}/{offset}", entry.partition)));
            if end > record.watermark() + record.source.unsettled().count() as u64 {
                seen.send_modify(|gaps| *gaps += 1);
            }
            assert_eq!(entry.watermark, record.watermark());
        }
    });
    // Times differ from message to message, so that completions come out of order.
    let handler = noting(&calls, 0, |delivery: Delivery| async move {
        let spread = delivery.origin().offset.wrapping_mul(7_919) % 23;
        sleep(Duration::from_millis(spread)).await;
        Ok(())
    });
    let route = trial.route(&topic, &trial.name());
    let service = Service::start(interposed, route, handler).await;
    calls.until_succeeded(400).await;
    service.settled().await;
    service.drain().await;
    let wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "committed before they were handled"
    );
    assert!(*gaps.borrow() > 0, "no completion was out of order");
}

/// What is complete behind an unfinished message is not done again: the record has a map of it, and after a crash only the
/// unfinished one runs.
pub(crate) async fn remembers_out_of_order_completions(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let group = trial.name();
    let records = (0..30).map(|n| by_key(&topic, numbered(&format!("k{n}"), 0)));
    let published = publish_all(&*backend, records.collect()).await;
    let calls = Calls::new();
    let stuck = noting(&calls, 0, |delivery: Delivery| async move {
        if *delivery.id() == *b"k0-0" {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let service = Service::start(trial.connect().await, trial.route(&topic, &group), stuck).await;
    calls.until_succeeded(29).await;
    until("29 completions are committed behind the first", || async {
        let committed = committed(&*backend, &topic, &group).await;
        let record = committed.get(&0)?;
        assert!(
            record.watermark() <= published[0].offset,
            "past what is not settled"
        );
        published[1..]
            .iter()
            .all(|at| is_settled(record, at.offset))
            .then_some(())
    })
    .await;
    service.crash().await;
    calls.forget_running();
    let handler = noting(&calls, 1, well);
    let service = Service::start(backend, trial.route(&topic, &group), handler).await;
    calls.until_succeeded(30).await;
    service.settled().await;
    service.drain().await;
    let again: Vec<String> = calls
        .all()
        .into_iter()
        .filter(|call| call.by == 1)
        .map(|call| call.id)
        .collect();
    assert_eq!(again, ["k0-0"]);
    trial.assert_key_order(&calls);
}

/// Lag is what is not settled, in records and by the append time of the oldest: the same from outside of the group as by the
/// route itself. Without history nobody can read when a record was appended that is not delivered.
pub(crate) async fn tells_the_lag(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let group = trial.name();
    let calls = Calls::new();
    let open = Arc::new(watch::Sender::new(false));
    let gate = Arc::clone(&open);
    let handler = noting(&calls, 0, move |delivery: Delivery| {
        let mut gate = gate.subscribe();
        async move {
            let number = String::from_utf8_lossy(&delivery.id()).into_owned();
            if !["k-0", "k-1", "k-2", "k-3"].contains(&&*number) {
                // The sender outlives the app.
                let _ = gate.wait_for(|open| *open).await;
            }
            Ok(())
        }
    });
    let each = |n: usize| {
        let to = |partition| crate::trial::to(&topic, partition, numbered("k", n));
        [to(0), to(1)]
    };
    let published = publish_all(&*backend, (0..10).flat_map(each).collect()).await;
    let left = |first: usize| published[first + 10].offset + 1 - published[first].offset;
    let left = left(8) + left(9);
    let tells = |lag: &Lag, records: u64| {
        assert_eq!(lag.partitions.len(), 2);
        assert_eq!(lag.records(), records, "{lag}");
        for one in &lag.partitions {
            let first = &published[8 + one.partition as usize];
            let by_stamp = one.oldest.map(|oldest| (oldest.at, oldest.estimated));
            match (records, trial.capability.history) {
                (0, _) => assert_eq!(one.behind_for(lag.at), Some(Duration::ZERO), "{lag}"),
                (_, History::Retained) => {
                    assert_eq!(by_stamp, Some((first.appended_at, false)), "{lag}");
                }
                (_, History::None) => assert_ne!(by_stamp.map(|(_, known)| known), Some(false)),
            }
        }
    };
    let app = trial.unordered(&topic, &group);
    let service = Service::start(trial.connect().await, app, handler).await;
    until("8 of 20 are settled", || async {
        let lag = outside(&*backend, &topic, &group).await;
        let records = lag.records();
        assert!(records >= left, "{records} told, and {left} are left");
        (records == left).then(|| tells(&lag, left))
    })
    .await;
    let inside = || async {
        let lag = within("the route tells its lag", service.route().lag()).await;
        lag.unwrap_or_else(|error| panic!("the route does not tell its lag: {error}"))
    };
    until("the other 12 are delivered", || async {
        let lag = inside().await;
        tells(&lag, left);
        let held: u64 = lag.partitions.iter().map(|one| one.held).sum();
        (held == 12).then_some(())
    })
    .await;
    open.send_replace(true);
    until("everything is settled", || async {
        let lag = outside(&*backend, &topic, &group).await;
        (lag.records() == 0).then(|| tells(&lag, 0))
    })
    .await;
    tells(&inside().await, 0);
    service.drain().await;
}
