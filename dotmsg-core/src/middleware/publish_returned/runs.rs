//! Publishing in runs: what many calls returned goes to the publisher in one call.
//!
//! A call's messages are put down, and its future waits. Whatever was put down until the task of the run has its turn is one
//! run: the worker that polls the handlers yields after a batch, so a run is what a batch returned. Runs overlap; order between
//! them does not matter, because a key has one message in hand at a time. A call waits for the whole of its run, so one message
//! that takes long to be confirmed keeps what a batch returned waiting, and no other run.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::backend::{PublishOutcome, PublishRecord, Publisher};

/// The messages of many calls, on their way.
#[derive(Clone)]
pub(crate) struct Runs(Arc<Shared>);

struct Shared {
    publisher: Arc<dyn Publisher>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Slab<Call>,
    next: Run,
}

/// What goes to the publisher together, and whose it is: the call, and the index of the message in it.
#[derive(Default)]
struct Run {
    records: Vec<PublishRecord>,
    owners: Vec<(usize, usize)>,
}

impl State {
    /// The next run, whose successor has as much room: it will be as long, while there is as much to do.
    fn take(&mut self) -> Run {
        let room = self.next.records.len();
        let successor = Run {
            records: Vec::with_capacity(room),
            owners: Vec::with_capacity(room),
        };
        std::mem::replace(&mut self.next, successor)
    }
}

/// One call that waits.
#[derive(Debug, Default)]
struct Call {
    left: usize,
    /// Its messages that were not confirmed.
    unconfirmed: Vec<usize>,
    waker: Option<Waker>,
    /// Nobody waits for it any more.
    dropped: bool,
}

impl Runs {
    pub(crate) fn new(publisher: Arc<dyn Publisher>) -> Self {
        Self(Arc::new(Shared {
            publisher,
            state: Mutex::default(),
        }))
    }

    /// Puts down the messages of one call, in their order.
    pub(crate) fn put(&self, records: impl ExactSizeIterator<Item = PublishRecord>) -> OnItsWay {
        let mut state = self.0.lock();
        let begins = state.next.records.is_empty() && records.len() > 0;
        let number = state.calls.insert(Call {
            left: records.len(),
            ..Call::default()
        });
        for (index, record) in records.enumerate() {
            state.next.records.push(record);
            state.next.owners.push((number, index));
        }
        drop(state);
        if begins {
            tokio::spawn(publish(Arc::clone(&self.0)));
        }
        OnItsWay {
            runs: self.clone(),
            number,
        }
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Runs")
            .field("waiting", &state.calls.len())
            .field("next", &state.next.records.len())
            .finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what was put down until now, and tells each call.
async fn publish(shared: Arc<Shared>) {
    let Run { records, owners } = shared.lock().take();
    let mut untold = Untold {
        owners: owners.into_iter(),
        shared,
    };
    let outcomes = untold.shared.publisher.publish(records).await;
    untold.tell(&outcomes);
}

/// Messages of a run whose calls do not know their outcome. Dropped with some left, it tells these that they are not confirmed.
struct Untold {
    shared: Arc<Shared>,
    owners: std::vec::IntoIter<(usize, usize)>,
}

impl Untold {
    /// Tells all; of what a publisher left out nothing is known.
    fn tell(&mut self, outcomes: &[PublishOutcome]) {
        let mut outcomes = outcomes.iter();
        let mut state = self.shared.lock();
        for (number, index) in self.owners.by_ref() {
            let confirmed = matches!(outcomes.next(), Some(PublishOutcome::Ok(_)));
            let call = &mut state.calls[number];
            if !confirmed {
                call.unconfirmed.push(index);
            }
            call.left -= 1;
            if call.left > 0 {
                continue;
            }
            if call.dropped {
                state.calls.remove(number);
            } else if let Some(waker) = call.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.tell(&[]);
    }
}

/// The messages of one call, on their way.
#[derive(Debug)]
pub(crate) struct OnItsWay {
    runs: Runs,
    number: usize,
}

impl OnItsWay {
    /// Waits until the publisher has an outcome for each; gives the indices of those that are not confirmed, ascending.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Vec<usize>> {
        let mut state = self.runs.0.lock();
        let call = &mut state.calls[self.number];
        if call.left > 0 {
            if call
                .waker
                .as_ref()
                .is_none_or(|waker| !waker.will_wake(cx.waker()))
            {
                call.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut call.unconfirmed))
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut state = self.runs.0.lock();
        let call = &mut state.calls[self.number];
        if call.left == 0 {
            state.calls.remove(self.number);
        } else {
            call.dropped = true;
        }
    }
}
