//! A handler behind one type, without an allocation for each call.
//!
//! Layers that most routes do without would cost all of them if they were part of every handler's own stack: its future grows,
//! and so does its code. So a route that has some of them runs in a stack of its own that is made once, around this. A call
//! costs a pointer or two more there; its future lives in a box that is used again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{HandlerError, HandlerResult, Returned};
use crate::delivery::Delivery;

/// A service of deliveries whose type is not told.
pub struct Erased(Box<dyn AnyHandler>);

impl Erased {
    /// Of this service.
    pub fn new<H>(handler: H) -> Self
    where
        H: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
        H::Future: Send + 'static,
    {
        Self(Box::new(Pooling {
            handler,
            pool: Pool::default(),
        }))
    }
}

impl Clone for Erased {
    fn clone(&self) -> Self {
        Self(self.0.another())
    }
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Erased")
    }
}

impl Service<Delivery> for Erased {
    type Response = Returned;
    type Error = HandlerError;
    type Future = ErasedCall;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> ErasedCall {
        ErasedCall(Some(self.0.call(delivery)))
    }
}

/// One call of an [`Erased`] handler.
pub struct ErasedCall(Option<Pin<Box<dyn Place>>>);

impl Future for ErasedCall {
    type Output = HandlerResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        let place = self
            .0
            .as_mut()
            .expect("it has its place until it is dropped");
        place.as_mut().poll_call(cx)
    }
}

impl Drop for ErasedCall {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            place.give_back();
        }
    }
}

impl fmt::Debug for ErasedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedCall")
    }
}

trait AnyHandler: Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>>;
    fn call(&mut self, delivery: Delivery) -> Pin<Box<dyn Place>>;
    fn another(&self) -> Box<dyn AnyHandler>;
}

/// Where the future of a call lives.
trait Place: Send {
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult>;
    /// Drops the future, and keeps its place for the next call.
    fn give_back(self: Pin<Box<Self>>);
}

/// Places that are free, of all calls of one clone of a handler.
struct Pool<F>(Arc<Mutex<Vec<FreePlace<F>>>>);

type FreePlace<F> = Pin<Box<Placed<F>>>;

impl<F> Pool<F> {
    fn take(&self) -> Option<FreePlace<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, place: FreePlace<F>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(place);
    }
}

impl<F> Default for Pool<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F> Clone for Pool<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Pooling<H: Service<Delivery>> {
    handler: H,
    pool: Pool<H::Future>,
}

impl<H> AnyHandler for Pooling<H>
where
    H: Service<Delivery, Response = Returned, Error = HandlerError> + Clone + Send + 'static,
    H::Future: Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        self.handler.poll_ready(cx)
    }

    fn call(&mut self, delivery: Delivery) -> Pin<Box<dyn Place>> {
        let call = self.handler.call(delivery);
        let free = self.pool.take();
        let mut place = free.unwrap_or_else(|| {
            Box::pin(Placed {
                call: None,
                pool: None,
            })
        });
        let mut used = place.as_mut().project();
        used.call.set(Some(call));
        *used.pool = Some(self.pool.clone());
        place
    }

    /// With places of its own: the clones of a service run on threads of their own.
    fn another(&self) -> Box<dyn AnyHandler> {
        Box::new(Self {
            handler: self.handler.clone(),
            pool: Pool::default(),
        })
    }
}

pin_project! {
    struct Placed<F> {
        #[pin]
        call: Option<F>,
        // Where it came from; `None` while it is there, or the pool would hold itself.
        pool: Option<Pool<F>>,
    }
}

impl<F: Future<Output = HandlerResult> + Send + 'static> Place for Placed<F> {
    fn poll_call(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HandlerResult> {
        let call = self.project().call.as_pin_mut();
        call.expect("it runs until its place is given back")
            .poll(cx)
    }

    fn give_back(mut self: Pin<Box<Self>>) {
        let mut used = self.as_mut().project();
        used.call.set(None);
        if let Some(pool) = used.pool.take() {
            pool.put(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::HandlerService;
    use crate::handler::extract::testing::{delivery, now};
    use crate::message::Message;

    #[test]
    fn a_place_is_used_again_and_holds_nothing_meanwhile() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let mut erased = Erased::new(HandlerService::new(move |_| {
            let inside = Arc::clone(&inside);
            async move {
                drop(inside);
                Ok(Returned::default())
            }
        }));
        let place = |call: &ErasedCall| {
            let place = call.0.as_ref().map(|place| &raw const **place);
            place.map(|place| place.cast::<()>())
        };
        let first = erased.call(delivery(Message::new("")));
        let (at, beside) = (place(&first), erased.call(delivery(Message::new(""))));
        assert_ne!(place(&beside), at, "two calls at once");
        assert!(now(first).is_ok());
        let again = erased.call(delivery(Message::new("")));
        assert_eq!(place(&again), at);
        drop((again, beside));
        assert_eq!(Arc::strong_count(&held), 2, "the handler's own and ours");
    }

    #[test]
    fn places_go_with_their_handler() {
        let handler = HandlerService::new(|_| std::future::ready(Ok(Returned::default())));
        let mut pooling = Pooling {
            handler,
            pool: Pool::default(),
        };
        let places = Arc::downgrade(&pooling.pool.0);
        let mut another = pooling.another();
        for handler in [&mut pooling as &mut dyn AnyHandler, &mut *another] {
            let call = ErasedCall(Some(handler.call(delivery(Message::new("")))));
            assert!(now(call).is_ok());
        }
        assert_eq!(
            pooling.pool.0.lock().unwrap().len(),
            1,
            "a clone has its own"
        );
        drop(pooling);
        assert!(places.upgrade().is_none());
    }
}
