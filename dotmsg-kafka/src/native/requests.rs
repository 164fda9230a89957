//! Requests of an administrator that the safe client does not make: topic ids, a group's offsets, its members with their ids.
//!
//! They have one shape, which [`ask`] has once: made, sent to a queue of their own, waited for, read, destroyed.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::{RDKafka, RDKafkaQueue};

use super::{bytes, code, text};

/// A topic, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// Changes when the topic is made anew under the same name.
    pub(crate) id: String,
    pub(crate) partitions: u32,
}

type Options = ffi::rd_kafka_AdminOptions_t;
pub(super) type Event = ffi::rd_kafka_event_t;

/// How much longer than its caller librdkafka waits for the coordinator of a group: longer than the client lives, of which an
/// answer did not come (see `admin::asker`).
const BEYOND: Duration = Duration::from_secs(600);

/// One request of an administrator: sent, waited for, read, and all that was made for it destroyed. Blocks its thread for at
/// most `within`; librdkafka waits `beyond` that.
///
/// # Safety
/// `send` sends one request, with these options, whose answer comes to this queue; `read` is given that answer, and what it gives
/// out holds nothing of it.
pub(super) unsafe fn ask<C: ClientContext, T>(
    client: &Client<C>,
    operation: ffi::rd_kafka_admin_op_t,
    (within, beyond): (Duration, Duration),
    send: impl FnOnce(*mut RDKafka, *mut Options, *mut RDKafkaQueue),
    read: impl FnOnce(*mut Event) -> Result<T, RDKafkaErrorCode>,
) -> Result<T, RDKafkaErrorCode> {
    let ms = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    let (timeout, within) = (ms(within + beyond), ms(within));
    let client = client.native_ptr();
    // SAFETY: the client is alive, and what is made here is destroyed here, once.
    unsafe {
        let queue = ffi::rd_kafka_queue_new(client);
        let options = ffi::rd_kafka_AdminOptions_new(client, operation);
        ffi::rd_kafka_AdminOptions_set_request_timeout(options, timeout, ptr::null_mut(), 0);
        send(client, options, queue);
        let event = ffi::rd_kafka_queue_poll(queue, within);
        let answer = match event.is_null() {
            true => Err(RDKafkaErrorCode::OperationTimedOut),
            false => {
                let failed = code(ffi::rd_kafka_event_error(event));
                let answer = failed.map_or_else(|| read(event), Err);
                ffi::rd_kafka_event_destroy(event);
                answer
            }
        };
        ffi::rd_kafka_AdminOptions_destroy(options);
        ffi::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// Looks topics up; those that do not exist are left out. Blocks its thread for at most `within`.
///
/// # Errors
/// What befell the whole request, or one of the topics.
pub(crate) fn describe_topics<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    within: Duration,
) -> Result<Vec<Topic>, RDKafkaErrorCode> {
    let names: Vec<CString> = names
        .iter()
        .filter_map(|name| CString::new(*name).ok())
        .collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: one request is sent; the names outlive the call, which copies them.
    unsafe {
        ask(
            client,
            ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            (within, Duration::ZERO),
            |client, options, queue| {
                let (names, count) = (pointers.as_mut_ptr(), pointers.len());
                let topics = ffi::rd_kafka_TopicCollection_of_topic_names(names, count);
                ffi::rd_kafka_DescribeTopics(client, topics, options, queue);
                ffi::rd_kafka_TopicCollection_destroy(topics);
            },
            |event| described(event),
        )
    }
}

/// # Safety
/// The event is alive.
unsafe fn described(event: *mut Event) -> Result<Vec<Topic>, RDKafkaErrorCode> {
    // SAFETY: what is looked at belongs to the event; `count` is how many descriptions there are.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let all = ffi::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let mut topics = Vec::with_capacity(count);
        for index in 0..count {
            let one = *all.add(index);
            match code(ffi::rd_kafka_error_code(
                ffi::rd_kafka_TopicDescription_error(one),
            )) {
                None => {}
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => continue,
                Some(code) => return Err(code),
            }
            let mut partitions = 0;
            ffi::rd_kafka_TopicDescription_partitions(one, &mut partitions);
            topics.push(Topic {
                name: text(ffi::rd_kafka_TopicDescription_name(one)),
                id: text(ffi::rd_kafka_Uuid_base64str(
                    ffi::rd_kafka_TopicDescription_topic_id(one),
                )),
                partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            });
        }
        Ok(topics)
    }
}

