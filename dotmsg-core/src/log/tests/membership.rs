//! Groups: assignment, fencing, flow control.

use std::collections::BTreeMap;
use std::future::poll_fn;

use bytes::Bytes;

use super::*;
use crate::backend::{CommitOutcome, Control, Progress};
use crate::error::ErrorKind;

fn commit(control: &Arc<dyn Control>, granted: Granted, record: &'static str) -> CommitOutcome {
    wait(control.commit(vec![Progress {
        partition: granted.partition,
        grant: granted.grant,
        watermark: 0,
        record: Bytes::from(record),
    }]))
    .remove(0)
}

fn is_stored(control: &Arc<dyn Control>, granted: Granted, record: &'static str) -> bool {
    matches!(commit(control, granted, record), CommitOutcome::Committed)
}

fn is_fenced(control: &Arc<dyn Control>, granted: Granted, record: &'static str) -> bool {
    matches!(commit(control, granted, record), CommitOutcome::Fenced)
}

#[test]
fn partitions_arrive_paused_and_take_turns() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        for partition in [0, 0, 1] {
            put(&log, "t", partition, Message::new("x"));
        }
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source);
        assert_eq!(granted.len(), 2);
        assert!(batch(&mut *source, ALL).is_none());
        let one = BatchLimits {
            messages: 1,
            bytes: usize::MAX,
        };
        control.resume(0, Some(0));
        control.resume(1, Some(0));
        let partitions: Vec<_> = std::iter::from_fn(|| batch(&mut *source, one))
            .map(|batch| (batch.partition, batch.grant))
            .collect();
        let [first, second] = [granted[0], granted[1]].map(|g| (g.partition, g.grant));
        assert_eq!(partitions, [first, second, first]);
        control.pause(0);
        put(&log, "t", 0, Message::new("y"));
        assert!(batch(&mut *source, one).is_none());
        control.resume(0, None);
        assert_eq!(batch(&mut *source, one).unwrap().records[0].offset, 2);
    }
}

/// Everything that the member hears now, obeyed: what it owns afterwards.
fn hear(source: &mut dyn Source, control: &Arc<dyn Control>, owned: &mut BTreeMap<u32, u64>) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(event) = source.poll_event(&mut cx) {
        match event.unwrap() {
            AssignmentEvent::Assigned(granted) => {
                owned.extend(granted.iter().map(|one| (one.partition, one.grant)));
            }
            AssignmentEvent::Revoking { partitions, .. } => {
                let given_up = partitions.iter().map(|partition| Granted {
                    partition: *partition,
                    grant: owned.remove(partition).unwrap(),
                });
                wait(control.release(given_up.collect())).unwrap();
            }
            AssignmentEvent::Lost(lost) => owned.retain(|partition, _| !lost.contains(partition)),
            AssignmentEvent::OutOfRange { .. } => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_member_shares_and_the_first_keeps_what_stays() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 4);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let before = assigned(&mut *source);
        let (mut source2, control2) = subscribe(&log, "g", "t").unwrap();
        let mut owned: BTreeMap<u32, u64> = before
            .iter()
            .map(|one| (one.partition, one.grant))
            .collect();
        let mut owned2 = BTreeMap::new();
        hear(&mut *source, &control, &mut owned);
        hear(&mut *source2, &control2, &mut owned2);
        assert_eq!((owned.len(), owned2.len()), (2, 2));
        for granted in before {
            let outcome = commit(&control, granted, "1");
            match owned.contains_key(&granted.partition) {
                true => assert!(matches!(outcome, CommitOutcome::Committed)),
                false => assert!(matches!(outcome, CommitOutcome::Fenced)),
            }
        }
        assert_eq!(log.generation("g", "t"), Some(2));
        // One half is enough to stay; without either the others get the share.
        drop(source2);
        hear(&mut *source, &control, &mut owned);
        assert_eq!(owned.len(), 2);
        drop(control2);
        hear(&mut *source, &control, &mut owned);
        assert_eq!(owned.len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_member_is_put_out_and_fenced_and_comes_back_when_it_polls() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        let (mut frozen, frozen_control) = subscribe(&log, "g", "t").unwrap();
        let before = assigned(&mut *frozen);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let mut owned = BTreeMap::new();
        let all = poll_fn(|cx| {
            // Its own timer is what wakes it.
            while let Poll::Ready(event) = source.poll_event(cx) {
                if let AssignmentEvent::Assigned(granted) = event.unwrap() {
                    owned.extend(granted.iter().map(|one| (one.partition, one.grant)));
                }
            }
            if owned.len() == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::time::timeout(Duration::from_secs(61), all)
            .await
            .unwrap();
        assert!(is_fenced(&frozen_control, before[0], "late"));
        let mut owned_again: BTreeMap<u32, u64> = before
            .iter()
            .map(|one| (one.partition, one.grant))
            .collect();
        hear(&mut *frozen, &frozen_control, &mut owned_again);
        assert!(owned_again.is_empty(), "lost");
        hear(&mut *source, &control, &mut owned);
        hear(&mut *frozen, &frozen_control, &mut owned_again);
        assert_eq!((owned.len(), owned_again.len()), (1, 1));
    }
}

#[test]
fn of_two_members_with_one_instance_id_the_first_is_fenced_for_good() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        let node = || Subscription::new("t", "g").instance("node-1");
        let (mut source, control) = wait(log.subscribe(node())).unwrap();
        let before = assigned(&mut *source)[0];
        let (mut source2, control2) = wait(log.subscribe(node())).unwrap();
        let after = assigned(&mut *source2)[0];
        assert!(is_fenced(&control, before, "1"));
        assert!(is_stored(&control2, after, "2"));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = source.poll_event(&mut cx) else {
            panic!("the first member goes on");
        };
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("node-1"), "{error}");
    }
}

