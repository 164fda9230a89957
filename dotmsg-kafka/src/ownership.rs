//! Which partitions are this member's: a state machine without IO.
//!
//! Kafka fences commits by the generation of the group, not by partition: a member that stays in the group could commit for a
//! partition it has given up, and rewind the next owner. So what may be committed is decided here, and a rebalance is answered
//! only when each of its partitions was released and no commit of them is outstanding. That holds for lost partitions too:
//! librdkafka sends a commit that it deferred while the coordinator was away under the *newer* generation, and there is no
//! newer one before the rebalance is answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use dotmsg_core::backend::Granted;

use crate::epochs::Epochs;

#[derive(Debug)]
struct Owned {
    grant: u64,
    stage: Stage,
    epochs: Epochs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Read and committed.
    Held,
    /// Given up by this member; nothing more is committed.
    Released,
    /// Taken away.
    Lost,
}

/// Grants of this process: no two periods of ownership have the same, of whichever member.
static GRANTS: AtomicU64 = AtomicU64::new(1);

/// The partitions of one member.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    owned: BTreeMap<u32, Owned>,
    /// Commits that are not answered yet, by partition: also of partitions that are not owned any more.
    outstanding: BTreeMap<u32, u32>,
}

impl Ownership {
    /// Partitions that were assigned.
    pub(crate) fn assigned(&mut self, partitions: &[u32]) -> Vec<Granted> {
        let mut granted = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let grant = GRANTS.fetch_add(1, Ordering::Relaxed);
            let owned = Owned {
                grant,
                stage: Stage::Held,
                epochs: Epochs::default(),
            };
            self.owned.insert(*partition, owned);
            granted.push(Granted {
                partition: *partition,
                grant,
            });
        }
        granted
    }

    /// Partitions that another member may have by now. Nothing of them is committed any more.
    pub(crate) fn lost(&mut self, partitions: &[u32]) {
        for partition in partitions {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.stage = Stage::Lost;
            }
        }
    }

    /// Given up, unless it is another period of ownership by now.
    pub(crate) fn released(&mut self, given_up: Granted) {
        if let Some(owned) = self.owned.get_mut(&given_up.partition)
            && owned.grant == given_up.grant
        {
            owned.stage = Stage::Released;
        }
    }

    /// Whether a rebalance that takes these partitions away may be answered.
    pub(crate) fn may_answer(&self, partitions: &[u32]) -> bool {
        partitions.iter().all(|partition| {
            let given_up = self
                .owned
                .get(partition)
                .is_none_or(|owned| owned.stage != Stage::Held);
            given_up && !self.outstanding.contains_key(partition)
        })
    }

    /// The rebalance that takes these partitions away was answered.
    pub(crate) fn gone(&mut self, partitions: &[u32]) {
        for partition in partitions {
            self.owned.remove(partition);
        }
    }

    /// Whether this period of ownership is still on.
    pub(crate) fn holds(&self, partition: u32, grant: u64) -> bool {
        self.grant_of(partition) == Some(grant)
    }

    /// The period of ownership that is on.
    pub(crate) fn grant_of(&self, partition: u32) -> Option<u64> {
        let owned = self.owned.get(&partition)?;
        (owned.stage == Stage::Held).then_some(owned.grant)
    }

    /// All partitions whose revocation was not answered, whatever became of them.
    pub(crate) fn all(&self) -> Vec<u32> {
        self.owned.keys().copied().collect()
    }

    /// All partitions that are held.
    pub(crate) fn held(&self) -> Vec<u32> {
        let held =
            |(partition, owned): (&u32, &Owned)| (owned.stage == Stage::Held).then_some(*partition);
        self.owned.iter().filter_map(held).collect()
    }

    /// A commit of this partition is sent.
    pub(crate) fn commit_begins(&mut self, partition: u32) {
        *self.outstanding.entry(partition).or_default() += 1;
    }

    /// A commit of this partition was answered.
    pub(crate) fn commit_ends(&mut self, partition: u32) {
        if let Some(count) = self.outstanding.get_mut(&partition) {
            *count -= 1;
            if *count == 0 {
                self.outstanding.remove(&partition);
            }
        }
    }

    /// Whether any commit is not answered yet.
    pub(crate) fn commits_outstanding(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// The leader epochs of a partition that is held.
    pub(crate) fn epochs(&mut self, partition: u32) -> Option<&mut Epochs> {
        self.owned
            .get_mut(&partition)
            .map(|owned| &mut owned.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_answered_after_release_and_commits() {
        let mut ownership = Ownership::default();
        let granted = ownership.assigned(&[0, 1]);
        ownership.commit_begins(0);
        assert!(!ownership.may_answer(&[0]));
        ownership.released(granted[0]);
        assert!(!ownership.may_answer(&[0]), "its commit is outstanding");
        assert!(
            !ownership.holds(0, granted[0].grant),
            "nothing more is committed"
        );
        ownership.commit_ends(0);
        assert!(ownership.may_answer(&[0]));
        assert!(!ownership.may_answer(&[0, 1]));
    }

    #[test]
    fn what_is_lost_is_not_committed_and_waits_for_its_commits() {
        let mut ownership = Ownership::default();
        let granted = ownership.assigned(&[3]);
        ownership.commit_begins(3);
        ownership.lost(&[3]);
        assert!(!ownership.holds(3, granted[0].grant));
        assert!(!ownership.may_answer(&[3]));
        ownership.commit_ends(3);
        assert!(ownership.may_answer(&[3]));
    }

    #[test]
    fn a_late_release_does_not_touch_the_next_period() {
        let mut ownership = Ownership::default();
        let first = ownership.assigned(&[5])[0];
        ownership.lost(&[5]);
        ownership.gone(&[5]);
        let second = ownership.assigned(&[5])[0];
        assert_ne!(first.grant, second.grant);
        ownership.released(first);
        assert!(ownership.holds(5, second.grant));
    }
}
