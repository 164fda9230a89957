//! A member that its group lets wait says so, once: its process would look stuck else.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{HANDLED, World};
use crate::backend::{
    AssignmentEvent, Backend, BoxFuture, Face, Membership, Source, SourceFace, Subscription,
};
use crate::error::Result;
use crate::log::LogBroker;
use crate::seen::Seen;

const LINE: &str = "the group has given no partitions yet";

/// Members of it join, and are given nothing.
#[derive(Debug)]
struct Reluctant(LogBroker);

impl Face for Reluctant {
    fn broker(&self) -> &LogBroker {
        &self.0
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.0.subscribe(subscription).await?;
            Ok((Box::new(SilentSource(source)) as _, control))
        })
    }
}

struct SilentSource(Box<dyn Source>);

impl SourceFace for SilentSource {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.0
    }

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_given_nothing_says_so_once() {
    let seen = Seen::new();
    let mut world = World::new(1).await;
    world.face = Some(Arc::new(Reluctant(world.broker.clone())));
    let _route = world.start(World::spec(), |_| async { HANDLED });
    sleep(Duration::from_secs(4)).await;
    assert!(seen.of(LINE).is_empty());
    sleep(Duration::from_secs(600)).await;
    let said = seen.of(LINE);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].field("topic"), Some("orders"));
}

const SPARE: &str = "owns no partition";

#[tokio::test(start_paused = true)]
async fn a_member_too_many_says_so_once_until_it_owns_something() {
    let seen = Seen::new();
    let world = World::new(1).await;
    let first = world.start(World::spec(), |_| async { HANDLED });
    timeout(Duration::from_secs(600), first.stats.idle())
        .await
        .expect("idle");
    let second = world.start(World::spec(), |_| async { HANDLED });
    sleep(Duration::from_secs(600)).await;
    assert_eq!(first.stats.owned() + second.stats.owned(), 1);
    assert_eq!(seen.of(SPARE).len(), 1);
    first.drain().await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(second.stats.owned(), 1);
    assert_eq!(seen.of(SPARE).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrency_that_partition_order_cannot_use_is_told() {
    const LINE: &str = "more concurrency than can be used";
    let seen = Seen::new();
    let world = World::new(2).await;
    for (concurrency, told) in [(256, 0), (2, 0), (3, 1)] {
        let mut spec = World::spec();
        spec.ordering = crate::router::Ordering::Partition;
        spec.limits.concurrency = concurrency;
        let route = world.start(spec, |_| async { HANDLED });
        timeout(Duration::from_secs(600), route.stats.idle())
            .await
            .expect("idle");
        assert_eq!(seen.of(LINE).len(), told, "{concurrency}");
        route.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_given_something_has_nothing_to_say() {
    let seen = Seen::new();
    let world = World::new(1).await;
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(Duration::from_secs(600), route.stats.idle())
        .await
        .expect("idle");
    sleep(Duration::from_secs(600)).await;
    assert!(seen.of(LINE).is_empty());
}
