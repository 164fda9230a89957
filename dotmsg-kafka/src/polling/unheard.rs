//! Partitions that the group counts as this member's and that it was never told of.
//!
//! With `group.protocol = "consumer"` a broker says an assignment in the answer to a heartbeat, once: again only when the assignment
//! changes, or when the member sends a full heartbeat, which KIP-848 asks for after every error. librdkafka 2.12.1 does not send one
//! after a heartbeat that has timed out (`rd_kafka_cgrp_handle_ConsumerGroupHeartbeat`). An assignment that was in the lost answer is
//! never heard then: the group is content, and nobody reads the partition. A coordinator needs to be silent for one heartbeat
//! interval only.
//!
//! So the member asks the group now and then what is counted as its. What it has not got and hears nothing of, twice in a row, it
//! takes for lost on the way: it leaves the group, in good order, and joins again with a new client, which is told everything.
//! It does not unsubscribe and subscribe: in the middle of a rebalance librdkafka forgets the second. It sends no heartbeats while
//! it leaves, so a drain that takes longer than the session ends as a loss.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::Polling;
use crate::admin::LOOK_WITHIN;
use crate::error;
use crate::lock;
use crate::native;
use crate::now;
use crate::patience::passes;

/// How often the group is asked, and how long after partitions have come or gone.
const EVERY: Duration = Duration::from_secs(10);
/// How soon again after an answer with something unheard of: the broker's default of a heartbeat interval, for as long as which an
/// answer to a heartbeat may be under way.
const AGAIN: Duration = Duration::from_secs(5);
/// Each time that joining again has not helped doubles the pause, so often at most.
const DOUBLINGS: u32 = 6;

/// What the group has said.
type Answer = Result<BTreeSet<u32>, Code>;

/// What is suspected to have been lost on the way.
#[derive(Debug)]
pub(super) struct Unheard {
    /// When the group was asked last, or partitions came or went.
    since: Instant,
    answer: Option<Receiver<Answer>>,
    /// Unheard of at the last answer.
    suspected: BTreeSet<u32>,
    /// How often the member has joined again, since the group last counted nothing else than it was told of.
    renewals: u32,
    /// It was said that the group does not answer.
    is_refused: bool,
}

impl Default for Unheard {
    fn default() -> Self {
        Self {
            since: now(),
            answer: None,
            suspected: BTreeSet::new(),
            renewals: 0,
            is_refused: false,
        }
    }
}

impl Unheard {
    /// Partitions come or go: whatever the group has said is old.
    pub(super) fn moved(&mut self) {
        self.since = now();
        self.answer = None;
        self.suspected.clear();
    }

    /// Waits for the thread that asks: it may be the last to hold a client, which is not to be destroyed while the process ends.
    pub(super) fn end(&mut self) {
        if let Some(answer) = self.answer.take() {
            // It has ended by then, or hangs.
            let _ = answer.recv_timeout(LOOK_WITHIN);
        }
    }

    fn is_due(&self) -> bool {
        let pause = match self.suspected.is_empty() {
            true => EVERY * 2_u32.pow(self.renewals.min(DOUBLINGS)),
            false => AGAIN,
        };
        self.answer.is_none() && self.since.elapsed() >= pause
    }

    /// What is unheard of for the second time, of what the group counts as a member's that knows of these.
    fn judge(&mut self, counted: BTreeSet<u32>, known: &[u32]) -> BTreeSet<u32> {
        let mut unheard = counted;
        unheard.retain(|partition| !known.contains(partition));
        if unheard.is_empty() {
            self.renewals = 0;
        }
        let before = std::mem::replace(&mut self.suspected, unheard);
        &before & &self.suspected
    }
}

impl Polling {
    /// Asks the group what is this member's, when it is time, and leaves it when the member was not told of all.
    pub(super) fn find_unheard(&mut self) {
        let is_in = self.state.closing.is_none() && self.state.out.is_none();
        if !self.is_assigned_by_broker || !is_in || self.state.is_renewing {
            return;
        }
        if !self.state.revoked.is_empty() {
            self.state.unheard.moved();
            return;
        }
        if let Some(counted) = self.counted() {
            let known = lock(&self.member.ownership).all();
            let unheard = self.state.unheard.judge(counted, &known);
            if !unheard.is_empty() {
                self.leave_to_join(&unheard);
                return;
            }
        }
        if self.state.unheard.is_due() {
            self.ask_what_is_counted();
        }
    }

