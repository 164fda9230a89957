//! "Are you idle?", asked while the route looks whether it is.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{HANDLED, World};
use crate::backend::{
    Backend, Batch, BatchLimits, BoxFuture, Face, Membership, PublishRecord, Source, SourceFace,
    Subscription,
};
use crate::error::Result;
use crate::log::LogBroker;
use crate::message::Message;
use crate::runtime::RouteStats;

type Asked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A producer on another thread, as quick as can be: it publishes and asks right after the source has said that it has nothing.
#[derive(Debug)]
struct Quick {
    broker: LogBroker,
    producer: Arc<Producer>,
}

#[derive(Default)]
struct Producer {
    /// Set when it is to begin.
    route: OnceLock<Arc<RouteStats>>,
    has_been: AtomicBool,
    /// What it saw when it had its answer: how many messages were handled.
    saw: Mutex<Option<JoinHandle<u64>>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Producer")
    }
}

impl Face for Quick {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (inner, control) = self.broker.subscribe(subscription).await?;
            let source: Box<dyn Source> = Box::new(Watched {
                inner,
                broker: self.broker.clone(),
                producer: Arc::clone(&self.producer),
            });
            Ok((source, control))
        })
    }
}

struct Watched {
    inner: Box<dyn Source>,
    broker: LogBroker,
    producer: Arc<Producer>,
}

impl SourceFace for Watched {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.inner
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        let polled = self.inner.poll_batch(cx, limits, batch);
        if let (Poll::Pending, Some(route)) = (&polled, self.producer.route.get())
            && !self.producer.has_been.swap(true, Ordering::SeqCst)
        {
            let record = PublishRecord {
                topic: "orders".into(),
                partition: Some(0),
                message: Message::new("payload"),
            };
            let mut now = Context::from_waker(Waker::noop());
            let publisher = self.broker.publisher();
            let published = publisher.publish(vec![record]).as_mut().poll(&mut now);
            assert!(published.is_ready(), "the memory log confirms at once");
            let route = Arc::clone(route);
            let mut question: Asked = {
                let route = Arc::clone(&route);
                Box::pin(async move { route.idle().await })
            };
            assert!(question.as_mut().poll(&mut now).is_pending());
            // It runs before the route does again.
            let saw = tokio::spawn(async move {
                question.await;
                route.handled()
            });
            *self.producer.saw.lock().unwrap() = Some(saw);
        }
        polled
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_the_question_is_handled_before_the_answer() {
    let mut world = World::new(1).await;
    let producer = Arc::new(Producer::default());
    world.face = Some(Arc::new(Quick {
        broker: world.broker.clone(),
        producer: Arc::clone(&producer),
    }));
    let route = world.start(World::spec(), |_| async { HANDLED });
    timeout(Duration::from_secs(60), route.stats.idle())
        .await
        .expect("idle");
    let _ = producer.route.set(Arc::clone(&route.stats));
    // Another question, so that the route looks: while it does, the producer comes.
    let question = {
        let stats = Arc::clone(&route.stats);
        tokio::spawn(async move { stats.idle().await })
    };
    let saw = async {
        loop {
            let saw = producer.saw.lock().unwrap().take();
            if let Some(saw) = saw {
                return saw.await.unwrap();
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let saw = timeout(Duration::from_secs(60), saw).await.expect("idle");
    assert_eq!(saw, 1, "messages were handled when the answer came");
    question.await.unwrap();
    route.drain().await;
}
