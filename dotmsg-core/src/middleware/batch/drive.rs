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
        let mut ready = Some(poll_fn(|cx| service.poll_ready(cx)).await);
        let (members, deliveries) = gathering.close();
        let mut bisection = Bisection::new(deliveries, &shared.parts);
        while !bisection.is_done() {
            // Before it is decided who is called: who goes meanwhile is not.
            let ready = match ready.take() {
                Some(ready) => ready,
                None => poll_fn(|cx| service.poll_ready(cx)).await,
            };
            let next = bisection.next_call(|index| gathering.awaits_call(members[index]));
            // Before the call: who is not in it does not wait for it.
            tell(&gathering, &members, &mut bisection);
            let Some((called, call)) = next else { return };
            gathering.begin_call(called.iter().map(|index| members[*index]));
            let result = match ready {
                Ok(()) => service.call(call).await,
                Err(error) => Err(error),
            };
            gathering.end_call();
            bisection.answered(&called, result);
            tell(&gathering, &members, &mut bisection);
            poll_fn(|_| match gathering.holds_up_a_call() {
                false => Poll::Ready(()),
                // Whoever ends the sending wakes the leader.
                true => Poll::Pending,
            })
            .await;
            for lane in gathering.take_failed() {
                bisection.put_back_lane(lane);
            }
        }
    })
}

/// Tells members what they came to.
fn tell(gathering: &Gathering, members: &[usize], bisection: &mut Bisection<'_>) {
    for (index, result) in bisection.take_news() {
        let returns = result
            .as_ref()
            .is_ok_and(|returned| !returned.outgoing.is_empty());
        let lane = (returns || gathering.is_sending()).then(|| bisection.lane(index));
        gathering.end(members[index], result, lane);
    }
}
