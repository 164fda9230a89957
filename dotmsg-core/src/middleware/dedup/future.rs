//! The future of [`Dedup`](super::Dedup), and the claim that it holds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{DedupStore, Reply, waiting};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::middleware::Outcome;

/// A claim that was granted; released when it is dropped, unless it was closed.
pub(crate) struct Held<D: DedupStore + ?Sized> {
    store: Arc<D>,
    pub(super) delivery: Delivery,
    token: u64,
    closed: bool,
}

impl<D: DedupStore + ?Sized> Held<D> {
    #[inline]
    pub(crate) fn new(store: Arc<D>, delivery: Delivery, token: u64) -> Self {
        Self {
            store,
            delivery,
            token,
            closed: false,
        }
    }

    /// Has the store remember the id. The claim is to be closed when it has.
    #[inline]
    pub(super) fn succeed(&self) -> Reply<()> {
        self.store.succeed(&self.delivery, self.token)
    }

    /// It is not given up any more.
    #[inline]
    pub(crate) fn close(mut self) {
        self.closed = true;
    }
}

impl<D: DedupStore + ?Sized> Drop for Held<D> {
    fn drop(&mut self) {
        if !self.closed {
            self.store.release(&self.delivery, self.token);
        }
    }
}

pin_project! {
    #[project = Projection]
    enum State<F, E, D>
    where
        D: DedupStore,
        D: ?Sized,
    {
        // The call comes first: it is dropped before its claim is given up.
        Calling { #[pin] call: F, held: Option<Held<D>> },
        Ended { outcome: Outcome },
        Waiting { rest: BoxFuture<'static, Result<Outcome, E>> },
    }
}

pin_project! {
    /// Ends with the inner future, or as a duplicate. Boxed only when it has to wait for another message or for the store.
    pub struct ResponseFuture<F, E, D>
    where
        D: DedupStore,
        D: ?Sized,
    {
        #[pin]
        state: State<F, E, D>,
    }
}

impl<F, E, D: DedupStore + ?Sized> ResponseFuture<F, E, D> {
    #[inline]
    pub(crate) fn calling(call: F, held: Option<Held<D>>) -> Self {
        Self {
            state: State::Calling { call, held },
        }
    }

    pub(super) fn ended(outcome: Outcome) -> Self {
        Self {
            state: State::Ended { outcome },
        }
    }

    pub(super) fn waiting(rest: BoxFuture<'static, Result<Outcome, E>>) -> Self {
        Self {
            state: State::Waiting { rest },
        }
    }
}

impl<F, E, D: DedupStore + ?Sized> fmt::Debug for ResponseFuture<F, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "calling",
            State::Ended { .. } => "ended",
            State::Waiting { .. } => "waiting",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}

impl<F, E, D> Future for ResponseFuture<F, E, D>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Send + 'static,
    D: DedupStore + ?Sized,
{
    type Output = Result<Outcome, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            Projection::Calling { call, held } => {
                let result = ready!(call.poll(cx));
                let Some(held) = held.take() else {
                    return Poll::Ready(result);
                };
                let Ok(outcome @ Outcome::HANDLED) = result else {
                    return Poll::Ready(result);
                };
                match held.succeed() {
                    Reply::Now(()) => {
                        held.close();
                        Poll::Ready(Ok(outcome))
                    }
                    reply => {
                        let mut rest = waiting::remember(held, reply, outcome);
                        let poll = rest.as_mut().poll(cx);
                        state.set(State::Waiting { rest });
                        poll
                    }
                }
            }
            Projection::Ended { outcome } => Poll::Ready(Ok(*outcome)),
            Projection::Waiting { rest } => rest.as_mut().poll(cx),
        }
    }
}
