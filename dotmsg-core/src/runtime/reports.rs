//! What workers tell the pump.
//!
//! Nearly every report says that a record of the source was handled. These are kept apart, as small as they can be: they
//! are written and read once for each message, and travel between threads where workers have tasks of their own.
//!
//! Of one turn the handled records are applied first: a partition that is drained has nothing left to report, so what was
//! handled must have been counted by then.

use super::stuck::InHand;
use super::ticket::{Settles, Ticket};
use crate::middleware::Outcome;
use crate::progress::Seq;

/// A record of the source was handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handled {
    pub(crate) seq: Seq,
    pub(crate) partition: u32,
    pub(crate) ownership: u32,
    /// Its bytes, as the limits count them.
    pub(crate) size: u32,
}

/// Anything else.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// A message has an outcome.
    Finished(Ticket, Outcome),
    /// Messages and bytes that began (or, negative, ceased) to wait behind an away head of a partition.
    Parked {
        partition: u32,
        ownership: u32,
        messages: i64,
        bytes: i64,
    },
    /// What this worker has in hand, by its number.
    InHand(usize, Vec<InHand>),
    /// Nothing of a stopped partition runs any more.
    Drained { partition: u32, ownership: u32 },
}

/// The reports of one turn.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) handled: Vec<Handled>,
    pub(crate) others: Vec<Report>,
}

impl Reports {
    /// A message has an outcome.
    #[inline]
    pub(crate) fn finished(&mut self, ticket: &Ticket, outcome: Outcome) {
        match (ticket.settles, outcome) {
            (Settles::Source(seq), Outcome::HANDLED) => {
                self.handled.push(Handled {
                    seq,
                    partition: ticket.partition,
                    ownership: ticket.ownership,
                    size: ticket.size,
                });
            }
            _ => self.others.push(Report::Finished(*ticket, outcome)),
        }
    }

    /// Messages began (or, with a negative sign, ceased) to wait behind an away head.
    pub(crate) fn parked(&mut self, ticket: &Ticket, messages: usize, bytes: usize, sign: i64) {
        if messages > 0 {
            self.others.push(Report::Parked {
                partition: ticket.partition,
                ownership: ticket.ownership,
                messages: sign * messages as i64,
                bytes: sign * bytes as i64,
            });
        }
    }

    /// What the worker of this number has in hand.
    pub(crate) fn in_hand(&mut self, number: usize, calls: Vec<InHand>) {
        self.others.push(Report::InHand(number, calls));
    }

    /// Nothing of a stopped partition runs any more.
    pub(crate) fn drained(&mut self, partition: u32, ownership: u32) {
        self.others.push(Report::Drained {
            partition,
            ownership,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handled.is_empty() && self.others.is_empty()
    }

    /// Takes all of `from`, which keeps its room.
    pub(crate) fn append(&mut self, from: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, from);
        } else {
            self.handled.append(&mut from.handled);
            self.others.append(&mut from.others);
        }
    }
}
