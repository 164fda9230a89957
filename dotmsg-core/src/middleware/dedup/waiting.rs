//! Whatever takes time: another message with the same id, or a store that answers later.
//!
//! Every wait for another message looks at the stream's stop flag when it is polled: a duplicate must not hold up a partition that is
//! being given up. A question that a store was asked is waited for even so: a claim that nobody hears of would keep the next owner
//! waiting.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tower_service::Service;

use super::future::Held;
use super::{Claim, DUPLICATE, DedupStore, Reply};
use crate::backend::BoxFuture;
use crate::delivery::{Delivery, Stream};
use crate::middleware::{Outcome, batch, pace};

/// Pause before the first repeat of a question.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a store that is back is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Waits, and calls `service` when the id is granted.
pub(crate) fn run<S, D>(
    store: Arc<D>,
    delivery: Delivery,
    reply: Reply<Claim>,
    service: S,
) -> BoxFuture<'static, Result<Outcome, S::Error>>
where
    S: Service<Delivery, Response = Outcome> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    D: DedupStore + ?Sized,
{
    Box::pin(call_when_granted(store, delivery, reply, service))
}

async fn call_when_granted<S, D>(
    store: Arc<D>,
    delivery: Delivery,
    reply: Reply<Claim>,
    mut service: S,
) -> Result<Outcome, S::Error>
where
    S: Service<Delivery, Response = Outcome>,
    S::Error: Send + 'static,
    D: DedupStore + ?Sized,
{
    let held = match granted(&store, &delivery, reply).await {
        Ok(held) => held,
        Err(outcome) => return Ok(outcome),
    };
    let stream = delivery.stream();
    let ready = unless_stopping(stream, poll_fn(|cx| service.poll_ready(cx)));
    match std::pin::pin!(ready).await {
        Some(ready) => ready?,
        None => return Ok(Outcome::Interrupted),
    }
    let outcome = service.call(delivery).await?;
    if outcome != Outcome::HANDLED {
        return Ok(outcome);
    }
    let reply = held.succeed();
    remember(held, reply, outcome).await
}

/// In front of batches: waits, and has the message run again when the id is granted. Nothing joins its batch in its place.
pub(crate) fn put_back<D, E>(
    store: Arc<D>,
    delivery: Delivery,
    reply: Reply<Claim>,
) -> BoxFuture<'static, Result<Outcome, E>>
where
    D: DedupStore + ?Sized,
{
    batch::close_for(&delivery);
    Box::pin(async move {
        match granted(&store, &delivery, reply).await {
            // It will ask again.
            Ok(held) => {
                drop(held);
                Ok(Outcome::PutBack)
            }
            Err(outcome) => Ok(outcome),
        }
    })
}

/// The claim, or what the message comes to without it.
async fn granted<D>(
    store: &Arc<D>,
    delivery: &Delivery,
    mut reply: Reply<Claim>,
) -> Result<Held<D>, Outcome>
where
    D: DedupStore + ?Sized,
{
    let stream = delivery.stream();
    loop {
        let ask = || store.claim(delivery);
        let claim = answered(delivery, "claim an id", ask, reply).await;
        match claim.ok_or(Outcome::Interrupted)? {
            Claim::Granted(token) => {
                let held = Held::new(Arc::clone(store), delivery.clone(), token);
                return match stream.is_stopping() {
                    true => Err(Outcome::Interrupted),
                    false => Ok(held),
                };
            }
            Claim::Handled => return Err(DUPLICATE),
            Claim::Running(over) => {
                let over = unless_stopping(stream, over).await;
                over.ok_or(Outcome::Interrupted)?;
            }
        }
        reply = store.claim(delivery);
    }
}

/// Waits until a success is remembered. It is one in any case.
pub(super) fn remember<D, E>(
    held: Held<D>,
    reply: Reply<()>,
    outcome: Outcome,
) -> BoxFuture<'static, Result<Outcome, E>>
where
    D: DedupStore + ?Sized,
    E: Send + 'static,
{
    Box::pin(async move {
        let ask = || held.succeed();
        let told = answered(&held.delivery, "remember an id", ask, reply).await;
        if told.is_some() {
            held.close();
        }
        Ok(outcome)
    })
}

/// The answer to a question, which is asked until there is one; `None`: the partition is being given up.
async fn answered<T>(
    delivery: &Delivery,
    operation: &'static str,
    ask: impl Fn() -> Reply<T>,
    mut reply: Reply<T>,
) -> Option<T> {
    let mut delays = None;
    loop {
        let error = match reply {
            Reply::Now(answer) => return Some(answer),
            Reply::Later(answer) => match answer.await {
                Ok(answer) => return Some(answer),
                Err(error) => error,
            },
        };
        let delays = delays.get_or_insert_with(|| {
            pace::delays(FIRST_PAUSE, LONGEST_PAUSE, pace::seed(0, delivery))
        });
        let delay = delays.next().unwrap_or(LONGEST_PAUSE);
        tracing::warn!(
            operation,
            origin = %delivery.origin(),
            %error,
            ?delay,
            "the store of ids does not answer; it is asked again"
        );
        if !pace::pause(delivery.stream(), delay).await {
            return None;
        }
        reply = ask();
    }
}

/// `None`, at once, when the partition is being given up. Whoever sets the stop flag also wakes the task.
async fn unless_stopping<T>(stream: &Stream, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        if stream.is_stopping() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
