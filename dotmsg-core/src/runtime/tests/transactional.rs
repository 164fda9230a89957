//! The memory log with transactions whose end is scripted: what is published is kept until the commit, and appended then.
//!
//! It is for what the runtime does with transactions. It is no broker's: nothing here survives a crash between the two steps of
//! a commit, because there is none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::backend::{
    Backend, BoxFuture, Capability, CommitOutcome, Control, ControlFace, Face, Membership,
    PositionStore, Progress, PublishOutcome, PublishRecord, Published, Subscription,
    TransactionOutcome, Transactional, Transactions,
};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::log::LogBroker;
use crate::progress::PositionRecord;

/// The topic that takes no messages.
pub(super) const CLOSED_TOPIC: &str = "closed";
/// What no broker takes, nor anything that comes with it.
pub(super) const POISON: &str = "poison";

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Committed,
    Aborted,
    UnknownCommitted,
    UnknownAborted,
}

/// The broker, with transactions.
#[derive(Clone, Debug)]
pub(super) struct TransactionalLog {
    broker: LogBroker,
    /// Of the next commits; those behind them are committed.
    pub(super) fates: Arc<Mutex<VecDeque<Fate>>>,
    /// Messages in each transaction that was committed.
    pub(super) committed: Arc<Mutex<Vec<usize>>>,
    /// Each message that is settled has returned one: this is looked at in every commit.
    pub(super) one_each: Arc<AtomicBool>,
    records: Arc<Mutex<BTreeMap<u32, PositionRecord>>>,
    /// Instead of the broker's own limit on position records.
    pub(super) max_record_bytes: Option<usize>,
}

impl TransactionalLog {
    pub(super) fn new(broker: &LogBroker) -> Self {
        Self {
            broker: broker.clone(),
            fates: Arc::default(),
            committed: Arc::default(),
            one_each: Arc::default(),
            records: Arc::default(),
            max_record_bytes: None,
        }
    }
}

impl TransactionalLog {
    /// As many messages were committed as are settled.
    fn compare(&self, progress: &[Progress]) {
        let mut records = self.records.lock().unwrap();
        for one in progress {
            let record = PositionRecord::decode(&one.record).unwrap();
            records.insert(one.partition, record);
        }
        let settled = |record: &PositionRecord| {
            let source = &record.source;
            (0..source.end())
                .filter(|offset| source.is_settled(*offset))
                .count()
        };
        let settled: usize = records.values().map(settled).sum();
        let committed: usize = self.committed.lock().unwrap().iter().sum();
        assert_eq!(committed, settled, "messages, and what is settled");
    }
}

impl Face for TransactionalLog {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn capability(&self) -> Capability {
        let mut capability = self.broker.capability();
        capability.transactions = Transactional::Yes;
        if let Some(max_bytes) = self.max_record_bytes {
            capability.position = PositionStore::Record { max_bytes };
        }
        capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.broker.subscribe(subscription).await?;
            let transactions = Arc::new(Open {
                log: self.clone(),
                control: Arc::clone(&control),
                records: Mutex::default(),
            });
            let control: Arc<dyn Control> = Arc::new(Member {
                control,
                transactions,
            });
            Ok((source, control))
        })
    }
}

#[derive(Debug)]
struct Member {
    control: Arc<dyn Control>,
    transactions: Arc<Open>,
}

impl ControlFace for Member {
    fn inner(&self) -> &Arc<dyn Control> {
        &self.control
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        Some(Arc::clone(&self.transactions) as _)
    }
}

/// The transaction of one member.
#[derive(Debug)]
struct Open {
    log: TransactionalLog,
    control: Arc<dyn Control>,
    records: Mutex<Vec<PublishRecord>>,
}

impl Open {
    async fn take_effect(&self, progress: Vec<Progress>) {
        let records = std::mem::take(&mut *self.records.lock().unwrap());
        self.log.committed.lock().unwrap().push(records.len());
        if self.log.one_each.load(Ordering::Relaxed) {
            self.log.compare(&progress);
        }
        for outcome in self.log.broker.publisher().publish(records).await {
            assert!(matches!(outcome, PublishOutcome::Ok(_)), "{outcome:?}");
        }
        for outcome in self.control.commit(progress).await {
            assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unreachable, "commit", "as the test says")
}

impl Transactions for Open {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        let is_poison =
            |record: &PublishRecord| record.message.payload.as_deref() == Some(POISON.as_bytes());
        let poisoned = records.iter().any(is_poison);
        let outcome = |record: &PublishRecord| match &*record.topic {
            _ if poisoned => PublishOutcome::Failed(Error::new(
                ErrorKind::Unexpected,
                "publish",
                "the batch is refused",
            )),
            CLOSED_TOPIC => {
                PublishOutcome::Failed(Error::new(ErrorKind::TooLarge, "publish", "too large"))
            }
            _ => PublishOutcome::Ok(Published {
                partition: 0,
                offset: 0,
                appended_at: Timestamp(0),
                duplicate: false,
            }),
        };
        let outcomes = records.iter().map(outcome).collect();
        self.records.lock().unwrap().extend(records);
        Box::pin(async move {
            tokio::task::yield_now().await;
            outcomes
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, TransactionOutcome> {
        Box::pin(async move {
            let fate = self.log.fates.lock().unwrap().pop_front();
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            match fate.unwrap_or(Fate::Committed) {
                Fate::Committed => {
                    self.take_effect(progress).await;
                    TransactionOutcome::Committed
                }
                Fate::UnknownCommitted => {
                    self.take_effect(progress).await;
                    TransactionOutcome::Unknown(ended())
                }
                Fate::UnknownAborted => TransactionOutcome::Unknown(ended()),
                Fate::Aborted => TransactionOutcome::Aborted(ended()),
            }
        })
    }

    fn abort(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            self.records.lock().unwrap().clear();
            Ok(())
        })
    }
}
