//! The driver of a batch: waits for more, then calls until there is a result for each.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tower_service::Service;

use super::bisection::Bisection;
use super::{Gathering, Shared};
use crate::backend::BoxFuture;
use crate::handler::{Answer, Call, HandlerError};

pub(super) fn drive<C>(
    gathering: Arc<Gathering>,
    mut service: C,
    shared: Arc<Shared>,
) -> BoxFuture<'static, ()>
where
    C: Service<Call, Response = Answer, Error = HandlerError> + Send + 'static,
    C::Future: Send,
{
    Box::pin(async move {
        {
            let mut linger = pin!(tokio::time::sleep(shared.parts.linger));
            poll_fn(|cx| match gathering.is_due() {
                true => Poll::Ready(()),
                false => linger.as_mut().poll(cx),
            })
            .await;
        }
        let _call = shared.calls.acquire().await.expect("it is never closed");
        let (members, deliveries) = gathering.close();
        let parts = &shared.parts;
        let mut bisection = Bisection::new(deliveries, parts.order, &parts.classes);
        while let Some((called, call)) = bisection.next_call() {
            let result = match poll_fn(|cx| service.poll_ready(cx)).await {
                Ok(()) => service.call(call).await,
                Err(error) => Err(error),
            };
            bisection.answered(&called, result);
            for (index, result) in bisection.news() {
                gathering.end(members[index], result);
            }
        }
        for (index, result) in bisection.news() {
            gathering.end(members[index], result);
        }
    })
}
