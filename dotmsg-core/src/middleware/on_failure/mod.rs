//! Does something about a delivery that its inner service fails at: what [`tiers`](super::tiers) and
//! [`dead_letter`](super::dead_letter) have in common.
//!
//! A layer of this kind differs from the other in its [`Action`] only. What must stay true: the delivery is kept for the
//! action, and nothing is boxed before a failure; a service that was not ready counts as a failure of the delivery that it
//! was asked for, with no call made.

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::OnFailureLayer;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::failed::poll_ready;
use super::{Conclude, Failed, Outcome};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;

/// What is done about a delivery that failed.
pub trait Action: Send + Sync + 'static {
    /// What is left of the failure when nothing could be done.
    type Error;

    /// Ends when the delivery has come to something.
    fn act(
        self: Arc<Self>,
        delivery: Delivery,
        failed: Failed,
    ) -> BoxFuture<'static, Result<Outcome, Self::Error>>;
}

/// Takes the action `A` when its inner service fails.
pub struct OnFailure<S, A> {
    inner: S,
    action: Arc<A>,
    // Why the inner service was not ready; the failure of the next delivery.
    not_ready: Option<Failed>,
}

impl<S, A> OnFailure<S, A> {
    /// Around `inner`.
    pub const fn new(inner: S, action: Arc<A>) -> Self {
        Self {
            inner,
            action,
            not_ready: None,
        }
    }
}

impl<S: Clone, A> Clone for OnFailure<S, A> {
    fn clone(&self) -> Self {
        // Readiness belongs to the one that was asked.
        Self::new(self.inner.clone(), Arc::clone(&self.action))
    }
}

impl<S: fmt::Debug, A: fmt::Debug> fmt::Debug for OnFailure<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnFailure")
            .field("inner", &self.inner)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl<S, A> Service<Delivery> for OnFailure<S, A>
where
    S: Service<Delivery>,
    Result<S::Response, S::Error>: Conclude,
    A: Action,
{
    type Response = Outcome;
    type Error = A::Error;
    type Future = ResponseFuture<S::Future, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        poll_ready(&mut self.inner, cx).map(|ready| {
            self.not_ready = ready.err();
            Ok(())
        })
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let attempt = delivery.attempt();
        let action = Arc::clone(&self.action);
        if let Some(mut failed) = self.not_ready.take() {
            failed.attempts = attempt.saturating_sub(1);
            return ResponseFuture::failed(failed, delivery, action);
        }
        let kept = delivery.clone();
        ResponseFuture::calling(self.inner.call(delivery), attempt, kept, action)
    }
}
