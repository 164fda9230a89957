//! The first call of a handler, and what takes over when it is not a plain success.
//!
//! What must stay true: a first call is made only for what [`LimitParts::admits`] and what nobody traces, since the layers
//! that refuse and trace stand outside; its result, whatever it is, reaches the full stack as the answer to the first
//! call that the full stack makes, so that attempts, pauses and failures count as if it had made it itself.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::stopwatch::Stopwatch;
use super::{Layers, StackParts, limit_parts, metrics_layer};
use crate::backend::BoxFuture;
use crate::delivery::{Delivery, Mark, Settlement};
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::middleware::Outcome;
use crate::middleware::limits::LimitParts;
use crate::middleware::metrics::count_failures;
use crate::middleware::publish_returned::{Passage, Passed};
use crate::trace::RouteTracer;

/// A route's stack: the bounded handler, and all other layers for whenever they are needed.
pub(super) struct FirstCall<B> {
    bounded: B,
    // Why the handler was not ready; the failure of the next delivery.
    not_ready: Option<HandlerError>,
    limits: Arc<LimitParts>,
    tracer: Option<Arc<dyn RouteTracer>>,
    rest: Arc<Rest<B>>,
}

/// What the full stack is made of. The handler is behind a lock so that a future may hold this without asking the
/// handler to be shareable; it is taken only after a failure.
pub(super) struct Rest<B> {
    bounded: Mutex<B>,
    layers: Layers,
    parts: StackParts,
    /// Measures the first calls; the layer does so with repeats.
    stopwatch: Option<Stopwatch>,
}

impl<B: Clone> FirstCall<B> {
    pub(super) fn new(bounded: B, parts: StackParts) -> Self {
        let limits = Arc::new(limit_parts(&parts));
        Self {
            bounded: bounded.clone(),
            not_ready: None,
            tracer: parts.tracer.clone(),
            rest: Arc::new(Rest {
                bounded: Mutex::new(bounded),
                layers: Layers::new(&parts, &limits),
                stopwatch: parts
                    .measured
                    .then(|| Stopwatch::new(Arc::clone(&parts.metrics))),
                parts,
            }),
            limits,
        }
    }
}

impl<B: Clone> Clone for FirstCall<B> {
    fn clone(&self) -> Self {
        Self::new(self.bounded.clone(), self.rest.parts.clone())
    }
}

impl<B> fmt::Debug for FirstCall<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("route", &self.rest.parts.route)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Delivery> for FirstCall<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = Infallible;
    type Future = ResponseFuture<<B as Service<Delivery>>::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.bounded.poll_ready(cx).map(|ready| {
            self.not_ready = ready.err();
            Ok(())
        })
    }

    #[inline]
    fn call(&mut self, delivery: Delivery) -> Self::Future {
        if let Some(tracer) = &self.tracer
            && let Some(story) = tracer.follow(&delivery)
        {
            let rest = self.call_all(delivery.traced(story));
            return ResponseFuture::Rest { rest };
        }
        if self.not_ready.is_none()
            && self.limits.admits(&delivery)
            && !tracing::enabled!(tracing::Level::DEBUG)
        {
            let mut kept = delivery.clone();
            if let Some(stopwatch) = &self.rest.stopwatch {
                *kept.mark_mut() = stopwatch.begin();
            }
            return ResponseFuture::First {
                call: self.bounded.call(delivery),
                kept: Some((kept, Arc::clone(&self.rest))),
            };
        }
        ResponseFuture::Rest {
            rest: self.call_all(delivery),
        }
    }
}

impl<B> FirstCall<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    /// The full stack from its beginning.
    #[cold]
    fn call_all(&mut self, delivery: Delivery) -> BoxFuture<'static, Result<Outcome, Infallible>> {
        let next = self.bounded.clone();
        // The one that was found ready is the one that is called.
        let bounded = std::mem::replace(&mut self.bounded, next);
        // What it answered when it was asked whether it is ready is its answer to the call.
        let result = self.not_ready.take().map(Err);
        self.rest.take_over(delivery, Answered { bounded, result })
    }
}

impl<B> Rest<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    fn take_over(
        &self,
        delivery: Delivery,
        answered: Answered<B>,
    ) -> BoxFuture<'static, Result<Outcome, Infallible>> {
        let measured = metrics_layer(&self.parts).layer(answered.bounded);
        let mut service = self.layers.around(Answered {
            bounded: measured,
            result: answered.result,
        });
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let call = service.call(delivery);
            // With whatever it was ready with and the call had no use for: nothing is held while a failure is dealt with.
            drop(service);
            call.await
        })
    }

    #[cold]
    fn after(
        &self,
        delivery: Delivery,
        result: HandlerResult,
    ) -> BoxFuture<'static, Result<Outcome, Infallible>> {
        let bounded = self
            .bounded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let result = Some(result);
        self.take_over(delivery, Answered { bounded, result })
    }
}

