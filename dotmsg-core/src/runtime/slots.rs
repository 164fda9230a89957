//! Slots: where the futures of running handlers live.
//!
//! A slot is made once and used again, with its allocation, its waker and its delivery. It keeps the delivery while the
//! future runs, so that nothing that happens to the future (a panic, a timeout, a drop) can lose the message.

use std::convert::Infallible;
use std::future::Future;
use std::ops::{Index, IndexMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::lanes::LaneId;
use super::ready::ReadySet;
use super::ticket::{Item, Ticket};
use crate::backend::Record;
use crate::delivery::Delivery;
use crate::middleware::Outcome;

/// Whose turn the message in a slot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nobody's: it has no key.
    Unkeyed,
    /// Its key's, of which nothing else is in hand: the slot stands for the lane, under this hash of the key.
    Alone(u64),
    /// A lane's.
    Lane(LaneId),
}

/// A place for one running handler.
pub(super) struct Slot<F> {
    future: Pin<Box<Option<F>>>,
    waker: Waker,
    pub(super) delivery: Delivery,
    pub(super) ticket: Ticket,
    pub(super) turn: Turn,
    /// Its place among the messages of its lane that run together.
    pub(super) place: u32,
}

impl<F> Slot<F> {
    /// Whether a handler runs in it.
    pub(super) fn is_running(&self) -> bool {
        self.future.is_some()
    }

    /// The message that ran in it, as it was offered.
    pub(super) fn item(&self) -> Item {
        let delivery = &self.delivery;
        Item {
            stream: Arc::clone(delivery.stream()),
            record: Record {
                offset: self.ticket.offset,
                // The adapter's token is of no use once the record was tracked.
                receipt: 0,
                appended_at: delivery.appended_at(),
                message: delivery.message().clone(),
            },
            ticket: self.ticket,
            condemned: delivery.condemned(),
        }
    }

    /// Drops what runs in it.
    pub(super) fn abandon(&mut self) {
        self.future.as_mut().set(None);
    }

    /// Has it polled soon.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }
}

impl<F: Future<Output = Result<Outcome, Infallible>>> Slot<F> {
    /// Polls a call for the first time.
    #[inline]
    pub(super) fn start(&mut self, call: F) -> Poll<Outcome> {
        self.future.as_mut().set(Some(call));
        self.poll()
    }

    /// Polls what runs in it, if anything does.
    #[inline]
    pub(super) fn poll(&mut self) -> Poll<Outcome> {
        let Some(future) = self.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        match future.poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(outcome)) => {
                self.future.as_mut().set(None);
                Poll::Ready(outcome)
            }
            Poll::Ready(Err(never)) => match never {},
        }
    }
}

/// All slots of a worker, by number.
pub(super) struct Slots<F> {
    slots: Vec<Slot<F>>,
    free: Vec<usize>,
    ready_set: Arc<ReadySet>,
}

impl<F> Slots<F> {
    /// No slots yet; their wakers will mark `ready_set`.
    pub(super) fn new(ready_set: Arc<ReadySet>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ready_set,
        }
    }

    /// How many there are, free ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The free slot that [`take`](Self::take) gives next, made if need be. It stays free.
    #[inline]
    pub(super) fn peek(&mut self) -> usize {
        match self.free.last() {
            Some(index) => *index,
            None => self.add(),
        }
    }

    /// The free slot that is next, if there is one without making it.
    pub(super) fn warm(&mut self) -> Option<&mut Slot<F>> {
        let index = *self.free.last()?;
        Some(&mut self.slots[index])
    }

    /// Takes a free slot.
    #[inline]
    pub(super) fn take(&mut self) -> usize {
        let index = self.peek();
        self.free.pop();
        index
    }

    /// Frees a slot in which nothing runs, and lets go of its message.
    #[inline]
    pub(super) fn give_back(&mut self, index: usize) {
        self.slots[index].delivery.clear();
        self.free.push(index);
    }

    /// The slots, free ones included.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<F>> {
        self.slots.iter()
    }

    #[cold]
    fn add(&mut self) -> usize {
        let index = self.slots.len();
        self.slots.push(Slot {
            future: Box::pin(None),
            waker: self.ready_set.waker(index),
            delivery: Delivery::vacant(),
            ticket: Ticket::vacant(),
            turn: Turn::Unkeyed,
            place: 0,
        });
        self.free.push(index);
        index
    }
}

impl<F> Index<usize> for Slots<F> {
    type Output = Slot<F>;

    #[inline]
    fn index(&self, index: usize) -> &Slot<F> {
        &self.slots[index]
    }
}

impl<F> IndexMut<usize> for Slots<F> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut Slot<F> {
        &mut self.slots[index]
    }
}
