//! The future of [`PublishReturned`](super::PublishReturned).

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Desk, Way, passage, send, traced};
use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::handler::{HandlerError, Returned};
use crate::middleware::Outcome;
use crate::middleware::failed::settle;

pin_project! {
    /// Ends when what the handler returned is confirmed. Boxed only when there is something to publish.
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // What publishing needs; taken when it begins.
        kept: Option<(Delivery, Arc<Desk>)>,
        publishing: Option<BoxFuture<'static, Result<Outcome, HandlerError>>>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, delivery: Delivery, desk: Arc<Desk>) -> Self {
        Self {
            inner,
            kept: Some((delivery, desk)),
            publishing: None,
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("publishing", &self.publishing.is_some())
            .finish_non_exhaustive()
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Returned, HandlerError>>,
{
    type Output = Result<Outcome, HandlerError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(publishing) = this.publishing {
            return publishing.as_mut().poll(cx);
        }
        let returned = ready!(this.inner.poll(cx))?;
        if returned.outgoing.is_empty() {
            return Poll::Ready(settle(returned.settlement));
        }
        let (delivery, desk) = this.kept.take().expect("polled after it had ended");
        this.publishing
            .insert(Box::pin(leave(desk, delivery, returned)))
            .as_mut()
            .poll(cx)
    }
}

async fn leave(
    desk: Arc<Desk>,
    delivery: Delivery,
    mut returned: Returned,
) -> Result<Outcome, HandlerError> {
    let spans = traced::begin(&desk, &delivery, &mut returned);
    let result = match &desk.way {
        Way::Transaction(enlistment) => {
            poll_fn(|cx| passage::enlist(cx, &desk, enlistment, &delivery, &mut returned)).await
        }
        Way::Runs(_) => send::send(desk, delivery, returned).await,
    };
    traced::end(spans, &result);
    result
}
