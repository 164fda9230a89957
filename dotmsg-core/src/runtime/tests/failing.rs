//! A route whose source fails: it leaves its group before it says so, and a shutdown does not wait for a broker that is silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{HANDLED, Route, World};
use crate::backend::{
    AssignmentEvent, Backend, BoxFuture, Control, ControlFace, Face, Membership, Source,
    SourceFace, Subscription,
};
use crate::error::{Error, ErrorKind, Result};
use crate::log::LogBroker;
use crate::runtime::pump::{LEAVE_WITHIN, Shutdown};

const LONG: Duration = Duration::from_secs(600);

/// What is to go wrong, and what was asked for.
#[derive(Debug, Default)]
struct Script {
    fails: AtomicBool,
    /// The broker does not answer who leaves.
    is_silent: AtomicBool,
    closes: AtomicUsize,
}

#[derive(Debug)]
struct Failing {
    broker: LogBroker,
    script: Arc<Script>,
}

impl Face for Failing {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.broker.subscribe(subscription).await?;
            let script = Arc::clone(&self.script);
            let source = FailingSource { source, script };
            let script = Arc::clone(&self.script);
            let control: Arc<dyn Control> = Arc::new(Closing { control, script });
            Ok((Box::new(source) as _, control))
        })
    }
}

struct FailingSource {
    source: Box<dyn Source>,
    script: Arc<Script>,
}

impl SourceFace for FailingSource {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.source
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        if self.script.fails.load(Ordering::SeqCst) {
            let error = Error::new(ErrorKind::Denied, "consume", "no right any more");
            return Poll::Ready(Err(error));
        }
        self.source.poll_event(cx)
    }
}

#[derive(Debug)]
struct Closing {
    control: Arc<dyn Control>,
    script: Arc<Script>,
}

impl ControlFace for Closing {
    fn inner(&self) -> &Arc<dyn Control> {
        &self.control
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.script.closes.fetch_add(1, Ordering::SeqCst);
        match self.script.is_silent.load(Ordering::SeqCst) {
            true => Box::pin(async move {
                tokio::time::sleep(deadline).await;
                Err(Error::new(ErrorKind::Timeout, "leave group", "no answer"))
            }),
            false => self.control.close(deadline),
        }
    }
}

/// A route that has joined, and is about to fail.
async fn about_to_fail(script: &Arc<Script>) -> Route {
    let mut world = World::new(1).await;
    world.face = Some(Arc::new(Failing {
        broker: world.broker.clone(),
        script: Arc::clone(script),
    }));
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(LONG, route.stats.idle()).await.expect("idle");
    script.fails.store(true, Ordering::SeqCst);
    world.publish([Some("a")]).await;
    route
}

async fn failure(route: Route) -> ErrorKind {
    let ended = timeout(LONG, route.task).await.expect("it ends");
    ended.unwrap().unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn it_leaves_its_group() {
    let script = Arc::default();
    let route = about_to_fail(&script).await;
    assert_eq!(failure(route).await, ErrorKind::Denied);
    assert_eq!(script.closes.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_wait_for_ever_for_who_lets_it_go() {
    let script: Arc<Script> = Arc::default();
    script.is_silent.store(true, Ordering::SeqCst);
    let route = about_to_fail(&script).await;
    let began = Instant::now();
    assert_eq!(failure(route).await, ErrorKind::Denied);
    assert!(began.elapsed() <= LEAVE_WITHIN + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn after_the_second_signal_it_does_not_wait_at_all() {
    let script: Arc<Script> = Arc::default();
    script.is_silent.store(true, Ordering::SeqCst);
    let route = about_to_fail(&script).await;
    while script.closes.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    route.signal(Shutdown::Abandon);
    assert_eq!(failure(route).await, ErrorKind::Denied);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
