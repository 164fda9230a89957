//! The memory log, shown in part: partitions that are granted later than others, that the topic gains, and records that
//! are gone.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::backend::{
    Admin, AssignmentEvent, Backend, BoxFuture, CommitOutcome, Control, ControlFace, Face, Granted,
    GroupDescription, Membership, OffsetRange, Progress, Source, SourceFace, Subscription,
    TopicDescription, TopicSpec,
};
use crate::error::Result;
use crate::log::LogBroker;

/// What is shown of the topic and its positions.
#[derive(Debug)]
struct Shown {
    granted: u32,
    partitions: u32,
    lost: Option<u32>,
    damaged: Option<u32>,
    waker: Option<Waker>,
}

/// The broker, as far as it is shown.
#[derive(Clone, Debug)]
pub(super) struct Partly {
    broker: LogBroker,
    shown: Arc<Mutex<Shown>>,
}

impl Partly {
    /// Grants partitions below `granted` of a topic that has `partitions`.
    pub(super) fn new(broker: &LogBroker, granted: u32, partitions: u32) -> Self {
        let shown = Shown {
            granted,
            partitions,
            lost: None,
            damaged: None,
            waker: None,
        };
        Self {
            broker: broker.clone(),
            shown: Arc::new(Mutex::new(shown)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown.lock().unwrap();
        change(&mut shown);
        if let Some(waker) = shown.waker.take() {
            waker.wake();
        }
    }

    /// Grants what is below this.
    pub(super) fn grant(&self, granted: u32) {
        self.change(|shown| shown.granted = granted);
    }

    /// The topic has so many partitions from now on.
    pub(super) fn grow(&self, partitions: u32) {
        self.change(|shown| shown.partitions = partitions);
    }

    /// The position of this partition is gone.
    pub(super) fn lose(&self, partition: u32) {
        self.change(|shown| shown.lost = Some(partition));
    }

    /// The position of this partition cannot be read.
    pub(super) fn damage(&self, partition: u32) {
        self.change(|shown| shown.damaged = Some(partition));
    }
}

impl Face for Partly {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (inner, control) = self.broker.subscribe(subscription).await?;
            let source: Box<dyn Source> = Box::new(PartlySource {
                inner,
                kept: Vec::new(),
                of: self.clone(),
            });
            let of = self.clone();
            let control: Arc<dyn Control> = Arc::new(PartlyControl { inner: control, of });
            Ok((source, control))
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(PartlyAdmin {
            inner: self.broker.admin(),
            of: self.clone(),
        })
    }
}

struct PartlySource {
    inner: Box<dyn Source>,
    kept: Vec<Granted>,
    of: Partly,
}

impl SourceFace for PartlySource {
    fn inner(&mut self) -> &mut dyn Source {
        &mut *self.inner
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        while let Poll::Ready(event) = self.inner.poll_event(cx)? {
            match event {
                AssignmentEvent::Assigned(granted) => self.kept.extend(granted),
                other => return Poll::Ready(Ok(other)),
            }
        }
        let mut shown = self.of.shown.lock().unwrap();
        shown.waker = Some(cx.waker().clone());
        let due = |granted: &mut Granted| granted.partition < shown.granted;
        let granted: Vec<Granted> = self.kept.extract_if(.., due).collect();
        if granted.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(AssignmentEvent::Assigned(granted)))
    }
}

#[derive(Debug)]
struct PartlyControl {
    inner: Arc<dyn Control>,
    of: Partly,
}

impl ControlFace for PartlyControl {
    fn inner(&self) -> &Arc<dyn Control> {
        &self.inner
    }

    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        if self.of.shown.lock().unwrap().lost == Some(partition) {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.inner.position(partition, grant)
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        let mut shown = self.of.shown.lock().unwrap();
        if progress.iter().any(|one| Some(one.partition) == shown.lost) {
            shown.lost = None;
        }
        self.inner.commit(progress)
    }
}

#[derive(Debug)]
struct PartlyAdmin {
    inner: Arc<dyn Admin>,
    of: Partly,
}

impl Admin for PartlyAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        self.inner.cluster()
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        self.inner.topics(prefix)
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        Box::pin(async move {
            let mut topic = self.inner.topic(name).await?;
            if let Some(topic) = topic.as_mut().filter(|topic| topic.name == "orders") {
                topic.partitions = self.of.shown.lock().unwrap().partitions;
            }
            Ok(topic)
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        self.inner.create_topic(spec)
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        self.inner.offsets(topic, partition)
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        self.inner.groups()
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        Box::pin(async move {
            let mut positions = self.inner.positions(group, topic).await?;
            let shown = self.of.shown.lock().unwrap();
            positions.retain(|(partition, _)| Some(*partition) != shown.lost);
            for (partition, record) in &mut positions {
                if Some(*partition) == shown.damaged {
                    *record = Bytes::from_static(b"\xff");
                }
            }
            Ok(positions)
        })
    }
}
