//! Who owns which partition, and under which grant: all groups of a log.
//!
//! This is the seam of the group protocol: everything else asks [`Groups`] and hears through an [`Inbox`]. `coordinator` is the
//! protocol of one group as a state machine, `owners` its table, `step` what it is given and says; this file finds the group, gives it
//! the time, and delivers what it says.
//! What must stay true: a grant is never given twice, and a position is accepted under the current grant only.

mod coordinator;
mod inbox;
mod owners;
mod step;
#[cfg(all(test, not(dotmsg_loom)))]
mod tests;

pub(super) use inbox::{Command, Inbox};
pub(super) use step::Rules;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::coordinator::{Coordinator, Joining, Refused};
use self::step::{Step, Told};
use super::topic::{Topic, no_such_topic};
use crate::backend::{Granted, Subscription};
use crate::error::{Error, ErrorKind, Result};

/// All groups, by name and topic.
#[derive(Debug)]
pub(super) struct Groups {
    rules: Rules,
    /// Members and grants are counted together, so that no two numbers of a log are the same.
    next: u64,
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Group>>,
    opened: Instant,
    /// Since when nobody is in a group that had members since the log was opened.
    empty_since: BTreeMap<(Arc<str>, Arc<str>), Instant>,
}

/// A group in one topic, and where its members hear.
#[derive(Debug)]
struct Group {
    /// The number of the topic that its members read: another of the same name has other partitions.
    topic: u64,
    coordinator: Coordinator,
    inboxes: BTreeMap<u64, Arc<Inbox>>,
}

impl Groups {
    /// No groups; member and grant numbers count from `first`.
    pub(super) fn new(rules: Rules, first: u64) -> Self {
        Self {
            rules,
            next: first,
            groups: BTreeMap::new(),
            opened: Instant::now(),
            empty_since: BTreeMap::new(),
        }
    }

    /// How long nobody has been in a group, as far as this log knows; zero while somebody is.
    pub(super) fn empty_for(&self, of: &Subscription) -> Duration {
        let now = Instant::now();
        if let Some(group) = self
            .groups
            .get(&of.group)
            .and_then(|topics| topics.get(&of.topic))
        {
            let since = group.coordinator.empty_since().unwrap_or(now);
            return now.saturating_duration_since(since);
        }
        let name = (Arc::clone(&of.group), Arc::clone(&of.topic));
        let since = self.empty_since.get(&name).unwrap_or(&self.opened);
        now.duration_since(*since)
    }

    /// Joins; gives the member's number. When nobody else is there, its first event assigns every partition.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`]: one of the two must be alone. [`ErrorKind::NotFound`]: the topic was created anew.
    pub(super) fn join(
        &mut self,
        subscription: &Subscription,
        topic: &Topic,
        inbox: Arc<Inbox>,
    ) -> Result<u64> {
        self.next += 1;
        let member = self.next;
        let joining = joining(subscription, member, false);
        let join =
            |coordinator: &mut Coordinator, step: &mut Step<'_>| coordinator.join(step, joining);
        self.enter(subscription, topic, member, inbox, join)?;
        Ok(member)
    }

