//! A backend on which commits are never answered, or a publish is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dotmsg_core::Bytes;
use dotmsg_core::backend::{
    Admin, Backend, BoxFuture, Capability, CommitOutcome, Control, Granted, Membership,
    PositionStore, Progress, PublishOutcome, PublishRecord, Publisher, Reader, Subscription,
};
use dotmsg_core::error::{Error, ErrorKind, Result};

/// What goes wrong, and only for what goes through it.
#[derive(Clone, Debug)]
pub(super) struct Flaky {
    pub(super) inner: Arc<dyn Backend>,
    /// Commits that are stored before none is answered any more.
    pub(super) commits: Arc<AtomicUsize>,
    /// The publish, counted from 0, whose answer is lost.
    pub(super) unknown: Option<usize>,
    pub(super) published: Arc<AtomicUsize>,
    pub(super) position: Option<PositionStore>,
}

impl Flaky {
    pub(super) fn new(inner: &Arc<dyn Backend>) -> Self {
        Self {
            inner: Arc::clone(inner),
            commits: Arc::new(AtomicUsize::new(usize::MAX)),
            unknown: None,
            published: Arc::default(),
            position: None,
        }
    }
}

impl Backend for Flaky {
    fn capability(&self) -> Capability {
        let mut capability = self.inner.capability();
        capability.position = self.position.unwrap_or(capability.position);
        capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            let (source, control) = self.inner.subscribe(subscription).await?;
            let control: Arc<dyn Control> = Arc::new(FlakyControl {
                inner: control,
                commits: Arc::clone(&self.commits),
            });
            Ok((source, control))
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(FlakyPublisher {
            inner: self.inner.publisher(),
            flaky: self.clone(),
        })
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.inner.reader()
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.inner.admin()
    }

    /// It outlives the app that runs on it.
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[derive(Debug)]
struct FlakyControl {
    inner: Arc<dyn Control>,
    commits: Arc<AtomicUsize>,
}

impl Control for FlakyControl {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.inner.position(partition, grant)
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        if self
            .commits
            .try_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_err()
        {
            return Box::pin(std::future::pending());
        }
        self.inner.commit(progress)
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        self.inner.release(given_up)
    }

    fn pause(&self, partition: u32) {
        self.inner.pause(partition);
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        self.inner.resume(partition, from);
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}

#[derive(Debug)]
struct FlakyPublisher {
    inner: Arc<dyn Publisher>,
    flaky: Flaky,
}

impl Publisher for FlakyPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        Box::pin(async move {
            let mut outcomes = self.inner.publish(records).await;
            for outcome in &mut outcomes {
                if Some(self.flaky.published.fetch_add(1, Relaxed)) == self.flaky.unknown {
                    let error = Error::new(ErrorKind::Timeout, "publish", "no answer");
                    *outcome = PublishOutcome::Unknown(error);
                }
            }
            outcomes
        })
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.inner.flush(deadline)
    }
}
