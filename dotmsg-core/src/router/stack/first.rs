//! The first call of a handler, and what takes over when it is not a plain success.
//!
//! What must stay true: a first call is made only for what [`LimitParts::admits`] and what nobody traces, since the layers
//! that refuse and trace stand outside; its result, whatever it is, reaches the full stack as the answer to the first
//! call that the full stack makes, so that attempts, pauses and failures count as if it had made it itself. What was claimed for a
//! message, where duplicates are known, goes along with it to its very end.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::claimed::{self, Claimed};
use super::stopwatch::Stopwatch;
use super::{Layers, StackParts, limit_parts, metrics_layer};
use crate::backend::BoxFuture;
use crate::delivery::{Delivery, Mark, Settlement};
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::middleware::Outcome;
use crate::middleware::dedup::{Claim, DUPLICATE, MemoryStore, Reply, waiting};
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
    /// Somebody looks at messages before they are called: who knows duplicates, traces or measures.
    looks: bool,
    rest: Arc<Rest<B>>,
}

/// What becomes of a message that was looked at.
enum Look {
    Call { noted: Mark, granted: Claimed },
    Rest(Ending),
    Duplicate,
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
        let metrics = parts.measured.then(|| Arc::clone(&parts.metrics));
        Self::with(bounded, parts, metrics.map(Stopwatch::new))
    }

    fn with(bounded: B, parts: StackParts, stopwatch: Option<Stopwatch>) -> Self {
        let limits = Arc::new(limit_parts(&parts));
        Self {
            bounded: bounded.clone(),
            not_ready: None,
            tracer: parts.tracer.clone(),
            looks: parts.front.store().is_some() || parts.tracer.is_some() || parts.measured,
            rest: Arc::new(Rest {
                bounded: Mutex::new(bounded),
                layers: Layers::new(&parts, &limits),
                stopwatch,
                parts,
            }),
            limits,
        }
    }
}

impl<B: Clone> Clone for FirstCall<B> {
    fn clone(&self) -> Self {
        let parts = self.rest.parts.clone();
        Self::with(self.bounded.clone(), parts, self.rest.another_stopwatch())
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
        let (mut mark, mut claimed) = (Mark::default(), Claimed::NOTHING);
        if self.looks {
            match self.look(&delivery) {
                Look::Call { noted, granted } => (mark, claimed) = (noted, granted),
                Look::Rest(rest) => return ResponseFuture::Rest { rest },
                Look::Duplicate => return ResponseFuture::Duplicate,
            }
        }
        if self.not_ready.is_none()
            && self.limits.admits(&delivery)
            && !tracing::enabled!(tracing::Level::DEBUG)
        {
            let mut kept = delivery.clone();
            *kept.mark_mut() = mark;
            return ResponseFuture::First {
                call: self.bounded.call(delivery),
                kept: Some(Kept {
                    delivery: kept,
                    rest: Arc::clone(&self.rest),
                    claimed,
                }),
            };
        }
        let rest = self.call_all(delivery, claimed);
        ResponseFuture::Rest { rest }
    }
}

impl<B> FirstCall<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    /// Looks at a message before its call.
    #[inline(always)]
    fn look(&mut self, delivery: &Delivery) -> Look {
        let granted = match self.rest.store() {
            None => Claimed::NOTHING,
            Some(store) => match store.claim_now(delivery) {
                Claim::Granted(token) => Claimed::granted(token),
                Claim::Handled => return Look::Duplicate,
                running @ Claim::Running(_) => return Look::Rest(self.wait(delivery, running)),
            },
        };
        if let Some(tracer) = &self.tracer {
            let follow = || tracer.follow(delivery);
            if let Some(story) = granted.guard(self.rest.store(), delivery, follow) {
                return Look::Rest(self.call_all(delivery.traced(story), granted));
            }
        }
        let noted = match &self.rest.stopwatch {
            Some(stopwatch) => stopwatch.begin(),
            None => Mark::default(),
        };
        Look::Call { noted, granted }
    }

    /// The full stack from its beginning.
    #[cold]
    fn call_all(&mut self, delivery: Delivery, claimed: Claimed) -> Ending {
        let held = claimed.hold(self.rest.store(), &delivery);
        let next = self.bounded.clone();
        // The one that was found ready is the one that is called.
        let bounded = std::mem::replace(&mut self.bounded, next);
        // What it answered when it was asked whether it is ready is its answer to the call.
        let result = self.not_ready.take().map(Err);
        let rest = self.rest.take_over(delivery, Answered { bounded, result });
        claimed::until(held, rest)
    }

    /// For an id that another message has. What this service is ready with is not to be held meanwhile, nor for a call that may
    /// never come: it goes, and a clone has none.
    #[cold]
    fn wait(&mut self, delivery: &Delivery, running: Claim) -> Ending {
        self.bounded = self.bounded.clone();
        self.not_ready = None;
        let delivery = delivery.clone();
        let parts = &self.rest.parts;
        let store = parts.front.store().map(Arc::clone);
        let store = store.expect("it was asked");
        let reply = Reply::Now(running);
        if parts.route.batch.is_some() {
            return waiting::put_back(store, delivery, reply);
        }
        let parts = StackParts {
            front: parts.front.without_store(),
            ..parts.clone()
        };
        let granted = Self::with(self.bounded.clone(), parts, self.rest.another_stopwatch());
        waiting::run(store, delivery, reply, granted)
    }
}

impl<B> Rest<B> {
    /// Who knows duplicates.
    #[inline]
    fn store(&self) -> Option<&Arc<MemoryStore>> {
        self.parts.front.store()
    }

    /// For the first calls of a clone.
    fn another_stopwatch(&self) -> Option<Stopwatch> {
        self.stopwatch.as_ref().map(Stopwatch::another)
    }
}

