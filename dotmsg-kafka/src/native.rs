//! The part of librdkafka that has no safe wrapper: batches of messages, results of commits, leader epochs, topic ids, groups.
//!
//! It is here, in `requests` and in `settings`, and nowhere else, that this crate is unsafe (ADR 0010). What must stay true:
//! - a queue is destroyed before its client: [`Queue`] holds the consumer that it belongs to, and is dropped first;
//! - a message is read only while [`Messages`] holds it, and is destroyed exactly once, by its `Drop`;
//! - a string that librdkafka returns is copied before the call returns, or borrowed no longer than its message.
//!
//! Sources: `rdkafka.h` of librdkafka 2.12.1, which says of each function who owns what.

#![allow(unsafe_code)]

mod requests;
mod settings;

pub(crate) use requests::{GroupMember, Topic, describe_topics, list_group_offsets, list_members};
pub(crate) use settings::{Answer, TopicSettings, describe_settings};

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as ffi;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafka, RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};

type Arrival = Box<dyn Fn() + Send + Sync>;

/// A queue of librdkafka's that nobody else reads.
pub(crate) struct Queue<C: ConsumerContext + 'static> {
    ptr: NonNull<RDKafkaQueue>,
    // Two boxes: librdkafka hands back a thin pointer.
    arrival: Option<Box<Arrival>>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues are thread-safe ("all functions are thread-safe unless otherwise noted", INTRODUCTION.md), and the
// callback is `Send + Sync`.
unsafe impl<C: ConsumerContext> Send for Queue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext> Sync for Queue<C> {}

impl<C: ConsumerContext> fmt::Debug for Queue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<C: ConsumerContext> Queue<C> {
    /// A new queue of this consumer.
    pub(crate) fn new(consumer: &Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client lives as long as `consumer`, of which a reference is kept.
        let ptr = unsafe { ffi::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self {
            ptr: NonNull::new(ptr).expect("librdkafka makes a queue"),
            arrival: None,
            consumer: Arc::clone(consumer),
        }
    }

    /// Calls `arrival`, on one of librdkafka's threads, when the queue was empty and is not any more.
    pub(crate) fn on_arrival(&mut self, arrival: impl Fn() + Send + Sync + 'static) {
        unsafe extern "C" fn arrived(_: *mut RDKafka, opaque: *mut c_void) {
            // SAFETY: `opaque` is the box below, which lives until the callback is disabled in `drop`.
            let arrival = unsafe { &*opaque.cast::<Arrival>() };
            arrival();
        }
        let arrival: Box<Arrival> = Box::new(Box::new(arrival));
        let opaque = ptr::from_ref::<Arrival>(&arrival)
            .cast_mut()
            .cast::<c_void>();
        // SAFETY: the queue is alive, and the box outlives the registration: it is kept in `self`.
        unsafe {
            ffi::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), Some(arrived), opaque);
        }
        self.arrival = Some(arrival);
    }

    /// Makes this queue receive what is fetched of a partition, from now on and also after it is assigned anew.
    pub(crate) fn receive(&self, topic: &str, partition: u32) {
        let Ok(topic) = CString::new(topic) else {
            return;
        };
        let client = self.consumer.client().native_ptr();
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        // SAFETY: client and both queues are alive; the reference to the partition's queue is given back.
        unsafe {
            let from = ffi::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !from.is_null() {
                ffi::rd_kafka_queue_forward(from, self.ptr.as_ptr());
                ffi::rd_kafka_queue_destroy(from);
            }
        }
    }

    /// Takes what is there, without waiting; at most as many as `messages` has room for.
    pub(crate) fn consume(&self, messages: &mut Messages) {
        messages.clear();
        let room = messages.0.capacity();
        // SAFETY: the buffer has room for `room` pointers; librdkafka fills as many as it says, and gives them away.
        unsafe {
            let taken = ffi::rd_kafka_consume_batch_queue(
                self.ptr.as_ptr(),
                0,
                messages.0.as_mut_ptr(),
                room,
            );
            messages.0.set_len(usize::try_from(taken).unwrap_or(0));
        }
    }

    /// The answer to one commit, without waiting.
    pub(crate) fn poll_commit(&self) -> Option<CommitReply> {
        // SAFETY: an event is owned by its receiver, and its list of partitions lives as long as it.
        unsafe {
            let event = ffi::rd_kafka_queue_poll(self.ptr.as_ptr(), 0);
            if event.is_null() {
                return None;
            }
            let reply = CommitReply {
                token: ffi::rd_kafka_event_opaque(event) as usize,
                error: code(ffi::rd_kafka_event_error(event)),
                partitions: partitions(ffi::rd_kafka_event_topic_partition_list(event)),
            };
            ffi::rd_kafka_event_destroy(event);
            Some(reply)
        }
    }

    /// Sends a commit, whose answer comes into this queue under `token`. Does not wait.
    ///
    /// # Errors
    /// librdkafka's, when it does not take it.
    pub(crate) fn commit(
        &self,
        offsets: &TopicPartitionList,
        token: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: the list is copied by the call; the opaque is a number, never followed.
        let error = unsafe {
            ffi::rd_kafka_commit_queue(
                self.consumer.client().native_ptr(),
                offsets.ptr(),
                self.ptr.as_ptr(),
                None,
                token as *mut c_void,
            )
        };
        code(error).map_or(Ok(()), Err)
    }
}

impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is alive until here, and the callback's box until after.
        unsafe {
            ffi::rd_kafka_queue_cb_event_enable(self.ptr.as_ptr(), None, ptr::null_mut());
            ffi::rd_kafka_queue_destroy(self.ptr.as_ptr());
        }
    }
}

/// What became of one commit.
#[derive(Debug)]
pub(crate) struct CommitReply {
    /// The token it was sent under.
    pub(crate) token: usize,
    /// What befell all of it.
    pub(crate) error: Option<RDKafkaErrorCode>,
    /// What befell each partition.
    pub(crate) partitions: Vec<(u32, Option<RDKafkaErrorCode>)>,
}

/// # Safety
/// The list, if there is one, is alive.
unsafe fn partitions(
    list: *const ffi::rd_kafka_topic_partition_list_t,
) -> Vec<(u32, Option<RDKafkaErrorCode>)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: `elems` has `cnt` elements.
    let elements = unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        match count {
            0 => &[],
            count => std::slice::from_raw_parts((*list).elems, count),
        }
    };
    let one = |element: &ffi::rd_kafka_topic_partition_t| {
        let partition = u32::try_from(element.partition).unwrap_or(u32::MAX);
        (partition, code(element.err))
    };
    elements.iter().map(one).collect()
}

/// Messages that were taken from a queue; given back to librdkafka when they are cleared or dropped.
#[derive(Debug)]
pub(crate) struct Messages(Vec<*mut RDKafkaMessage>);

// SAFETY: a message is owned by whoever took it, on whichever thread.
unsafe impl Send for Messages {}

impl Messages {
    /// Room for so many.
    pub(crate) fn with_capacity(room: usize) -> Self {
        Self(Vec::with_capacity(room))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The messages, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Fetched<'_>> {
        // SAFETY: each pointer is alive until `clear`, which needs `&mut self`.
        self.0.iter().map(|message| Fetched(unsafe { &**message }))
    }

