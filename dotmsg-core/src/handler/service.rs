//! A handler as a tower service, the innermost of a route's stack; and what leads from deliveries to calls and back, where
//! an app's layers are between.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Answer, Call, HandlerError, HandlerResult, Returned};
use crate::delivery::Delivery;

/// A service around a call of a handler; always ready.
#[derive(Clone, Debug)]
pub struct HandlerService<F>(F);

impl<F> HandlerService<F> {
    /// A service that answers each delivery, or each call with several, with `call`.
    pub fn new(call: F) -> Self {
        Self(call)
    }
}

impl<F, Fut> Service<Delivery> for HandlerService<F>
where
    F: Fn(Delivery) -> Fut,
    Fut: Future<Output = HandlerResult>,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Fut {
        (self.0)(delivery)
    }
}

/// A handler of batches as a service of calls; always ready.
#[derive(Clone, Debug)]
pub struct BatchHandlerService<F>(F);

impl<F> BatchHandlerService<F> {
    /// A service that answers the deliveries of each call with `call`.
    pub fn new(call: F) -> Self {
        Self(call)
    }
}

impl<F, Fut> Service<Call> for BatchHandlerService<F>
where
    F: Fn(Vec<Delivery>) -> Fut,
    Fut: Future<Output = Result<Answer, HandlerError>>,
{
    type Response = Answer;
    type Error = HandlerError;
    type Future = Fut;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Fut {
        (self.0)(call.into_deliveries())
    }
}

/// A service of single deliveries as one of calls.
#[derive(Clone, Debug)]
pub(crate) struct AsCalls<S>(pub(crate) S);

impl<S> Service<Call> for AsCalls<S>
where
    S: Service<Delivery, Response = Returned, Error = HandlerError>,
{
    type Response = Answer;
    type Error = HandlerError;
    type Future = AsAnswer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let delivery = call
            .into_one()
            .expect("the layers pass on the call that they were given");
        AsAnswer {
            inner: self.0.call(delivery),
        }
    }
}

pin_project! {
    /// What a single delivery came to, as the answer to a call.
    pub(crate) struct AsAnswer<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = HandlerResult>> Future for AsAnswer<F> {
    type Output = Result<Answer, HandlerError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)).map(Answer::one))
    }
}

/// A service of calls as one of single deliveries.
#[derive(Clone, Debug)]
pub(crate) struct OfCalls<S>(pub(crate) S);

impl<S> Service<Delivery> for OfCalls<S>
where
    S: Service<Call, Response = Answer, Error = HandlerError>,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = OfAnswer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        OfAnswer {
            inner: self.0.call(Call::one(delivery)),
        }
    }
}

pin_project! {
    /// The answer to a call, as what its only delivery came to.
    pub(crate) struct OfAnswer<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Answer, HandlerError>>> Future for OfAnswer<F> {
    type Output = HandlerResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        Poll::Ready(ready!(self.project().inner.poll(cx)).and_then(Answer::into_one))
    }
}