impl<B> Rest<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    fn take_over(&self, delivery: Delivery, answered: Answered<B>) -> Ending {
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
    fn after(&self, delivery: Delivery, result: HandlerResult) -> Ending {
        let bounded = self
            .bounded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let result = Some(result);
        self.take_over(delivery, Answered { bounded, result })
    }
}

/// What the full stack ends with.
type Ending = BoxFuture<'static, Result<Outcome, Infallible>>;

pin_project! {
    /// Ends with the first call and what it returned, or with what the full stack makes of its result. Boxed only in the
    /// second case.
    #[project = Projection]
    pub(super) enum ResponseFuture<F, B> {
        First { #[pin] call: F, kept: Option<Kept<B>> },
        Sending { passage: Passage, kept: Option<Kept<B>> },
        Rest { rest: Ending },
        Duplicate,
    }

    impl<F, B> PinnedDrop for ResponseFuture<F, B> {
        fn drop(this: Pin<&mut Self>) {
            if this.as_ref().get_ref().has_claimed() {
                this.give_up();
            }
        }
    }
}

impl<F, B> ResponseFuture<F, B> {
    /// Whether it has a claim that nobody else gives up.
    #[inline]
    fn has_claimed(&self) -> bool {
        let (Self::First { kept, .. } | Self::Sending { kept, .. }) = self else {
            return false;
        };
        kept.as_ref()
            .is_some_and(|kept| kept.claimed != Claimed::NOTHING)
    }

    /// Drops the call, and then gives up what was claimed for it.
    #[cold]
    fn give_up(mut self: Pin<&mut Self>) {
        let (Projection::First { kept, .. } | Projection::Sending { kept, .. }) =
            self.as_mut().project()
        else {
            return;
        };
        let kept = kept.take();
        let _held = kept.map(|kept| kept.claimed.hold(kept.rest.store(), &kept.delivery));
        // Which holds nothing.
        self.set(Self::Duplicate);
    }
}

/// What a first call keeps of its delivery and of its stack.
pub(super) struct Kept<B> {
    delivery: Delivery,
    rest: Arc<Rest<B>>,
    claimed: Claimed,
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
        let Projection::First { call, kept } = self.as_mut().project() else {
            return self.poll_behind(cx);
        };
        let kept = kept.as_mut().expect("it is taken with the state");
        let Poll::Ready(result) = call.poll(cx) else {
            if let Some((mark, stopwatch)) = kept.measured() {
                stopwatch.waits(mark);
            }
            return Poll::Pending;
        };
        if let Some((mark, stopwatch)) = kept.measured() {
            stopwatch.ended(*mark);
        }
        if let Ok(returned) = &result
            && returned.outgoing.capacity() == 0
            && returned.settlement == Settlement::Ack
        {
            // Nothing in it owns memory, which its destructor would have to find out again.
            std::mem::forget(result);
            kept.claimed.succeed(kept.rest.store());
            return Poll::Ready(Ok(Outcome::HANDLED));
        }
        self.go_on(result, cx)
    }
}

impl<F, B> ResponseFuture<F, B>
where
    F: Future<Output = HandlerResult>,
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    /// After a first call that was no plain success.
    #[inline(never)]
    fn go_on(
        mut self: Pin<&mut Self>,
        result: HandlerResult,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Infallible>> {
        let kept = match self.as_mut().project() {
            Projection::First { kept, .. } => kept.take(),
            _ => None,
        };
        let kept = kept.expect("the first call has just ended");
        let next = match result {
            Ok(returned)
                if returned.settlement == Settlement::Ack && !returned.outgoing.is_empty() =>
            {
                ResponseFuture::Sending {
                    passage: Passage::new(returned),
                    kept: Some(kept),
                }
            }
            result => {
                if kept.delivery.mark().is_on() {
                    count_failures(&kept.rest.parts.metrics, &result);
                }
                ResponseFuture::Rest {
                    rest: kept.after(result),
                }
            }
        };
        self.set(next);
        self.poll_behind(cx)
    }

    /// After the first call.
    #[inline(never)]
    fn poll_behind(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Infallible>> {
        let rest = match self.as_mut().project() {
            Projection::Rest { rest } => return rest.as_mut().poll(cx),
            Projection::Duplicate => return Poll::Ready(Ok(DUPLICATE)),
            Projection::Sending { passage, kept } => {
                let at_work = kept.as_mut().expect("polled after it had ended");
                let desk = at_work.rest.layers.desk();
                match ready!(passage.poll(cx, desk, &at_work.delivery)) {
                    Passed::Through(outcome) => {
                        if outcome == Outcome::HANDLED {
                            at_work.claimed.succeed(at_work.rest.store());
                        }
                        return Poll::Ready(Ok(outcome));
                    }
                    Passed::Left(result) => {
                        let kept = kept.take().expect("it was there");
                        kept.after(result)
                    }
                }
            }
            Projection::First { .. } => unreachable!("the first call has ended"),
        };
        self.set(ResponseFuture::Rest { rest });
        self.poll_behind(cx)
    }
}

impl<B> Kept<B> {
    /// The mark of a first call, and who measures it, if somebody does.
    #[inline]
    fn measured(&mut self) -> Option<(&mut Mark, &Stopwatch)> {
        if !self.delivery.mark().is_on() {
            return None;
        }
        Some((self.delivery.mark_mut(), self.rest.stopwatch.as_ref()?))
    }
}

impl<B> Kept<B>
where
    B: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    B::Future: Send + 'static,
{
    /// What the full stack makes of a result.
    fn after(self, result: HandlerResult) -> Ending {
        let held = self.claimed.hold(self.rest.store(), &self.delivery);
        claimed::until(held, self.rest.after(self.delivery, result))
    }
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
