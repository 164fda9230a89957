//! What retention removes before it is read is told, never passed over.

use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::backend::{Backend, PublishRecord, Published, Retention};
use dotmsg_core::error::ErrorKind;
use dotmsg_core::message::Message;

use crate::calls::Calls;
use crate::feed::publish_all;
use crate::member::Member;
use crate::positions::committed;
use crate::service::{Service, noting, well};
use crate::topic::{ALL, next, reader};
use crate::trial::{Trial, to};
use crate::wait::until;

/// A topic that keeps records for a millisecond, with 1 MiB in partition 0.
async fn short_lived(trial: &Trial, backend: &dyn Backend) -> (Arc<str>, Vec<Published>) {
    let kept = Retention::For(Duration::from_millis(1));
    let topic = trial.topic_kept(backend, 1, kept).await;
    let record = |n: usize| {
        let message = Message::new(vec![0; 8 << 10]).with_key(format!("k{n}"));
        to(&topic, 0, message.with_id(n.to_string()))
    };
    let records: Vec<PublishRecord> = (0..128).map(record).collect();
    let published = publish_all(backend, records).await;
    (topic, published)
}

/// A member that was to read what is gone hears so, with where it was and where the log starts, and reads nothing until it is
/// told from where.
pub(crate) async fn is_told_to_a_member(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, published) = short_lived(&trial, &*backend).await;
    let mut member = Member::owner(&*backend, &topic, &trial.name(), 1).await;
    let start = trial.trim(&*backend, &topic, published[127].offset).await;
    let first = published[0].offset;
    member.control.resume(0, Some(first));
    let overtaken = loop {
        match member.next(ALL).await {
            Ok(crate::member::Next::Event) if !member.overtaken.is_empty() => {
                break member.overtaken.remove(0);
            }
            Ok(crate::member::Next::Event) => {}
            Ok(crate::member::Next::Batch(batch)) => {
                panic!("it reads on at {}", batch.records[0].offset)
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(overtaken, (0, first, start));
    member.control.resume(0, Some(start));
    let batch = member.batch(ALL).await;
    assert_eq!(batch.records[0].offset, start);
}

/// A reader says which offsets are gone and goes on behind them.
pub(crate) async fn is_told_to_a_reader(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, published) = short_lived(&trial, &*backend).await;
    let start = trial.trim(&*backend, &topic, published[127].offset).await;
    let mut reader = reader(&*backend).await;
    reader
        .assign(&topic, 0, published[0].offset)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut batch = next(&mut *reader, ALL).await;
    assert_eq!(batch.removed, Some(published[0].offset..start));
    while batch.records.is_empty() {
        batch = next(&mut *reader, ALL).await;
        assert_eq!(batch.removed, None, "it is told once");
    }
    assert_eq!(batch.records[0].offset, start);
}

/// An app whose position is below what the log holds stops with an error that says so, or goes on where the log starts and
/// counts what it did not get, as configured.
pub(crate) async fn stops_an_app_or_is_counted(trial: Trial) {
    let backend = trial.connect().await;
    let (topic, published) = short_lived(&trial, &*backend).await;
    let group = trial.name();
    let calls = Calls::new();
    let stuck = |_: dotmsg_core::delivery::Delivery| std::future::pending::<()>();
    let app = |policy: &str| {
        trial
            .route(&topic, &group)
            .with("on_log_mismatch", policy)
            .with("max_held_messages", 8)
            .with("park.max_held_messages", 4)
    };
    // A group that has a position, and has settled nothing.
    let service = Service::start(trial.connect().await, app("error"), stuck).await;
    until("it has a position", || async {
        (committed(&*backend, &topic, &group).await.len() == 1).then_some(())
    })
    .await;
    service.crash().await;
    let start = trial.trim(&*backend, &topic, published[127].offset).await;
    let handler = || noting(&calls, 0, well);
    let mut service = Service::start(trial.connect().await, app("error"), handler()).await;
    let error = service.failure().await;
    assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
    assert_eq!(calls.count(), 0);
    let service = Service::start(backend, app("earliest"), handler()).await;
    let left = published.iter().filter(|at| at.offset >= start).count();
    calls.until_succeeded(left).await;
    service.settled().await;
    service.drain().await;
    assert_eq!(calls.count(), left);
}
