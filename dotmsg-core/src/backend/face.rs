//! The memory log with another face, a control and a source of it: a test says what differs, and everything else passes through.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::{
    Admin, AssignmentEvent, Backend, Batch, BatchLimits, BoxFuture, Capability, CommitOutcome,
    Control, Granted, Membership, Progress, Publisher, Reader, Source, Subscription, Transactions,
};
use crate::error::Result;
use crate::log::LogBroker;

/// What a test may override; whoever has it is a [`Backend`].
pub(crate) trait Face: std::fmt::Debug + Send + Sync + 'static {
    fn broker(&self) -> &LogBroker;

    fn capability(&self) -> Capability {
        self.broker().capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        self.broker().subscribe(subscription)
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.broker().admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.broker().close()
    }
}

impl<F: Face> Backend for F {
    fn capability(&self) -> Capability {
        Face::capability(self)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Face::subscribe(self, subscription)
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.broker().publisher()
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.broker().reader()
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Face::admin(self)
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Face::close(self)
    }
}

/// What a test may override of a control; whoever has it is a [`Control`].
pub(crate) trait ControlFace: std::fmt::Debug + Send + Sync + 'static {
    fn inner(&self) -> &Arc<dyn Control>;

    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.inner().position(partition, grant)
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        self.inner().commit(progress)
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.inner().transactions()
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        self.inner().release(given_up)
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.inner().close(deadline)
    }
}

impl<C: ControlFace> Control for C {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        ControlFace::position(self, partition, grant)
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        ControlFace::commit(self, progress)
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        ControlFace::transactions(self)
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        ControlFace::release(self, given_up)
    }

    fn pause(&self, partition: u32) {
        self.inner().pause(partition);
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        self.inner().resume(partition, from);
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        ControlFace::close(self, deadline)
    }
}

/// What a test may override of a source; whoever has it is a [`Source`].
pub(crate) trait SourceFace: Send + 'static {
    fn inner(&mut self) -> &mut dyn Source;

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        self.inner().poll_event(cx)
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        self.inner().poll_batch(cx, limits, batch)
    }
}

impl<S: SourceFace> Source for S {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        SourceFace::poll_event(self, cx)
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        SourceFace::poll_batch(self, cx, limits, batch)
    }
}
