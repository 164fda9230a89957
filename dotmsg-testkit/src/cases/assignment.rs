//! Membership of one member: what it is given, when it reads, how much.

use dotmsg_core::message::Message;

use crate::feed::publish_all;
use crate::member::Member;
use crate::trial::{Trial, to};

/// Partitions arrive paused: nothing is read of one before it is resumed, then from where it is told.
pub(crate) async fn partitions_arrive_paused(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let record = |partition, text| to(&topic, partition, Message::new(text));
    let before = vec![record(0, "a"), record(0, "b"), record(1, "c")];
    publish_all(&*backend, before).await;
    let mut member = Member::owner(&*backend, &topic, &trial.name(), 2).await;
    // Only what was resumed is read, although the other had records first.
    member.control.resume(1, Some(0));
    assert_eq!(member.records(1).await[0].0, 1);
    publish_all(&*backend, vec![record(1, "d")]).await;
    assert_eq!(member.records(1).await[0].0, 1);
    member.control.resume(0, Some(1));
    let (partition, read) = member.records(1).await.remove(0);
    assert_eq!((partition, read.offset), (0, 1));
    member.leave().await;
}
