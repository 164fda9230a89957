//! The members of one group in one topic, who owns which partition, and how that changes: a state machine.
//!
//! It holds no clock and does no IO: each step is given the time and where to put what the members are to be told, and
//! [`Groups`](super::Groups) delivers it. The protocol is that of Apache Kafka's classic groups, with KIP-848's
//! shortcut at its end:
//!
//! - **Round.** Whoever joins, leaves or is taken for dead begins one. Every member is asked to join it, and does at its next
//!   poll; the round ends with the last one, raises the generation and shares the partitions out. A member that does not poll
//!   holds the round up until its session ends.
//! - **Eager** assignors (range, round robin, sticky): a member joins only once it has given up everything; all partitions
//!   get new grants.
//! - **Cooperative** (KIP-429): members keep what they have; at the end of the round only what goes elsewhere is asked
//!   back, and its next owner gets it the moment it is given up. (KIP-429 takes a second round for that; KIP-848 does not.)
//! - **Sessions.** A member that is silent for the session timeout, or does not poll or give up what it was asked for within
//!   the poll timeout, is put out: its partitions are lost to it, and it may join again. Nobody is judged while alone.
//! - **Static members** (KIP-345) keep their share while they are away, for a session timeout. Who joins with the instance id
//!   of a member that is still there takes its place at once, and that one is fenced for good.
//!
//! What must stay true: a partition has one owner at most; a grant is never given twice; a partition changes hands only
//! over "nobody's", and what a member is told comes in the order in which Kafka calls a rebalance listener: lost, then
//! revoked, then assigned (also when that is nothing).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::assignor::Candidate;
use super::owners::Owners;
use super::step::{Rules, Step, Told};
use crate::backend::{AssignmentEvent, Granted};

#[derive(Debug)]
struct Member {
    /// Orders the members for the assignor.
    name: String,
    instance: Option<Arc<str>>,
    /// False for a static member whose process has gone.
    present: bool,
    /// It has joined the round that is going on.
    joined: bool,
    generation: u64,
    /// What the last round gave it, ascending; it may have to wait for some of it.
    share: Vec<u32>,
    heard: Instant,
    polled: Instant,
}

/// How a member joins.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) member: u64,
    /// Its lasting name, for a static member.
    pub(super) instance: Option<Arc<str>>,
    /// Alone or not at all.
    pub(super) exclusive: bool,
    /// It was a member before, and was put out.
    pub(super) again: bool,
}

/// Why a member may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It must be alone and would not be, or another member must.
    Occupied,
    /// It was put out, and its instance id has another holder by now.
    Replaced,
}

impl Member {
    fn has_share(&self, partition: u32) -> bool {
        self.share.binary_search(&partition).is_ok()
    }
}

/// The members of a group in one topic.
#[derive(Debug)]
pub(super) struct Coordinator {
    rules: Rules,
    generation: u64,
    /// A round has begun and not ended.
    rebalancing: bool,
    exclusive: Option<u64>,
    members: BTreeMap<u64, Member>,
    owners: Owners,
}