    /// The group's answer, if one has come.
    fn counted(&mut self) -> Option<BTreeSet<u32>> {
        let unheard = &mut self.state.unheard;
        let answer = match unheard.answer.as_ref()?.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => None,
        };
        unheard.answer = None;
        let group = &*self.member.group;
        match answer? {
            Ok(counted) => return Some(counted),
            Err(code) if passes(code) || unheard.is_refused => {
                tracing::debug!(group, %code, "the group does not say what is this member's");
            }
            Err(code) => {
                unheard.is_refused = true;
                tracing::warn!(
                    group, %code,
                    "the group does not say what it counts as this member's: an assignment that is lost on the way will not be noticed"
                );
            }
        }
        None
    }

    /// On a thread of its own: a coordinator may be silent.
    fn ask_what_is_counted(&mut self) {
        self.state.unheard.since = now();
        let Some(id) = native::member_id(&self.consumer.client) else {
            return;
        };
        let (answer, answered) = channel();
        let (admin, member) = (Arc::clone(&self.admin), Arc::clone(&self.member));
        let asked = thread::Builder::new()
            .name("kafka group asked".to_owned())
            .spawn(move || {
                let counted = admin.counted_as(&member.group, &id, &member.topic);
                drop(admin);
                // Nobody wants to hear it once partitions have moved.
                let _ = answer.send(counted);
                member.bell.ring();
            });
        match asked {
            Ok(_) => self.state.unheard.answer = Some(answered),
            Err(error) => tracing::debug!(%error, "the group is not asked, for want of a thread"),
        }
    }

    /// From here on it goes as at any rebalance that takes everything; [`Self::join_renewed`] follows.
    fn leave_to_join(&mut self, unheard: &BTreeSet<u32>) {
        let (topic, group) = (&*self.member.topic, &*self.member.group);
        tracing::warn!(
            topic,
            group,
            partitions = ?unheard,
            "the group counts partitions as this member's that it was never told of, and nobody reads them: leaving and joining again"
        );
        self.state.unheard.moved();
        self.state.unheard.renewals += 1;
        match self.consumer.client.close_queue() {
            Ok(()) => self.state.is_renewing = true,
            Err(error) => {
                let error = error::of_client("leave the group", error).with("group", group);
                self.member.fail(error);
            }
        }
    }

    /// Joins again, once it has left.
    pub(super) fn join_renewed(&mut self) {
        let has_left = || self.state.revoked.is_empty() && self.consumer.client.closed();
        if !self.state.is_renewing || self.state.closing.is_some() || !has_left() {
            return;
        }
        self.state.is_renewing = false;
        self.forget_commits();
        self.forget_reading();
        self.renew();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(unheard: &mut Unheard, counted: &[u32], known: &[u32]) -> Vec<u32> {
        let counted = counted.iter().copied().collect();
        unheard.judge(counted, known).into_iter().collect()
    }

    #[test]
    fn what_is_unheard_of_twice_in_a_row_was_lost() {
        let mut unheard = Unheard::default();
        assert!(judged(&mut unheard, &[1, 2], &[1, 2]).is_empty());
        assert!(judged(&mut unheard, &[1, 2, 3], &[1, 2]).is_empty());
        assert_eq!(judged(&mut unheard, &[1, 2, 3, 4], &[1, 2]), [3]);
    }

    #[test]
    fn what_was_heard_of_meanwhile_is_not_lost() {
        let mut unheard = Unheard::default();
        assert!(judged(&mut unheard, &[3], &[]).is_empty());
        assert!(judged(&mut unheard, &[3, 4], &[3]).is_empty());
        unheard.moved();
        assert!(judged(&mut unheard, &[4], &[]).is_empty());
    }

    #[test]
    fn it_is_asked_again_sooner_while_something_is_suspected() {
        let mut unheard = Unheard {
            since: now().checked_sub(AGAIN).unwrap(),
            ..Unheard::default()
        };
        assert!(!unheard.is_due());
        judged(&mut unheard, &[3], &[]);
        assert!(unheard.is_due());
        unheard.moved();
        assert!(!unheard.is_due());
    }

    #[test]
    fn where_joining_again_does_not_help_it_is_done_less_often() {
        let mut unheard = Unheard {
            since: now().checked_sub(EVERY).unwrap(),
            renewals: 1,
            ..Unheard::default()
        };
        assert!(!unheard.is_due());
        unheard.since = now().checked_sub(2 * EVERY).unwrap();
        assert!(unheard.is_due());
        judged(&mut unheard, &[1], &[1]);
        assert_eq!(unheard.renewals, 0);
    }
}
