//! The message of a dead letter that was too large to carry it: read where it was first published.

use std::future::poll_fn;
use std::sync::Arc;

use super::DeadLetter;
use super::letter::producers;
use crate::backend::{Backend, BatchLimits, ReadBatch};
use crate::error::{ErrorKind, Result};
use crate::message::Message;

const ONE: BatchLimits = BatchLimits {
    messages: 1,
    bytes: 1,
};

/// The message of a dead letter at its origin, without control headers; `None` when the origin does not hold it any more. A
/// topic that was created anew has other messages at the same offsets: one of another time or key is not it.
pub(super) async fn message_at(
    backend: &dyn Backend,
    letter: &DeadLetter,
) -> Result<Option<Message>> {
    let at = &letter.lineage;
    let range = match backend.admin().offsets(&at.topic, at.partition).await {
        Ok(range) => range,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !(range.start..range.end).contains(&at.offset) {
        return Ok(None);
    }
    let mut reader = backend.reader().await?;
    reader.assign(&Arc::clone(&at.topic), at.partition, at.offset)?;
    let mut batch = ReadBatch::default();
    poll_fn(|cx| reader.poll_batch(cx, ONE, &mut batch)).await?;
    let found = batch
        .records
        .into_iter()
        .next()
        .filter(|record| record.offset == at.offset && is_of(letter, &record.message));
    Ok(found.map(|record| producers(record.message)))
}

/// Whether it has the letter's time, and its key unless that did not fit into the letter.
fn is_of(letter: &DeadLetter, message: &Message) -> bool {
    let key = &letter.message.key;
    message.timestamp == letter.lineage.timestamp && (key.is_none() || *key == message.key)
}