    fn clear(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: it was given away by librdkafka, and is destroyed once: it is out of the vector.
            unsafe { ffi::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One message, or what befell the partition it would have come from.
#[derive(Clone, Copy)]
pub(crate) struct Fetched<'m>(&'m RDKafkaMessage);

impl<'m> Fetched<'m> {
    /// The error that stands in the message's place.
    pub(crate) fn error(self) -> Option<RDKafkaErrorCode> {
        code(self.0.err)
    }

    /// What librdkafka says about the error.
    pub(crate) fn error_text(self) -> String {
        // SAFETY: the string lives as long as the message.
        unsafe { text(ffi::rd_kafka_message_errstr(self.0)) }
    }

    /// Something that tells topics apart, as long as no topic is dropped in between.
    pub(crate) fn topic_handle(self) -> usize {
        self.0.rkt as usize
    }

    /// Its topic.
    pub(crate) fn topic(self) -> Cow<'m, str> {
        if self.0.rkt.is_null() {
            return Cow::Borrowed("");
        }
        // SAFETY: the topic, and with it its name, is alive as long as a message refers to it.
        unsafe { name(ffi::rd_kafka_topic_name(self.0.rkt)) }
    }

    /// Its partition.
    pub(crate) fn partition(self) -> u32 {
        u32::try_from(self.0.partition).unwrap_or(u32::MAX)
    }

    /// Its offset.
    pub(crate) fn offset(self) -> u64 {
        u64::try_from(self.0.offset).unwrap_or(0)
    }

    /// Its key; null and empty are distinct.
    pub(crate) fn key(self) -> Option<&'m [u8]> {
        // SAFETY: librdkafka says how long it is, and it lives as long as the message.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// Its payload; null and empty are distinct.
    pub(crate) fn payload(self) -> Option<&'m [u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// Its timestamp in milliseconds, 0 where there is none, and whether it is the time of the append.
    pub(crate) fn timestamp(self) -> (i64, bool) {
        use ffi::rd_kafka_timestamp_type_t as Kind;
        let mut kind = Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let at = unsafe { ffi::rd_kafka_message_timestamp(self.0, &mut kind) };
        (at.max(0), kind == Kind::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME)
    }

    /// The epoch of the leader that appended it, where the broker tells.
    pub(crate) fn leader_epoch(self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { ffi::rd_kafka_message_leader_epoch(self.0) };
        (epoch >= 0).then_some(epoch)
    }

    /// Hands over its headers, in order.
    pub(crate) fn headers(self, mut each: impl FnMut(&str, Option<&[u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the headers belong to the message, and each name and value lives as long as they.
        unsafe {
            let error = ffi::rd_kafka_message_headers(self.0, &mut headers);
            if code(error).is_some() || headers.is_null() {
                return;
            }
            for index in 0.. {
                let (mut of, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let error =
                    ffi::rd_kafka_header_get_all(headers, index, &mut of, &mut value, &mut size);
                if code(error).is_some() {
                    return;
                }
                each(&name(of), bytes(value, size));
            }
        }
    }
}

/// Notes, for a partition of a list, the epoch of the leader under which its offset was reached.
pub(crate) fn set_leader_epoch(list: &mut TopicPartitionList, partition: u32, epoch: i32) {
    if let Some(element) = element(list, partition) {
        // SAFETY: it is an element of the list, to which nobody else refers.
        unsafe { ffi::rd_kafka_topic_partition_set_leader_epoch(element, epoch) };
    }
}

/// The leader epoch noted for a partition of a list.
pub(crate) fn leader_epoch(list: &TopicPartitionList, partition: u32) -> Option<i32> {
    let element = element(list, partition)?;
    // SAFETY: it is an element of the list, and only looked at.
    let epoch = unsafe { ffi::rd_kafka_topic_partition_get_leader_epoch(element) };
    (epoch >= 0).then_some(epoch)
}

/// The element of a partition, in a list of one topic.
fn element(
    list: &TopicPartitionList,
    partition: u32,
) -> Option<*mut ffi::rd_kafka_topic_partition_t> {
    // SAFETY: the list is alive, and `elems` has `cnt` elements.
    unsafe {
        let list = list.ptr();
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let mut elements = (0..count).map(|index| (*list).elems.add(index));
        elements.find(|element| u32::try_from((**element).partition) == Ok(partition))
    }
}

/// The id under which the group knows a member, if it has one now.
pub(crate) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is alive; the string is this caller's, and given back once it is copied.
    unsafe {
        let id = ffi::rd_kafka_memberid(client);
        if id.is_null() {
            return None;
        }
        let copied = text(id);
        ffi::rd_kafka_mem_free(client, id.cast());
        (!copied.is_empty()).then_some(copied)
    }
}

/// How many events and log lines wait to be polled, each by a poll of its own: one that takes a log line gives out nothing, as one
/// does that finds nothing.
pub(crate) fn waiting<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> usize {
    let client = consumer.client().native_ptr();
    // SAFETY: the client is alive; the reference to its queue is given back.
    unsafe {
        let queue = ffi::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            return 0;
        }
        let waiting = ffi::rd_kafka_queue_length(queue);
        ffi::rd_kafka_queue_destroy(queue);
        waiting
    }
}

/// Whether a message that could not be confirmed may be in the log all the same.
pub(crate) fn possibly_persisted(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the message is alive.
    let status = unsafe { ffi::rd_kafka_message_status(message.ptr()) };
    status != ffi::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

fn code(error: RDKafkaRespErr) -> Option<RDKafkaErrorCode> {
    (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
}

/// # Safety
/// `at` is null or the start of a string that ends with a NUL.
unsafe fn text(at: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { name(at) }.into_owned()
}

/// # Safety
/// `at` is null or the start of a string that ends with a NUL and lives during `'m`.
unsafe fn name<'m>(at: *const c_char) -> Cow<'m, str> {
    if at.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(at) }.to_string_lossy()
}

/// # Safety
/// `at` is null, or `length` bytes from there on may be read during `'m`.
unsafe fn bytes<'m>(at: *const c_void, length: usize) -> Option<&'m [u8]> {
    // SAFETY: the caller's promise.
    (!at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at.cast(), length) })
}

/// How long a call into librdkafka may block its thread.
pub(crate) const CALL: Duration = Duration::from_secs(10);
