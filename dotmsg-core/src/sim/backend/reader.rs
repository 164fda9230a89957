//! Reading outside of the group.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::backend::{BatchLimits, ReadBatch, Reader};
use crate::error::Result;
use crate::sim::life::Life;
use crate::sim::plan::Step;

/// Passes on, as long as its member lives.
pub(super) struct SimReader {
    pub(super) life: Arc<Life>,
    pub(super) inner: Box<dyn Reader>,
    /// It reads what a position record names.
    pub(super) heads: bool,
}

impl Reader for SimReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        self.inner.assign(topic, partition, from)
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        self.inner.unassign(topic, partition);
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        ready!(self.life.poll_alive(cx));
        if let Some(error) = self.life.unreachable("read") {
            return Poll::Ready(Err(error));
        }
        let result = ready!(self.inner.poll_batch(cx, limits, batch));
        if self.heads && !self.life.passes(Step::Heads, false) {
            return Poll::Pending;
        }
        Poll::Ready(result)
    }
}
