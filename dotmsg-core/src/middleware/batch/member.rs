//! The future of [`Batcher`](super::Batcher): one delivery of a batch.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Gathering;
use crate::handler::HandlerResult;

/// Ends with what the batch came to for this delivery.
pub struct ResponseFuture {
    gathering: Arc<Gathering>,
    index: usize,
    ended: bool,
}

impl ResponseFuture {
    pub(super) const fn new(gathering: Arc<Gathering>, index: usize) -> Self {
        Self {
            gathering,
            index,
            ended: false,
        }
    }
}

impl Future for ResponseFuture {
    type Output = HandlerResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        assert!(!self.ended, "polled after it had ended");
        let result = ready!(self.gathering.poll(self.index, cx));
        self.ended = true;
        Poll::Ready(result)
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        if !self.ended {
            self.gathering.leave(self.index);
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("gathering", &self.gathering)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