/// All that a group has committed: topic, partition, offset, metadata. Blocks its thread for at most `within`. The client has to
/// have a group of its own: librdkafka 2.12.1 tells it when the coordinator has moved, without a look whether there is one.
///
/// # Errors
/// What befell the request, or the group.
pub(crate) fn list_group_offsets<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    group: &str,
    within: Duration,
) -> Result<Vec<(String, u32, i64, String)>, RDKafkaErrorCode> {
    let Ok(group) = CString::new(group) else {
        return Ok(Vec::new());
    };
    // SAFETY: one request is sent; the call copies what is asked. Without a list of partitions all of the group are listed.
    unsafe {
        ask(
            client.client(),
            ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            (within, BEYOND),
            |client, options, queue| {
                ffi::rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
                let mut asked =
                    ffi::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), ptr::null());
                ffi::rd_kafka_ListConsumerGroupOffsets(client, &mut asked, 1, options, queue);
                ffi::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
            },
            |event| listed(event),
        )
    }
}

/// # Safety
/// The event is alive.
unsafe fn listed(event: *mut Event) -> Result<Vec<(String, u32, i64, String)>, RDKafkaErrorCode> {
    // SAFETY: what is looked at belongs to the event; metadata has as many bytes as it says.
    unsafe {
        let result = ffi::rd_kafka_event_ListConsumerGroupOffsets_result(event);
        let mut count = 0;
        let groups = ffi::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        let mut all = Vec::new();
        for index in 0..count {
            let group = *groups.add(index);
            let failed = ffi::rd_kafka_group_result_error(group);
            if let Some(code) = code(ffi::rd_kafka_error_code(failed)) {
                return Err(code);
            }
            let list = ffi::rd_kafka_group_result_partitions(group);
            if list.is_null() {
                continue;
            }
            for index in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                let element = &*(*list).elems.add(index);
                if let Some(code) = code(element.err) {
                    return Err(code);
                }
                let metadata = bytes(element.metadata, element.metadata_size).unwrap_or_default();
                all.push((
                    text(element.topic),
                    u32::try_from(element.partition).unwrap_or(u32::MAX),
                    element.offset,
                    String::from_utf8_lossy(metadata).into_owned(),
                ));
            }
        }
        Ok(all)
    }
}

/// A member of a group, as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember {
    /// Given by the coordinator when it joined, or its own under `group.protocol = "consumer"`.
    pub(crate) id: String,
    /// Of a static member.
    pub(crate) instance: Option<String>,
    /// What is assigned to it: topic and partition.
    pub(crate) partitions: Vec<(String, u32)>,
}

/// The members of a group, of whichever protocol; none when there is no such group. Blocks its thread for at most `within`.
///
/// # Errors
/// What befell the request, or the group.
pub(crate) fn list_members<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    within: Duration,
) -> Result<Vec<GroupMember>, RDKafkaErrorCode> {
    let Ok(group) = CString::new(group) else {
        return Ok(Vec::new());
    };
    // SAFETY: one request is sent; the call copies the name.
    unsafe {
        ask(
            client,
            ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            (within, BEYOND),
            |client, options, queue| {
                let mut names = [group.as_ptr()];
                ffi::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, queue);
            },
            |event| members(event),
        )
    }
}

/// # Safety
/// The event is alive.
unsafe fn members(event: *mut Event) -> Result<Vec<GroupMember>, RDKafkaErrorCode> {
    // SAFETY: what is looked at belongs to the event.
    unsafe {
        let result = ffi::rd_kafka_event_DescribeConsumerGroups_result(event);
        let mut count = 0;
        let groups = ffi::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        let mut members = Vec::new();
        for index in 0..count {
            let group = *groups.add(index);
            let error = ffi::rd_kafka_ConsumerGroupDescription_error(group);
            match code(ffi::rd_kafka_error_code(error)) {
                None => {}
                Some(RDKafkaErrorCode::GroupIdNotFound) => continue,
                Some(code) => return Err(code),
            }
            for index in 0..ffi::rd_kafka_ConsumerGroupDescription_member_count(group) {
                let member = ffi::rd_kafka_ConsumerGroupDescription_member(group, index);
                let instance = ffi::rd_kafka_MemberDescription_group_instance_id(member);
                members.push(GroupMember {
                    id: text(ffi::rd_kafka_MemberDescription_consumer_id(member)),
                    instance: (!instance.is_null()).then(|| text(instance)),
                    partitions: assigned(member),
                });
            }
        }
        Ok(members)
    }
}

/// # Safety
/// The member is alive.
unsafe fn assigned(member: *const ffi::rd_kafka_MemberDescription_t) -> Vec<(String, u32)> {
    // SAFETY: what is looked at belongs to the member; a list has as many elements as it says.
    unsafe {
        let assignment = ffi::rd_kafka_MemberDescription_assignment(member);
        let list = ffi::rd_kafka_MemberAssignment_partitions(assignment);
        if list.is_null() {
            return Vec::new();
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let element = |index| {
            let element = &*(*list).elems.add(index);
            let partition = u32::try_from(element.partition).unwrap_or(u32::MAX);
            (text(element.topic), partition)
        };
        (0..count).map(element).collect()
    }
}
