//! What brokers say of the settings of topics, with the reason where one says nothing.
//!
//! The safe client drops that reason. It decides what is done: a right that is missing is missing everywhere, a topic that the
//! asked broker does not know may have been made a moment ago through another one.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;

use super::requests::{Event, ask};
use super::{code, text};

/// A setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Nothing where it is secret.
    pub(crate) value: Option<String>,
    /// Set on the topic itself, rather than taken from the broker.
    pub(crate) is_own: bool,
}

/// The settings of a topic, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicSettings(pub(crate) BTreeMap<String, Setting>);

impl TopicSettings {
    /// The value of one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.value.as_deref()
    }

    /// Those that were set on the topic itself.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.0.iter().filter(|(_, setting)| setting.is_own);
        own.filter_map(|(name, setting)| Some((name.as_str(), setting.value.as_deref()?)))
    }
}

/// What a broker says of one topic.
pub(crate) type Answer = Result<TopicSettings, RDKafkaErrorCode>;

/// Asks a broker for the settings of topics. Blocks its thread for at most `within`.
///
/// # Errors
/// What befell the whole request.
pub(crate) fn describe_settings<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    within: Duration,
) -> Result<Vec<(String, Answer)>, RDKafkaErrorCode> {
    let names: Vec<CString> = names
        .iter()
        .filter_map(|name| CString::new(*name).ok())
        .collect();
    let topic = ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
    // SAFETY: one request is sent; the call copies what is asked, which is destroyed after it.
    unsafe {
        ask(
            client,
            ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            (within, Duration::ZERO),
            |client, options, queue| {
                let asked = |name: &CString| ffi::rd_kafka_ConfigResource_new(topic, name.as_ptr());
                let mut asked: Vec<_> = names.iter().map(asked).collect();
                let (first, count) = (asked.as_mut_ptr(), asked.len());
                ffi::rd_kafka_DescribeConfigs(client, first, count, options, queue);
                ffi::rd_kafka_ConfigResource_destroy_array(first, count);
            },
            |event| Ok(described(event)),
        )
    }
}

/// # Safety
/// The event is alive.
unsafe fn described(event: *mut Event) -> Vec<(String, Answer)> {
    // SAFETY: what is looked at belongs to the event; `count` is how many answers there are.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeConfigs_result(event);
        let mut count = 0;
        let all = ffi::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        let answer = |index| {
            let one = *all.add(index);
            let name = text(ffi::rd_kafka_ConfigResource_name(one));
            let failed = code(ffi::rd_kafka_ConfigResource_error(one));
            (name, failed.map_or_else(|| Ok(settings(one)), Err))
        };
        (0..count).map(answer).collect()
    }
}

/// # Safety
/// The answer belongs to an event that is alive.
unsafe fn settings(of: *const ffi::rd_kafka_ConfigResource_t) -> TopicSettings {
    let own = ffi::rd_kafka_ConfigSource_t::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
    // SAFETY: the caller's promise; `count` is how many entries there are, and a value is null or a string.
    unsafe {
        let mut count = 0;
        let entries = ffi::rd_kafka_ConfigResource_configs(of, &mut count);
        let setting = |index| {
            let entry = *entries.add(index);
            let value = ffi::rd_kafka_ConfigEntry_value(entry);
            let setting = Setting {
                value: (!value.is_null()).then(|| text(value)),
                is_own: ffi::rd_kafka_ConfigEntry_source(entry) == own,
            };
            (text(ffi::rd_kafka_ConfigEntry_name(entry)), setting)
        };
        TopicSettings((0..count).map(setting).collect())
    }
}
