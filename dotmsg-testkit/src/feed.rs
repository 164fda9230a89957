//! Publishing as a case needs it: confirmed, or the case fails.

use std::sync::Arc;

use dotmsg_core::backend::{Backend, PublishOutcome, PublishRecord, Published};
use dotmsg_core::error::Error;
use dotmsg_core::message::Message;

use crate::wait::within;

/// Publishes in one call; each record must be confirmed.
///
/// # Panics
/// When one is not.
pub(crate) async fn publish_all(
    backend: &dyn Backend,
    records: Vec<PublishRecord>,
) -> Vec<Published> {
    let (count, publisher) = (records.len(), backend.publisher());
    let outcomes = within("records are confirmed", publisher.publish(records)).await;
    assert_eq!(outcomes.len(), count, "one outcome per record");
    outcomes.into_iter().map(confirmed).collect()
}

/// Publishes one message to where its key belongs.
pub(crate) async fn publish(
    backend: &dyn Backend,
    topic: &Arc<str>,
    message: Message,
) -> Published {
    publish_all(backend, vec![by_key(topic, message)]).await[0]
}

/// A record that goes where its key belongs.
pub(crate) fn by_key(topic: &Arc<str>, message: Message) -> PublishRecord {
    PublishRecord {
        topic: Arc::clone(topic),
        partition: None,
        message,
    }
}

/// The n-th message of a key: its identity is `key-n`, its payload `n`.
pub(crate) fn numbered(key: &str, n: usize) -> Message {
    Message::new(n.to_string())
        .with_key(key.to_owned())
        .with_id(format!("{key}-{n}"))
}

/// `each` messages of each of these keys, in turns.
pub(crate) fn in_turns(topic: &Arc<str>, keys: &[&str], each: usize) -> Vec<PublishRecord> {
    (0..each)
        .flat_map(|n| keys.iter().map(move |key| (*key, n)))
        .map(|(key, n)| by_key(topic, numbered(key, n)))
        .collect()
}

pub(crate) fn confirmed(outcome: PublishOutcome) -> Published {
    match outcome {
        PublishOutcome::Ok(published) => published,
        other => panic!("a record was not confirmed: {other:?}"),
    }
}

/// The error of a record that must not have been appended.
pub(crate) fn refused(outcome: &PublishOutcome) -> &Error {
    match outcome {
        PublishOutcome::Failed(error) => error,
        other => panic!("a record was to be refused: {other:?}"),
    }
}
