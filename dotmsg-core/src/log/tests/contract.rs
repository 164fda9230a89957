//! Publishing, reading, administration.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use bytes::Bytes;

use super::*;
use crate::backend::ReadBatch;
use crate::backend::partition_for_key;
use crate::error::ErrorKind;
use crate::message::Headers;

#[test]
fn unusual_messages_are_read_back_as_they_were() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        let headers: Headers = [
            ("a", Some(Bytes::from("1"))),
            ("a", None),
            ("ü", Some(Bytes::new())),
        ]
        .into_iter()
        .collect();
        let messages = [
            Message::tombstone(),
            Message::new(""),
            Message::new("x").with_key(""),
            Message::new(vec![0, 255, 10]).with_key("schlüssel"),
            Message {
                headers,
                ..Message::new("h")
            },
        ]
        .map(|message| message.with_timestamp(Timestamp(5)));
        for message in &messages {
            put(&log, "t", 0, message.clone());
        }
        let mut reader = wait(log.reader()).unwrap();
        reader.assign(&"t".into(), 0, 0).unwrap();
        let mut batch = ReadBatch::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_ready());
        let read: Vec<Message> = batch.records.iter().map(|r| r.message.clone()).collect();
        assert_eq!(read, messages);
        reader.assign(&"t".into(), 0, 3).unwrap();
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_ready());
        assert_eq!(batch.records[0].offset, 3);
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_pending());
    }
}

#[test]
fn each_record_has_its_own_outcome() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 3);
        let outcomes = publish(
            &log,
            vec![
                record("t", None, Message::new("a").with_key("abc")),
                record("t", Some(3), Message::new("b")),
                record("missing", None, Message::new("c")),
                record("missing", None, Message::new("c")),
                record("t", None, Message::new("d")),
                record("t", None, Message::new("e")),
            ],
        );
        let kinds: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                PublishOutcome::Ok(published) => Ok(published.partition),
                PublishOutcome::Failed(error) | PublishOutcome::Unknown(error) => Err(error.kind()),
            })
            .collect();
        assert_eq!(
            kinds,
            [
                Ok(partition_for_key(b"abc", 3)),
                Err(ErrorKind::Invalid),
                Err(ErrorKind::NotFound),
                Err(ErrorKind::NotFound),
                Ok(0),
                Ok(1)
            ]
        );
    }
}

#[test]
fn a_record_above_the_limit_is_refused_and_one_at_it_is_not() {
    let limited = LogOptions {
        max_record_bytes: 10,
        ..options()
    };
    for (_directory, log) in both(limited) {
        topic(&log, "t", 1);
        let outcomes = publish(
            &log,
            vec![
                record("t", None, Message::new("1234567").with_key("abc")),
                record("t", None, Message::new("12345678").with_key("abc")),
            ],
        );
        assert!(matches!(outcomes[0], PublishOutcome::Ok(_)), "{outcomes:?}");
        let PublishOutcome::Failed(error) = &outcomes[1] else {
            panic!("{outcomes:?}");
        };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn debug_shows_nothing_of_what_a_log_holds() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        put(&log, "t", 0, Message::new("a secret").with_key("a key"));
        let shown = format!("{log:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("a key"),
            "{shown}"
        );
    }
}

#[test]
fn a_waiting_reader_is_woken_by_an_append() {
    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        let mut reader = wait(log.reader()).unwrap();
        reader.assign(&"t".into(), 1, 0).unwrap();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let mut batch = ReadBatch::default();
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_pending());
        put(&log, "t", 1, Message::new("x"));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_ready());
        assert_eq!((batch.partition, batch.records.len()), (1, 1));
    }
}

#[test]
fn a_recreated_topic_has_another_identity_and_other_shapes_are_refused() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 2);
        let admin = log.admin();
        let before = wait(admin.topic("t")).unwrap().unwrap();
        topic(&log, "t", 2);
        let spec = TopicSpec {
            name: "t".into(),
            partitions: 3,
            retention: Retention::AsBackend,
        };
        let error = wait(admin.create_topic(spec)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        wait(log.delete_topic("t")).unwrap();
        assert!(wait(admin.topic("t")).unwrap().is_none());
        topic(&log, "t", 2);
        let after = wait(admin.topic("t")).unwrap().unwrap();
        assert_ne!(before.identity, after.identity);
    }
}

#[test]
fn retention_removes_whole_segments_by_age() {
    let clock = Arc::new(HandClock::default());
    let mut options = LogOptions::new(clock.clone());
    options.segment_bytes = 1;
    options.retention = Some(Duration::from_millis(10));
    for (_directory, log) in both(options) {
        topic(&log, "t", 1);
        clock.set(0);
        for ms in [0, 5, 12] {
            clock.set(ms);
            put(&log, "t", 0, Message::new("x"));
        }
        clock.set(100);
        log.apply_retention().unwrap();
        let range = wait(log.admin().offsets("t", 0)).unwrap();
        assert_eq!((range.start, range.end), (2, 3));
    }
}

#[test]
fn a_closed_log_says_so() {
    for (_directory, log) in both(options()) {
        topic(&log, "t", 1);
        let (mut source, _control) = subscribe(&log, "g", "t").unwrap();
        wait(log.close()).unwrap();
        let outcome = publish(&log, vec![record("t", None, Message::new("x"))]).remove(0);
        assert!(
            matches!(outcome, PublishOutcome::Failed(error) if error.kind() == ErrorKind::Closed)
        );
        let mut cx = Context::from_waker(Waker::noop());
        let polled = source.poll_batch(&mut cx, ALL, &mut Batch::default());
        assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Closed));
    }
}
