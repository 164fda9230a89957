//! The future of [`OnFailure`](super::OnFailure).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::Action;
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::middleware::{Conclude, Failed, Outcome};

pin_project! {
    #[project = StateProjection]
    enum State<F, E> {
        Calling { #[pin] call: F },
        Acting { acting: BoxFuture<'static, Result<Outcome, E>> },
    }
}

pin_project! {
    /// Ends with the inner future, or with the action. Boxed only after a failure.
    pub struct ResponseFuture<F, A: Action> {
        #[pin]
        state: State<F, A::Error>,
        attempt: u32,
        kept: Option<(Delivery, Arc<A>)>,
    }
}

impl<F, A: Action> ResponseFuture<F, A> {
    pub(super) fn calling(call: F, attempt: u32, delivery: Delivery, action: Arc<A>) -> Self {
        Self {
            state: State::Calling { call },
            attempt,
            kept: Some((delivery, action)),
        }
    }

    pub(super) fn failed(failed: Failed, delivery: Delivery, action: Arc<A>) -> Self {
        Self {
            attempt: failed.attempts,
            state: State::Acting {
                acting: action.act(delivery, failed),
            },
            kept: None,
        }
    }
}

impl<F, A: Action> fmt::Debug for ResponseFuture<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<F, A> Future for ResponseFuture<F, A>
where
    F: Future,
    F::Output: Conclude,
    A: Action,
{
    type Output = Result<Outcome, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let failed = match this.state.as_mut().project() {
            StateProjection::Acting { acting } => return acting.as_mut().poll(cx),
            StateProjection::Calling { call } => {
                match ready!(call.poll(cx)).conclude(*this.attempt) {
                    Ok(outcome) => return Poll::Ready(Ok(outcome)),
                    Err(failed) => failed,
                }
            }
        };
        let (delivery, action) = this.kept.take().expect("polled after it had ended");
        let mut acting = action.act(delivery, failed);
        let poll = acting.as_mut().poll(cx);
        this.state.set(State::Acting { acting });
        poll
    }
}
