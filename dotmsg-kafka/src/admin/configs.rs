//! What a topic's settings say, and whether the broker shows them.
//!
//! Any broker may be asked, and one that was frozen or has just started knows less than the others: that it does not know a topic
//! says nothing yet. That a right is missing is an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{Grace, KafkaAdmin, LOOK, SHOWN_WITHIN};
use crate::backend::blocking;
use crate::error;
use crate::native::{self, TopicSettings};
use crate::now;

impl KafkaAdmin {
    /// The settings of topics that exist. One that no broker knows is left out.
    pub(super) async fn configs(
        &self,
        names: &[&str],
        hidden: Hidden,
    ) -> Result<BTreeMap<String, TopicSettings>> {
        let grace = Grace::of(SHOWN_WITHIN);
        let mut configs = BTreeMap::new();
        let mut wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        while !wanted.is_empty() {
            for (name, answer) in self.look_at_configs(wanted.clone()).await? {
                match answer {
                    Ok(settings) => drop(configs.insert(name, settings)),
                    Err(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {}
                    Err(Code::TopicAuthorizationFailed) if hidden == Hidden::LeftOut => {}
                    Err(code) => return Err(refused(&name, code)),
                }
            }
            wanted.retain(|name| !configs.contains_key(name));
            if hidden == Hidden::LeftOut {
                break;
            }
            if !wanted.is_empty() && grace.is_over(now()) {
                self.check_gone(wanted).await?;
                break;
            }
            if !wanted.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(configs)
    }

    async fn look_at_configs(&self, names: Vec<String>) -> Result<Vec<(String, native::Answer)>> {
        let client = Arc::clone(&self.client);
        blocking("read the topics' settings", move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            client.ask("read the topics' settings", |client, within| {
                native::describe_settings(client.inner(), &names, within)
            })
        })
        .await
    }

    /// Refuses topics that exist and whose settings no broker has shown in time: to take them for the defaults would be a guess
    /// at how long messages are kept.
    async fn check_gone(&self, names: Vec<String>) -> Result<()> {
        match self.describe(names).await?.first() {
            None => Ok(()),
            Some(topic) => Err(Error::new(
                ErrorKind::Timeout,
                "read the topics' settings",
                "a broker has not heard yet of a topic that another one knows",
            )
            .with("topic", &topic.name)),
        }
    }
}

fn refused(topic: &str, code: Code) -> Error {
    match code {
        Code::TopicAuthorizationFailed => Error::new(
            ErrorKind::Denied,
            "read the topics' settings",
            "the broker does not show them",
        )
        .remedy("Give this client the right DescribeConfigs on the topic"),
        code => error::of_code("read the topics' settings", code),
    }
    .with("topic", topic)
}

/// What becomes of a topic whose settings this client may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// It is an error.
    Refused,
    /// They stay unknown: in a list of topics there may be some that are none of our business.
    LeftOut,
}

/// Whether the time of a record is that of its append: a retry is due a delay after it.
pub(super) fn stamps_appends(settings: &TopicSettings) -> bool {
    settings.get("message.timestamp.type") == Some("LogAppendTime")
}

/// How long and how much a topic keeps.
pub(super) fn retention(settings: &TopicSettings) -> (Option<Duration>, Option<u64>) {
    let value = |name: &str| settings.get(name);
    if value("cleanup.policy").is_some_and(|policy| !policy.contains("delete")) {
        return (None, None);
    }
    let age = value("retention.ms")
        .and_then(|ms| ms.parse().ok())
        .map(Duration::from_millis);
    let bytes = value("retention.bytes").and_then(|bytes| bytes.parse().ok());
    (age, bytes)
}