#[test]
fn a_member_that_must_be_alone_is_refused_beside_another_and_refuses_others() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        let alone = || Subscription::new("t", "g").exclusive();
        let member = subscribe(&log, "g", "t").unwrap();
        let refused = wait(log.subscribe(alone())).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Fenced);
        drop(member);
        let (mut source, control) = wait(log.subscribe(alone())).unwrap();
        let before = assigned(&mut *source)[0];
        assert_eq!(
            subscribe(&log, "g", "t").err().unwrap().kind(),
            ErrorKind::Fenced
        );
        assert!(is_stored(&control, before, "1"));
        wait(control.close(Duration::ZERO)).unwrap();
        let (mut source, control2) = subscribe(&log, "g", "t").unwrap();
        let after = assigned(&mut *source)[0];
        assert_ne!(before.grant, after.grant);
        for control in [&control, &control2] {
            assert!(is_fenced(control, before, "2"));
        }
        let stored = wait(control2.position(0, after.grant)).unwrap();
        assert_eq!(stored, Some(Bytes::from("1")));
    }
}

#[test]
fn lost_partitions_are_fenced_and_may_come_back_under_a_new_grant() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        put(&log, "t", 0, Message::new("x"));
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        control.resume(0, Some(0));
        assert!(log.lose("g", "t", &[0]));
        let mut cx = Context::from_waker(Waker::noop());
        let event = source.poll_event(&mut cx);
        assert!(matches!(event, Poll::Ready(Ok(AssignmentEvent::Lost(lost))) if lost == [0]));
        assert!(is_fenced(&control, granted, "1"));
        assert!(batch(&mut *source, ALL).is_none());
        assert!(log.reassign("g", "t", &[0]));
        let again = assigned(&mut *source)[0];
        assert_ne!(again.grant, granted.grant);
        // A release of the ownership before comes late, and changes nothing.
        wait(control.release(vec![granted])).unwrap();
        assert!(wait(control.position(0, again.grant)).is_ok());
        assert!(batch(&mut *source, ALL).is_none(), "paused again");
        control.resume(0, Some(0));
        assert_eq!(batch(&mut *source, ALL).unwrap().grant, again.grant);
    }
}

#[test]
fn groups_and_positions_are_listed() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        for granted in assigned(&mut *source) {
            assert!(is_stored(&control, granted, "r"));
        }
        let admin = log.admin();
        let groups = wait(admin.groups()).unwrap();
        assert_eq!((groups.len(), &*groups[0].name), (1, "g"));
        wait(log.forget_position("g", "t", 0)).unwrap();
        let positions = wait(admin.positions("g", "t")).unwrap();
        assert_eq!(positions, [(1, Bytes::from("r"))]);
    }
}

#[tokio::test(start_paused = true)]
async fn positions_of_a_group_that_nobody_is_in_expire_and_leave_a_trace() {
    let mut options = options();
    options.position_retention = Some(Duration::from_secs(60));
    for (_directory, log) in both(options) {
        topic(&log, "t", 1);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        assert!(is_stored(&control, granted, "1"));
        // A member that stays keeps them, however long it is silent.
        tokio::time::advance(Duration::from_secs(100)).await;
        let position = wait(control.position(0, granted.grant)).unwrap();
        assert_eq!(position, Some(Bytes::from("1")));
        drop((source, control));
        tokio::time::advance(Duration::from_secs(50)).await;
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        assert!(wait(control.position(0, granted.grant)).is_ok());
        drop((source, control));
        tokio::time::advance(Duration::from_secs(61)).await;
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        let expired = wait(control.position(0, granted.grant)).unwrap_err();
        assert_eq!(expired.kind(), ErrorKind::PositionLost);
        assert!(wait(log.admin().positions("g", "t")).unwrap().is_empty());
        assert!(wait(log.admin().groups()).unwrap().is_empty());
        assert!(is_stored(&control, granted, "2"));
        let position = wait(control.position(0, granted.grant)).unwrap();
        assert_eq!(position, Some(Bytes::from("2")));
    }
}

