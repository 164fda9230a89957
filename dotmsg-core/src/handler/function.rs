//! Plain async functions and closures as handlers.
//!
//! Extraction runs inside the future's first poll and not in `call`, so that whatever bounds or catches the future also
//! bounds and catches a user's extractor. Nothing is boxed: the future is the function's own, with the delivery beside it.

use std::future::Future;
use std::sync::Arc;

use super::{FromDelivery, FromLast, Handler, HandlerResult, IntoReturned, Needs};
use crate::delivery::Delivery;

#[diagnostic::do_not_recommend]
impl<F, Fut, S> Handler<(), S> for F
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output: IntoReturned> + Send + 'static,
    S: Send + Sync + 'static,
{
    fn call(
        &self,
        _: Delivery,
        _: Arc<S>,
    ) -> impl Future<Output = HandlerResult> + Send + 'static + use<F, Fut, S> {
        let handler = self.clone();
        async move { handler().await.into_returned() }
    }
}

macro_rules! impl_handler {
    ([$($part:ident)*] $last:ident) => {
        #[diagnostic::do_not_recommend]
        #[allow(non_snake_case, reason = "arguments are named after their types")]
        impl<F, Fut, S, Via, $($part,)* $last> Handler<(Via, $($part,)* $last), S> for F
        where
            F: Fn($($part,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output: IntoReturned> + Send + 'static,
            S: Send + Sync + 'static,
            $($part: for<'d> FromDelivery<'d, S>,)*
            $last: for<'d> FromLast<'d, S, Via>,
        {
            const NEEDS: Needs = <$last as FromLast<'_, S, Via>>::NEEDS
                $(.and(<$part as FromDelivery<'_, S>>::NEEDS))*;

            fn call(
                &self,
                delivery: Delivery,
                state: Arc<S>,
            ) -> impl Future<Output = HandlerResult> + Send + 'static + use<F, Fut, S, Via, $($part,)* $last> {
                let handler = self.clone();
                async move {
                    let future = {
                        $(let $part = $part::from_delivery(&delivery, &state).map_err(Into::into)?;)*
                        let $last = $last::from_last(&delivery, &state)?;
                        handler($($part,)* $last)
                    };
                    future.await.into_returned()
                }
            }
        }
    };
}

impl_handler!([] A1);
impl_handler!([A1] A2);
impl_handler!([A1 A2] A3);
impl_handler!([A1 A2 A3] A4);
impl_handler!([A1 A2 A3 A4] A5);
impl_handler!([A1 A2 A3 A4 A5] A6);
impl_handler!([A1 A2 A3 A4 A5 A6] A7);
impl_handler!([A1 A2 A3 A4 A5 A6 A7] A8);
impl_handler!([A1 A2 A3 A4 A5 A6 A7 A8] A9);
impl_handler!([A1 A2 A3 A4 A5 A6 A7 A8 A9] A10);
impl_handler!([A1 A2 A3 A4 A5 A6 A7 A8 A9 A10] A11);
impl_handler!([A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11] A12);

#[cfg(test)]
mod tests {
    use std::future::ready;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;
    use crate::delivery::Settlement;
    use crate::handler::extract::testing::{delivery, now};
    use crate::handler::{Attempt, HandlerError, Json, Key, Outgoing, State};
    use crate::message::{Headers, Message};

    fn run<T, S>(handler: impl Handler<T, S>, message: Message, state: S) -> HandlerResult {
        now(handler.call(delivery(message), Arc::new(state)))
    }

    #[test]
    fn parts_then_the_payload() {
        async fn add(State(base): State<u64>, _: Attempt, Json(more): Json<u64>) -> Outgoing {
            Outgoing::new("sums", (base + more).to_string())
        }
        let returned = run(add, Message::new("2"), 40_u64).unwrap();
        assert_eq!(returned.outgoing, [Outgoing::new("sums", "42")]);
    }

    #[test]
    fn parts_alone_or_nothing() {
        async fn only_parts(_: Headers, Key(_): Key<Option<Bytes>>) -> Settlement {
            Settlement::Discard
        }
        let returned = run(only_parts, Message::tombstone(), ()).unwrap();
        assert_eq!(returned.settlement, Settlement::Discard);
        assert!(run(|| ready(()), Message::tombstone(), ()).is_ok());
    }

    #[test]
    fn closures_that_hold_something() {
        let least: Arc<u64> = Arc::new(3);
        let handler = move |Json(n): Json<u64>| {
            let least = Arc::clone(&least);
            async move {
                (n >= *least)
                    .then_some(())
                    .ok_or_else(|| HandlerError::permanent("too small").kind("small"))
            }
        };
        assert!(run(handler.clone(), Message::new("3"), ()).is_ok());
        let error = run(handler, Message::new("2"), ()).unwrap_err();
        assert_eq!(error.kind_name(), "small");
    }

    #[test]
    fn a_rejection_ends_it_before_the_function_runs() {
        async fn never(_: Json<u64>) {
            unreachable!("the payload does not decode");
        }
        let error = run(never, Message::new("x"), ()).unwrap_err();
        assert_eq!(error.kind_name(), "decode");
        assert!(!error.is_transient());
    }

    #[test]
    fn twelve_arguments() {
        #[allow(clippy::too_many_arguments)]
        async fn many(
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Attempt,
            _: Timestamp,
            _: Bytes,
        ) {
        }
        assert!(run(many, Message::new(""), ()).is_ok());
    }
}
