//! Leaving: deadlines of partitions that are given up, their release, and the end of the pump.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower_service::Service;

use super::transaction::{Transaction, gone_with_messages};
use super::{DROP_WITHIN, Pump, RouteReport};
use crate::backend::Granted;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::middleware::Outcome;
use crate::runtime::partition::Phase;

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Enforces the deadlines of partitions that are being given up, and releases those that are through.
    pub(super) fn poll_leaving(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let mut left = Vec::new();
        let mut progress = self.poll_releasing(cx);
        for index in 0..self.partitions.len() {
            let Some(partition) = &mut self.partitions[index] else {
                continue;
            };
            match partition.phase {
                Phase::RunningOut(deadline) if deadline <= now || partition.has_run_out() => {
                    let number = partition.number;
                    self.abandoned += partition.staged.len() as u64;
                    self.unstage(number, 0);
                    self.drain(number, deadline);
                    progress = true;
                }
                Phase::Draining(deadline) if deadline <= now => {
                    let number = partition.number;
                    let running = (partition.in_hand() - partition.settled_early) as u64;
                    partition.phase = Phase::Dropping(now + DROP_WITHIN);
                    self.workers.abandon_partition(number, &mut self.reports);
                    self.abandoned += running;
                    tracing::warn!(topic = %self.topology.source, partition = number, messages = running, "drain ended: given up unsettled");
                    progress = true;
                }
                Phase::Dropping(deadline) if deadline <= now => {
                    let (number, ownership) = (partition.number, partition.ownership);
                    tracing::error!(topic = %self.topology.source, partition = number, "a handler that blocks its thread outlives its partition");
                    self.drained(number, ownership);
                    progress = true;
                }
                Phase::Leaving(deadline) if deadline <= now => {
                    tracing::error!(topic = %self.topology.source, partition = partition.number, "left without a confirmed last commit");
                    partition.phase = Phase::Left;
                    partition.annul_streams();
                    if let Some(transaction) = &mut self.transaction
                        && partition.enlisted
                    {
                        transaction.doom(gone_with_messages());
                    }
                    progress = true;
                }
                Phase::Left => left.push(Granted {
                    partition: partition.number,
                    grant: partition.grant,
                }),
                Phase::Running
                | Phase::RunningOut(_)
                | Phase::Draining(_)
                | Phase::Dropping(_)
                | Phase::Leaving(_) => {}
            }
        }
        if self.releasing.is_some() {
            return progress;
        }
        for granted in &left {
            self.forget(granted.partition);
        }
        left.append(&mut self.unwanted);
        if left.is_empty() {
            return progress;
        }
        let control = Arc::clone(&self.control);
        self.releasing = Some(Box::pin(async move { control.release(left).await }));
        self.poll_releasing(cx);
        true
    }

    /// Whether a release was answered: what became ready to be released meanwhile is next.
    fn poll_releasing(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(releasing) = &mut self.releasing else {
            return false;
        };
        let Poll::Ready(released) = releasing.as_mut().poll(cx) else {
            return false;
        };
        self.releasing = None;
        if let Err(error) = released {
            tracing::warn!(topic = %self.topology.source, %error, "release failed");
        }
        true
    }

    /// Ends the pump once everything is given up (close, then the report) or the shutdown's time is up.
    pub(super) fn poll_closing(&mut self, cx: &mut Context<'_>) -> Option<Result<RouteReport>> {
        let end_at = self.end_at?;
        let now = Instant::now();
        if self.closing.is_none() && self.is_through() {
            let control = Arc::clone(&self.control);
            let left = end_at.saturating_duration_since(now);
            self.closing = Some(Box::pin(async move { control.close(left).await }));
        }
        if let Some(closing) = &mut self.closing
            && let Poll::Ready(closed) = closing.as_mut().poll(cx)
        {
            self.closing = None;
            if let Err(error) = closed {
                tracing::warn!(topic = %self.topology.source, %error, "leaving the group failed");
            }
            return Some(Ok(self.report()));
        }
        (end_at <= now).then(|| Ok(self.report()))
    }

    /// Whether only the group is left to be left. A commit that is still on its way then is one whose partitions have
    /// waited for it as long as they may.
    fn is_through(&self) -> bool {
        self.taking_over.is_none()
            && self.releasing.is_none()
            && self.unwanted.is_empty()
            && !self
                .transaction
                .as_ref()
                .is_some_and(Transaction::is_aborting)
            && self.partitions.iter().all(Option::is_none)
    }

    fn report(&self) -> RouteReport {
        let unanswered: Vec<&'static str> = [
            ("takeover", self.taking_over.is_some()),
            ("commit", self.committing.is_some()),
            (
                "abort",
                self.transaction
                    .as_ref()
                    .is_some_and(Transaction::is_aborting),
            ),
            ("release", self.releasing.is_some()),
            ("close", self.closing.is_some()),
        ]
        .into_iter()
        .filter_map(|(what, open)| open.then_some(what))
        .collect();
        if !unanswered.is_empty() {
            tracing::error!(topic = %self.topology.source, ?unanswered, "the shutdown ended without an answer of the broker");
        }
        RouteReport {
            handler: self.route.handler.clone(),
            abandoned: self.abandoned,
            lost: self.stats.lost(),
            unanswered,
        }
    }
}
