//! A message on its way to the app under test.

use std::future::IntoFuture;

use bytes::Bytes;

use super::TestApp;
use crate::backend::{BoxFuture, Published};
use crate::clock::Timestamp;
use crate::message::Message;

/// A message to publish: set what it needs, then await it.
#[derive(Debug)]
#[must_use = "it is published when it is awaited"]
pub struct Publishing<'t> {
    test: &'t TestApp,
    backend: String,
    topic: String,
    message: Message,
}

impl<'t> Publishing<'t> {
    pub(super) fn new(test: &'t TestApp, topic: &str, message: Message) -> Self {
        Self {
            test,
            backend: "main".to_owned(),
            topic: topic.to_owned(),
            message,
        }
    }

    /// Its key. Default null.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.message.key = Some(key.into());
        self
    }

    /// Its identity. Default none: then it is where it lies.
    pub fn id(mut self, id: impl Into<Bytes>) -> Self {
        self.message = self.message.with_id(id);
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.message = self.message.with_header(name, value);
        self
    }

    /// Its timestamp. Default now.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.message.timestamp = timestamp;
        self
    }

    /// The backend it goes to, by name. Default `main`.
    pub fn backend(mut self, name: &str) -> Self {
        name.clone_into(&mut self.backend);
        self
    }
}

impl<'t> IntoFuture for Publishing<'t> {
    type Output = Published;
    type IntoFuture = BoxFuture<'t, Published>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Some(publisher) = self.test.handle().publisher(&self.backend) else {
                panic!("the app under test uses no backend `{}`", self.backend);
            };
            match publisher.publish(&self.topic, self.message).await {
                Ok(published) => published,
                Err(error) => panic!("publishing to {} failed: {error}", self.topic),
            }
        })
    }
}
