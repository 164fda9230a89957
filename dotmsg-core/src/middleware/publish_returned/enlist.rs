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

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::backend::PublishRecord;
use crate::delivery::{Delivery, Position};
use crate::error::Error;

/// Messages that are suspected, and that are refused, at most; the oldest is forgotten.
const REMEMBERED: usize = 4_096;

/// Where handlers of one route put down what they returned, for the transaction that is open.
#[derive(Default)]
pub struct Enlistment(Mutex<State>);

#[derive(Default)]
struct State {
    closed: bool,
    /// Calls whose messages were put down since [`Enlistment::begin`].
    calls: u64,
    records: Vec<PublishRecord>,
    places: Vec<Place>,
    bytes: usize,
    /// Records that were put down and did not arrive yet.
    unanswered: usize,
    alone: Alone,
    /// Wait until it is open again, or until a suspect has had its turn.
    waiting: Vec<Waker>,
    pump: Option<Waker>,
    suspects: VecDeque<Place>,
    refused: VecDeque<(Place, Refusal)>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    topic: std::sync::Arc<str>,
    partition: u32,
    offset: u64,
}

impl Place {
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
    pub(crate) places: Vec<Place>,
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
        let position = delivery.position();
        if let Some((_, refusal)) = state.refused.iter().find(|(place, _)| place.is(position)) {
            return Poll::Ready(Err(NotEnlisted::Refused(refusal.clone())));
        }
        if state.closed || !state.has_turn(position) {
            state.waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        state.calls += 1;
        for record in records() {
            state.bytes += record.message.size();
            state.unanswered += 1;
            state.records.push(record);
            state.places.push(Place {
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
        // The next will be as long, while there is as much to do.
        let room = state.records.len();
        Some(Enlisted {
            records: std::mem::replace(&mut state.records, Vec::with_capacity(room)),
            places: std::mem::replace(&mut state.places, Vec::with_capacity(room)),
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
        state.calls = 0;
        state.records.clear();
        state.places.clear();
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
        self.lock().suspects.retain(|suspect| suspect != place);
    }

    /// The broker refuses what was returned for it: its next call fails.
    pub(crate) fn refuse(&self, place: Place, error: &Error, for_good: bool) {
        let mut state = self.lock();
        state.suspects.retain(|suspect| *suspect != place);
        let why = error.to_string();
        push(&mut state.refused, (place, Refusal { why, for_good }));
    }

    /// What was returned for it is not there, and its neighbours may be to blame: the next time it is alone. When it was, it is
    /// to blame itself.
    pub(crate) fn suspect(&self, place: Place, error: &Error, for_good: bool) {
        let mut state = self.lock();
        match state.suspects.contains(&place) {
            true => {
                drop(state);
                self.refuse(place, error, for_good);
            }
            false => push(&mut state.suspects, place),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a call may put something down: a suspect when all else has arrived, others when none wants to be alone.
    fn has_turn(&mut self, position: Position<'_>) -> bool {
        if self.alone == Alone::Put {
            return false;
        }
        if !self.suspects.iter().any(|place| place.is(position)) {
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

fn push<T>(list: &mut VecDeque<T>, one: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(one);
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