    /// A member polls because the group waits for it: it joins the round, or, after it was put out, the group anew.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`]: its place is taken. [`ErrorKind::NotFound`]: the topic was created anew.
    pub(super) fn rejoin(
        &mut self,
        of: &Subscription,
        topic: &Topic,
        member: u64,
        inbox: &Arc<Inbox>,
    ) -> Result<()> {
        if inbox.is_closed() {
            return Ok(());
        }
        let again = joining(of, member, true);
        let join = |coordinator: &mut Coordinator, step: &mut Step<'_>| {
            if coordinator.rejoin(step, member) {
                return Ok(());
            }
            coordinator.join(step, again)
        };
        self.enter(of, topic, member, Arc::clone(inbox), join)
    }

    /// Lets a member join a group, which is made when nobody is in it, or when its members read a topic of the same name that
    /// is gone: they own nothing of this one, and learn it at their next poll.
    fn enter(
        &mut self,
        of: &Subscription,
        topic: &Topic,
        member: u64,
        inbox: Arc<Inbox>,
        join: impl FnOnce(&mut Coordinator, &mut Step<'_>) -> Result<(), Refused>,
    ) -> Result<()> {
        let rules = self.rules;
        let topics = self.groups.entry(Arc::clone(&of.group)).or_default();
        let new = || Group {
            topic: topic.number,
            coordinator: Coordinator::new(rules, topic.partitions),
            inboxes: BTreeMap::new(),
        };
        let group = topics.entry(Arc::clone(&of.topic)).or_insert_with(new);
        match group.topic.cmp(&topic.number) {
            Ordering::Less => *group = new(),
            Ordering::Equal => {}
            Ordering::Greater => return Err(no_such_topic("subscribe", &of.topic)),
        }
        group.inboxes.insert(member, inbox);
        if let Err(refused) = group.step(&mut self.next, join) {
            if let Some(inbox) = group.inboxes.remove(&member)
                && refused == Refused::Replaced
            {
                // Whoever goes on polling hears it again.
                inbox.tell(Told::Replaced);
            }
            self.tidy(of);
            return Err(refusal(refused, of));
        }
        Ok(())
    }

    /// A member polls, as it does from time to time while it is not alone.
    pub(super) fn beat(&mut self, of: &Subscription, member: u64) {
        self.step(of, |coordinator, step| coordinator.beat(step, member));
        // It may have found that it is late itself.
        self.tidy(of);
    }

    /// A member does something else than poll.
    pub(super) fn hear(&mut self, of: &Subscription, member: u64) {
        let now = Instant::now();
        if let Some(group) = self.group(&of.group, &of.topic)
            && group.coordinator.is_shared()
        {
            group.coordinator.hear(now, member);
        }
    }

    /// How often a member has to beat.
    pub(super) fn beat_every(&self) -> Duration {
        self.rules.session_timeout.min(self.rules.poll_timeout) / 3
    }

    /// The current grant of a partition in the hands of this member.
    pub(super) fn grant(&self, of: &Subscription, member: u64, partition: u32) -> Option<u64> {
        let group = self.groups.get(&of.group)?.get(&of.topic)?;
        group.coordinator.grant(member, partition)
    }

    /// Ends ownership of some partitions of this member.
    pub(super) fn release(&mut self, of: &Subscription, member: u64, given_up: &[Granted]) {
        self.step(of, |coordinator, step| {
            coordinator.release(step, member, given_up);
        });
    }

    /// Ends the membership; no effect when it has ended.
    pub(super) fn leave(&mut self, of: &Subscription, member: u64) {
        self.step(of, |coordinator, step| coordinator.leave(step, member));
        if let Some(group) = self.group(&of.group, &of.topic)
            && let Some(inbox) = group.inboxes.remove(&member)
        {
            inbox.close();
        }
        self.tidy(of);
    }

    /// The number of the round whose shares are in force; `None` without members.
    pub(super) fn generation(&self, group: &str, topic: &str) -> Option<u64> {
        let group = self.groups.get(group)?.get(topic)?;
        Some(group.coordinator.generation())
    }

    /// Takes partitions away without asking; false when the group has no members.
    pub(super) fn lose(&mut self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        self.step_of(group, topic, |coordinator, step| {
            coordinator.lose(step, partitions);
        })
        .is_some()
    }

    /// Asks for partitions back without a round; false when the group has no members.
    pub(super) fn revoke(
        &mut self,
        group: &str,
        topic: &str,
        partitions: &[u32],
        within: Duration,
    ) -> bool {
        self.step_of(group, topic, |coordinator, step| {
            coordinator.revoke(step, partitions, within);
        })
        .is_some()
    }

    /// Gives partitions that nobody owns to those whose share they are; false when the group has no members.
    pub(super) fn reassign(&mut self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        self.step_of(group, topic, |coordinator, step| {
            coordinator.give(step, partitions);
        })
        .is_some()
    }

    fn group(&mut self, group: &str, topic: &str) -> Option<&mut Group> {
        self.groups.get_mut(group)?.get_mut(topic)
    }

    fn step<T>(
        &mut self,
        of: &Subscription,
        work: impl FnOnce(&mut Coordinator, &mut Step<'_>) -> T,
    ) -> Option<T> {
        self.step_of(&of.group, &of.topic, work)
    }

    fn step_of<T>(
        &mut self,
        group: &str,
        topic: &str,
        work: impl FnOnce(&mut Coordinator, &mut Step<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(group)?.get_mut(topic)?;
        Some(group.step(&mut self.next, work))
    }

    /// Forgets a group when its last member has gone.
    fn tidy(&mut self, of: &Subscription) {
        let Some(topics) = self.groups.get_mut(&of.group) else {
            return;
        };
        let is_empty = |group: &Group| group.coordinator.is_empty();
        if !topics.get(&of.topic).is_some_and(is_empty) {
            return;
        }
        topics.remove(&of.topic);
        let name = (Arc::clone(&of.group), Arc::clone(&of.topic));
        self.empty_since.insert(name, Instant::now());
        if topics.is_empty() {
            self.groups.remove(&of.group);
        }
    }
}

impl Group {
    /// One step of the coordinator, with what it says delivered.
    fn step<T>(
        &mut self,
        numbers: &mut u64,
        work: impl FnOnce(&mut Coordinator, &mut Step<'_>) -> T,
    ) -> T {
        let mut step = Step::new(Instant::now(), numbers);
        let result = work(&mut self.coordinator, &mut step);
        for (member, told) in step.told {
            if let Some(inbox) = self.inboxes.get(&member) {
                inbox.tell(told);
            }
        }
        let shared = self.coordinator.is_shared();
        for inbox in self.inboxes.values() {
            inbox.watch(shared);
        }
        result
    }
}

fn joining(of: &Subscription, member: u64, again: bool) -> Joining {
    Joining {
        member,
        instance: of.instance.clone(),
        exclusive: of.exclusive,
        again,
    }
}

fn refusal(refused: Refused, of: &Subscription) -> Error {
    match refused {
        Refused::Occupied => Error::new(
            ErrorKind::Fenced,
            "subscribe",
            "a replay or reset is alone in the group, or would have to be",
        )
        .with("group", &of.group)
        .with("topic", &of.topic)
        .remedy("Wait until the other one has ended, or use another group"),
        Refused::Replaced => replaced(of),
    }
}

/// The error of a static member whose place another has taken.
pub(super) fn replaced(of: &Subscription) -> Error {
    Error::new(
        ErrorKind::Fenced,
        "poll group",
        "another member has joined with the same instance id and taken this one's place",
    )
    .with("group", &of.group)
    .with("topic", &of.topic)
    .with("instance", of.instance.as_deref().unwrap_or_default())
    .remedy("Give each process an instance id of its own")
}
