//! Whether a topic that exists keeps what the producer profile `durable` promises.
//!
//! `acks=all` means all replicas *in sync*: with `min.insync.replicas=1` that may be one broker, and a message is lost with it.
//! The decision is here, without IO; what is done about it is `topic_check`'s.

use dotmsg_core::error::{Error, ErrorKind, Result};

use crate::settings::{Durability, TopicCheck};

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Brokers of the cluster.
    pub(crate) brokers: usize,
    /// The fewest replicas of a partition.
    pub(crate) replicas: usize,
    /// `min.insync.replicas`.
    pub(crate) in_sync: usize,
}

/// What the topic lacks.
fn lacks(asked: Durability, found: Found) -> Vec<String> {
    let least = |asked: Option<i32>, usual: usize| {
        asked
            .and_then(|asked| usize::try_from(asked).ok())
            .unwrap_or(usual)
    };
    let replicas = least(asked.replication, found.brokers.min(2));
    let in_sync = least(asked.min_insync_replicas, found.replicas.min(2));
    let mut lacks = Vec::new();
    if found.replicas < replicas {
        lacks.push(format!("{} replicas, {replicas} wanted", found.replicas));
    }
    if found.in_sync < in_sync {
        lacks.push(format!(
            "min.insync.replicas = {}, {in_sync} wanted",
            found.in_sync
        ));
    }
    lacks
}

/// Warns of a topic that lacks something, or refuses it.
pub(crate) fn judge(backend: &str, topic: &str, asked: Durability, found: Found) -> Result<()> {
    let lacks = lacks(asked, found);
    if lacks.is_empty() || asked.check == TopicCheck::Off {
        return Ok(());
    }
    let lacks = lacks.join("; ");
    if asked.check == TopicCheck::Warn {
        tracing::warn!(
            backend,
            topic,
            lacks,
            "a confirmed message may be lost with one broker: change the topic, or say what it is to have with `replication` and `min_insync_replicas`, or set topic_check = \"off\""
        );
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "check topic", "a confirmed message may be lost with one broker")
        .with("topic", topic)
        .with("lacks", lacks)
        .with("backend", backend)
        .remedy("Change the topic with the broker's tools, or say what it is to have with `replication` and `min_insync_replicas`, or set topic_check = \"warn\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(asked: (Option<i32>, Option<i32>), found: (usize, usize, usize)) -> Result<()> {
        let asked = Durability {
            replication: asked.0,
            min_insync_replicas: asked.1,
            check: TopicCheck::Error,
        };
        let found = Found {
            brokers: found.0,
            replicas: found.1,
            in_sync: found.2,
        };
        judge("main", "t", asked, found)
    }

    #[test]
    fn a_topic_must_survive_one_broker_where_there_are_more() {
        for (asked, found, is_taken) in [
            ((None, None), (1, 1, 1), true),
            ((None, None), (3, 3, 2), true),
            ((None, None), (3, 3, 1), false),
            ((None, None), (3, 1, 1), false),
            ((None, None), (2, 2, 2), true),
            ((Some(1), Some(1)), (3, 1, 1), true),
            ((Some(3), None), (3, 2, 2), false),
            ((None, Some(3)), (3, 3, 2), false),
            ((Some(2), None), (1, 1, 1), false),
        ] {
            assert_eq!(
                judged(asked, found).is_ok(),
                is_taken,
                "{asked:?} {found:?}"
            );
        }
        let error = judged((None, None), (3, 3, 1)).unwrap_err().to_string();
        assert!(
            error.contains("min.insync.replicas = 1, 2 wanted"),
            "{error}"
        );
    }
}
