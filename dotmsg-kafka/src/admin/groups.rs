//! Groups: what they have committed, and whether anybody is in them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dotmsg_core::backend::GroupDescription;
use dotmsg_core::error::{Error, ErrorKind, Result};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;

use super::{KafkaAdmin, of, patiently};
use crate::backend::blocking;
use crate::context::Context;
use crate::error;
use crate::metadata;
use crate::native::{self, CALL};

impl KafkaAdmin {
    pub(super) fn asker(&self) -> Result<Arc<BaseConsumer<Context>>> {
        if let Some(asker) = self.asker.get() {
            return Ok(Arc::clone(asker));
        }
        let mut config = self.settings.reader();
        config.remove("debug").set_log_level(RDKafkaLogLevel::Emerg);
        let made = config
            .create_with_context(Context::default())
            .map_err(|error| error::of_client("read positions", error))?;
        Ok(Arc::clone(self.asker.get_or_init(|| Arc::new(made))))
    }

    /// The position records of a group: topic, partition, record; by topic and partition.
    pub(super) async fn records(&self, group: &str) -> Result<Vec<(String, u32, Bytes)>> {
        let (asker, name) = (self.asker()?, group.to_owned());
        let listed = blocking("read positions", move || {
            // What it has to say meanwhile, such as that a broker is gone, would pile up.
            while asker.poll(Duration::ZERO).is_some() {}
            patiently("read positions", || {
                native::list_group_offsets(&asker, &name, CALL)
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
        let (client, name) = (Arc::clone(&self.client), group.to_owned());
        let members = blocking("look at the group", move || {
            patiently("look at the group", || {
                native::count_members(client.inner(), &name, CALL)
            })
        });
        match members.await? {
            0 => Ok(()),
            members => Err(
                Error::new(ErrorKind::Fenced, "join alone", "the group has members")
                    .with("group", group)
                    .with("members", members)
                    .remedy("Stop them first"),
            ),
        }
    }

    pub(super) async fn groups(&self) -> Result<Vec<GroupDescription>> {
        let client = Arc::clone(&self.client);
        let names = blocking("list groups", move || {
            let groups = patiently("list groups", || {
                let listed = client.inner().fetch_group_list(None, CALL);
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
