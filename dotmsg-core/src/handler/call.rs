//! What a handler is called with, and what it answers: one delivery, or a batch of them.
//!
//! Layers that an app puts around its handlers see these two, so that one layer fits both kinds of handler.

use super::{HandlerError, HandlerResult, Returned};
use crate::delivery::Delivery;

/// One call of a handler: the delivery, or the deliveries of a batch in the order of their arrival.
#[derive(Clone, Debug)]
pub struct Call(Deliveries);

#[derive(Clone, Debug)]
enum Deliveries {
    One(Delivery),
    Batch(Vec<Delivery>),
}

impl Call {
    /// A call with one delivery, of a handler that takes one message at a time.
    #[must_use]
    pub const fn one(delivery: Delivery) -> Self {
        Self(Deliveries::One(delivery))
    }

    /// A call with a batch, which may be of one.
    #[must_use]
    pub const fn batch(deliveries: Vec<Delivery>) -> Self {
        Self(Deliveries::Batch(deliveries))
    }

    /// The deliveries, at least one.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        match &self.0 {
            Deliveries::One(delivery) => std::slice::from_ref(delivery),
            Deliveries::Batch(deliveries) => deliveries,
        }
    }

    /// Whether it is the call of a batch handler.
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        matches!(self.0, Deliveries::Batch(_))
    }

    /// The deliveries of a batch, or the only one.
    pub(crate) fn into_deliveries(self) -> Vec<Delivery> {
        match self.0 {
            Deliveries::One(delivery) => vec![delivery],
            Deliveries::Batch(deliveries) => deliveries,
        }
    }

    /// The only delivery of a call that is not of a batch.
    pub(crate) fn into_one(self) -> Option<Delivery> {
        match self.0 {
            Deliveries::One(delivery) => Some(delivery),
            Deliveries::Batch(_) => None,
        }
    }
}

/// What a call came to, when the call as a whole did not fail.
#[derive(Debug)]
pub struct Answer(Answered);

#[derive(Debug)]
enum Answered {
    One(Returned),
    Each(Vec<HandlerResult>),
}

impl Answer {
    /// Of a handler that takes one message at a time.
    #[must_use]
    pub const fn one(returned: Returned) -> Self {
        Self(Answered::One(returned))
    }

    /// Of a batch: a result for each delivery, in their order.
    #[must_use]
    pub const fn each(results: Vec<HandlerResult>) -> Self {
        Self(Answered::Each(results))
    }

    /// The same for each of `count` deliveries.
    #[must_use]
    pub fn all(returned: &Returned, count: usize) -> Self {
        Self::each((0..count).map(|_| Ok(returned.clone())).collect())
    }

    /// How many deliveries failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.results().filter(Result::is_err).count()
    }

    /// The results of its deliveries, in their order.
    pub(crate) fn results(&self) -> impl Iterator<Item = Result<&Returned, &HandlerError>> {
        let (one, each) = match &self.0 {
            Answered::One(returned) => (Some(Ok(returned)), &[][..]),
            Answered::Each(results) => (None, &results[..]),
        };
        one.into_iter().chain(each.iter().map(Result::as_ref))
    }

    /// The failure of the first delivery that failed.
    pub(crate) fn first_failure(&self) -> Option<&HandlerError> {
        match &self.0 {
            Answered::One(_) => None,
            Answered::Each(results) => results.iter().find_map(|result| result.as_ref().err()),
        }
    }

    /// A result for each of `count` deliveries.
    ///
    /// # Errors
    /// There are fewer or more results than deliveries.
    pub(crate) fn into_each(self, count: usize) -> Result<Vec<HandlerResult>, HandlerError> {
        let results = match self.0 {
            Answered::One(returned) => vec![Ok(returned)],
            Answered::Each(results) => results,
        };
        if results.len() == count {
            return Ok(results);
        }
        let answers = results.len();
        let message = format!(
            "the handler gave {answers} answers for {count} messages; `Each` holds one for each message of the batch, in its order"
        );
        Err(HandlerError::transient(message).kind("answers"))
    }

    /// The result for the only delivery.
    pub(crate) fn into_one(self) -> HandlerResult {
        match self.0 {
            Answered::One(returned) => Ok(returned),
            each @ Answered::Each(_) => {
                let mut results = Self(each).into_each(1)?;
                results.pop().expect("it holds one")
            }
        }
    }
}
