//! The promises, each as a check of a history. A check only reads; it draws nothing and asks no clock.
//!
//! | Check | Promise |
//! |---|---|
//! | `loss` | I1 what was confirmed to its producer is handled or a dead letter; I8 nothing is handled that nobody published; I9 one offset holds one message |
//! | `order` | I2 messages of a key run one at a time and in order within an ownership; over all owners they first end in order |
//! | `retries` | I2 a retry is never early |
//! | `progress` | I3 nothing is committed as settled that has not ended; I5 no commit of a former owner is stored, none is sent of a partition that is known to be lost, and no handler is called before its takeover is stored |
//! | `hand_over` | I10 a clean hand-over repeats nothing |
//! | `effects` | I4 an effect is applied once where the handler dedups; I13 repeats are explained by a change of owner |
//! | `letters` | I6 exactly what is given up becomes a dead letter, with its lineage; a repeat may write a second one |
//! | `bounds` | I10 a stop ends in time and loses nothing; I11 what runs and what is held stays within limits |
//! | `liveness` | I12 all is settled some time after the last fault; nobody fails without a cause |
//!
//! I7 (the outbox) has no part in it before there is an outbox.

mod bounds;
mod effects;
mod hand_over;
mod letters;
mod liveness;
mod loss;
mod order;
mod progress;
mod retries;

use std::fmt;

use super::history::{Event, History, Place, What};
use super::plan::Plan;
use crate::testing::Became;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, such as `I2 key order`.
    pub invariant: &'static str,
    /// When it shows.
    pub at_ms: u64,
    /// The source record it is about, if there is one.
    pub place: Option<Place>,
    /// What is wrong, and what to look at.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms", self.invariant, self.at_ms)?;
        if let Some(place) = self.place {
            write!(f, ", source record {place}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// A check of one route's history.
pub type Check = fn(&View<'_>, &mut Vec<Violation>);

/// All checks, by name.
pub const CHECKS: [(&str, Check); 9] = [
    ("loss", loss::check),
    ("order", order::check),
    ("retries", retries::check),
    ("progress", progress::check),
    ("hand_over", hand_over::check),
    ("effects", effects::check),
    ("letters", letters::check),
    ("bounds", bounds::check),
    ("liveness", liveness::check),
];

/// Everything that is wrong with a history.
#[must_use]
pub fn violations(plan: &Plan, history: &History, scripted: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    if history.routes.is_empty() {
        liveness::never_started(history, &mut found);
    }
    for route in (0..).take(history.routes.len()) {
        let view = View {
            plan,
            history,
            route,
            scripted,
        };
        for (_, check) in CHECKS {
            check(&view, &mut found);
        }
    }
    found
}

/// One route of a history.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The plan that was run.
    pub plan: &'a Plan,
    /// What happened.
    pub history: &'a History,
    /// The route.
    pub route: u32,
    /// The app is the one that the plan itself describes: what each message comes to is known.
    pub scripted: bool,
}

impl<'a> View<'a> {
    /// What happened since the last time that an operator moved a position or made the topic anew: before it, offsets meant
    /// something else or were settled by other means.
    fn events(&self) -> &'a [Event] {
        let operation = |event: &Event| matches!(event.what, What::Reset(..) | What::Recreated);
        let events = &self.history.events;
        let last = events.iter().rposition(operation);
        &events[last.map_or(0, |last| last + 1)..]
    }

    /// The same of this route alone.
    fn of_route(&self) -> impl Iterator<Item = &'a Event> {
        let route = self.route;
        self.events()
            .iter()
            .filter(move |event| event.route == route)
    }

    /// When the topic was made anew last.
    fn recreated_ms(&self) -> u64 {
        let operation = |event: &&Event| matches!(event.what, What::Recreated);
        let last = self.history.events.iter().rev().find(operation);
        last.map_or(0, |event| event.at_ms)
    }

    /// Which records were ever delivered twice on purpose: what they left in tiers and positions outlives an operation.
    fn delivered_twice(&self) -> Table<bool> {
        let mut twice = self.table::<bool>();
        for event in self
            .history
            .events
            .iter()
            .filter(|event| event.route == self.route)
        {
            let What::Batch {
                partition,
                offsets,
                again: true,
                ..
            } = event.what
            else {
                continue;
            };
            for offset in offsets.0..=offsets.1 {
                if let Some(twice) = twice.at(Place { partition, offset }) {
                    *twice = true;
                }
            }
        }
        twice
    }

    /// Whether an operator has moved the position over this record: nobody has to handle it.
    fn is_passed_over(&self, place: Place) -> bool {
        self.history.events.iter().any(|event| {
            matches!(event.what, What::Reset(partition, to) if partition == place.partition && place.offset < to)
        })
    }

    /// Which records have ended at the beginning of [`View::events`]: whatever had ended before, and what is below a position
    /// that was moved. Those of a topic that was made anew have not.
    fn ended_before(&self) -> Table<bool> {
        let mut ended = self.table::<bool>();
        let before = self.history.events.len() - self.events().len();
        for event in &self.history.events[..before] {
            match &event.what {
                What::Recreated => ended = self.table(),
                What::Reset(partition, to) => {
                    for (offset, ended) in (0..).zip(&mut ended.0[*partition as usize]) {
                        *ended = offset < *to;
                    }
                }
                what if event.route == self.route => {
                    if let Some(place) = self.end(what)
                        && let Some(ended) = ended.at(place)
                    {
                        *ended = true;
                    }
                }
                _ => {}
            }
        }
        ended
    }

    /// The key of a source record.
    fn key(&self, place: Place) -> Option<u32> {
        self.history.recorded(self.route, place)?.key
    }

    /// A table with an entry for each source record.
    fn table<T: Clone + Default>(&self) -> Table<T> {
        let source = &self.history.left[self.route as usize].source;
        Table(
            source
                .iter()
                .map(|records| vec![T::default(); records.len()])
                .collect(),
        )
    }

    /// Whether the event is the end of its message, as far as the world sees: the effect of a handler, a dead letter in its
    /// topic, a discard.
    fn end(&self, what: &What) -> Option<Place> {
        match what {
            What::Effect { place, .. } if self.scripted => Some(*place),
            What::Ended(place, Became::Handled) if !self.scripted => Some(*place),
            What::Ended(place, Became::Discarded | Became::Duplicate | Became::Shed) => {
                Some(*place)
            }
            What::Appended {
                own: super::Own::DeadLetter,
                place,
                offset: Some(_),
                ..
            } => Some(*place),
            _ => None,
        }
    }

    fn violation(
        &self,
        invariant: &'static str,
        at_ms: u64,
        place: impl Into<Option<Place>>,
        problem: impl Into<String>,
    ) -> Violation {
        Violation {
            invariant,
            at_ms,
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// Something for each source record.
struct Table<T>(Vec<Vec<T>>);

impl<T> Table<T> {
    fn at(&mut self, place: Place) -> Option<&mut T> {
        let partition = self.0.get_mut(place.partition as usize)?;
        partition.get_mut(usize::try_from(place.offset).ok()?)
    }

    fn iter(&self) -> impl Iterator<Item = (Place, &T)> {
        (0..).zip(&self.0).flat_map(|(partition, records)| {
            (0..)
                .zip(records)
                .map(move |(offset, one)| (Place { partition, offset }, one))
        })
    }
}
