//! Source, control, publisher and reader behind a gate.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::{
    AssignmentEvent, Batch, BatchLimits, BoxFuture, CommitOutcome, Control, Granted, Progress,
    PublishOutcome, PublishRecord, Publisher, ReadBatch, Reader, Source, TransactionOutcome,
    Transactions,
};
use dotmsg_core::error::{Error, ErrorKind, Result};

use super::OnCommit;
use super::gate::{Gate, Own};

pub(super) struct GatedSource {
    pub(super) source: Box<dyn Source>,
    pub(super) gate: Arc<Gate>,
}

impl Source for GatedSource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        match self.gate.is_open(cx) {
            true => self.source.poll_event(cx),
            false => Poll::Pending,
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        match self.gate.is_open(cx) {
            true => self.source.poll_batch(cx, limits, batch),
            false => Poll::Pending,
        }
    }
}

pub(super) struct GatedControl {
    pub(super) control: Arc<dyn Control>,
    pub(super) gate: Arc<Gate>,
    pub(super) on_commit: OnCommit,
}

impl std::fmt::Debug for GatedControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GatedControl").field(&self.control).finish()
    }
}

impl Control for GatedControl {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.control.position(partition, grant).await
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        Box::pin(async move {
            let number = self.gate.before_commit().await;
            (self.on_commit)(&progress);
            let mut outcomes = self.control.commit(progress).await;
            self.gate.after_commit(number).await;
            if self.gate.loses_an_answer() {
                outcomes.fill_with(|| CommitOutcome::Unknown(no_answer()));
            }
            outcomes
        })
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        let transactions = self.control.transactions()?;
        Some(Arc::new(GatedTransactions {
            transactions,
            gate: Arc::clone(&self.gate),
            on_commit: Arc::clone(&self.on_commit),
        }))
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.control.release(given_up).await
        })
    }

    fn pause(&self, partition: u32) {
        self.control.pause(partition);
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        self.control.resume(partition, from);
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.control.close(deadline).await
        })
    }
}

struct GatedTransactions {
    transactions: Arc<dyn Transactions>,
    gate: Arc<Gate>,
    on_commit: OnCommit,
}

impl std::fmt::Debug for GatedTransactions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GatedTransactions")
            .field(&self.transactions)
            .finish()
    }
}

impl Transactions for GatedTransactions {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.transactions.publish(records).await
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, TransactionOutcome> {
        Box::pin(async move {
            let number = self.gate.before_commit().await;
            (self.on_commit)(&progress);
            let outcome = self.transactions.commit(progress).await;
            self.gate.after_commit(number).await;
            match self.gate.loses_an_answer() {
                true => TransactionOutcome::Unknown(no_answer()),
                false => outcome,
            }
        })
    }

    fn abort(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.transactions.abort().await
        })
    }
}

#[derive(Debug)]
pub(super) struct GatedPublisher {
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) gate: Arc<Gate>,
}

impl Publisher for GatedPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        Box::pin(async move {
            self.gate.before_publish(&records).await;
            let to = Own::of(&records);
            let mut outcomes = self.publisher.publish(records).await;
            self.gate.after_publish(to).await;
            if to != Own::None && self.gate.loses_an_answer() {
                outcomes.fill_with(|| PublishOutcome::Unknown(no_answer()));
            }
            outcomes
        })
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.publisher.flush(deadline)
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Timeout, "wait for an answer", "it was lost")
}

pub(super) struct GatedReader {
    pub(super) reader: Box<dyn Reader>,
    pub(super) gate: Arc<Gate>,
}

impl Reader for GatedReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        self.reader.assign(topic, partition, from)
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        self.reader.unassign(topic, partition);
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        match self.gate.is_open(cx) {
            true => self.reader.poll_batch(cx, limits, batch),
            false => Poll::Pending,
        }
    }
}
