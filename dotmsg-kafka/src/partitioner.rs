//! A partitioner of the application's, as librdkafka asks one.
//!
//! librdkafka asks when it knows how many partitions the topic has, which may be later than `publish` and on a thread of its own.
//! So nothing may unwind out of here, and an answer that is none goes back as the number of a partition that no topic has: the
//! message is reported as one for an unknown partition. Null keys are spread, as they are without a partitioner: librdkafka does
//! it itself (`sticky.partitioning.linger.ms`), and asks about them only where that is 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dotmsg_core::backend::{Partitioner, partition_by};
use dotmsg_core::error::{Error, ErrorKind};

/// A partition that no topic has.
const NOWHERE: i32 = i32::MAX;

/// A partitioner of the application's, and whose turn it is of the partitions for null keys.
#[derive(Debug)]
pub(crate) struct Asked {
    partitioner: Arc<dyn Partitioner>,
    next_null: AtomicU32,
}

impl Asked {
    pub(crate) fn new(partitioner: Arc<dyn Partitioner>) -> Self {
        Self {
            partitioner,
            next_null: AtomicU32::new(0),
        }
    }

    fn by_key(&self, topic: &str, key: &[u8], partitions: u32) -> i32 {
        match partition_by(&*self.partitioner, topic, key, partitions) {
            Ok(partition) => i32::try_from(partition).unwrap_or(NOWHERE),
            Err(error) => {
                tracing::error!(%error, "a message cannot be published");
                NOWHERE
            }
        }
    }

    /// The next one in turn that has a leader; if none has, the next one.
    fn in_turn(&self, partitions: u32, has_leader: impl Fn(i32) -> bool) -> i32 {
        let first = self.next_null.fetch_add(1, Ordering::Relaxed);
        let mut turns = (0..partitions).map(|turn| {
            let partition = first.wrapping_add(turn) % partitions;
            i32::try_from(partition).unwrap_or(NOWHERE)
        });
        let next = turns.clone().next().unwrap_or(NOWHERE);
        turns
            .find(|partition| has_leader(*partition))
            .unwrap_or(next)
    }
}

impl rdkafka::producer::Partitioner for Asked {
    fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        partitions: i32,
        has_leader: impl Fn(i32) -> bool,
    ) -> i32 {
        let partitions = u32::try_from(partitions).unwrap_or(0);
        match key {
            Some(key) => self.by_key(topic, key, partitions),
            None => self.in_turn(partitions, has_leader),
        }
    }
}

/// The outcome of a message whose partitioner had no answer; what it did is in the log.
pub(crate) fn no_answer(topic: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "publish",
        "the partitioner's answer is no partition",
    )
    .with("topic", topic)
    .remedy("It has to be below the number of partitions that it was given; what it did is logged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::producer::Partitioner as _;

    #[derive(Debug)]
    struct By(fn(&[u8]) -> u32);

    impl Partitioner for By {
        fn partition(&self, _: &str, key: &[u8], _: u32) -> u32 {
            (self.0)(key)
        }
    }

    fn asked(by: fn(&[u8]) -> u32) -> Asked {
        Asked::new(Arc::new(By(by)))
    }

    #[test]
    fn an_answer_is_taken_and_what_is_none_is_nowhere() {
        let answer = |by, key| asked(by).partition("orders", Some(key), 3, |_| true);
        assert_eq!(answer(|key| key.len() as u32, b"ab"), 2);
        assert_eq!(answer(|key| key.len() as u32, b""), 0);
        assert_eq!(answer(|_| 3, b"ab"), NOWHERE);
        assert_eq!(answer(|_| panic!("on purpose"), b"ab"), NOWHERE);
    }

    #[test]
    fn null_keys_take_turns_among_partitions_with_a_leader() {
        let asked = asked(|_| panic!("nobody asks about a null key"));
        let next = |led: &[i32]| asked.partition("orders", None, 3, |one| led.contains(&one));
        assert_eq!(
            [next(&[0, 1, 2]), next(&[0, 1, 2]), next(&[0, 1, 2])],
            [0, 1, 2]
        );
        assert_eq!([next(&[1]), next(&[1]), next(&[1])], [1, 1, 1]);
        assert_eq!(next(&[]), 0);
    }

    #[test]
    fn turns_go_on_past_the_largest_number() {
        let asked = asked(|_| 0);
        asked.next_null.store(u32::MAX, Ordering::Relaxed);
        for _ in 0..3 {
            let partition = asked.partition("orders", None, 3, |_| true);
            assert!((0..3).contains(&partition), "{partition}");
        }
    }
}
