//! What handlers returned, for the open transaction of their route (`delivery = "exactly_once"`).
//!
//! The layers put it down here and are through with the message at once; the route's pump hands it to the transaction, and
//! settles the message in the same one. Two rules keep the two together:
//! - a message is put down in the poll in which its call ends, so that its report is on its way when it counts here. The pump
//!   closes this, waits until as many reports have come, and knows then that the transaction holds the messages of exactly
//!   those that it settles;
//! - nothing is put down for a stream that is void, so a handler that outlives the rewind of its partition adds nothing to a
//!   later transaction.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::backend::PublishRecord;
use crate::delivery::{Delivery, Position};
use crate::error::Error;

/// Origins that are known to have returned what the broker refuses, at most; the oldest is forgotten.
const REFUSED: usize = 1_024;

/// Where handlers of one route put down what they returned, for the transaction that is open.
#[derive(Default)]
pub struct Enlistment(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Calls whose messages were put down since [`Enlistment::begin`].
    calls: u64,
    records: Vec<PublishRecord>,
    origins: Vec<Origin>,
    bytes: usize,
    /// Wait until it is open again.
    waiting: Vec<Waker>,
    pump: Option<Waker>,
    refused: VecDeque<(Origin, String)>,
}

/// Where a message comes from: its source partition, and whose offset it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    topic: std::sync::Arc<str>,
    partition: u32,
    offset: u64,
}

impl Origin {
    fn is(&self, position: Position<'_>) -> bool {
        (self.partition, self.offset) == (position.partition, position.offset)
            && *self.topic == *position.topic
    }
}

/// What is to be handed to the transaction.
#[derive(Debug, Default)]
pub(crate) struct Enlisted {
    pub(crate) records: Vec<PublishRecord>,
    /// Of each record, the message whose handler returned it.
    pub(crate) origins: Vec<Origin>,
    pub(crate) bytes: usize,
}

/// Why nothing was put down.
#[derive(Debug)]
pub(crate) enum NotEnlisted {
    /// The delivery's partition was given up or rewound.
    Void,
    /// The broker has refused what this message's handler returned, and with it a whole transaction.
    Refused(String),
}

impl Enlistment {
    /// Puts down what the call for `delivery` returned; `records` is called once there is a transaction to put it into.
    ///
    /// Whoever gets `Ready(Ok)` must end its call in this very poll.
    pub(crate) fn poll_put<R: Iterator<Item = PublishRecord>>(
        &self,
        cx: &mut Context<'_>,
        delivery: &Delivery,
        records: impl FnOnce() -> R,
    ) -> Poll<Result<(), NotEnlisted>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if delivery.stream().is_void() {
            return Poll::Ready(Err(NotEnlisted::Void));
        }
        let position = delivery.position();
        if let Some((_, why)) = state.refused.iter().find(|(origin, _)| origin.is(position)) {
            return Poll::Ready(Err(NotEnlisted::Refused(why.clone())));
        }
        if state.closed {
            state.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        state.calls += 1;
        for record in records() {
            state.bytes += record.message.size();
            state.records.push(record);
            state.origins.push(Origin {
                topic: std::sync::Arc::clone(&delivery.stream().topic),
                partition: position.partition,
                offset: position.offset,
            });
        }
        if let Some(pump) = state.pump.take() {
            pump.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what was put down; wakes `cx` when there is more.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Enlisted> {
        let mut state = self.lock();
        if state.records.is_empty() {
            state.pump = Some(cx.waker().clone());
            return None;
        }
        Some(Enlisted {
            records: std::mem::take(&mut state.records),
            origins: std::mem::take(&mut state.origins),
            bytes: std::mem::take(&mut state.bytes),
        })
    }

    /// Takes nothing more until it is opened; gives the calls that were put down since it was begun anew.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        state.calls
    }

    /// Takes more, for the same transaction.
    pub(crate) fn open(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The transaction has ended: what was put down and not taken is dropped, and the next one begins, closed.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        debug_assert!(state.closed, "it is begun while nothing is put down");
        state.calls = 0;
        state.records.clear();
        state.origins.clear();
        state.bytes = 0;
    }

    /// The broker refuses what this message's handler returned: when the message comes again, its call fails instead.
    pub(crate) fn refuse(&self, origin: Origin, error: &Error) {
        let mut state = self.lock();
        if state.refused.len() == REFUSED {
            state.refused.pop_front();
        }
        state.refused.push_back((origin, error.to_string()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Enlistment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Enlistment")
            .field("closed", &state.closed)
            .field("calls", &state.calls)
            .field("records", &state.records.len())
            .finish_non_exhaustive()
    }
}
