//! Tells an [`Observer`] what happens: each call of the handler, and what each delivery came to.
//!
//! It is for those who must see every single one, such as the test harness; counters are cheaper
//! ([`RouteStats`](crate::runtime::RouteStats)). A [`Watch`] makes two services, because the facts show in two places:
//! calls inside of the in-place retry, outcomes outside of everything. Without an observer both only pass on.

mod future;
mod gated;

pub use future::ResponseFuture;
pub use gated::{Gated, ObservedCall};

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::Outcome;
use crate::delivery::Delivery;
use crate::handler::Call;

/// Hears what a route does, and may hold it still. Called inline: it must be quick and must not block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// The handler is about to be called for this delivery.
    fn called(&self, handler: &str, delivery: &Delivery);

    /// The delivery has come to this, as far as the layers are concerned: the progress is not committed yet.
    fn ended(&self, handler: &str, delivery: &Delivery, outcome: Outcome);

    /// The call of the handler is over: it has returned, or was dropped before it did.
    fn left(&self, _handler: &str, _delivery: &Delivery) {}

    /// Whether route and handlers may go on. While it is pending none of them is polled, as in a process that is stopped;
    /// whoever makes it so wakes them again. Default: always.
    fn poll_running(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// One route's observer, if it has one.
#[derive(Clone, Debug, Default)]
pub struct Watch(Option<Arc<Watched>>);

#[derive(Debug)]
struct Watched {
    observer: Arc<dyn Observer>,
    handler: Box<str>,
}

impl Watch {
    /// Of the route of this handler.
    #[must_use]
    pub fn new(observer: Option<Arc<dyn Observer>>, handler: &str) -> Self {
        Self(observer.map(|observer| {
            Arc::new(Watched {
                observer,
                handler: handler.into(),
            })
        }))
    }

    /// Tells of each call of `inner`, a handler.
    pub fn calls<S>(&self, inner: S) -> ObserveCalls<S> {
        ObserveCalls {
            inner,
            watch: self.clone(),
        }
    }

    /// Tells what each delivery came to in `inner`, a whole stack.
    pub fn outcomes<S>(&self, inner: S) -> ObserveOutcomes<S> {
        ObserveOutcomes {
            inner,
            watch: self.clone(),
        }
    }

    /// Polls `inner`, the task of a route, only while the observer lets it run.
    pub fn gate<F>(&self, inner: F) -> Gated<F> {
        Gated::new(inner, self.clone())
    }

    fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0 {
            Some(watched) => watched.observer.poll_running(cx),
            None => Poll::Ready(()),
        }
    }

    /// Tells that a call begins; what is to be kept until it is over.
    fn called(&self, call: impl FnOnce() -> Call) -> Option<Call> {
        let watched = self.0.as_ref()?;
        let call = call();
        for delivery in call.deliveries() {
            watched.observer.called(&watched.handler, delivery);
        }
        Some(call)
    }

    fn left(&self, call: &Call) {
        if let Some(watched) = &self.0 {
            for delivery in call.deliveries() {
                watched.observer.left(&watched.handler, delivery);
            }
        }
    }

    fn ended(&self, delivery: &Delivery, outcome: Outcome) {
        if let Some(watched) = &self.0 {
            watched.observer.ended(&watched.handler, delivery, outcome);
        }
    }
}

/// Tells of each call of its inner service.
#[derive(Clone, Debug)]
pub struct ObserveCalls<S> {
    inner: S,
    watch: Watch,
}

impl<S: Service<Delivery>> Service<Delivery> for ObserveCalls<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ObservedCall<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let kept = self.watch.called(|| Call::one(delivery.clone()));
        ObservedCall::new(self.inner.call(delivery), self.watch.clone(), kept)
    }
}

impl<S: Service<Call>> Service<Call> for ObserveCalls<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ObservedCall<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let kept = self.watch.called(|| call.clone());
        ObservedCall::new(self.inner.call(call), self.watch.clone(), kept)
    }
}

/// Tells what each delivery came to.
#[derive(Clone, Debug)]
pub struct ObserveOutcomes<S> {
    inner: S,
    watch: Watch,
}

impl<S> Service<Delivery> for ObserveOutcomes<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let kept = self
            .watch
            .0
            .is_some()
            .then(|| (self.watch.clone(), delivery.clone()));
        ResponseFuture::new(self.inner.call(delivery), kept)
    }
}
