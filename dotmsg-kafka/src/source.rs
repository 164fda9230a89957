//! The half of a membership that the route's task owns.

use std::sync::Arc;
use std::task::{Context, Poll};

use dotmsg_core::backend::{AssignmentEvent, Batch, BatchLimits, Source};
use dotmsg_core::error::{Error, Result};

use crate::lock;
use crate::member::Member;

/// Events and batches of one member.
#[derive(Debug)]
pub(crate) struct KafkaSource {
    pub(crate) member: Arc<Member>,
}

impl Source for KafkaSource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        self.member.is_polled();
        let mut events = lock(&self.member.events);
        if let Some(event) = events.queue.pop_front() {
            return Poll::Ready(Ok(event));
        }
        if let Some((kind, text)) = &events.failure {
            return Poll::Ready(Err(Error::new(*kind, "consume", text.clone())));
        }
        if events
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            events.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        self.member.is_polled();
        let polled = lock(&self.member.inbox).poll_take(cx, limits, &mut batch.records);
        let Poll::Ready(taken) = polled else {
            return Poll::Pending;
        };
        let (chunk, room) = taken?;
        if room {
            self.member.bell.ring();
        }
        batch.partition = chunk.partition;
        batch.grant = chunk.grant;
        Poll::Ready(Ok(()))
    }
}
