//! Administration: topics, offsets, groups, seen from outside.

use dotmsg_core::backend::{OffsetRange, Retention, TopicSpec};
use dotmsg_core::message::Message;

use crate::feed::publish_all;
use crate::member::{Member, stored};
use crate::trial::{Trial, range, to};
use crate::wait::within;

fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        retention: Retention::AsBackend,
    }
}

/// A topic is described as it was created; to create it again is no error, with another number of partitions it is one.
pub(crate) async fn topics_are_described(trial: Trial) {
    let backend = trial.connect().await;
    let admin = backend.admin();
    let name = trial.name();
    let missing = within("a description", admin.topic(&name)).await;
    assert!(matches!(missing, Ok(None)), "{missing:?}");
    for _ in 0..2 {
        let created = within("created", admin.create_topic(spec(&name, 3))).await;
        created.unwrap_or_else(|error| panic!("{error}"));
    }
    let other = within("refused", admin.create_topic(spec(&name, 4))).await;
    assert!(other.is_err(), "it has 3 partitions and not 4");
    let described = within("a description", admin.topic(&name)).await;
    let described = described.unwrap_or_else(|error| panic!("{error}"));
    let described = described.unwrap_or_else(|| panic!("it exists"));
    assert_eq!((&*described.name, described.partitions), (&*name, 3));
    let all = within("all topics", admin.topics("")).await;
    let all = all.unwrap_or_else(|error| panic!("{error}"));
    assert!(all.contains(&described), "it is listed as it is described");
    let (longer, neighbour) = (format!("{name}.more"), trial.name());
    for name in [&longer, &*neighbour] {
        let created = within("created", admin.create_topic(spec(name, 1))).await;
        created.unwrap_or_else(|error| panic!("{error}"));
    }
    let of_prefix = within("topics of a prefix", admin.topics(&name)).await;
    let of_prefix = of_prefix.unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<&str> = of_prefix.iter().map(|topic| &*topic.name).collect();
    assert_eq!(names, [&*name, &*longer], "those that begin so, by name");
    assert_eq!(of_prefix[0], described);
    let again = trial.connect().await;
    let again = within("a description", again.admin().topic(&name)).await;
    let again = again.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.as_ref(), Some(&described), "its identity stays");
}

/// A topic that is to keep its records for ever says that it does.
pub(crate) async fn retention_is_as_asked(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic_kept(&*backend, 1, Retention::Forever).await;
    let described = within("a description", backend.admin().topic(&topic)).await;
    let described = described.unwrap_or_else(|error| panic!("{error}"));
    assert!(described.is_some_and(|topic| topic.keeps(Retention::Forever)));
}

/// The offsets of a partition are those of its records.
pub(crate) async fn offsets_are_told(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 2).await;
    let empty = range(&*backend, &topic, 1).await;
    assert_eq!(empty.start, empty.end);
    let five = (0..5).map(|_| to(&topic, 1, Message::new("x")));
    let published = publish_all(&*backend, five.collect()).await;
    let expected = OffsetRange {
        start: published[0].offset,
        end: published[4].offset + 1,
    };
    assert_eq!(range(&*backend, &topic, 1).await, expected);
    let other = range(&*backend, &topic, 0).await;
    assert_eq!(other.start, other.end);
    let missing = within("refused", backend.admin().offsets(&topic, 2)).await;
    assert!(missing.is_err(), "there is no partition 2");
}

/// A group is listed with the topics in which it has positions.
pub(crate) async fn groups_are_listed(trial: Trial) {
    let backend = trial.connect().await;
    let topic = trial.topic(&*backend, 1).await;
    let group = trial.name();
    let member = Member::owner(&*backend, &topic, &group, 1).await;
    stored(&member.commit(0, 0).await);
    let groups = within("groups", backend.admin().groups()).await;
    let groups = groups.unwrap_or_else(|error| panic!("{error}"));
    let ours = groups.iter().find(|one| *one.name == *group);
    let topics = ours.map(|one| one.topics.clone());
    assert_eq!(topics, Some(vec![topic.to_string()]));
}
