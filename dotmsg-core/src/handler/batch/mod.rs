//! Handlers of batches: what they take, and what they return.
//!
//! A batch handler is called with many messages at once, for effects that are cheaper together: one insert of a hundred
//! rows, one request with a hundred entries. Each message keeps everything else it has: its own decoding, settlement,
//! attempts, tiers and dead letter.

mod answer;
mod member;
mod part;

pub use answer::{Each, IntoAnswer};
pub use member::{FromMember, ViaLast, ViaTuple};
pub use part::FromBatch;

use std::sync::Arc;

use super::{Answer, HandlerError, HandlerResult, Invoke};
use crate::delivery::Delivery;

/// The messages of one call of a batch handler, in the order of their arrival; at least one. The last argument of such a
/// handler.
///
/// `T` is what is extracted from each of them: a payload, a part, or a tuple of parts with the payload last. A message
/// that cannot be extracted is not in it; it goes its own way (by default to the dead-letter topic).
///
/// Messages of one key are in it in their order. Those of a key are in one batch at a time.
///
/// ```
/// use dotmsg_core::handler::{Batch, Json, Key};
///
/// async fn insert(Batch(rows): Batch<(Key<String>, Json<u64>)>) {
///     for (Key(customer), Json(cents)) in rows {
///         println!("{customer} {cents}");
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch<T>(pub Vec<T>);

impl<T> Batch<T> {
    /// Extracts what a batch handler takes from each delivery.
    #[doc(hidden)]
    pub fn extract<'d>(
        deliveries: &'d [Delivery],
        from_member: impl Fn(&'d Delivery) -> Result<T, HandlerError>,
    ) -> (Self, Extracted) {
        let mut members = Vec::with_capacity(deliveries.len());
        let mut rejected = Vec::new();
        for delivery in deliveries {
            match from_member(delivery) {
                Ok(member) => members.push(member),
                Err(rejection) => rejected.push((members.len() + rejected.len(), rejection)),
            }
        }
        let extracted = Extracted {
            members: members.len(),
            rejected,
        };
        (Self(members), extracted)
    }
}

/// Handles one delivery with a handler of batches.
#[doc(hidden)]
pub async fn batch_of_one<M: Invoke<S>, S>(delivery: Delivery, state: Arc<S>) -> HandlerResult {
    M::invoke_batch(vec![delivery], state).await?.into_one()
}

/// Which deliveries of a call are in the batch that its handler gets.
#[doc(hidden)]
#[derive(Debug)]
pub struct Extracted {
    members: usize,
    /// By index among all deliveries, ascending.
    rejected: Vec<(usize, HandlerError)>,
}

impl Extracted {
    /// Whether there is nothing to call the handler with.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// How many messages the handler gets.
    #[must_use]
    pub const fn members(&self) -> usize {
        self.members
    }

    /// The answer to the whole call, when nothing was left to call the handler with.
    #[must_use]
    pub fn rejections(self) -> Answer {
        self.fill(Vec::new())
    }

    /// The answer to the whole call, from what the handler answered.
    ///
    /// # Errors
    /// The handler's error for all of them. What was rejected is not in it: it is found again when the parts are tried.
    pub fn answer(self, answered: Result<Answer, HandlerError>) -> Result<Answer, HandlerError> {
        let results = answered?.into_each(self.members)?;
        Ok(self.fill(results))
    }

    fn fill(self, results: Vec<HandlerResult>) -> Answer {
        let mut all = results;
        for (index, rejection) in self.rejected {
            all.insert(index, Err(rejection));
        }
        Answer::each(all)
    }
}
