//! The future of [`RetryInPlace`](super::RetryInPlace): calling, pausing, getting ready, calling again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use backon::ExponentialBackoff;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use super::RetryParts;
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::middleware::{Conclude, Failed, Outcome, pace, text};

/// What a repeat needs.
pub(super) struct Repeat<S> {
    pub(super) service: S,
    pub(super) delivery: Delivery,
    pub(super) parts: Arc<RetryParts>,
    pub(super) first_failure: Option<Timestamp>,
    // Made at the first failure.
    pub(super) delays: Option<Box<ExponentialBackoff>>,
    pub(super) calls: u32,
}

/// What to do after a failed call.
enum Next {
    Fail(Failed),
    Pause(Duration),
    Interrupt,
}

impl<S> Repeat<S> {
    fn after(&mut self, mut failed: Failed) -> Next {
        let RetryParts {
            policy,
            classes,
            clock,
            jitter_seed,
        } = &*self.parts;
        failed.error = classes.classify(failed.error);
        failed.first_failure = Some(*self.first_failure.get_or_insert_with(|| clock.now()));
        if !failed.error.is_transient() || self.calls >= policy.attempts {
            return Next::Fail(failed);
        }
        if self.delivery.stream().is_stopping() {
            return Next::Interrupt;
        }
        let delivery = &self.delivery;
        let delays = self.delays.get_or_insert_with(|| {
            let seed = pace::seed(*jitter_seed, delivery);
            Box::new(pace::delays(policy.first_pause, policy.longest_pause, seed))
        });
        let pause = delays.next().unwrap_or(policy.longest_pause);
        tracing::debug!(
            origin = %delivery.origin(),
            id = %text::Shown(&delivery.id()),
            key = %text::shown_key(delivery.key()),
            call = self.calls,
            of = policy.attempts,
            kind = failed.error.kind_name(),
            error = %text::message(&failed.error),
            ?pause,
            "failed; it is called again in place"
        );
        Next::Pause(pause)
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Calling { #[pin] call: F },
        // Boxed: a pause follows a failure, and an inline timer would enlarge every slot.
        Pausing { sleep: Pin<Box<Sleep>> },
        Readying,
    }
}

pin_project! {
    /// Ends with an outcome, or when no further call is to be made.
    pub struct ResponseFuture<S: Service<Delivery>> {
        #[pin]
        state: State<S::Future>,
        attempt: u32,
        repeat: Option<Repeat<S>>,
    }
}

impl<S: Service<Delivery>> ResponseFuture<S> {
    pub(super) fn new(call: S::Future, attempt: u32, repeat: Option<Repeat<S>>) -> Self {
        Self {
            state: State::Calling { call },
            attempt,
            repeat,
        }
    }
}

impl<S: Service<Delivery>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<S> Future for ResponseFuture<S>
where
    S: Service<Delivery>,
    Result<S::Response, S::Error>: Conclude,
{
    type Output = Result<Outcome, Failed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                StateProjection::Calling { call } => ready!(call.poll(cx)).conclude(*this.attempt),
                StateProjection::Pausing { sleep } => {
                    let repeat = this.repeat.as_ref().expect("a pause is before a repeat");
                    if repeat.delivery.stream().is_stopping() {
                        return Poll::Ready(Ok(Outcome::Interrupted));
                    }
                    ready!(sleep.as_mut().poll(cx));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProjection::Readying => {
                    let repeat = this.repeat.as_mut().expect("it repeats");
                    if repeat.delivery.stream().is_stopping() {
                        return Poll::Ready(Ok(Outcome::Interrupted));
                    }
                    let ready = ready!(repeat.service.poll_ready(cx));
                    repeat.calls += 1;
                    match ready {
                        Err(error) => Err::<S::Response, _>(error).conclude(*this.attempt),
                        Ok(()) => {
                            *this.attempt = this.attempt.saturating_add(1);
                            let delivery = repeat.delivery.with_attempt(*this.attempt);
                            let call = repeat.service.call(delivery);
                            this.state.set(State::Calling { call });
                            continue;
                        }
                    }
                }
            };
            let failed = match result {
                Ok(outcome) => return Poll::Ready(Ok(outcome)),
                Err(failed) => failed,
            };
            let Some(repeat) = this.repeat else {
                return Poll::Ready(Err(failed));
            };
            match repeat.after(failed) {
                Next::Fail(failed) => return Poll::Ready(Err(failed)),
                Next::Interrupt => return Poll::Ready(Ok(Outcome::Interrupted)),
                Next::Pause(delay) => {
                    let sleep = Box::pin(tokio::time::sleep(delay));
                    this.state.set(State::Pausing { sleep });
                }
            }
        }
    }
}