impl Coordinator {
    /// A group without members over so many partitions.
    pub(super) fn new(rules: Rules, partitions: u32) -> Self {
        Self {
            rules,
            generation: 0,
            rebalancing: false,
            exclusive: None,
            members: BTreeMap::new(),
            owners: Owners::new(partitions),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether there is somebody to judge, and somebody to be judged.
    pub(super) fn is_shared(&self) -> bool {
        self.members.len() > 1
    }

    /// Whether there is one member, and it is there. Nobody judges it.
    fn is_alone(&self) -> bool {
        self.members.len() == 1 && self.members.values().all(|one| one.present)
    }

    /// Since when nobody is in the group; `None` while somebody is there. A static member that is away counts until its
    /// session ends, so that this may lie ahead.
    pub(super) fn empty_since(&self) -> Option<Instant> {
        if self.members.values().any(|one| one.present) {
            return None;
        }
        let session = self.rules.session_timeout;
        self.members.values().map(|one| one.heard + session).max()
    }

    /// The number of the last round that has ended.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The current grant of a partition in the hands of this member.
    pub(super) fn grant(&self, member: u64, partition: u32) -> Option<u64> {
        let owner = self.owners.of(partition)?;
        (owner.member == member).then_some(owner.grant)
    }

    // ---- members come and go ---------------------------------------------------------------------------------------

    /// A member joins, for the first time or after it was put out.
    ///
    /// # Errors
    /// [`Refused`].
    pub(super) fn join(&mut self, step: &mut Step<'_>, joining: Joining) -> Result<(), Refused> {
        let Joining {
            member,
            instance,
            exclusive,
            again,
        } = joining;
        if !self.is_alone() {
            // Those whose session is over take no part in it, also where nobody polls any more who would find them.
            self.put_out_the_dead(step);
        }
        if self.exclusive.is_some() || (exclusive && !self.members.is_empty()) {
            return Err(Refused::Occupied);
        }
        let before = instance.as_ref().and_then(|wanted| {
            let mut members = self.members.iter();
            members.find_map(|(id, other)| (other.instance.as_ref() == Some(wanted)).then_some(*id))
        });
        if again && before.is_some() {
            return Err(Refused::Replaced);
        }
        self.exclusive = exclusive.then_some(member);
        if self.members.len() == 1 {
            // Nobody has judged the one who was alone.
            for other in self.members.values_mut().filter(|other| other.present) {
                (other.heard, other.polled) = (step.now, step.now);
            }
            self.owners.ask_until(step.now + self.rules.poll_timeout);
        }
        let name = match &instance {
            Some(instance) => format!("i-{instance}"),
            None => format!("m-{member:020}"),
        };
        let new = Member {
            name,
            instance,
            present: true,
            joined: true,
            generation: self.generation,
            share: Vec::new(),
            heard: step.now,
            polled: step.now,
        };
        match before {
            Some(before) => self.take_place(step, before, member, new),
            None => {
                self.members.insert(member, new);
                self.begin_round(step, Some(member));
            }
        }
        Ok(())
    }

    /// A static member returns, or another takes its place while it is still there. Nobody else is concerned.
    fn take_place(&mut self, step: &mut Step<'_>, before: u64, member: u64, mut new: Member) {
        if self.members.get(&before).is_some_and(|old| old.present) {
            step.tell(before, Told::Replaced);
        }
        let freed = self.owners.disown_all(step, before);
        if let Some(old) = self.members.remove(&before) {
            (new.share, new.generation) = (old.share, old.generation);
        }
        self.members.insert(member, new);
        if self.rebalancing {
            self.end_round_if_complete(step);
            return;
        }
        let share = self.free_share(member);
        self.owners.assign(step, member, &share);
        self.give(step, &freed);
    }

    /// A member has gone: it closed, or its process has ended. No effect on one that has gone before.
    pub(super) fn leave(&mut self, step: &mut Step<'_>, member: u64) {
        let is_exclusive = self.exclusive == Some(member);
        let Some(one) = self.there(member) else {
            return;
        };
        let stays = one.instance.is_some() && !is_exclusive;
        if stays {
            (one.present, one.joined, one.heard) = (false, true, step.now);
        }
        if is_exclusive {
            self.exclusive = None;
        }
        let freed = self.owners.disown_all(step, member);
        if !stays {
            self.members.remove(&member);
            self.begin_round(step, None);
            return;
        }
        self.end_round_if_complete(step);
        self.give(step, &freed);
    }

    /// A member has polled and joins the round; gives whether the group knows it. One that it does not know was put out.
    pub(super) fn rejoin(&mut self, step: &mut Step<'_>, member: u64) -> bool {
        let Some(one) = self.members.get_mut(&member) else {
            return false;
        };
        (one.joined, one.heard, one.polled) = (true, step.now, step.now);
        self.end_round_if_complete(step);
        true
    }

    // ---- signs of life ---------------------------------------------------------------------------------------------

    /// A member polls: it lives, and sees to it that the dead are found.
    pub(super) fn beat(&mut self, step: &mut Step<'_>, member: u64) {
        if let Some(one) = self.there(member) {
            (one.heard, one.polled) = (step.now, step.now);
        }
        self.put_out_the_dead(step);
    }

    /// A member did something else than poll.
    pub(super) fn hear(&mut self, now: Instant, member: u64) {
        if let Some(one) = self.there(member) {
            one.heard = now;
        }
    }

    fn put_out_the_dead(&mut self, step: &mut Step<'_>) {
        let Rules {
            session_timeout,
            poll_timeout,
            ..
        } = self.rules;
        let now = step.now;
        let over = |since: Instant, limit: Duration| now.duration_since(since) > limit;
        let mut dead: BTreeSet<u64> = self
            .members
            .iter()
            .filter(|(_, one)| {
                over(one.heard, session_timeout) || (one.present && over(one.polled, poll_timeout))
            })
            .map(|(id, _)| *id)
            .collect();
        dead.extend(self.owners.late(now));
        for &member in &dead {
            self.put_out(step, member);
        }
        if !dead.is_empty() {
            self.begin_round(step, None);
        }
    }

    fn put_out(&mut self, step: &mut Step<'_>, member: u64) {
        let lost = self.owners.disown_all(step, member);
        let Some(one) = self.members.remove(&member) else {
            return;
        };
        if one.present {
            if !lost.is_empty() {
                step.tell(member, Told::Event(AssignmentEvent::Lost(lost)));
            }
            step.tell(member, Told::Join);
        }
    }

    // ---- rounds ----------------------------------------------------------------------------------------------------

    fn begin_round(&mut self, step: &mut Step<'_>, joined: Option<u64>) {
        if self.members.is_empty() {
            self.rebalancing = false;
            return;
        }
        self.rebalancing = true;
        for (&id, member) in &mut self.members {
            member.joined = !member.present || joined == Some(id);
            if !member.joined {
                step.tell(id, Told::Join);
            }
        }
        if !self.rules.assignor.is_cooperative() {
            let within = self.rules.poll_timeout;
            self.owners.ask_back(step, within, |_, _| true);
        }
        self.end_round_if_complete(step);
    }

    fn end_round_if_complete(&mut self, step: &mut Step<'_>) {
        let joined = self.members.values().all(|member| member.joined);
        let given_up = self.rules.assignor.is_cooperative() || self.owners.is_empty();
        if self.rebalancing && joined && given_up {
            self.end_round(step);
        }
    }

    fn end_round(&mut self, step: &mut Step<'_>) {
        self.rebalancing = false;
        self.generation += 1;
        let candidates: Vec<Candidate<'_>> = self
            .members
            .values()
            .map(|member| Candidate {
                name: &member.name,
                owned: &member.share,
                generation: member.generation,
            })
            .collect();
        let assignor = self.rules.assignor;
        let shares = assignor.target(self.owners.partitions(), &candidates);
        for (member, share) in self.members.values_mut().zip(shares) {
            (member.share, member.generation) = (share, self.generation);
        }
        let members = &self.members;
        let goes_elsewhere = |owner: u64, partition: u32| {
            let owner = members.get(&owner);
            !owner.is_some_and(|owner| owner.has_share(partition))
        };
        let within = self.rules.poll_timeout;
        self.owners.ask_back(step, within, goes_elsewhere);
        let present: Vec<u64> = self
            .members
            .iter()
            .filter_map(|(id, member)| member.present.then_some(*id))
            .collect();
        for member in present {
            let share = self.free_share(member);
            self.owners.assign(step, member, &share);
        }
    }

    // ---- partitions change hands -----------------------------------------------------------------------------------

    /// A member gives partitions up. What it was asked for goes on to the next owner; what it was not stays its share. One that it
    /// owns under another grant by now stays as it is.
    pub(super) fn release(&mut self, step: &mut Step<'_>, member: u64, given_up: &[Granted]) {
        self.hear(step.now, member);
        let mut freed = Vec::new();
        for &Granted { partition, grant } in given_up {
            if let Some(owner) = self.owners.of(partition)
                && (owner.member, owner.grant) == (member, grant)
            {
                self.owners.disown(step, partition);
                if owner.asked_until.is_some() {
                    freed.push(partition);
                }
            }
        }
        self.end_round_if_complete(step);
        self.give(step, &freed);
    }

    /// Gives partitions that nobody owns to those whose share they are; while a round goes on it is its end that does.
    pub(super) fn give(&mut self, step: &mut Step<'_>, partitions: &[u32]) {
        if self.rebalancing {
            return;
        }
        let mut given: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for &partition in partitions {
            if self.owners.of(partition).is_none()
                && let Some(member) = self.next_owner(partition)
            {
                given.entry(member).or_default().push(partition);
            }
        }
        for (member, partitions) in given {
            self.owners.assign(step, member, &partitions);
        }
    }

    /// Takes partitions away without asking, whoever owns them.
    pub(super) fn lose(&mut self, step: &mut Step<'_>, partitions: &[u32]) {
        for (member, lost) in self.owners.by_member(partitions) {
            for &partition in &lost {
                self.owners.disown(step, partition);
            }
            step.tell(member, Told::Event(AssignmentEvent::Lost(lost)));
        }
        self.end_round_if_complete(step);
    }

    /// Asks for partitions without a round: once given up they are nobody's until they are given out again.
    pub(super) fn revoke(&mut self, step: &mut Step<'_>, partitions: &[u32], within: Duration) {
        for (member, partitions) in self.owners.by_member(partitions) {
            let event = AssignmentEvent::Revoking { partitions, within };
            step.tell(member, Told::Event(event));
        }
    }

    // ---- looking ---------------------------------------------------------------------------------------------------

    /// A member that has not gone: one that has gives no sign of life.
    fn there(&mut self, member: u64) -> Option<&mut Member> {
        self.members.get_mut(&member).filter(|one| one.present)
    }

    /// Whose share a partition is, of those that are there.
    fn next_owner(&self, partition: u32) -> Option<u64> {
        let mut members = self.members.iter();
        members.find_map(|(id, one)| (one.present && one.has_share(partition)).then_some(*id))
    }

    /// What of a member's share nobody owns.
    fn free_share(&self, member: u64) -> Vec<u32> {
        let share = self.members.get(&member).map(|member| &member.share);
        let share = share.into_iter().flatten().copied();
        share.filter(|p| self.owners.of(*p).is_none()).collect()
    }
}
