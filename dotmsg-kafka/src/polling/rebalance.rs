//! Partitions that come and go, and the answers to commits, which say when they may go.

use dotmsg_core::backend::AssignmentEvent;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;

use super::Polling;
use crate::error;
use crate::lock;

impl Polling {
    /// Takes partitions, paused and with what is fetched of them coming into the queue of messages.
    pub(super) fn assigned(&mut self, partitions: &[u32]) {
        self.state.unheard.moved();
        self.receive(partitions);
        // An offset of its own, so that nothing is looked up for a partition that is not read yet.
        let list = self.list(partitions, Offset::Offset(0));
        let taken = self.consumer.client.pause(&list).and_then(|()| {
            match self.consumer.client.rebalance_protocol() {
                RebalanceProtocol::Cooperative => self.consumer.client.incremental_assign(&list),
                _ => self.consumer.client.assign(&list),
            }
        });
        if let Err(error) = taken {
            self.member
                .fail(error::of_client("take partitions", error).with("group", &self.member.group));
            return;
        }
        self.receive(partitions);
        self.joined();
        let granted = lock(&self.member.ownership).assigned(partitions);
        self.member.tell(AssignmentEvent::Assigned(granted));
    }

    /// Notes what is to be given up, or is gone; it is answered later.
    pub(super) fn revoked(&mut self, partitions: Vec<u32>, lost: bool) {
        self.state.unheard.moved();
        let mut ownership = lock(&self.member.ownership);
        let held: Vec<u32> = partitions
            .iter()
            .copied()
            .filter(|partition| ownership.grant_of(*partition).is_some())
            .collect();
        let leaves = self.state.closing.is_some();
        if lost || leaves {
            ownership.lost(&partitions);
        }
        drop(ownership);
        for partition in &partitions {
            self.fetch.stop(&self.member.topic, *partition);
            self.state
                .starts
                .retain(|start| start.partition != *partition);
            lock(&self.member.inbox).forget(&self.member.topic, *partition);
        }
        if !held.is_empty() && !leaves {
            self.member.tell(match lost {
                true => AssignmentEvent::Lost(held),
                false => AssignmentEvent::Revoking {
                    partitions: held,
                    within: self.rebalance_timeout * 4 / 5,
                },
            });
        }
        self.state.revoked.push(partitions);
    }

    /// The membership may end while a revocation waits for its answer. librdkafka does not call again then.
    pub(super) fn notice_loss(&self) {
        if !self.state.revoked.is_empty() && self.consumer.client.assignment_lost() {
            self.lost_all();
        }
    }

    /// Answers the revocations that may be answered.
    pub(super) fn answer(&mut self) {
        let mut index = 0;
        while index < self.state.revoked.len() {
            let partitions = &self.state.revoked[index];
            if !lock(&self.member.ownership).may_answer(partitions) {
                index += 1;
                continue;
            }
            let partitions = self.state.revoked.remove(index);
            for partition in &partitions {
                self.state.stopped.remove(partition);
            }
            if let Err(error) = self.give_up(&partitions) {
                tracing::warn!(group = &*self.member.group, %error, "a revocation is not answered");
            }
            lock(&self.member.ownership).gone(&partitions);
        }
    }

    /// Answers a revocation.
    pub(super) fn give_up(&self, partitions: &[u32]) -> Result<(), KafkaError> {
        match self.consumer.client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let list = self.list(partitions, Offset::Invalid);
                self.consumer.client.incremental_unassign(&list)
            }
            _ => self.consumer.client.unassign(),
        }
    }

    /// The membership is over, whatever librdkafka still waits for: nothing that is owned is this member's.
    pub(super) fn lost_all(&self) {
        let mut ownership = lock(&self.member.ownership);
        let held = ownership.held();
        ownership.lost(&held);
        drop(ownership);
        if !held.is_empty() {
            self.member.tell(AssignmentEvent::Lost(held));
        }
    }

    pub(super) fn hear_commits(&self) {
        while let Some(reply) = self.replies.poll_commit() {
            let codes = reply.partitions.iter().filter_map(|(_, code)| *code);
            if codes.chain(reply.error).any(is_of_none) {
                // A revocation that waits for its answer hides the loss: librdkafka does not call again.
                self.lost_all();
            }
            let Some(pending) = lock(&self.member.commits).remove(&reply.token) else {
                continue;
            };
            let mut ownership = lock(&self.member.ownership);
            for partition in &pending.partitions {
                ownership.commit_ends(*partition);
            }
            drop(ownership);
            let _ = pending.answer.send(reply);
        }
    }
}

/// Whether a commit was refused because its sender is no member any more.
fn is_of_none(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId | Code::FencedMemberEpoch | Code::FencedInstanceId
    )
}
