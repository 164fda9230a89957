//! Which members of a batch are called together, and what each of them came to. It decides and calls nobody.
//!
//! A bad member among `n` is found with `2 · log2(n)` calls, several of them with as many each. But a service that fails
//! whatever it is called with is not to be called `2 n` times for nothing: after `2 · log2(n) + 2` failures in a row a part
//! that fails is not halved again. Its members fail as one, as failures that may pass, since none of them was found to be
//! bad; each is called alone when it is tried again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{BatchOrder, BatchParts};
use crate::delivery::{Delivery, Settlement};
use crate::handler::{Answer, Call, HandlerError, HandlerResult};

pub(super) struct Bisection<'a> {
    deliveries: Vec<Delivery>,
    /// Members without a result.
    open: Vec<bool>,
    /// Results that nobody was told yet.
    news: Vec<(usize, HandlerResult)>,
    /// Parts that are still to be called, the last one first.
    todo: Vec<Range<usize>>,
    /// Calls that failed since the last one that did not, and how many of them make halving useless.
    failed_in_a_row: usize,
    in_a_row: usize,
    parts: &'a BatchParts,
    /// For each member the first one of its lane; made when it is first needed.
    lanes: Vec<usize>,
}

impl<'a> Bisection<'a> {
    pub(super) fn new(deliveries: Vec<Delivery>, parts: &'a BatchParts) -> Self {
        let count = deliveries.len();
        let halvings = count.max(1).next_power_of_two().ilog2() as usize;
        Self {
            open: vec![true; count],
            news: Vec::new(),
            todo: std::iter::once(0..count).collect(),
            failed_in_a_row: 0,
            // To halve down to one member takes `halvings + 1` failures: about twice that is more than bad luck.
            in_a_row: 2 * halvings + 2,
            deliveries,
            parts,
            lanes: Vec::new(),
        }
    }

    /// The next call, and the members that are in it, of those that still wait for one; `None` when each has its result.
    pub(super) fn next_call(
        &mut self,
        awaits_call: impl Fn(usize) -> bool,
    ) -> Option<(Vec<usize>, Call)> {
        while let Some(part) = self.todo.pop() {
            for index in part.clone() {
                if self.open[index] && !awaits_call(index) {
                    self.put_back(index);
                }
            }
            let called: Vec<usize> = part.filter(|index| self.open[*index]).collect();
            if called.is_empty() {
                continue;
            }
            let deliveries = called.iter().map(|index| self.deliveries[*index].clone());
            let call = Call::batch(deliveries.collect());
            return Some((called, call));
        }
        None
    }

    /// Whether each has its result.
    pub(super) fn is_done(&self) -> bool {
        !self.open.contains(&true)
    }

    /// What the call with these members came to.
    pub(super) fn answered(&mut self, called: &[usize], result: Result<Answer, HandlerError>) {
        match result.and_then(|answer| answer.into_each(called.len())) {
            Ok(results) => {
                self.failed_in_a_row = 0;
                self.each(called, results);
            }
            Err(error) => {
                self.failed_in_a_row += 1;
                self.failed(called, error);
            }
        }
    }

    /// The results that have come since it was last asked, by member; each member has one in the end.
    pub(super) fn take_news(&mut self) -> Vec<(usize, HandlerResult)> {
        std::mem::take(&mut self.news)
    }

    /// The lane of a member: the number of the first one of it, which is its own when it has no order.
    pub(super) fn lane(&mut self, index: usize) -> usize {
        if self.lanes.is_empty() {
            self.lanes = lanes(&self.deliveries, self.parts.order);
        }
        self.lanes[index]
    }

    /// A member of this lane is to be tried again.
    pub(super) fn put_back_lane(&mut self, lane: usize) {
        for index in lane..self.deliveries.len() {
            if self.open[index] && self.lane(index) == lane {
                self.put_back(index);
            }
        }
    }

    fn each(&mut self, called: &[usize], results: Vec<HandlerResult>) {
        for (index, result) in called.iter().zip(results) {
            // Put back by an earlier one of this very call: it is to run again, whatever was answered.
            if !self.open[*index] {
                continue;
            }
            let result = result.map_err(|error| self.parts.classes.classify(error));
            let again = is_to_run_again(&result);
            self.end(*index, result);
            if again {
                self.put_back_behind(*index);
            }
        }
    }

    /// The call failed as a whole: it is made in halves, if there are halves and some use in that.
    fn failed(&mut self, called: &[usize], error: HandlerError) {
        let [first, .., last] = called else {
            self.each(called, vec![Err(error)]);
            return;
        };
        if self.failed_in_a_row > self.in_a_row {
            let shared = self.parts.classes.classify(error).share();
            let results = called
                .iter()
                .map(|_| Err(shared.copy_that_may_pass()))
                .collect();
            self.each(called, results);
            return;
        }
        let middle = called[called.len() / 2];
        self.todo.push(middle..last + 1);
        self.todo.push(*first..middle);
    }

    fn put_back_behind(&mut self, index: usize) {
        if !self.parts.keep {
            return;
        }
        let lane = self.lane(index);
        for behind in index + 1..self.deliveries.len() {
            if self.open[behind] && self.lane(behind) == lane {
                self.put_back(behind);
            }
        }
    }

    fn put_back(&mut self, index: usize) {
        self.end(index, Err(HandlerError::put_back()));
    }

    fn end(&mut self, index: usize, result: HandlerResult) {
        self.open[index] = false;
        self.news.push((index, result));
    }
}

/// For each delivery the index of the first one of its lane: its own, when it has no order.
fn lanes(deliveries: &[Delivery], order: BatchOrder) -> Vec<usize> {
    let mut first = BTreeMap::new();
    let lane = |(index, delivery): (usize, &Delivery)| {
        let key = match order {
            BatchOrder::Key => delivery.key().cloned(),
            BatchOrder::Partition => Some(bytes::Bytes::new()),
            BatchOrder::None => None,
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
