//! What calls of `publish` bring, in their order, until the thread that hands it to librdkafka takes it.
//!
//! A call only puts its records down, so the runtime's thread spends on them as little as it can. What must stay true: once it is over,
//! nothing is taken in any more, since nobody would take it out.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use dotmsg_core::backend::PublishRecord;

use super::reports::Call;
use crate::lock;

/// What one call brought.
pub(super) struct Arrival {
    pub(super) records: Vec<PublishRecord>,
    pub(super) call: Arc<Mutex<Call>>,
}

/// What has arrived.
#[derive(Default)]
pub(super) struct Arrivals {
    state: Mutex<State>,
    /// There is something, or it is over.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: Vec<Arrival>,
    over: bool,
}

impl Arrivals {
    /// Puts an arrival behind the others; gives it back when it is over.
    pub(super) fn put(&self, arrival: Arrival) -> Option<Arrival> {
        let mut state = lock(&self.state);
        if state.over {
            return Some(arrival);
        }
        state.queue.push(arrival);
        if state.queue.len() == 1 {
            self.changed.notify_one();
        }
        None
    }

    /// Waits for arrivals, and swaps all of them for the empty `taken`. False when it is over.
    pub(super) fn take(&self, taken: &mut Vec<Arrival>) -> bool {
        let waits = |state: &mut State| state.queue.is_empty() && !state.over;
        let waited = self.changed.wait_while(lock(&self.state), waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(taken, &mut state.queue);
        !taken.is_empty()
    }

    /// It is over if this holds, which is looked at while nothing can arrive.
    pub(super) fn end_if(&self, ends: impl FnOnce() -> bool) -> bool {
        let mut state = lock(&self.state);
        state.over = ends();
        if state.over {
            self.changed.notify_all();
        }
        state.over
    }

    pub(super) fn is_over(&self) -> bool {
        lock(&self.state).over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(records: usize) -> Arrival {
        let (call, _) = Call::of(records);
        let records = Vec::new();
        Arrival { records, call }
    }

    #[test]
    fn what_came_before_the_end_is_taken_in_order_and_what_comes_later_is_given_back() {
        let arrivals = Arrivals::default();
        let (first, second) = (arrival(1), arrival(2));
        let calls = [&first, &second].map(|arrival| Arc::clone(&arrival.call));
        assert!(arrivals.put(first).is_none() && arrivals.put(second).is_none());
        assert!(!arrivals.end_if(|| false) && arrivals.end_if(|| true));
        assert!(arrivals.put(arrival(3)).is_some());
        let mut taken = Vec::new();
        assert!(arrivals.take(&mut taken));
        let of = |arrival: &Arrival, call| Arc::ptr_eq(&arrival.call, call);
        assert!(
            taken.len() == 2
                && taken
                    .iter()
                    .zip(&calls)
                    .all(|(arrival, call)| of(arrival, call))
        );
        taken.clear();
        assert!(!arrivals.take(&mut taken));
    }
}
