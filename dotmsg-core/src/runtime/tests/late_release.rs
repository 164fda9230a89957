//! A partition that is lost and given again just when its release is due: the release is of the old ownership only.
//!
//! A release names partitions and no grant, so it must reach the broker before the route hears of the next ownership.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{HANDLED, World};
use crate::backend::{
    AssignmentEvent, Backend, BoxFuture, CommitOutcome, Control, ControlFace, Face, Membership,
    Progress, Source, SourceFace, Subscription,
};
use crate::error::Result;
use crate::log::LogBroker;

/// After a commit, and before the next event is heard, the partition is lost and given again.
#[derive(Debug)]
struct Flickering {
    broker: LogBroker,
    armed: Arc<AtomicBool>,
}

impl Face for Flickering {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.broker.subscribe(subscription).await?;
            let committed = Arc::new(AtomicBool::new(false));
            let source = FlickeringSource {
                source,
                broker: self.broker.clone(),
                committed: Arc::clone(&committed),
            };
            let control = NotingControl {
                control,
                armed: Arc::clone(&self.armed),
                committed,
            };
            let control: Arc<dyn Control> = Arc::new(control);
            Ok((Box::new(source) as _, control))
        })
    }
}

struct FlickeringSource {
    source: Box<dyn Source>,
    broker: LogBroker,
    committed: Arc<AtomicBool>,
}

impl SourceFace for FlickeringSource {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.source
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        if self.committed.swap(false, Ordering::SeqCst) {
            self.broker.lose("billing", "orders", &[0]);
            self.broker.reassign("billing", "orders", &[0]);
        }
        self.source.poll_event(cx)
    }
}

#[derive(Debug)]
struct NotingControl {
    control: Arc<dyn Control>,
    armed: Arc<AtomicBool>,
    committed: Arc<AtomicBool>,
}

impl ControlFace for NotingControl {
    fn inner(&self) -> &Arc<dyn Control> {
        &self.control
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        Box::pin(async move {
            let outcomes = self.control.commit(progress).await;
            if self.armed.swap(false, Ordering::SeqCst) {
                self.committed.store(true, Ordering::SeqCst);
            }
            outcomes
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_due_does_not_give_the_next_ownership_away() {
    let mut world = World::new(1).await;
    let armed = Arc::new(AtomicBool::new(false));
    world.face = Some(Arc::new(Flickering {
        broker: world.broker.clone(),
        armed: Arc::clone(&armed),
    }));
    let route = world.start(World::spec(), |_| async { HANDLED });
    let idle = || timeout(Duration::from_secs(600), route.stats.idle());
    idle().await.expect("idle");
    armed.store(true, Ordering::SeqCst);
    let within = Duration::from_secs(60);
    world.broker.revoke("billing", "orders", &[0], within);
    sleep(Duration::from_secs(1)).await;
    assert!(!armed.load(Ordering::SeqCst), "the last commit came");
    world.publish([Some("a")]).await;
    sleep(Duration::from_secs(1)).await;
    idle().await.expect("idle");
    assert_eq!(route.stats.handled(), 1);
    route.drain().await;
}
