//! Topics, groups and positions: reading them takes its time, and fails while the broker is down.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{
    Admin, BoxFuture, GroupDescription, OffsetRange, TopicDescription, TopicSpec,
};
use crate::error::Result;
use crate::sim::life::Life;

/// Passes on, as long as its member lives.
#[derive(Debug)]
pub(super) struct SimAdmin {
    pub(super) life: Arc<Life>,
    pub(super) inner: Arc<dyn Admin>,
}

impl SimAdmin {
    async fn call<T>(
        &self,
        operation: &'static str,
        inner: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.life.before(None).await;
        match self.life.unreachable(operation) {
            Some(error) => Err(error),
            None => inner.await,
        }
    }
}

impl Admin for SimAdmin {
    fn cluster(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(self.call("describe cluster", self.inner.cluster()))
    }

    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>> {
        Box::pin(async move {
            self.call("list topics", async { self.inner.topics(prefix).await })
                .await
        })
    }

    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>> {
        Box::pin(async move {
            self.call("describe topic", async { self.inner.topic(name).await })
                .await
        })
    }

    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let created = async { self.inner.create_topic(spec).await };
            self.call("create topic", created).await
        })
    }

    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>> {
        Box::pin(async move {
            let offsets = async { self.inner.offsets(topic, partition).await };
            self.call("read offsets", offsets).await
        })
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>> {
        Box::pin(async {
            self.call("list groups", async { self.inner.groups().await })
                .await
        })
    }

    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>> {
        Box::pin(async move {
            let positions = async { self.inner.positions(group, topic).await };
            self.call("read positions", positions).await
        })
    }
}
