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
        // Whatever it waits for here, it takes more meanwhile.
        let mut ready = ready_unless(&mut service, || gathering.is_hurried()).await;
        let (members, deliveries) = gathering.close();
        let parts = &shared.parts;
        let mut bisection = Bisection::new(deliveries, parts.order, &parts.classes);
        let tell = |bisection: &mut Bisection<'_>| {
            for (index, result) in bisection.news() {
                gathering.end(members[index], result);
            }
        };
        while let Some((called, call)) = bisection.next_call() {
            tell(&mut bisection);
            if ready.is_none() {
                ready = ready_unless(&mut service, || bisection.is_stopping(&called)).await;
            }
            let result = match ready.take() {
                Some(Ok(())) => service.call(call).await,
                Some(Err(error)) => Err(error),
                None => {
                    bisection.not_called(&called);
                    continue;
                }
            };
            bisection.answered(&called, result);
            tell(&mut bisection);
        }
        tell(&mut bisection);
    })
}

/// Waits until the service is ready; `None`: somebody cannot wait for that.
async fn ready_unless<C: Service<Call>>(
    service: &mut C,
    cannot_wait: impl Fn() -> bool,
) -> Option<Result<(), C::Error>> {
    poll_fn(|cx| match service.poll_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(Some(ready)),
        Poll::Pending if cannot_wait() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
