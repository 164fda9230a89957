//! The future of [`Tiers`](super::Tiers).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{TierParts, send};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::middleware::{Conclude, Failed, Outcome};

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Calling { #[pin] call: F },
        Sending { sending: BoxFuture<'static, Result<Outcome, Failed>> },
    }
}

pin_project! {
    /// Ends with the inner future, or when the copy in the tier is confirmed. Boxed only after a failure.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        attempt: u32,
        kept: Option<(Delivery, Arc<TierParts>)>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn calling(call: F, attempt: u32, kept: Option<(Delivery, Arc<TierParts>)>) -> Self {
        Self {
            state: State::Calling { call },
            attempt,
            kept,
        }
    }

    pub(super) fn failed(failed: Failed, delivery: Delivery, parts: Arc<TierParts>) -> Self {
        Self {
            attempt: failed.attempts,
            state: State::Sending {
                sending: Box::pin(send::send(parts, delivery, failed)),
            },
            kept: None,
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future,
    F::Output: Conclude,
{
    type Output = Result<Outcome, Failed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let failed = match this.state.as_mut().project() {
            StateProjection::Sending { sending } => return sending.as_mut().poll(cx),
            StateProjection::Calling { call } => {
                match ready!(call.poll(cx)).conclude(*this.attempt) {
                    Ok(outcome) => return Poll::Ready(Ok(outcome)),
                    Err(failed) => failed,
                }
            }
        };
        let Some((delivery, parts)) = this.kept.take() else {
            return Poll::Ready(Err(failed));
        };
        let mut sending: BoxFuture<'static, _> = Box::pin(send::send(parts, delivery, failed));
        let poll = sending.as_mut().poll(cx);
        this.state.set(State::Sending { sending });
        poll
    }
}
