//! The half of a membership that is shared: position, commit, release, pause, close.
//!
//! Commits go to librdkafka from whoever calls, without waiting, and their answers come to the polling thread: per partition,
//! which a synchronous commit of librdkafka does not tell, and an asynchronous one of the Rust client never does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::{BoxFuture, CommitOutcome, Control, Granted, Progress, Transactions};
use dotmsg_core::error::{Error, ErrorKind, Result, Retryability};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use crate::backend::blocking;
use crate::consumer::{at, list};
use crate::error;
use crate::lock;
use crate::member::{Command, Member, PendingCommit};
use crate::metadata;
use crate::native::{self, CommitReply};
use crate::now;
use crate::ownership::Ownership;
use crate::patience::{of, patiently};
use crate::transactions::KafkaTransactions;

/// Progress, flow control and close of one member.
#[derive(Debug)]
pub(crate) struct KafkaControl {
    pub(crate) member: Arc<Member>,
    pub(crate) commands: Mutex<Sender<Command>>,
    tokens: AtomicUsize,
    transactions: Option<Arc<KafkaTransactions>>,
}

impl KafkaControl {
    pub(crate) fn new(
        member: Arc<Member>,
        commands: Sender<Command>,
        transactions: Option<Arc<KafkaTransactions>>,
    ) -> Self {
        Self {
            member,
            commands: Mutex::new(commands),
            tokens: AtomicUsize::new(1),
            transactions,
        }
    }

    /// Whether the thread is there to obey.
    fn send(&self, command: Command) -> bool {
        let sent = lock(&self.commands).send(command).is_ok();
        self.member.bell.ring();
        sent
    }

    fn closed(&self, operation: &'static str) -> Error {
        Error::new(
            ErrorKind::Closed,
            operation,
            "the member has left its group",
        )
        .with("topic", &self.member.topic)
        .with("group", &self.member.group)
    }

    fn fenced(&self, operation: &'static str, partition: u32) -> Error {
        Error::new(
            ErrorKind::Fenced,
            operation,
            "the partition is not this member's",
        )
        .with("topic", &self.member.topic)
        .with("group", &self.member.group)
        .with("partition", partition)
    }

    /// Sends what is still owned; gives where the answer will come, and the partitions it is about.
    fn send_commit(
        &self,
        progress: &[Progress],
    ) -> Result<(Vec<u32>, Option<oneshot::Receiver<CommitReply>>)> {
        let Some(client) = self.member.client() else {
            // It has left: whatever it owned is not its own any more.
            return Ok((Vec::new(), None));
        };
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        // Under the lock until it is handed over: what is owned now is what is committed.
        let mut ownership = lock(&self.member.ownership);
        let list = offsets(&self.member.topic, &mut ownership, progress);
        let partitions: Vec<u32> = list
            .elements()
            .iter()
            .filter_map(|element| u32::try_from(element.partition()).ok())
            .collect();
        if partitions.is_empty() {
            return Ok((partitions, None));
        }
        for partition in &partitions {
            ownership.commit_begins(*partition);
        }
        let pending = PendingCommit {
            partitions: partitions.clone(),
            answer,
        };
        lock(&self.member.commits).insert(token, pending);
        if let Err(code) = client.replies.commit(&list, token) {
            for partition in &partitions {
                ownership.commit_ends(*partition);
            }
            lock(&self.member.commits).remove(&token);
            return Err(error::of_code("commit", code));
        }
        Ok((partitions, Some(answered)))
    }

    async fn commit_all(&self, progress: Vec<Progress>) -> Vec<CommitOutcome> {
        let (sent, answered) = match self.send_commit(&progress) {
            Ok(sent) => sent,
            Err(error) => {
                let failed = |_: &Progress| {
                    CommitOutcome::Failed(Error::new(error.kind(), "commit", error.to_string()))
                };
                return progress.iter().map(failed).collect();
            }
        };
        let reply = match answered {
            Some(answered) => answered.await.ok(),
            None => None,
        };
        let outcome = |one: &Progress| match sent.contains(&one.partition) {
            false => CommitOutcome::Fenced,
            true => self.outcome(one, reply.as_ref()),
        };
        progress.iter().map(outcome).collect()
    }

    fn outcome(&self, progress: &Progress, reply: Option<&CommitReply>) -> CommitOutcome {
        let partition = progress.partition;
        let Some(reply) = reply else {
            return CommitOutcome::Unknown(self.closed("commit"));
        };
        let own = reply.partitions.iter().find(|(of, _)| *of == partition);
        // Without an entry of its own, what is said of the whole is said of it.
        let code = own.and_then(|(_, code)| *code).or(reply.error);
        let Some(code) = code else {
            return CommitOutcome::Committed;
        };
        let described = |code| {
            let described = error::of_code("commit", code)
                .with("topic", &self.member.topic)
                .with("group", &self.member.group)
                .with("partition", partition);
            match code {
                Code::OffsetMetadataTooLarge => described.remedy(
                    "Set offset_metadata_max in [backend.<name>.kafka] to the broker's offset.metadata.max.bytes",
                ),
                _ => described,
            }
        };
        match (error::kind(code), code) {
            // It was sent under a generation that is over. The partition may be this member's in the next one too; if not, a
            // rebalance says so.
            (ErrorKind::Fenced, code)
                if matches!(code, Code::IllegalGeneration | Code::StaleMemberEpoch)
                    && lock(&self.member.ownership).holds(partition, progress.grant) =>
            {
                CommitOutcome::Failed(described(code).retryable(Retryability::Transient))
            }
            (ErrorKind::Fenced, _) => CommitOutcome::Fenced,
            (ErrorKind::Timeout, _)
            | (
                _,
                Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::NetworkException
                | Code::BrokerDestroy,
            ) => CommitOutcome::Unknown(described(code)),
            _ => CommitOutcome::Failed(described(code)),
        }
    }
}

