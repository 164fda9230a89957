//! Groups: assignment, fencing, flow control.

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

#[test]
fn a_second_member_is_refused_until_the_first_has_gone() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        let (mut source, control) = subscribe(&log, "g", "t").unwrap();
        let before = assigned(&mut *source)[0];
        assert_eq!(
            subscribe(&log, "g", "t").err().unwrap().kind(),
            ErrorKind::Fenced
        );
        assert!(subscribe(&log, "other", "t").is_ok());
        assert!(matches!(
            commit(&control, before, "1"),
            CommitOutcome::Committed
        ));
        wait(control.close(Duration::ZERO)).unwrap();
        let (mut source, control2) = subscribe(&log, "g", "t").unwrap();
        let after = assigned(&mut *source)[0];
        assert_ne!(before.grant, after.grant);
        assert!(matches!(
            commit(&control, before, "2"),
            CommitOutcome::Fenced
        ));
        assert!(matches!(
            commit(&control2, before, "2"),
            CommitOutcome::Fenced
        ));
        let stored = wait(control2.position(0, after.grant)).unwrap();
        assert_eq!(stored, Some(Bytes::from("1")));
        drop((source, control2));
        assert!(subscribe(&log, "g", "t").is_ok());
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
        assert!(matches!(
            commit(&control, granted, "1"),
            CommitOutcome::Fenced
        ));
        assert!(batch(&mut *source, ALL).is_none());
        assert!(log.reassign("g", "t", &[0]));
        let again = assigned(&mut *source)[0];
        assert_ne!(again.grant, granted.grant);
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
            assert!(matches!(
                commit(&control, granted, "r"),
                CommitOutcome::Committed
            ));
        }
        let admin = log.admin();
        let groups = wait(admin.groups()).unwrap();
        assert_eq!((groups.len(), &*groups[0].name), (1, "g"));
        wait(log.forget_position("g", "t", 0)).unwrap();
        let positions = wait(admin.positions("g", "t")).unwrap();
        assert_eq!(positions, [(1, Bytes::from("r"))]);
    }
}
