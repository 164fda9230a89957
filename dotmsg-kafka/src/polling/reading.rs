//! Reading the partitions that are held: from where, what of it is handed over, and what stands in the way.

use dotmsg_core::backend::AssignmentEvent;
use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Polling, Start};
use crate::consumer::{at, partitions_of};
use crate::fetch::Trouble;
use crate::lock;
use crate::native;

impl Polling {
    /// Starts reading where it was asked for. librdkafka refuses a seek while it is still taking a partition: it is tried again.
    pub(super) fn start_reading(&mut self) {
        for start in std::mem::take(&mut self.state.starts) {
            let held = lock(&self.member.ownership).holds(start.partition, start.grant);
            if held && let Err(error) = self.seek(start) {
                tracing::debug!(partition = start.partition, %error, "reading starts later");
                self.state.starts.push(start);
            }
        }
    }

    pub(super) fn seek(&mut self, start: Start) -> Result<(), KafkaError> {
        let mut list = self.list(&[start.partition], at(start.from.offset));
        let epoch = lock(&self.member.ownership)
            .epochs(start.partition)
            .and_then(|epochs| epochs.before(start.from.offset));
        if let Some(epoch) = epoch {
            native::set_leader_epoch(&mut list, start.partition, epoch);
        }
        if self.state.stopped.contains(&start.partition) {
            self.take_anew(&list)?;
            self.state.stopped.remove(&start.partition);
        } else {
            self.consumer.seek(list)?;
        }
        self.fetch
            .start(&self.member.topic, start.partition, start.grant, start.from);
        self.consumer
            .client
            .resume(&self.list(&[start.partition], Offset::Invalid))
    }

    /// Takes a partition once more, which librdkafka does not read any more and would not seek in.
    pub(super) fn take_anew(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        if let RebalanceProtocol::Cooperative = self.consumer.client.rebalance_protocol() {
            self.consumer.client.incremental_unassign(list)?;
            self.consumer.client.incremental_assign(list)?;
            self.receive(&partitions_of(list));
            return Ok(());
        }
        // Eager members are given all at once: the others go on where they are.
        let mut all = list.clone();
        let mut paused = Vec::new();
        for partition in lock(&self.member.ownership).held() {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            if all.find_partition(&self.member.topic, number).is_some() {
                continue;
            }
            let next = self.fetch.next(&self.member.topic, partition);
            if next.is_none() {
                paused.push(partition);
            }
            let mut element = all.add_partition(&self.member.topic, number);
            element.set_offset(at(next.unwrap_or(0)))?;
        }
        self.consumer
            .client
            .pause(&self.list(&paused, Offset::Invalid))?;
        self.consumer.client.assign(&all)?;
        self.receive(&partitions_of(&all));
        Ok(())
    }

    pub(super) fn receive(&self, partitions: &[u32]) {
        self.consumer.receive(&self.member.topic, partitions);
    }

    pub(super) fn read(&mut self) -> bool {
        if !lock(&self.member.inbox).has_room() {
            return false;
        }
        let Self {
            fetch,
            consumer,
            member,
            state,
            ..
        } = self;
        let seen = |partition, offset, epoch| {
            if let Some(epochs) = lock(&member.ownership).epochs(partition) {
                epochs.saw(offset, epoch);
            }
        };
        fetch.turn(&consumer.messages, &member.inbox, &mut state.troubles, seen)
    }

    pub(super) fn report_troubles(&mut self) {
        for trouble in std::mem::take(&mut self.state.troubles) {
            match trouble {
                Trouble::Failed(error) => self.member.fail(error.with("group", &self.member.group)),
                Trouble::OutOfRange {
                    topic,
                    partition,
                    grant,
                    position,
                } => {
                    self.pause(partition);
                    self.state.stopped.insert(partition);
                    match self.consumer.first_offset(&topic, partition) {
                        Ok(start) => {
                            lock(&self.member.inbox).close(&topic, partition);
                            self.member.tell(AssignmentEvent::OutOfRange {
                                partition,
                                grant,
                                position,
                                start,
                            });
                        }
                        Err(error) => self.member.fail(error),
                    }
                }
            }
        }
    }
}
