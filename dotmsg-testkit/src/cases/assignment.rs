//! Membership of one member: what it is given, when it reads, how much, and that groups know nothing of each other.

use std::sync::Arc;

use dotmsg_core::backend::{BatchLimits, PublishRecord};
use dotmsg_core::error::ErrorKind;
use dotmsg_core::message::Message;

use crate::feed::publish_all;
use crate::member::{Member, all_polled};
use crate::topic::ALL;
use crate::trial::{Trial, to};

fn record(topic: &Arc<str>, partition: u32, text: &'static str) -> PublishRecord {
    to(topic, partition, Message::new(text))
}

/// Partitions arrive paused: nothing is read of one before it is resumed, then from where it is told.
pub(crate) async fn partitions_arrive_paused(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let before = vec![
        record(&topic, 0, "a"),
        record(&topic, 0, "b"),
        record(&topic, 1, "c"),
    ];
    let published = publish_all(&*backend, before).await;
    let mut member = Member::owner(&*backend, &topic, &trial.name(), 2).await;
    // Only what was resumed is read, although the other had records first.
    member.control.resume(1, Some(0));
    assert_eq!(member.records(1).await[0].0, 1);
    publish_all(&*backend, vec![record(&topic, 1, "d")]).await;
    assert_eq!(member.records(1).await[0].0, 1);
    member.control.resume(0, Some(published[1].offset));
    let (partition, read) = member.records(1).await.remove(0);
    assert_eq!((partition, read.offset), (0, published[1].offset));
    member.leave().await;
}

/// A paused partition gives nothing while others go on; resumed, it goes on where it stopped, or where it is told.
pub(crate) async fn pause_and_resume(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let mut member = Member::owner(&*backend, &topic, &trial.name(), 2).await;
    member.resume_all(0);
    publish_all(&*backend, vec![record(&topic, 0, "a")]).await;
    assert_eq!(member.records(1).await[0].0, 0);
    member.control.pause(0);
    let mut paused = Vec::new();
    for text in ["b", "c"] {
        paused.append(&mut publish_all(&*backend, vec![record(&topic, 0, text)]).await);
        publish_all(&*backend, vec![record(&topic, 1, text)]).await;
        assert_eq!(member.records(1).await[0].0, 1, "partition 0 is paused");
    }
    member.control.resume(0, None);
    let went_on: Vec<u64> = member
        .records(2)
        .await
        .into_iter()
        .map(|(partition, record)| {
            assert_eq!(partition, 0);
            record.offset
        })
        .collect();
    let paused: Vec<u64> = paused.iter().map(|at| at.offset).collect();
    assert_eq!(went_on, paused);
    member.control.resume(0, Some(paused[0]));
    let back = member.records(2).await[0].1.offset;
    assert_eq!(back, paused[0], "told to go back");
    member.leave().await;
}

/// A poll hands over no more than its limits say, but one record always; partial batches lose nothing.
pub(crate) async fn batches_keep_their_limits(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let large = |_| to(&topic, 0, Message::new(vec![7; 1_000]));
    let published = publish_all(&*backend, (0..20).map(large).collect()).await;
    let mut member = Member::owner(&*backend, &topic, &trial.name(), 1).await;
    member.resume_all(0);
    let mut next = 0;
    let limits = [(3, usize::MAX), (100, 2_500), (100, 1), (7, 100_000)];
    for (messages, bytes) in limits.into_iter().cycle() {
        let batch = member.batch(BatchLimits { messages, bytes }).await;
        let count = batch.records.len();
        assert!((1..=messages).contains(&count), "{count} of {messages}");
        let size: usize = batch.records.iter().map(|one| one.message.size()).sum();
        assert!(count == 1 || size <= bytes, "{size} bytes of {bytes}");
        for record in batch.records {
            let expected = published[next].offset;
            assert_eq!(record.offset, expected, "left out, or twice");
            next += 1;
        }
        if next == 20 {
            break;
        }
    }
    member.leave().await;
}

/// Two groups each get everything, and the progress of one is not the other's.
pub(crate) async fn groups_are_apart(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let names = [trial.name(), trial.name()];
    let mut members = [
        Member::owner(&*backend, &topic, &names[0], 1).await,
        Member::owner(&*backend, &topic, &names[1], 1).await,
    ];
    let fifty = (0..50).map(|n: usize| to(&topic, 0, Message::new(n.to_string())));
    let published = publish_all(&*backend, fifty.collect()).await;
    for member in &mut members {
        member.resume_all(0);
        let read = member.records(50).await;
        let offsets = read.iter().map(|(_, record)| record.offset);
        assert!(offsets.eq(published.iter().map(|at| at.offset)));
    }
    crate::member::stored(&members[0].commit(0, 50).await);
    assert!(members[0].position(0).await.is_some());
    assert!(members[1].position(0).await.is_none());
}

/// A group that joins late gets what was published before.
pub(crate) async fn a_late_group_gets_history(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    for text in ["a", "b"] {
        publish_all(&*backend, vec![record(&topic, 0, text)]).await;
        let mut member = Member::owner(&*backend, &topic, &trial.name(), 1).await;
        member.resume_all(0);
        let batch = member.batch(ALL).await;
        assert_eq!(batch.records[0].message.payload.as_deref(), Some(&b"a"[..]));
        member.leave().await;
    }
}

/// Twenty topics in one group on one connection stay apart: each member gets what was published to its topic, all of it.
pub(crate) async fn topics_are_apart(trial: Trial) {
    let backend = trial.connect().await;
    let group = trial.name();
    let mut members = Vec::new();
    for number in 0..20 {
        let joins = async {
            let topic = trial.topic(&*backend, 2).await;
            let member = Member::owner(&*backend, &topic, &group, 2).await;
            member.resume_all(0);
            let message = || Message::new(number.to_string());
            let records = (0..100).map(|n| to(&topic, n % 2, message()));
            publish_all(&*backend, records.collect()).await;
            member
        };
        // Where all members of a group take part in each round, those that are there have to be polled meanwhile.
        let joined = all_polled(&mut members, joins).await;
        members.push(joined);
    }
    for (number, member) in members.iter_mut().enumerate() {
        for (_, record) in member.records(100).await {
            let payload = record.message.payload.unwrap_or_default();
            assert_eq!(payload, number.to_string());
        }
    }
}

/// Who subscribes to a topic that does not exist is told so, and who leaves reads nothing more.
pub(crate) async fn the_ends_of_a_membership(trial: Trial) {
    let backend = trial.connect().await;
    let (missing, group) = (trial.name(), trial.name());
    let refused = Member::try_join(&*backend, &missing, &group).await.err();
    assert_eq!(
        refused.map(|error| error.kind()),
        Some(ErrorKind::NotFound),
        "a topic that does not exist"
    );
    let topic = trial.topic(&*backend, 1).await;
    publish_all(&*backend, vec![record(&topic, 0, "a")]).await;
    let mut member = Member::owner(&*backend, &topic, &group, 1).await;
    let control = Arc::clone(&member.control);
    let closed = control.close(crate::wait::DEADLINE).await;
    closed.unwrap_or_else(|error| panic!("the group is not left: {error}"));
    member.control.resume(0, Some(0));
    assert_eq!(member.failure().await.kind(), ErrorKind::Closed);
    let again = control.close(crate::wait::DEADLINE).await;
    again.unwrap_or_else(|error| panic!("to leave twice is no error: {error}"));
}