pin_project! {
    /// Ends with the first call and what it returned, or with what the full stack makes of its result. Boxed only in the
    /// second case.
    #[project = Projection]
    pub(super) enum ResponseFuture<F, B> {
        First { #[pin] call: F, kept: Kept<B> },
        Sending { passage: Passage, kept: Kept<B> },
        Rest { rest: BoxFuture<'static, Result<Outcome, Infallible>> },
    }
}

impl<F, B> Future for ResponseFuture<F, B>
where
    F: Future<Output = HandlerResult>,
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    type Output = Result<Outcome, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut rest = match self.as_mut().project() {
            Projection::Rest { rest } => return rest.as_mut().poll(cx),
            Projection::Sending { passage, kept } => {
                let (delivery, rest) = kept.as_ref().expect("polled after it had ended");
                match ready!(passage.poll(cx, rest.layers.desk(), delivery)) {
                    Passed::Through(outcome) => return Poll::Ready(Ok(outcome)),
                    Passed::Left(result) => {
                        let (delivery, rest) = kept.take().expect("it was there");
                        rest.after(delivery, result)
                    }
                }
            }
            Projection::First { call, kept } => {
                let Poll::Ready(result) = call.poll(cx) else {
                    if let Some((mark, stopwatch)) = measured(kept) {
                        stopwatch.waits(mark);
                    }
                    return Poll::Pending;
                };
                if let Some((mark, stopwatch)) = measured(kept) {
                    stopwatch.ended(*mark);
                }
                if let Ok(returned) = &result
                    && returned.outgoing.capacity() == 0
                    && returned.settlement == Settlement::Ack
                {
                    // Nothing in it owns memory, which its destructor would have to find out again.
                    std::mem::forget(result);
                    return Poll::Ready(Ok(Outcome::HANDLED));
                }
                let kept = kept.take();
                match result {
                    Ok(returned)
                        if returned.settlement == Settlement::Ack
                            && !returned.outgoing.is_empty() =>
                    {
                        let passage = Passage::new(returned);
                        self.set(ResponseFuture::Sending { passage, kept });
                        return self.poll(cx);
                    }
                    result => {
                        let (delivery, rest) = kept.expect("polled after it had ended");
                        if delivery.mark().is_on() {
                            count_failures(&rest.parts.metrics, &result);
                        }
                        rest.after(delivery, result)
                    }
                }
            }
        };
        let poll = rest.as_mut().poll(cx);
        self.set(ResponseFuture::Rest { rest });
        poll
    }
}

/// What a first call keeps of its delivery and of its stack.
type Kept<B> = Option<(Delivery, Arc<Rest<B>>)>;

/// The mark of a first call, and who measures it, if somebody does.
#[inline]
fn measured<B>(kept: &mut Kept<B>) -> Option<(&mut Mark, &Stopwatch)> {
    let (delivery, rest) = kept
        .as_mut()
        .filter(|(delivery, _)| delivery.mark().is_on())?;
    Some((delivery.mark_mut(), rest.stopwatch.as_ref()?))
}

/// A bounded handler whose first answer may be there already.
struct Answered<B> {
    bounded: B,
    result: Option<HandlerResult>,
}

impl<B: Clone> Clone for Answered<B> {
    fn clone(&self) -> Self {
        // The answer belongs to the one that is called first; a clone is for the repeats.
        Self {
            bounded: self.bounded.clone(),
            result: None,
        }
    }
}

impl<B> Service<Delivery> for Answered<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError>,
{
    type Response = Returned;
    type Error = HandlerError;
    type Future = Answer<B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        if self.result.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.bounded.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Answer<B::Future> {
        match self.result.take() {
            Some(result) => Answer::There {
                result: ready(result),
            },
            None => Answer::Call {
                call: self.bounded.call(delivery),
            },
        }
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        There { result: Ready<HandlerResult> },
        Call { #[pin] call: F },
    }
}

impl<F: Future<Output = HandlerResult>> Future for Answer<F> {
    type Output = HandlerResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        match self.project() {
            AnswerProjection::There { result } => Pin::new(result).poll(cx),
            AnswerProjection::Call { call } => call.poll(cx),
        }
    }
}
