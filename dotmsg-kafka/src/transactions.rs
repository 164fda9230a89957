//! The transactions of a member: what its handlers return and its offsets, all or nothing (KIP-98, KIP-447).
//!
//! Each member has a producer of its own. Its offsets go into the transaction with the member's generation, so that the group
//! fences a former owner; the transactional id fences a former process of the same static member. A producer is used until it
//! fails for good, or until a commit is not answered: then it is replaced by one with the same id. Its `InitProducerId` ends
//! whatever is open, and waits for a commit that is under way; a broker of 4.0 and later also keeps what the former one sent too
//! late out of the next transaction (KIP-890).

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dotmsg_core::backend::{
    BoxFuture, Partitioner, Progress, PublishOutcome, PublishRecord, TransactionOutcome,
    Transactions,
};
use dotmsg_core::error::{Error, ErrorKind, Result, Retryability};
use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaError};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::oneshot;

use crate::control::offsets;
use crate::error;
use crate::lock;
use crate::member::{Client, Member};
use crate::native::CALL;
use crate::now;
use crate::publisher::KafkaPublisher;

/// How long a member waits to be let in for transactions: one of its former self may have to end first.
const INIT: Duration = Duration::from_secs(60);

/// The transactions of one member.
#[derive(Debug)]
pub(crate) struct KafkaTransactions {
    member: Arc<Member>,
    config: ClientConfig,
    max_record_bytes: usize,
    partitioner: Option<Arc<dyn Partitioner>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None`: the last one is of no use any more.
    producer: Option<Arc<KafkaPublisher>>,
    /// A transaction is open in it.
    is_open: bool,
}

/// Why a step of a transaction was not made.
enum Stopped {
    /// The transaction can only be aborted.
    Aborted(Error),
    /// The producer can only be replaced; what became of the step is not known.
    Unknown(Error),
}

impl KafkaTransactions {
    /// Opens the producer of a member. Whoever had its transactional id is fenced, and what it had open is ended.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`], [`ErrorKind::Unreachable`].
    pub(crate) async fn open(
        member: Arc<Member>,
        config: ClientConfig,
        max_record_bytes: usize,
        partitioner: Option<Arc<dyn Partitioner>>,
    ) -> Result<Self> {
        let transactions = Self {
            member,
            config,
            max_record_bytes,
            partitioner,
            state: Mutex::default(),
        };
        let until = now() + INIT;
        loop {
            match transactions.replace().await {
                Err(error) if error.is_transient() && now() < until => {
                    tracing::warn!(%error, "a member waits to be let in for transactions");
                }
                ended => return ended.map(|()| transactions),
            }
        }
    }

    fn described(&self, error: Error) -> Error {
        error
            .with("topic", &self.member.topic)
            .with("group", &self.member.group)
    }

    /// A producer in the place of the former one, which has nothing open.
    async fn replace(&self) -> Result<()> {
        let former = std::mem::take(&mut *lock(&self.state)).producer;
        let (config, max_record_bytes) = (self.config.clone(), self.max_record_bytes);
        let partitioner = self.partitioner.clone();
        let opened = on_a_thread("begin transactions", move || {
            if let Some(former) = former {
                former.give_up();
            }
            let producer = Arc::new(KafkaPublisher::of_transactions(
                config,
                max_record_bytes,
                partitioner,
            )?);
            patiently(now(), CALL, || producer.client().init_transactions(CALL))
            .map_err(|error| {
                let error = error::of_client("begin transactions", error);
                match error.kind() {
                    ErrorKind::Denied => error.remedy("delivery = \"exactly_once\" needs the right Write on the transactional id: docs/kafka.md"),
                    _ => error,
                }
            })?;
            Ok(producer)
        });
        let producer = opened.await.map_err(|error| self.described(error))?;
        *lock(&self.state) = State {
            producer: Some(producer),
            is_open: false,
        };
        Ok(())
    }

    /// The producer, with a transaction open.
    fn begin(&self) -> Result<Arc<KafkaPublisher>> {
        let mut state = lock(&self.state);
        let producer = state.producer.clone().ok_or_else(|| {
            self.described(Error::new(
                ErrorKind::Fenced,
                "publish",
                "the producer of the transaction is of no use any more",
            ))
        })?;
        if !state.is_open {
            // It is not sent before something is published.
            let begun = producer.client().begin_transaction();
            begun.map_err(|error| {
                if is_fatal(&error) {
                    state.producer = None;
                    producer.give_up();
                }
                self.described(error::of_client("begin a transaction", error))
            })?;
            state.is_open = true;
        }
        Ok(producer)
    }

    async fn commit_all(&self, progress: Vec<Progress>) -> TransactionOutcome {
        let producer = match self.begin() {
            Ok(producer) => producer,
            Err(error) => return TransactionOutcome::Aborted(error),
        };
        let (list, held, client) = match self.hold(&progress) {
            Ok(held) => held,
            Err(error) => return TransactionOutcome::Aborted(error),
        };
        let steps = on_a_thread("commit a transaction", move || {
            // Also when nobody waits for the answer any more.
            let _held = held;
            Ok(commit(&producer, &client.consumer, &list))
        });
        let ended = steps.await;
        let mut state = lock(&self.state);
        match ended {
            Ok(Ok(())) => {
                state.is_open = false;
                TransactionOutcome::Committed
            }
            Ok(Err(Stopped::Aborted(error))) => TransactionOutcome::Aborted(self.described(error)),
            Ok(Err(Stopped::Unknown(error))) | Err(error) => {
                // Its librdkafka may still be asking for the commit.
                state.is_open = true;
                drop(state);
                self.discard();
                TransactionOutcome::Unknown(self.described(error))
            }
        }
    }

    /// The producer is not used again.
    fn discard(&self) {
        let former = lock(&self.state).producer.take();
        if let Some(former) = former {
            former.give_up();
        }
    }

    /// The offsets, if all are this member's, what keeps their partitions from being given up, and the client that owns them: under one
    /// lock, since after a fence another one may own them anew.
    fn hold(&self, progress: &[Progress]) -> Result<(TopicPartitionList, Held, Client)> {
        let mut ownership = lock(&self.member.ownership);
        let list = offsets(&self.member.topic, &mut ownership, progress);
        let client = self
            .member
            .client()
            .filter(|_| list.count() == progress.len());
        let Some(client) = client else {
            return Err(self.described(Error::new(
                ErrorKind::Fenced,
                "commit a transaction",
                "a partition of it is not this member's any more",
            )));
        };
        for one in progress {
            ownership.commit_begins(one.partition);
        }
        let held = Held {
            member: Arc::clone(&self.member),
            partitions: progress.iter().map(|one| one.partition).collect(),
        };
        Ok((list, held, client))
    }

    async fn end(&self) -> Result<()> {
        let (producer, is_open) = {
            let state = lock(&self.state);
            (state.producer.clone(), state.is_open)
        };
        let Some(producer) = producer else {
            return self.replace().await;
        };
        if !is_open {
            return Ok(());
        }
        let aborted = on_a_thread("abort a transaction", move || {
            // Else it would go out with the next one.
            producer.withdraw();
            Ok(patiently(now(), CALL, || {
                producer.client().abort_transaction(CALL)
            }))
        });
        match aborted.await? {
            Ok(()) => {
                lock(&self.state).is_open = false;
                Ok(())
            }
            Err(error) if is_retriable(&error) => {
                Err(self.described(error::of_client("abort a transaction", error)))
            }
            Err(error) => {
                tracing::debug!(%error, "the producer is replaced");
                self.discard();
                self.replace().await
            }
        }
    }
}

