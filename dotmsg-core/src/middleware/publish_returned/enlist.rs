//! What handlers returned, for the open transaction of their route (`delivery = "exactly_once"`).
//!
//! The layers put it down here and are through with the message at once; the route's pump hands it to the transaction, and
//! settles the message in the same one. Two rules keep the two together:
//! - a message is put down in the poll in which its call ends, so that its report is on its way when it counts here. The pump
//!   closes this, waits until as many reports have come, and knows then that the transaction holds the messages of exactly
//!   those that it settles;
//! - nothing is put down for a stream that is void, so a handler that outlives the rewind of its partition adds nothing to a
//!   later transaction.
//!
//! A broker refuses batches, and with one message its neighbours. So what was in a refused batch is only suspected: when it comes
//! again it is alone in the transaction until it has arrived. What is refused then is refused itself, and its call fails.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::backend::PublishRecord;
use crate::delivery::{Delivery, Position};
use crate::error::Error;

/// Messages that are suspected, and that are refused, at most. Above that all are forgotten, which costs one more abort.
const REMEMBERED: usize = 65_536;

/// Where handlers of one route put down what they returned, for the transaction that is open.
#[derive(Default)]
pub struct Enlistment(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Calls that put something down since [`Enlistment::begin`].
    put: u64,
    records: Vec<PublishRecord>,
    calls: Vec<Call>,
    bytes: usize,
    /// Records that were put down and did not arrive yet.
    unanswered: usize,
    alone: Alone,
    /// Wait until it is open again, or until a suspect has had its turn.
    waiting: Vec<Waker>,
    pump: Option<Waker>,
    suspects: HashSet<Place>,
    refused: HashMap<Place, Refusal>,
}

/// Whether a suspect has the transaction to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Alone {
    #[default]
    No,
    /// One waits until all else has arrived.
    Wanted,
    /// It is on its way.
    Put,
}

/// Why a message's call fails.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    /// No repeat can help.
    pub(crate) for_good: bool,
}

/// Where a record in hand lies: that of a retry in its tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    topic: Arc<str>,
    partition: u32,
    offset: u64,
}

impl Place {
    fn of(delivery: &Delivery) -> Self {
        let Position {
            partition, offset, ..
        } = delivery.position();
        Self {
            topic: Arc::clone(&delivery.stream().topic),
            partition,
            offset,
        }
    }
}

/// One call: the message it was for, and how many records it returned.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) place: Place,
    pub(crate) records: usize,
}

/// What is to be handed to the transaction.
#[derive(Debug, Default)]
pub(crate) struct Enlisted {
    pub(crate) records: Vec<PublishRecord>,
    /// The calls that returned them, in the same order.
    pub(crate) calls: Vec<Call>,
    pub(crate) bytes: usize,
}

/// Why nothing was put down.
#[derive(Debug)]
pub(crate) enum NotEnlisted {
    /// The delivery's partition was given up or rewound.
    Void,
    /// The broker refuses what this message's handler returned.
    Refused(Refusal),
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
        let place = Place::of(delivery);
        if let Some(refusal) = state.refused.get(&place) {
            return Poll::Ready(Err(NotEnlisted::Refused(refusal.clone())));
        }
        if state.closed || !state.has_turn(&place) {
            state.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        let before = state.records.len();
        for record in records() {
            state.bytes += record.message.size();
            state.records.push(record);
        }
        let records = state.records.len() - before;
        state.put += 1;
        state.unanswered += records;
        state.calls.push(Call { place, records });
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
        // The next will be as long, while there is as much to do.
        let room = state.records.len();
        Some(Enlisted {
            records: std::mem::replace(&mut state.records, Vec::with_capacity(room)),
            calls: std::mem::replace(&mut state.calls, Vec::with_capacity(room)),
            bytes: std::mem::take(&mut state.bytes),
        })
    }

    /// Takes nothing more until it is opened; gives the calls that were put down since it was begun anew.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        state.put
    }

    /// Takes more, for the same transaction.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.closed = false;
        if state.alone == Alone::Wanted {
            // Whoever wanted it says so again, if it is still there.
            state.alone = Alone::No;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// So many records that were taken have arrived, or have not.
    pub(crate) fn answered(&self, records: usize) {
        let mut state = self.lock();
        state.unanswered = state.unanswered.saturating_sub(records);
        if state.unanswered > 0 || state.alone == Alone::No {
            return;
        }
        if state.alone == Alone::Put {
            state.alone = Alone::No;
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The transaction has ended: what was put down and not taken is dropped, and the next one begins, closed.
    pub(crate) fn begin(&self) {
        let mut state = self.lock();
        debug_assert!(state.closed, "it is begun while nothing is put down");
        state.put = 0;
        state.records.clear();
        state.calls.clear();
        state.bytes = 0;
        state.unanswered = 0;
        state.alone = Alone::No;
    }

    /// Whether any message is suspected.
    pub(crate) fn suspects_any(&self) -> bool {
        !self.lock().suspects.is_empty()
    }

    /// What was returned for it has arrived.
    pub(crate) fn arrived(&self, place: &Place) {
        self.lock().suspects.remove(place);
    }

    /// The broker refuses what was returned for it: its next call fails.
    pub(crate) fn refuse(&self, place: Place, error: &Error, for_good: bool) {
        let mut state = self.lock();
        state.suspects.remove(&place);
        if state.refused.len() == REMEMBERED {
            state.refused.clear();
        }
        let why = error.to_string();
        state.refused.insert(place, Refusal { why, for_good });
    }

    /// What was returned for it is not there, and its neighbours may be to blame: the next time it is alone. When it was, it is
    /// to blame itself.
    pub(crate) fn suspect(&self, place: Place, error: &Error, for_good: bool) {
        let mut state = self.lock();
        if state.suspects.contains(&place) {
            drop(state);
            self.refuse(place, error, for_good);
            return;
        }
        if state.suspects.len() == REMEMBERED {
            state.suspects.clear();
        }
        state.suspects.insert(place);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a call may put something down: a suspect when all else has arrived, others when none wants to be alone.
    fn has_turn(&mut self, place: &Place) -> bool {
        if self.alone == Alone::Put {
            return false;
        }
        if !self.suspects.contains(place) {
            return self.alone == Alone::No;
        }
        let has_turn = self.unanswered == 0;
        self.alone = match has_turn {
            true => Alone::Put,
            false => Alone::Wanted,
        };
        has_turn
    }
}

impl fmt::Debug for Enlistment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Enlistment")
            .field("closed", &state.closed)
            .field("calls", &state.put)
            .field("records", &state.records.len())
            .finish_non_exhaustive()
    }
}
