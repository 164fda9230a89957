//! The future of [`CircuitBreaker`](super::CircuitBreaker).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::Breaker;
use super::circuit::{Blame, Grant, Message};
use crate::delivery::{Delivery, Settlement};
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::middleware::text;

/// A call that its circuit is to be told the end of.
#[derive(Debug)]
pub(super) struct Called {
    breaker: Arc<Breaker>,
    /// `None` once it was told.
    grant: Option<Grant>,
    message: Message,
    put_back: bool,
}

impl Called {
    pub(super) fn new(breaker: Arc<Breaker>, grant: Grant, delivery: &Delivery) -> Self {
        let origin = delivery.origin();
        Self {
            breaker,
            grant: Some(grant),
            message: (origin.partition, origin.offset),
            put_back: false,
        }
    }

    fn poll<F>(&mut self, inner: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<HandlerResult>
    where
        F: Future<Output = HandlerResult>,
    {
        if self.put_back {
            return Poll::Ready(Err(HandlerError::put_back()));
        }
        let result = self.end(ready!(inner.poll(cx)));
        if result.as_ref().is_err_and(HandlerError::is_put_back) {
            // A worker takes back only what was pending before: what ends at its first poll has no lane.
            self.put_back = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(result)
    }

    /// Tells the end, and gives what it is to the message.
    fn end(&mut self, result: HandlerResult) -> HandlerResult {
        let Some(grant) = self.grant.take() else {
            return result;
        };
        let result = result.map_err(|error| self.breaker.classes.classify(error));
        let error = match &result {
            Err(error) if error.is_put_back() => {
                self.breaker.circuit().give_back(grant);
                return result;
            }
            Err(error) if error.is_transient() => Some(error),
            Ok(Returned {
                settlement: Settlement::Retry { .. },
                ..
            }) => None,
            Ok(_) | Err(_) => {
                if self.breaker.circuit().succeeded(grant) {
                    tracing::info!("the circuit is closed again: a call went well");
                }
                return result;
            }
        };
        let policy = &self.breaker.policy;
        let now = Instant::now();
        let mut circuit = self.breaker.circuit();
        let blame = circuit.failed(grant, self.message, now, policy.pause);
        drop(circuit);
        match blame {
            Blame::Own => result,
            Blame::Opens => {
                tracing::warn!(
                    failures = policy.failures,
                    pause = ?policy.pause,
                    kind = error.map_or("retry", HandlerError::kind_name),
                    error = %error.map(text::message).unwrap_or_default(),
                    "the circuit is open: so many different messages failed in a row; one call in each pause tries whether it works again"
                );
                result
            }
            Blame::Others if policy.puts_back => {
                tracing::debug!(
                    probe = grant == Grant::Probe,
                    "failed while the circuit is open; it is put back"
                );
                Err(HandlerError::put_back())
            }
            Blame::Others => result,
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.breaker.circuit().give_back(grant);
        }
    }
}

pin_project! {
    /// Ends as the inner future, or with the message put back.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        called: Option<Called>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, called: Option<Called>) -> Self {
        Self { inner, called }
    }
}

impl<F: Future<Output = HandlerResult>> Future for ResponseFuture<F> {
    type Output = HandlerResult;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        let this = self.project();
        match this.called {
            // Passed on as it is: a result that is looked at is a result that is copied.
            None => this.inner.poll(cx),
            Some(called) => called.poll(this.inner, cx),
        }
    }
}