/// Partitions whose commit is on its way: no rebalance that takes them away is answered.
struct Held {
    member: Arc<Member>,
    partitions: Vec<u32>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut ownership = lock(&self.member.ownership);
        for partition in &self.partitions {
            ownership.commit_ends(*partition);
        }
        drop(ownership);
        // A rebalance may have waited for it.
        self.member.bell.ring();
    }
}

/// Runs what blocks its thread on one of its own: the runtime waits for its own when it ends, and librdkafka may not answer for
/// as long as a broker does not.
async fn on_a_thread<T: Send + 'static>(
    operation: &'static str,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, answer) = oneshot::channel();
    let failed = || Error::new(ErrorKind::Unexpected, operation, "no thread");
    thread::Builder::new()
        .name("kafka transaction".to_owned())
        .spawn(move || drop(done.send(call())))
        .map_err(|error| failed().source_error(error))?;
    answer.await.unwrap_or_else(|_| Err(failed()))
}

/// Sends the offsets, then commits. Blocks its thread.
fn commit(
    producer: &KafkaPublisher,
    consumer: &rdkafka::consumer::BaseConsumer<crate::context::Context>,
    list: &TopicPartitionList,
) -> std::result::Result<(), Stopped> {
    let began = now();
    let generation = consumer
        .group_metadata()
        .ok_or_else(|| Stopped::Aborted(gone()))?;
    let client = producer.client();
    patiently(began, CALL, || {
        client.send_offsets_to_transaction(list, &generation, CALL)
    })
    .map_err(|error| match is_fatal(&error) {
        true => Stopped::Unknown(error::of_client("send offsets to a transaction", error)),
        false => Stopped::Aborted(error::of_client("send offsets to a transaction", error)),
    })?;
    patiently(began, CALL, || client.commit_transaction(CALL)).map_err(|error| {
        let aborts = requires_abort(&error);
        let error = error::of_client("commit a transaction", error);
        match aborts {
            true => Stopped::Aborted(error),
            false => Stopped::Unknown(error),
        }
    })
}

