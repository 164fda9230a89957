//! Results that wait for each other, because messages are published with them.
//!
//! Members of a batch are polled in any order, and what a member returned is published when it is polled. So that the
//! messages of one lane are published in its order, a member hears what it came to only when the one ahead of it is through,
//! as it would if each were handled alone. If that one is to be tried again, what is behind it is put back.
//!
//! Lanes are told apart by number: the first of their members in the batch.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::delivery::{Delivery, Stream};
use crate::handler::HandlerResult;

/// Members by their number, with what they came to.
type Held = VecDeque<(usize, HandlerResult)>;

/// A lane in which messages are being published.
struct Busy {
    lane: usize,
    /// What they are published for. Not the delivery itself, which holds its batch.
    stream: Arc<Stream>,
    offset: u64,
    /// What is behind that.
    held: Held,
}

/// The lanes of a batch in which messages are being published.
#[derive(Default)]
pub(super) struct Sending {
    busy: Vec<Busy>,
    failed: Vec<usize>,
}

impl Sending {
    pub(super) fn is_empty(&self) -> bool {
        self.busy.is_empty()
    }

    pub(super) fn is_busy(&self, lane: usize) -> bool {
        self.busy.iter().any(|busy| busy.lane == lane)
    }

    /// What was returned for this delivery is published from now on.
    pub(super) fn begin(&mut self, lane: usize, delivery: &Delivery) {
        self.busy.push(Busy {
            lane,
            stream: Arc::clone(delivery.stream()),
            offset: delivery.position().offset,
            held: Held::new(),
        });
    }

    /// A result waits, behind those of its lane that wait.
    pub(super) fn hold(&mut self, lane: usize, index: usize, result: HandlerResult) {
        self.hold_all(lane, Held::from([(index, result)]));
    }

    pub(super) fn hold_all(&mut self, lane: usize, mut held: Held) {
        let busy = self.busy.iter_mut().find(|busy| busy.lane == lane);
        let busy = busy.expect("results wait only in a lane that is busy");
        busy.held.append(&mut held);
    }

    /// It is through, or not `well`: its lane, and what waited in that.
    pub(super) fn sent(&mut self, delivery: &Delivery, well: bool) -> Option<(usize, Held)> {
        let offset = delivery.position().offset;
        let is_it =
            |busy: &Busy| busy.offset == offset && Arc::ptr_eq(&busy.stream, delivery.stream());
        let at = self.busy.iter().position(is_it)?;
        let Busy { lane, held, .. } = self.busy.swap_remove(at);
        if !well {
            self.failed.push(lane);
        }
        Some((lane, held))
    }

    /// Lanes in which something did not go well since this was last asked.
    pub(super) fn take_failed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.failed)
    }
}
