//! The workers of a route behind one face: one inside the pump's own task, or several in tasks of their own.
//!
//! One worker needs no hand-over at all and is the default.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use tower_service::Service;

use super::lanes::AwayName;
use super::permits::Permits;
use super::reports::Reports;
use super::spawned::Spawned;
use super::ticket::Item;
use super::worker::{LanePolicy, Worker};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::middleware::Outcome;

/// All workers of a route.
pub(crate) enum Workers<S: Service<Delivery>> {
    /// In the pump's task.
    Inline(Box<Worker<S>>),
    /// In tasks of their own.
    Spawned(Spawned),
}

impl<S> Workers<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// `count` workers that share `concurrency` permits.
    pub(crate) fn new(service: S, policy: LanePolicy, concurrency: usize, count: usize) -> Self {
        if count > 1 {
            return Self::Spawned(Spawned::new(service, policy, concurrency, count));
        }
        let permits = Arc::new(Permits::new(concurrency));
        Self::Inline(Box::new(Worker::new(service, policy, permits, concurrency)))
    }

    /// See [`Worker::offer`].
    pub(crate) fn offer(&mut self, cx: &mut Context<'_>, mut item: Item, reports: &mut Reports) {
        match self {
            Self::Inline(worker) => {
                let Item {
                    stream,
                    record,
                    ticket,
                    condemned,
                } = &mut item;
                worker.offer(cx, stream, record, ticket, *condemned, reports);
            }
            Self::Spawned(spawned) => spawned.offer(item),
        }
    }

    /// See [`Worker::offer_head`].
    pub(crate) fn offer_head(&mut self, cx: &mut Context<'_>, item: Item, reports: &mut Reports) {
        match self {
            Self::Inline(worker) => worker.offer_head(cx, item, reports),
            Self::Spawned(spawned) => spawned.offer_head(item),
        }
    }

    /// See [`Worker::restore_away`].
    pub(crate) fn restore_away(&mut self, partition: u32, key: Option<Bytes>, name: AwayName) {
        match self {
            Self::Inline(worker) => worker.restore_away(partition, key, name),
            Self::Spawned(spawned) => spawned.restore_away(partition, key, name),
        }
    }

    /// See [`Worker::stop_partition`]; one report when all workers are through with it.
    pub(crate) fn stop_partition(&mut self, partition: u32, ownership: u32, reports: &mut Reports) {
        match self {
            Self::Inline(worker) => worker.stop_partition(partition, ownership, reports),
            Self::Spawned(spawned) => spawned.stop_partition(partition, ownership),
        }
    }

    /// See [`Worker::abandon_partition`]. Workers in tasks of their own do it later; a report tells when all have.
    pub(crate) fn abandon_partition(&mut self, partition: u32, reports: &mut Reports) {
        match self {
            Self::Inline(worker) => worker.abandon_partition(partition, reports),
            Self::Spawned(spawned) => spawned.abandon_partition(partition),
        }
    }

    /// Lets the workers work and collects what they report.
    ///
    /// # Errors
    /// A worker's task panicked: what it had in hand would never end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Reports) -> Result<()> {
        match self {
            Self::Inline(worker) => {
                worker.poll(cx, reports);
                Ok(())
            }
            Self::Spawned(spawned) => spawned.collect(cx, reports),
        }
    }

    /// Whether they work in tasks of their own, which need their turn.
    pub(crate) fn are_spawned(&self) -> bool {
        matches!(self, Self::Spawned(_))
    }

    /// Whether a further message would have to wait for a permit. Not known of workers in tasks of their own.
    pub(crate) fn is_saturated(&self) -> bool {
        match self {
            Self::Inline(worker) => worker.is_saturated(),
            Self::Spawned(_) => false,
        }
    }

    /// Whether the handler of this source record runs. Not known of workers in tasks of their own.
    pub(crate) fn runs(&self, partition: u32, offset: u64) -> Option<bool> {
        match self {
            Self::Inline(worker) => Some(worker.runs(partition, offset)),
            Self::Spawned(_) => None,
        }
    }

    /// Has each worker report what it has in hand.
    pub(crate) fn look(&mut self, reports: &mut Reports) {
        match self {
            Self::Inline(worker) => reports.in_hand(0, worker.in_hand()),
            Self::Spawned(spawned) => spawned.look(),
        }
    }

    /// Calls of the handler that run now.
    pub(crate) fn running(&self) -> usize {
        match self {
            Self::Inline(worker) => worker.running(),
            Self::Spawned(spawned) => spawned.running(),
        }
    }

    /// Hands over what was offered since the last call.
    pub(crate) fn flush(&mut self) {
        if let Self::Spawned(spawned) = self {
            spawned.send();
        }
    }
}

impl<S: Service<Delivery>> std::fmt::Debug for Workers<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(worker) => worker.fmt(f),
            Self::Spawned(spawned) => write!(f, "{} workers", spawned.count()),
        }
    }
}
