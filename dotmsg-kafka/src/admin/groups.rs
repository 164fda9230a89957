//! Groups: what they have committed, and whether anybody is in them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::GroupDescription;
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::{KafkaAdmin, LOOK_WITHIN};
use crate::backend::blocking;
use crate::context::Context;
use crate::metadata;
use crate::native::{self, GroupMember};
use crate::patience::of;

impl KafkaAdmin {
    /// The position records of a group: topic, partition, record; by topic and partition.
    pub(super) async fn records(&self, group: &str) -> Result<Vec<(String, u32, Bytes)>> {
        let (asker, name) = (Arc::clone(&self.asker), group.to_owned());
        let listed = blocking("read positions", move || {
            asker.ask("read positions", |client, within| {
                hear(client);
                native::list_group_offsets(client, &name, within)
            })
        });
        let listed = listed.await.map_err(|error| error.with("group", group))?;
        let record = |(topic, partition, offset, metadata): (String, u32, i64, String)| {
            let record = metadata::decode(&metadata).filter(|_| offset >= 0)?;
            Some((topic, partition, record))
        };
        let mut records: Vec<_> = listed.into_iter().filter_map(record).collect();
        records.sort();
        Ok(records)
    }

    /// Refuses when anybody is in the group.
    pub(crate) async fn check_nobody_in(&self, group: &str) -> Result<()> {
        let (asker, name) = (Arc::clone(&self.asker), group.to_owned());
        let members = blocking("look at the group", move || {
            asker.ask("look at the group", |client, within| {
                hear(client);
                native::list_members(client.client(), &name, within)
            })
        });
        match members.await?.len() {
            0 => Ok(()),
            members => Err(
                Error::new(ErrorKind::Fenced, "join alone", "the group has members")
                    .with("group", group)
                    .with("members", members)
                    .remedy("Stop them first"),
            ),
        }
    }

    /// The id of the member that has this instance id in a group, if one has it. Blocks its thread, not for long.
    ///
    /// # Errors
    /// What befell the question, which is asked once.
    pub(crate) fn holder_of(&self, group: &str, instance: &str) -> Result<Option<String>, Code> {
        let holds = |member: &GroupMember| member.instance.as_deref() == Some(instance);
        Ok(self.member(group, holds)?.map(|member| member.id))
    }

    /// The partitions of a topic that a group counts as the member's with this id. Blocks its thread, not for long.
    ///
    /// # Errors
    /// What befell the question, which is asked once.
    pub(crate) fn counted_as(
        &self,
        group: &str,
        id: &str,
        topic: &str,
    ) -> Result<BTreeSet<u32>, Code> {
        let member = self.member(group, |member| member.id == id)?;
        let partitions = member.into_iter().flat_map(|member| member.partitions);
        let of_topic = partitions.filter(|(of, _)| of == topic);
        Ok(of_topic.map(|(_, partition)| partition).collect())
    }

    fn member(
        &self,
        group: &str,
        is_it: impl Fn(&GroupMember) -> bool,
    ) -> Result<Option<GroupMember>, Code> {
        let members = self.asker.ask_once(LOOK_WITHIN, |client, within| {
            hear(client);
            native::list_members(client.client(), group, within)
        })?;
        Ok(members.into_iter().find(is_it))
    }

    pub(super) async fn groups(&self) -> Result<Vec<GroupDescription>> {
        let client = Arc::clone(&self.client);
        let names = blocking("list groups", move || {
            let groups = client.ask("list groups", |client, within| {
                let listed = client.inner().fetch_group_list(None, within);
                listed.map_err(of)
            })?;
            let mut names: Vec<String> = groups
                .groups()
                .iter()
                .map(|group| group.name().to_owned())
                .collect();
            names.sort();
            Ok(names)
        });
        let mut groups = Vec::new();
        for name in names.await? {
            let mut topics: Vec<String> = self
                .records(&name)
                .await?
                .into_iter()
                .map(|(topic, _, _)| topic)
                .collect();
            topics.dedup();
            if !topics.is_empty() {
                groups.push(GroupDescription { name, topics });
            }
        }
        Ok(groups)
    }
}

/// Takes what the client has to say meanwhile, such as that a broker is gone: it would pile up.
fn hear(client: &BaseConsumer<Context>) {
    for _ in 0..native::waiting(client) {
        client.poll(Duration::ZERO);
    }
}
