//! A member's connection to the broker: everything passes through, is noted, and may go wrong.
//!
//! - `source`: events and batches, which may come late, twice, or out of their order across partitions;
//! - `control`: progress, which may be stored without an answer, answered without being stored, or refused in part;
//! - `publisher`: the same of appends;
//! - `reader`, `admin`: reading, which only takes its time.
//!
//! What must stay true: a member that is dead or stands still has no effect on the broker, and whatever is done is what
//! a real broker may do: records of one partition keep their order, and nothing is confirmed that is not stored.

mod admin;
mod control;
mod publisher;
mod reader;
mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use self::admin::SimAdmin;
use self::publisher::SimPublisher;
pub(super) use self::publisher::is_publish_fault;
use self::reader::SimReader;
use self::source::{Session, SimSource};
use super::life::Life;
use super::plan::Step;
use crate::backend::{
    Admin, Backend, BoxFuture, Capability, Membership, Partitioner, PositionStore, Publisher,
    Reader, Subscription,
};
use crate::error::Result;

/// The connection of one life.
#[derive(Debug)]
pub(super) struct SimBackend {
    life: Arc<Life>,
    /// The broker, with the partitioner of the app where that has one.
    published_to: Arc<dyn Backend>,
}

impl SimBackend {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        Self {
            life: Arc::clone(life),
            published_to: Arc::new(life.world.broker.clone()),
        }
    }

    fn broker(&self) -> &crate::log::LogBroker {
        &self.life.world.broker
    }
}

impl Backend for SimBackend {
    fn capability(&self) -> Capability {
        let mut capability = self.broker().capability();
        capability.position = PositionStore::Record {
            max_bytes: self.life.world.setting.record_bytes,
        };
        capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            self.life.before(None).await;
            if let Some(error) = self.life.unreachable("subscribe") {
                return Err(error);
            }
            let route = {
                let history = super::world::lock(&self.life.world.history);
                let mut routes = history.routes.iter();
                let index = routes.position(|route| {
                    *route.group == *subscription.group && *route.topic == *subscription.topic
                });
                index
                    .and_then(|index| u32::try_from(index).ok())
                    .unwrap_or(0)
            };
            let (source, control) = self.broker().subscribe(subscription).await?;
            let session = Arc::new(Session::new(Arc::clone(&self.life), route, control));
            let source = SimSource::new(Arc::clone(&session), source);
            self.life.after(None).await;
            Ok((Box::new(source) as _, session as _))
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(SimPublisher {
            life: Arc::clone(&self.life),
            inner: self.published_to.publisher(),
        })
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Self {
            life: Arc::clone(&self.life),
            published_to: self.broker().partitioned_by(partitioner)?,
        }))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            // The first is the route's own; each later one reads what a position record names.
            let heads = self.life.readers.fetch_add(1, Relaxed) > 0;
            let step = heads.then_some(Step::Heads);
            self.life.before(step).await;
            if let Some(error) = self.life.unreachable("open reader") {
                return Err(error);
            }
            let inner = self.broker().reader().await?;
            let life = Arc::clone(&self.life);
            Ok(Box::new(SimReader { life, inner, heads }) as _)
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(SimAdmin {
            life: Arc::clone(&self.life),
            inner: self.broker().admin(),
        })
    }

    /// The broker outlives its members.
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
