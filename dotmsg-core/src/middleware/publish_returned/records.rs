//! What a handler returned, as records: derived ids, stamps, topics with their prefix.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::PublishParts;
use crate::backend::PublishRecord;
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::handler::Outgoing;
use crate::message::{cut, pass_on};

/// Topics whose names are kept; a handler that names them freely makes the others anew.
const NAMES: usize = 32;

/// Names of topics as the broker knows them, by the names that handlers use.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Vec<(Box<str>, Arc<str>)>>);

impl Names {
    pub(super) fn of(&self, prefix: &str, topic: &str) -> Arc<str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = names.iter().find(|(name, _)| **name == *topic) {
            return Arc::clone(known);
        }
        let full: Arc<str> = format!("{prefix}{topic}").into();
        if names.len() < NAMES {
            names.push((topic.into(), Arc::clone(&full)));
        }
        full
    }
}

/// Gives each message what it has not: an id, a stamp, the trace context of its parent. Doing it again changes nothing.
pub(super) fn complete(parts: &PublishParts, delivery: &Delivery, outgoing: &mut [Outgoing]) {
    let mut now = None;
    // One that is traced gives its messages contexts of their own.
    let passes_on = delivery.story().is_none();
    for (index, outgoing) in outgoing.iter_mut().enumerate() {
        let message = &mut outgoing.message;
        if message.id().is_none() {
            let id = derived_id(delivery, &parts.handler, index);
            *message = std::mem::take(message).with_id(id);
        }
        if message.timestamp == Timestamp::default() {
            message.timestamp = *now.get_or_insert_with(|| parts.clock.now());
        }
        if passes_on {
            pass_on(delivery.headers(), &mut message.headers);
        }
    }
}

/// The record of a complete message.
pub(super) fn record(parts: &PublishParts, names: &Names, outgoing: &Outgoing) -> PublishRecord {
    PublishRecord {
        topic: names.of(&parts.topic_prefix, &outgoing.topic),
        partition: None,
        message: outgoing.message.clone(),
    }
}

/// `<parent>:<handler>:<index>`.
fn derived_id(delivery: &Delivery, handler: &str, index: usize) -> Bytes {
    let written = cut(|to| {
        delivery.write_id(to)?;
        to.write_all(b":")?;
        to.write_all(handler.as_bytes())?;
        to.write_all(b":")?;
        to.write_all(itoa::Buffer::new().format(index).as_bytes())
    });
    written.expect("a buffer takes all that is written")
}