/// Again, as long as librdkafka says that it may be asked again.
fn patiently(
    began: Instant,
    within: Duration,
    mut step: impl FnMut() -> rdkafka::error::KafkaResult<()>,
) -> rdkafka::error::KafkaResult<()> {
    loop {
        match step() {
            Err(error) if is_retriable(&error) && began.elapsed() < within => {
                tracing::debug!(%error, "a step of a transaction is asked for again");
            }
            done => return done,
        }
    }
}

fn gone() -> Error {
    Error::new(
        ErrorKind::Closed,
        "commit a transaction",
        "the member has left its group",
    )
}

fn of(error: &KafkaError) -> Option<&RDKafkaError> {
    match error {
        KafkaError::Transaction(error) => Some(error),
        _ => None,
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    of(error).is_some_and(RDKafkaError::is_retriable)
}

fn is_fatal(error: &KafkaError) -> bool {
    of(error).is_some_and(RDKafkaError::is_fatal)
}

fn requires_abort(error: &KafkaError) -> bool {
    of(error).is_some_and(RDKafkaError::txn_requires_abort)
}

impl Transactions for KafkaTransactions {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        match self.begin() {
            // It takes the records now, in the order of the calls.
            Ok(producer) => {
                let outcomes = producer.hand_over(records);
                Box::pin(outcomes)
            }
            Err(error) => {
                let failed = |_| {
                    let copy = Error::new(error.kind(), "publish", error.to_string());
                    PublishOutcome::Failed(copy.retryable(Retryability::Transient))
                };
                let outcomes = records.into_iter().map(failed).collect();
                Box::pin(std::future::ready(outcomes))
            }
        }
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, TransactionOutcome> {
        Box::pin(self.commit_all(progress))
    }

    fn abort(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.end())
    }
}

impl Drop for KafkaTransactions {
    fn drop(&mut self) {
        // What is open is aborted by the broker, when the transaction times out or its id comes back.
        self.discard();
    }
}
