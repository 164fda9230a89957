//! Who owns which partition of a topic, and what is asked back: a table.
//!
//! Every change of hands goes through "nobody's", and says so to the source of the one concerned; so no two members ever read
//! one partition. What must stay true: a grant is never given twice.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::step::{Step, Told};
use crate::backend::{AssignmentEvent, Granted};

/// The owner of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) member: u64,
    pub(super) grant: u64,
    /// Asked back by a round, to be given up by then.
    pub(super) asked_until: Option<Instant>,
}

/// The owners of all partitions of a topic.
#[derive(Debug)]
pub(super) struct Owners(Vec<Option<Owner>>);

impl Owners {
    /// Nobody owns any of so many partitions.
    pub(super) fn new(partitions: u32) -> Self {
        Self(vec![None; partitions as usize])
    }

    pub(super) fn partitions(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn of(&self, partition: u32) -> Option<Owner> {
        *self.0.get(partition as usize)?
    }

    /// Whether nobody owns anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Members that have not given up in time what they were asked for.
    pub(super) fn late(&self, now: Instant) -> impl Iterator<Item = u64> + '_ {
        let late = move |owner: &&Owner| owner.asked_until.is_some_and(|until| until < now);
        let owners = self.0.iter().flatten();
        owners.filter(late).map(|owner| owner.member)
    }

    /// Those of these partitions that somebody owns, by owner.
    pub(super) fn by_member(&self, partitions: &[u32]) -> BTreeMap<u64, Vec<u32>> {
        let mut owned: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &partition in partitions {
            if let Some(owner) = self.of(partition) {
                owned.entry(owner.member).or_default().push(partition);
            }
        }
        owned
    }

    /// Gives a member partitions that nobody owns, each under a grant of its own. It hears of it also when there are none.
    pub(super) fn assign(&mut self, step: &mut Step<'_>, member: u64, partitions: &[u32]) {
        let mut granted = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let grant = Granted {
                partition,
                grant: step.number(),
            };
            let before = self.0[partition as usize].replace(Owner {
                member,
                grant: grant.grant,
                asked_until: None,
            });
            debug_assert!(before.is_none(), "a partition changes hands over nobody's");
            step.tell(member, Told::Own(grant));
            granted.push(grant);
        }
        step.tell(member, Told::Event(AssignmentEvent::Assigned(granted)));
    }

    /// Asks the owners of the partitions that are `wanted` and not asked for yet, each owner at once.
    pub(super) fn ask_back(
        &mut self,
        step: &mut Step<'_>,
        within: Duration,
        wanted: impl Fn(u64, u32) -> bool,
    ) {
        let mut asked: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (partition, owner) in (0..).zip(&mut self.0) {
            if let Some(owner) = owner
                && owner.asked_until.is_none()
                && wanted(owner.member, partition)
            {
                owner.asked_until = Some(step.now + within);
                asked.entry(owner.member).or_default().push(partition);
            }
        }
        for (member, partitions) in asked {
            let event = AssignmentEvent::Revoking { partitions, within };
            step.tell(member, Told::Event(event));
        }
    }

    /// What is asked back already has until then.
    pub(super) fn ask_until(&mut self, until: Instant) {
        for owner in self.0.iter_mut().flatten() {
            owner.asked_until = owner.asked_until.map(|_| until);
        }
    }

    /// Ends the ownership of a partition.
    pub(super) fn disown(&mut self, step: &mut Step<'_>, partition: u32) {
        if let Some(owner) = self.0[partition as usize].take() {
            step.tell(owner.member, Told::Disown(partition));
        }
    }

    /// Ends every ownership of a member; gives what it owned, ascending.
    pub(super) fn disown_all(&mut self, step: &mut Step<'_>, member: u64) -> Vec<u32> {
        let is_its = |owner: &Option<Owner>| owner.is_some_and(|owner| owner.member == member);
        let owned = (0..).zip(&self.0).filter(|(_, owner)| is_its(owner));
        let owned: Vec<u32> = owned.map(|(partition, _)| partition).collect();
        for &partition in &owned {
            self.disown(step, partition);
        }
        owned
    }
}
