//! Retention that is faster than a reader: it is told, never passed over.

use super::*;
use crate::backend::{Control, ReadBatch};

/// A log whose segments hold one record each and are kept for 10 ms, with records 0 to 4 in partition 0 of `t`.
fn log_of_five(options: &LogOptions) -> Vec<(Option<TestDirectory>, LogBroker)> {
    let logs = both(options.clone());
    for (_, log) in &logs {
        topic(log, "t", 2);
        for _ in 0..5 {
            put(log, "t", 0, Message::new("x"));
        }
    }
    logs
}

fn short_lived() -> (Arc<HandClock>, LogOptions) {
    let clock = Arc::new(HandClock::default());
    let mut options = LogOptions::new(clock.clone());
    options.segment_bytes = 1;
    options.retention = Some(Duration::from_millis(10));
    (clock, options)
}

fn joined(log: &LogBroker) -> (Box<dyn Source>, Arc<dyn Control>, u64) {
    let (mut source, control) = subscribe(log, "g", "t").unwrap();
    let grant = assigned(&mut *source)[0].grant;
    control.resume(0, Some(0));
    control.resume(1, Some(0));
    (source, control, grant)
}

fn event(source: &mut dyn Source) -> Option<(u32, u64, u64, u64)> {
    let mut cx = Context::from_waker(Waker::noop());
    match source.poll_event(&mut cx) {
        Poll::Ready(Ok(AssignmentEvent::OutOfRange {
            partition,
            grant,
            position,
            start,
        })) => Some((partition, grant, position, start)),
        Poll::Pending => None,
        other => panic!("another event: {other:?}"),
    }
}

const TWO: BatchLimits = BatchLimits {
    messages: 2,
    bytes: usize::MAX,
};

#[test]
fn a_source_stops_before_what_was_removed_until_it_is_resumed() {
    let (clock, options) = short_lived();
    for (_directory, log) in log_of_five(&options) {
        clock.set(0);
        let (mut source, control, grant) = joined(&log);
        let source = &mut *source;
        let mut read = batch(source, TWO).unwrap().records.len() as u64;
        // Whatever was fetched before goes out first.
        clock.set(100);
        log.apply_retention().unwrap();
        clock.set(0);
        while let Some(batch) = batch(source, TWO) {
            assert_eq!(batch.records[0].offset, read);
            read += batch.records.len() as u64;
        }
        assert_eq!(event(source), Some((0, grant, read, 4)));
        assert_eq!(event(source), None, "it is told once");
        put(&log, "t", 0, Message::new("x"));
        put(&log, "t", 1, Message::new("y"));
        assert_eq!(
            batch(source, ALL).unwrap().partition,
            1,
            "others go on, this one does not"
        );
        assert!(batch(source, ALL).is_none());
        control.resume(0, None);
        assert!(batch(source, ALL).is_none());
        assert_eq!(event(source).unwrap().2, read, "resumed where it stopped");
        control.resume(0, Some(4));
        assert_eq!(batch(source, ALL).unwrap().records[0].offset, 4);
    }
}

#[test]
fn a_partition_overtaken_while_it_is_paused_is_told_when_it_is_resumed() {
    let (clock, options) = short_lived();
    for (_directory, log) in log_of_five(&options) {
        clock.set(0);
        let (mut source, control, grant) = joined(&log);
        let source = &mut *source;
        control.pause(0);
        assert!(batch(source, ALL).is_none());
        clock.set(100);
        log.apply_retention().unwrap();
        assert!(batch(source, ALL).is_none());
        assert_eq!(event(source), None);
        control.resume(0, None);
        assert!(batch(source, ALL).is_none());
        assert_eq!(event(source), Some((0, grant, 0, 4)));
    }
}

#[test]
fn a_reader_says_what_was_removed_and_goes_on_behind_it() {
    let (clock, options) = short_lived();
    for (_directory, log) in log_of_five(&options) {
        clock.set(100);
        log.apply_retention().unwrap();
        clock.set(0);
        let mut reader = wait(log.reader()).unwrap();
        reader.assign(&"t".into(), 0, 1).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut batch = ReadBatch::default();
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_ready());
        assert_eq!(batch.removed, Some(1..4));
        assert_eq!(batch.records[0].offset, 4);
        put(&log, "t", 0, Message::new("x"));
        assert!(reader.poll_batch(&mut cx, ALL, &mut batch).is_ready());
        assert_eq!((batch.removed.clone(), batch.records.len()), (None, 1));
    }
}
