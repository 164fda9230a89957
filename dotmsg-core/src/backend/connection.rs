//! A connection to a backend that lives in this process.
//!
//! A handle of such a backend is the broker itself: closing it would close it for everybody. A connection is closed alone,
//! and afterwards refuses what the contract says a closed backend refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{
    Admin, Backend, BoxFuture, Capability, Membership, Partitioner, PublishOutcome, PublishRecord,
    Publisher, Reader, Subscription,
};
use crate::error::{Error, ErrorKind, Result};

/// One of several connections to a backend that lives in this process.
///
/// An app closes its backends when it ends. Apps that share one each get a connection of their own:
/// `App::backend("main", Arc::new(Connection::to(&log)))`. Whoever opened the backend closes it, after them.
#[derive(Debug)]
pub struct Connection {
    backend: Arc<dyn Backend>,
    closed: Arc<AtomicBool>,
}

impl Connection {
    /// One more connection.
    #[must_use]
    pub fn to(backend: &Arc<dyn Backend>) -> Self {
        Self {
            backend: Arc::clone(backend),
            closed: Arc::default(),
        }
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(closed(operation)),
            false => Ok(()),
        }
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the connection was closed")
}

#[derive(Debug)]
struct ConnectionPublisher {
    publisher: Arc<dyn Publisher>,
    closed: Arc<AtomicBool>,
}

impl Publisher for ConnectionPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        if self.closed.load(Ordering::Acquire) {
            let refused = |_| PublishOutcome::Failed(closed("publish"));
            let outcomes = records.into_iter().map(refused).collect();
            return Box::pin(std::future::ready(outcomes));
        }
        self.publisher.publish(records)
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.publisher.flush(deadline)
    }
}

impl Backend for Connection {
    fn capability(&self) -> Capability {
        self.backend.capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            self.check("subscribe")?;
            self.backend.subscribe(subscription).await
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(ConnectionPublisher {
            publisher: self.backend.publisher(),
            closed: Arc::clone(&self.closed),
        })
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Self {
            backend: self.backend.partitioned_by(partitioner)?,
            closed: Arc::clone(&self.closed),
        }))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            self.check("open reader")?;
            self.backend.reader().await
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.backend.admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.closed.store(true, Ordering::Release);
        Box::pin(std::future::ready(Ok(())))
    }
}