/// The commit entries of what is still owned.
pub(crate) fn offsets(
    topic: &str,
    ownership: &mut Ownership,
    progress: &[Progress],
) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(progress.len());
    for one in progress {
        if !ownership.holds(one.partition, one.grant) {
            continue;
        }
        let epoch = ownership
            .epochs(one.partition)
            .and_then(|epochs| epochs.before(one.watermark));
        let number = i32::try_from(one.partition).unwrap_or(i32::MAX);
        let mut element = list.add_partition(topic, number);
        // Refused only for offsets that are none.
        let _ = element.set_offset(at(one.watermark));
        element.set_metadata(metadata::encode(&one.record));
        if let Some(epoch) = epoch {
            native::set_leader_epoch(&mut list, one.partition, epoch);
        }
    }
    list
}

/// What is stored of one partition: the record, and the leader epoch before its watermark.
fn stored(list: &TopicPartitionList, partition: u32) -> Result<Option<(Bytes, i64, Option<i32>)>> {
    let number = i32::try_from(partition).unwrap_or(i32::MAX);
    let elements = list.elements();
    let Some(element) = elements
        .iter()
        .find(|element| element.partition() == number)
    else {
        return Ok(None);
    };
    element
        .error()
        .map_err(|error| error::of_client("read position", error))?;
    let Offset::Offset(offset) = element.offset() else {
        return Ok(None);
    };
    let record = metadata::decode(element.metadata()).ok_or_else(|| {
        Error::new(
            ErrorKind::PositionLost,
            "read position",
            "the committed offset was not written by this framework: what is unsettled around it is not known",
        )
        .with("topic", element.topic())
        .with("partition", partition)
        .with("offset", offset)
        .remedy("Use another group, or reset this one to where it is to begin")
    })?;
    Ok(Some((
        record,
        offset,
        native::leader_epoch(list, partition),
    )))
}

impl Control for KafkaControl {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            let fenced = || self.fenced("read position", partition);
            if !lock(&self.member.ownership).holds(partition, grant) {
                return Err(fenced());
            }
            let client = self
                .member
                .client()
                .ok_or_else(|| self.closed("read position"))?;
            let wanted = list(&self.member.topic, &[partition], Offset::Invalid);
            let read = blocking("read position", move || {
                patiently("read position", |within| {
                    let read = client.consumer.committed_offsets(wanted.clone(), within);
                    read.map_err(of)
                })
            });
            let committed = read
                .await
                .map_err(|error| error.with("group", &self.member.group))?;
            let stored = stored(&committed, partition)
                .map_err(|error| error.with("group", &self.member.group))?;
            let mut ownership = lock(&self.member.ownership);
            if !ownership.holds(partition, grant) {
                return Err(fenced());
            }
            let Some((record, offset, epoch)) = stored else {
                return Ok(None);
            };
            let before = u64::try_from(offset)
                .ok()
                .and_then(|offset| offset.checked_sub(1));
            if let (Some(before), Some(epoch), Some(epochs)) =
                (before, epoch, ownership.epochs(partition))
            {
                epochs.saw(before, epoch);
            }
            Ok(Some(record))
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        Box::pin(self.commit_all(progress))
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        let transactions = self.transactions.clone()?;
        Some(transactions)
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        for granted in &given_up {
            if lock(&self.member.ownership).holds(granted.partition, granted.grant) {
                lock(&self.member.inbox).close(&self.member.topic, granted.partition);
            }
        }
        Box::pin(async move {
            let (done, answered) = oneshot::channel();
            if !self.send(Command::Release(given_up, done)) {
                return Err(self.closed("release"));
            }
            answered.await.map_err(|_| self.closed("release"))
        })
    }

    fn pause(&self, partition: u32) {
        lock(&self.member.inbox).close(&self.member.topic, partition);
        self.send(Command::Pause(partition));
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        let from = lock(&self.member.inbox).start(&self.member.topic, partition, from);
        if let Some(from) = from {
            self.send(Command::Resume { partition, from });
        }
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (done, left) = oneshot::channel();
            let until = now() + deadline;
            if !self.send(Command::Close {
                deadline: until,
                done,
            }) {
                return Ok(());
            }
            match tokio::time::timeout(deadline, left).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::new(
                    ErrorKind::Timeout,
                    "leave group",
                    "the group did not answer in time; the member goes on leaving in the background",
                )
                .with("topic", &self.member.topic)
                .with("group", &self.member.group)),
            }
        })
    }
}