fn static_member(log: &LogBroker) -> crate::error::Result<Membership> {
    wait(log.subscribe(Subscription::new("t", "g").instance("node-1")))
}

#[tokio::test(start_paused = true)]
async fn a_static_member_that_does_not_come_back_counts_for_a_session_and_no_longer() {
    let mut options = options();
    options.position_retention = Some(Duration::from_secs(60));
    for (_directory, log) in both(options) {
        topic(&log, "t", 1);
        let (mut source, control) = static_member(&log).unwrap();
        let granted = assigned(&mut *source)[0];
        assert!(is_stored(&control, granted, "1"));
        wait(control.close(Duration::ZERO)).unwrap();
        tokio::time::advance(Duration::from_secs(40)).await;
        // What a member that has closed still does is no sign of life.
        wait(control.release(vec![granted])).unwrap();
        drop((source, control));
        let alone = || wait(log.subscribe(Subscription::new("t", "g").exclusive()));
        assert_eq!(alone().err().unwrap().kind(), ErrorKind::Fenced);
        tokio::time::advance(Duration::from_secs(6)).await;
        let (mut source, control) = alone().unwrap();
        let granted = assigned(&mut *source)[0];
        let position = wait(control.position(0, granted.grant)).unwrap();
        assert_eq!(position, Some(Bytes::from("1")));
    }
}

#[tokio::test(start_paused = true)]
async fn positions_of_static_members_that_do_not_come_back_expire_from_the_end_of_their_session() {
    let mut options = options();
    options.position_retention = Some(Duration::from_secs(60));
    for (_directory, log) in both(options) {
        topic(&log, "t", 1);
        for (away, expected) in [(100, None), (110, Some(ErrorKind::PositionLost))] {
            let (mut source, control) = static_member(&log).unwrap();
            let granted = assigned(&mut *source)[0];
            assert!(is_stored(&control, granted, "1"));
            drop((source, control));
            tokio::time::advance(Duration::from_secs(away)).await;
            let (mut source, control) = static_member(&log).unwrap();
            let granted = assigned(&mut *source)[0];
            let position = wait(control.position(0, granted.grant));
            assert_eq!(position.err().map(|error| error.kind()), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_late_does_not_put_off_the_expiry() {
    let mut options = options();
    options.position_retention = Some(Duration::from_secs(60));
    for (_directory, log) in both(options) {
        topic(&log, "t", 1);
        topic(&log, "other", 1);
        let _other = subscribe(&log, "g", "other").unwrap();
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        assert!(is_stored(&control, granted, "1"));
        wait(control.close(Duration::ZERO)).unwrap();
        tokio::time::advance(Duration::from_secs(50)).await;
        drop((source, control));
        tokio::time::advance(Duration::from_secs(11)).await;
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        let expired = wait(control.position(0, granted.grant)).unwrap_err();
        assert_eq!(expired.kind(), ErrorKind::PositionLost);
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_a_topic_that_was_created_anew_do_not_wait_for_those_of_the_old_one() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        let (mut old, old_control) = subscribe(&log, "g", "t").unwrap();
        let before = assigned(&mut *old)[0];
        log.delete_topic("t").await.unwrap();
        topic(&log, "t", 3);
        // The old one has not heard of it yet.
        let (mut new, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *new);
        let mut owned: BTreeMap<u32, u64> = granted
            .iter()
            .map(|one| (one.partition, one.grant))
            .collect();
        assert_eq!(owned.len(), 3);
        assert!(is_fenced(&old_control, before, "1"));
        let (mut second, _second) = subscribe(&log, "g", "t").unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = old.poll_event(&mut cx) else {
            panic!("the old member goes on");
        };
        assert_eq!(error.kind(), ErrorKind::NotFound);
        drop((old, old_control));
        let mut owned2 = BTreeMap::new();
        hear(&mut *new, &control, &mut owned);
        hear(&mut *second, &_second, &mut owned2);
        assert_eq!((owned.len(), owned2.len()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_position_leaves_its_trace_on_disk() {
    let mut options = options();
    options.position_retention = Some(Duration::from_secs(60));
    let directory = TestDirectory::new();
    let log = directory.open(options.clone()).unwrap();
    topic(&log, "t", 1);
    let (mut source, control) = subscribe(&log, "g", "t").unwrap();
    let granted = assigned(&mut *source)[0];
    assert!(is_stored(&control, granted, "1"));
    drop((source, control));
    tokio::time::advance(Duration::from_secs(61)).await;
    drop(subscribe(&log, "g", "t").unwrap());
    wait(log.close()).unwrap();
    // Once as it was appended, once as the opening wrote it anew.
    for _ in 0..2 {
        let log = directory.open(options.clone()).unwrap();
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let granted = assigned(&mut *source)[0];
        let expired = wait(control.position(0, granted.grant)).unwrap_err();
        assert_eq!(expired.kind(), ErrorKind::PositionLost);
        drop((source, control));
        wait(log.close()).unwrap();
    }
}
