//! Which members of a batch are called together, and what each of them came to. It decides and calls nobody.
//!
//! A bad member among `n` is found with `2 · log2(n)` calls. Twice that many are made at most, and two more: so a service
//! that fails whatever it is called with is not called `2 n` times for nothing. What is left then fails as one.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::delivery::{Delivery, Settlement};
use crate::handler::{Answer, Call, ErrorClasses, HandlerError, HandlerResult};
use crate::router::Ordering;

pub(super) struct Bisection<'a> {
    deliveries: Vec<Delivery>,
    results: Vec<Option<HandlerResult>>,
    /// Parts that are still to be called, the last one first.
    todo: Vec<Range<usize>>,
    calls_left: usize,
    order: Option<Ordering>,
    classes: &'a ErrorClasses,
    /// For each member the first one of its lane; made when it is first needed.
    lanes: Vec<usize>,
}

impl<'a> Bisection<'a> {
    pub(super) fn new(
        deliveries: Vec<Delivery>,
        order: Option<Ordering>,
        classes: &'a ErrorClasses,
    ) -> Self {
        let count = deliveries.len();
        let halvings = count.max(1).next_power_of_two().ilog2() as usize;
        Self {
            results: (0..count).map(|_| None).collect(),
            todo: vec![0..count],
            calls_left: 4 * halvings + 2,
            deliveries,
            order,
            classes,
            lanes: Vec::new(),
        }
    }

    /// The next call, and the members that are in it; `None` when each has its result.
    pub(super) fn next_call(&mut self) -> Option<(Vec<usize>, Call)> {
        while let Some(part) = self.todo.pop() {
            for index in part.clone() {
                if self.results[index].is_none() && self.deliveries[index].stream().is_stopping() {
                    self.put_back(index);
                }
            }
            let called: Vec<usize> = part.filter(|index| self.results[*index].is_none()).collect();
            if called.is_empty() {
                continue;
            }
            self.calls_left = self.calls_left.saturating_sub(1);
            let deliveries = called.iter().map(|index| self.deliveries[*index].clone());
            let call = Call::batch(deliveries.collect());
            return Some((called, call));
        }
        None
    }

    /// What the call with these members came to.
    pub(super) fn answered(&mut self, called: &[usize], result: Result<Answer, HandlerError>) {
        match result.and_then(|answer| answer.into_each(called.len())) {
            Ok(results) => self.each(called, results),
            Err(error) => self.failed(called, error),
        }
    }

    /// A result for each delivery.
    pub(super) fn into_results(self) -> Vec<HandlerResult> {
        let result = |result: Option<HandlerResult>| result.expect("each was called or put back");
        self.results.into_iter().map(result).collect()
    }

    fn each(&mut self, called: &[usize], results: Vec<HandlerResult>) {
        for (index, result) in called.iter().zip(results) {
            // Put back by an earlier one of this very call: it is to run again, whatever was answered.
            if self.results[*index].is_some() {
                continue;
            }
            let result = result.map_err(|error| self.classes.classify(error));
            let again = is_to_run_again(&result);
            self.results[*index] = Some(result);
            if again {
                self.put_back_behind(*index);
            }
        }
    }

    /// The call failed as a whole: it is made in halves, if there are halves and calls left.
    fn failed(&mut self, called: &[usize], error: HandlerError) {
        let [first, .., last] = called else {
            self.each(called, vec![Err(error)]);
            return;
        };
        if self.calls_left == 0 {
            let shared = self.classes.classify(error).share();
            let results = called.iter().map(|_| Err(shared.copy())).collect();
            self.each(called, results);
            return;
        }
        let middle = called[called.len() / 2];
        self.todo.push(middle..last + 1);
        self.todo.push(*first..middle);
    }

    fn put_back_behind(&mut self, index: usize) {
        if self.order.is_none() {
            return;
        }
        let lane = self.lane(index);
        for behind in index + 1..self.deliveries.len() {
            if self.lane(behind) == lane {
                self.put_back(behind);
            }
        }
    }

    fn put_back(&mut self, index: usize) {
        self.results[index] = Some(Err(HandlerError::put_back()));
    }

    fn lane(&mut self, index: usize) -> usize {
        if self.lanes.is_empty() {
            self.lanes = lanes(&self.deliveries, self.order);
        }
        self.lanes[index]
    }
}

/// For each delivery the index of the first one of its lane: its own, when it has no order.
fn lanes(deliveries: &[Delivery], order: Option<Ordering>) -> Vec<usize> {
    let mut first = BTreeMap::new();
    let lane = |(index, delivery): (usize, &Delivery)| {
        let key = match order {
            Some(Ordering::Key) => delivery.key().cloned(),
            Some(Ordering::Partition) => Some(bytes::Bytes::new()),
            Some(Ordering::None) | None => None,
        };
        let partition = delivery.position().partition;
        key.map_or(index, |key| *first.entry((partition, key)).or_insert(index))
    };
    deliveries.iter().enumerate().map(lane).collect()
}

/// Whether those behind it have to wait: it may be tried again.
fn is_to_run_again(result: &HandlerResult) -> bool {
    match result {
        Ok(returned) => matches!(returned.settlement, Settlement::Retry { .. }),
        Err(error) => error.is_transient(),
    }
}
