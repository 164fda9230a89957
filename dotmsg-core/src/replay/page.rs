//! What is published together, and settled by one commit.

use std::sync::Arc;

use super::DeadLetter;
use super::letter::{replayed, sent_again};
use crate::backend::{PublishOutcome, PublishRecord, Publisher};
use crate::error::{Error, ErrorKind};
use crate::message::Message;
use crate::router::Topology;

/// Dead letters in hand at most, and so what a crash between publishing and committing repeats.
pub(super) const PAGE_LETTERS: usize = 256;
/// Bytes in hand, but for one letter.
const PAGE_BYTES: usize = 4 << 20;

/// Dead letters of one partition that were read and are not through, in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Page {
    items: Vec<Item>,
    bytes: usize,
}

#[derive(Debug)]
struct Item {
    offset: u64,
    what: What,
}

/// What is to be done about one letter of a page.
#[derive(Debug)]
enum What {
    /// Nothing: it is left out, or an earlier run is through with it.
    Nothing,
    Publish(Box<PublishRecord>),
    Discard,
}

/// What became of one letter of a page.
#[derive(Debug)]
pub(super) enum Became {
    /// Nothing was to be done.
    Passed,
    Replayed,
    Discarded,
    TooLarge,
    /// Not published, or not known to be.
    Failed(Error),
}

impl Page {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= PAGE_LETTERS || self.bytes >= PAGE_BYTES
    }

    /// A letter that is not published.
    pub(super) fn leave_out(&mut self, offset: u64) {
        let what = What::Nothing;
        self.items.push(Item { offset, what });
    }

    /// A letter that is given up.
    pub(super) fn discard(&mut self, offset: u64) {
        let what = What::Discard;
        self.items.push(Item { offset, what });
    }

    /// A letter that is. `message` is its message, without control headers.
    pub(super) fn add(
        &mut self,
        letter: &DeadLetter,
        message: &Message,
        topology: &Topology,
        to_origin: bool,
    ) {
        let (topic, message) = if to_origin {
            (&topology.source, sent_again(letter, message))
        } else {
            (&topology.replay, replayed(letter, message))
        };
        self.bytes += message.size();
        self.items.push(Item {
            offset: letter.offset,
            what: What::Publish(Box::new(PublishRecord {
                topic: Arc::clone(topic),
                partition: Some(letter.partition),
                message,
            })),
        });
    }

    /// Publishes it, and says of each offset, ascending, what became of it. In a dry run everything is taken for published.
    pub(super) async fn publish(
        &mut self,
        publisher: &dyn Publisher,
        dry_run: bool,
    ) -> Vec<(u64, Became)> {
        self.bytes = 0;
        let (mut records, mut places) = (Vec::new(), Vec::new());
        let mut became: Vec<(u64, Became)> = Vec::with_capacity(self.items.len());
        for Item { offset, what } in self.items.drain(..) {
            let so_far = match what {
                What::Nothing => Became::Passed,
                What::Discard => Became::Discarded,
                What::Publish(record) => {
                    records.push(*record);
                    places.push(became.len());
                    Became::Replayed
                }
            };
            became.push((offset, so_far));
        }
        if !dry_run && !records.is_empty() {
            let mut outcomes = publisher.publish(records).await.into_iter();
            for place in places {
                became[place].1 = outcome(outcomes.next());
            }
        }
        became
    }
}

fn outcome(outcome: Option<PublishOutcome>) -> Became {
    match outcome {
        Some(PublishOutcome::Ok(_)) => Became::Replayed,
        Some(PublishOutcome::Failed(error)) if error.kind() == ErrorKind::TooLarge => {
            Became::TooLarge
        }
        Some(PublishOutcome::Failed(error) | PublishOutcome::Unknown(error)) => {
            Became::Failed(error)
        }
        None => Became::Failed(Error::new(
            ErrorKind::Unexpected,
            "replay",
            "the backend gave no outcome",
        )),
    }
}
