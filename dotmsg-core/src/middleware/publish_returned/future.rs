//! The future of [`PublishReturned`](super::PublishReturned).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{PublishParts, send};
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
        kept: Option<(Delivery, Arc<PublishParts>)>,
        publishing: Option<BoxFuture<'static, Result<Outcome, HandlerError>>>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, delivery: Delivery, parts: Arc<PublishParts>) -> Self {
        Self {
            inner,
            kept: Some((delivery, parts)),
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
        let (delivery, parts) = this.kept.take().expect("polled after it had ended");
        this.publishing
            .insert(Box::pin(send::send(parts, delivery, returned)))
            .as_mut()
            .poll(cx)
    }
}
