//! What a topic's settings say, and whether the broker shows them.

use std::collections::BTreeMap;
use std::time::Duration;

use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::admin::{ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{KafkaAdmin, LOOK, SHOWN_WITHIN, options};
use crate::error;
use crate::now;

impl KafkaAdmin {
    pub(super) async fn configs(
        &self,
        names: &[&str],
        hidden: Hidden,
    ) -> Result<BTreeMap<String, ConfigResource>> {
        let until = now() + SHOWN_WITHIN;
        loop {
            let configs = self.look_at_configs(names).await?;
            if hidden == Hidden::LeftOut {
                return Ok(configs);
            }
            match self.check_shown(names, &configs).await {
                // The broker that was asked may not have heard yet of a topic that another one has shown.
                Err(error) if error.kind() == ErrorKind::Denied && now() < until => {
                    tokio::time::sleep(LOOK).await;
                }
                shown => return shown.map(|()| configs),
            }
        }
    }

    pub(super) async fn look_at_configs(
        &self,
        names: &[&str],
    ) -> Result<BTreeMap<String, ConfigResource>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let answers = self
            .client
            .describe_configs(&wanted, &options())
            .await
            .map_err(|error| error::of_client("read the topics' settings", error))?;
        let mut configs = BTreeMap::new();
        for answer in answers {
            match answer {
                // The client library drops the error of a single topic, and leaves its settings empty.
                Ok(config) if config.entries.is_empty() => {}
                Ok(config) => {
                    if let OwnedResourceSpecifier::Topic(name) = &config.specifier {
                        configs.insert(name.clone(), config);
                    }
                }
                Err(Code::UnknownTopicOrPartition) => {}
                Err(code) => return Err(error::of_code("read the topics' settings", code)),
            }
        }
        Ok(configs)
    }

    /// Refuses topics that exist and do not show their settings: to take them for the defaults would be a guess at how long
    /// messages are kept.
    pub(super) async fn check_shown(
        &self,
        names: &[&str],
        configs: &BTreeMap<String, ConfigResource>,
    ) -> Result<()> {
        let hidden = names.iter().filter(|name| !configs.contains_key(**name));
        let hidden = hidden.map(|name| (*name).to_owned()).collect();
        match self.describe(hidden).await?.first() {
            None => Ok(()),
            Some(topic) => Err(Error::new(
                ErrorKind::Denied,
                "read the topics' settings",
                "the broker does not show them",
            )
            .with("topic", &topic.name)
            .remedy("Give this client the right DescribeConfigs on the topic")),
        }
    }
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
pub(super) fn stamps_appends(config: &ConfigResource) -> bool {
    value(config, "message.timestamp.type") == Some("LogAppendTime")
}

pub(super) fn value<'c>(config: &'c ConfigResource, name: &str) -> Option<&'c str> {
    config.get(name).and_then(|entry| entry.value.as_deref())
}

/// How long and how much a topic keeps.
pub(super) fn retention(config: &ConfigResource) -> (Option<Duration>, Option<u64>) {
    let value = |name: &str| value(config, name);
    if value("cleanup.policy").is_some_and(|policy| !policy.contains("delete")) {
        return (None, None);
    }
    let age = value("retention.ms")
        .and_then(|ms| ms.parse().ok())
        .map(Duration::from_millis);
    let bytes = value("retention.bytes").and_then(|bytes| bytes.parse().ok());
    (age, bytes)
}
