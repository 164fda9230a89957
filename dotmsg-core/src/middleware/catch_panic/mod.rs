//! A panic in the handler is a transient failure of kind `panic`.
//!
//! Without this layer a panic would unwind through the worker and take every other running message with it. It also
//! catches a panic in the destructor of a handler's future, which a timeout may run, or of what a panic was raised with, and
//! one of a service that is asked
//! whether it is ready. It adds no instructions to the path without a panic beyond landing pads.

mod future;
mod layer;

pub use future::ResponseFuture;
pub use layer::CatchPanicLayer;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::handler::HandlerError;

/// Turns panics of its inner service into errors.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic<S> {
    inner: S,
}

impl<S> CatchPanic<S> {
    /// Around `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, C> Service<C> for CatchPanic<S>
where
    S: Service<C, Error = HandlerError>,
{
    type Response = S::Response;
    type Error = HandlerError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandlerError>> {
        catch_unwind(AssertUnwindSafe(|| self.inner.poll_ready(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(error_of(panic))))
    }

    #[inline]
    fn call(&mut self, call: C) -> Self::Future {
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(call))) {
            Ok(future) => ResponseFuture::running(future),
            Err(panic) => ResponseFuture::panicked(error_of(panic)),
        }
    }
}

/// Drops what a panic was raised with. Its destructor may panic as well; what that was raised with is not tried again.
pub(super) fn dispose(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

/// What a panic said.
#[derive(Debug)]
struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

fn error_of(panic: Box<dyn Any + Send>) -> HandlerError {
    let text = panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned());
    dispose(panic);
    HandlerError::transient(Panicked(text)).kind("panic")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Delivery;
    use crate::handler::{HandlerResult, Returned};
    use crate::middleware::testing::{UnreadyOnce, delivery};
    use tower::{ServiceExt, service_fn};

    fn panics_at_row(row: u32) -> HandlerResult {
        panic!("row {row}")
    }

    fn panics_with_a_bomb() -> HandlerResult {
        std::panic::panic_any(Bomb)
    }

    #[tokio::test]
    async fn a_panic_in_call_or_poll_is_a_transient_error_with_its_text() {
        let in_poll = service_fn(|_: Delivery| async {
            tokio::task::yield_now().await;
            panics_at_row(7)
        });
        let error = CatchPanic::new(in_poll)
            .oneshot(delivery(0))
            .await
            .unwrap_err();
        assert!(error.is_transient());
        assert_eq!(error.kind_name(), "panic");
        assert_eq!(error.to_string(), "the handler panicked: row 7");

        let in_call =
            service_fn(|_: Delivery| -> std::future::Ready<HandlerResult> { panic!("early") });
        let error = CatchPanic::new(in_call)
            .oneshot(delivery(0))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the handler panicked: early");
    }

    #[tokio::test]
    async fn a_panic_in_poll_ready_is_an_error_of_readiness() {
        let mut service = CatchPanic::new(UnreadyOnce::default());
        let error = service.ready().await.err().unwrap();
        assert_eq!((error.kind_name(), error.is_transient()), ("panic", true));
        assert_eq!(error.to_string(), "the handler panicked: pool is poisoned");
        assert!(service.ready().await.is_ok());
    }

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("in drop");
            }
        }
    }

    #[tokio::test]
    async fn a_payload_with_a_panicking_destructor_does_not_unwind_out() {
        let in_poll = service_fn(|_: Delivery| async {
            tokio::task::yield_now().await;
            panics_with_a_bomb()
        });
        let error = CatchPanic::new(in_poll)
            .oneshot(delivery(0))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the handler panicked: (no text)");
        let in_call = service_fn(|_: Delivery| -> std::future::Ready<HandlerResult> {
            std::panic::panic_any(Bomb)
        });
        let error = CatchPanic::new(in_call)
            .oneshot(delivery(0))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the handler panicked: (no text)");
    }

    #[tokio::test]
    async fn a_panicking_destructor_does_not_unwind_out() {
        let mut service = CatchPanic::new(service_fn(|_: Delivery| async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
            Ok(Returned::default())
        }));
        let mut future = Box::pin(service.call(delivery(0)));
        let waker = std::task::Waker::noop();
        assert!(
            future
                .as_mut()
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
        drop(future);
    }
}
