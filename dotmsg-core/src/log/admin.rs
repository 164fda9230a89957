//! Topics, offsets, groups and positions.

use std::sync::Arc;

use bytes::Bytes;

use super::lock;
use super::shared::Shared;
use crate::backend::{
    Admin, BoxFuture, GroupDescription, OffsetRange, TopicDescription, TopicSpec,
};
use crate::error::{ErrorKind, Result};

/// Looks at and changes what the log holds.
#[derive(Debug)]
pub(super) struct LogAdmin {
    pub(super) shared: Arc<Shared>,
}

fn ready<'a, T: Send + 'a>(result: Result<T>) -> BoxFuture<'a, Result<T>> {
    Box::pin(std::future::ready(result))
}

impl Admin for LogAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        let health = self.shared.health.check("read cluster identity");
        ready(health.map(|()| self.shared.identity.clone()))
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        ready(self.shared.health.check("list topics").map(|()| {
            let topics = lock(&self.shared.topics);
            let named = topics.iter().filter(|(name, _)| name.starts_with(prefix));
            named.map(|(_, topic)| topic.describe()).collect()
        }))
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        ready(match self.shared.topic("describe topic", name) {
            Ok(topic) => Ok(Some(topic.describe())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        ready(self.shared.create_topic(&spec).map(|_| ()))
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        ready(self.shared.topic("read offsets", topic).and_then(|topic| {
            topic.known(partition, "read offsets")?;
            Ok(topic.with(|partitions| partitions[partition as usize].range()))
        }))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        let health = self.shared.health.check("list groups");
        ready(health.map(|()| lock(&self.shared.positions).groups()))
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        let health = self.shared.health.check("read positions");
        ready(health.map(|()| lock(&self.shared.positions).of(group, topic)))
    }
}
