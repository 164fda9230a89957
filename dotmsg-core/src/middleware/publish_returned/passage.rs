//! What a call returned, on its way: the path of nearly every message that returns some, without a box.
//!
//! It tries once. What is not through then is left to the layer, which repeats and tells why.

use std::task::{Context, Poll, ready};

use super::enlist::{Enlistment, NotEnlisted, Refusal};
use super::runs::OnItsWay;
use super::{Desk, Way, records};
use crate::delivery::{Delivery, Settlement};
use crate::error::{Error, ErrorKind};
use crate::handler::{HandlerError, HandlerResult, Returned};
use crate::middleware::{Ended, Outcome};

/// What a call returned with [`Settlement::Ack`], on its way.
#[derive(Debug)]
pub(crate) struct Passage {
    returned: Returned,
    on_its_way: Option<OnItsWay>,
}

/// What has become of it.
#[derive(Debug)]
pub(crate) enum Passed {
    /// It is through, or counts for nothing any more.
    Through(Outcome),
    /// This is left to be done: a result of the call as it would be if it had returned only that.
    Left(HandlerResult),
}

impl Passage {
    /// Nothing is sent before the first poll.
    pub(crate) fn new(returned: Returned) -> Self {
        debug_assert_eq!(returned.settlement, Settlement::Ack);
        Self {
            returned,
            on_its_way: None,
        }
    }

    /// Sends it, and waits. Through when it is confirmed, or in the open transaction.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        desk: &Desk,
        delivery: &Delivery,
    ) -> Poll<Passed> {
        let runs = match &desk.way {
            Way::Runs(runs) => runs,
            Way::Transaction(enlistment) => {
                return enlist(cx, desk, enlistment, delivery, &mut self.returned).map(
                    |enlisted| match enlisted {
                        Ok(outcome) => Passed::Through(outcome),
                        Err(error) => Passed::Left(Err(error)),
                    },
                );
            }
        };
        let on_its_way = self.on_its_way.get_or_insert_with(|| {
            records::complete(&desk.parts, delivery, &mut self.returned.outgoing);
            runs.put(desk.records(&self.returned))
        });
        let unconfirmed = ready!(on_its_way.poll(cx));
        if unconfirmed.is_empty() {
            return Poll::Ready(Passed::Through(Outcome::HANDLED));
        }
        let mut returned = std::mem::take(&mut self.returned);
        let mut index = 0;
        returned.outgoing.retain(|_| {
            index += 1;
            unconfirmed.binary_search(&(index - 1)).is_ok()
        });
        Poll::Ready(Passed::Left(Ok(returned)))
    }
}

/// Puts down what a call returned, for the transaction.
pub(super) fn enlist(
    cx: &mut Context<'_>,
    desk: &Desk,
    enlistment: &Enlistment,
    delivery: &Delivery,
    returned: &mut Returned,
) -> Poll<Result<Outcome, HandlerError>> {
    if !matches!(returned.settlement, Settlement::Ack | Settlement::Discard) {
        return Poll::Ready(Err(unsettled()));
    }
    records::complete(&desk.parts, delivery, &mut returned.outgoing);
    let discarded = returned.settlement == Settlement::Discard;
    let records = || desk.records(returned);
    enlistment
        .poll_put(cx, delivery, records)
        .map(|put| match put {
            Ok(()) => Ok(Outcome::Settled(Ended::Returned { discarded })),
            Err(NotEnlisted::Void) => Ok(Outcome::Interrupted),
            Err(NotEnlisted::Refused(refusal)) => Err(refused(refusal)),
        })
}

/// Its messages would be published although it is to run again, or is a dead letter.
fn unsettled() -> HandlerError {
    let message = "with delivery = \"exactly_once\" messages are returned with Ack or Discard only: a transaction holds those of messages that it settles";
    HandlerError::permanent(Error::new(ErrorKind::Invalid, "publish", message)).kind("publish")
}

fn refused(Refusal { why, for_good }: Refusal) -> HandlerError {
    let error = Error::new(ErrorKind::Invalid, "publish", why);
    let error = match for_good {
        true => HandlerError::permanent(error),
        false => HandlerError::transient(error),
    };
    error.kind("publish")
}
