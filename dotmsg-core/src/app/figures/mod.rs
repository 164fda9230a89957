//! Every figure that an app tells of itself, once: what exporters show is this list.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions for messaging where these have one
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>), and begin with `dotmsg.` otherwise. An
//! attribute has few values: topics, groups, routes, partitions, kinds of errors, of which there is a bound; never a key, an id
//! or an offset.
//!
//! Reading them costs the messages nothing: they are kept anyway ([`RouteStats`], [`RouteMetrics`](crate::metrics::RouteMetrics),
//! [`Lag`](crate::lag::Lag)).

mod list;

pub use list::FIGURES;

use self::list::OUTCOMES;
use super::RouteHandle;
use crate::clock::Timestamp;
use crate::lag::PartitionLag;
use crate::metrics::{Histogram, HistogramSnapshot, Kinds};
use crate::runtime::RouteStats;

/// One figure, of which each route has one value or one for each partition or kind.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Figure {
    /// Its name, with dots.
    pub name: &'static str,
    /// The unit by UCUM, as OpenTelemetry has it: `s`, or what is counted in braces.
    pub unit: &'static str,
    /// What it says, in a sentence without a full stop.
    pub help: &'static str,
    read: Read,
}

/// What kind of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows while the route runs.
    Counter,
    /// As it is now.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FigureValue {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Now(f64),
    /// Of a histogram.
    Durations(HistogramSnapshot),
}

/// The attribute that tells the values of one route apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, with dots.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

type Tell<'t> = &'t mut dyn FnMut(Option<Attribute>, FigureValue);

/// A number of a route.
type Number = fn(&RouteStats) -> u64;

#[derive(Clone, Copy, Debug)]
enum Read {
    Count(Number),
    Outcomes,
    Kinds(fn(&RouteStats) -> &Kinds),
    Now(Number),
    Is(fn(&RouteHandle) -> bool),
    Durations(fn(&RouteStats) -> &Histogram),
    Partitions(fn(&PartitionLag, Timestamp) -> Option<f64>),
}

impl Figure {
    /// What kind of figure it is.
    #[must_use]
    pub const fn kind(&self) -> FigureKind {
        match self.read {
            Read::Count(_) | Read::Outcomes | Read::Kinds(_) => FigureKind::Counter,
            Read::Now(_) | Read::Is(_) | Read::Partitions(_) => FigureKind::Gauge,
            Read::Durations(_) => FigureKind::Histogram,
        }
    }

    /// Where the durations of one route are counted; `None`: it is no histogram.
    #[must_use]
    pub fn histogram<'r>(&self, route: &'r RouteHandle) -> Option<&'r Histogram> {
        match self.read {
            Read::Durations(of) => Some(of(&route.stats)),
            _ => None,
        }
    }

    /// Its values of one route. `now` is what ages are counted to.
    pub fn read(&self, route: &RouteHandle, now: Timestamp, tell: Tell<'_>) {
        let stats = &*route.stats;
        match self.read {
            Read::Count(count) => tell(None, FigureValue::Count(count(stats))),
            Read::Now(now) => tell(None, FigureValue::Now(now(stats) as f64)),
            Read::Is(is) => tell(None, FigureValue::Now(f64::from(u8::from(is(route))))),
            Read::Durations(durations) => {
                tell(None, FigureValue::Durations(durations(stats).snapshot()));
            }
            Read::Outcomes => {
                for (outcome, count) in OUTCOMES {
                    let value = FigureValue::Count(count(stats));
                    tell(attribute("dotmsg.outcome", (*outcome).to_owned()), value);
                }
            }
            Read::Kinds(kinds) => {
                for (kind, count) in kinds(stats).snapshot() {
                    let value = FigureValue::Count(count);
                    tell(attribute("error.type", kind.into_string()), value);
                }
            }
            Read::Partitions(of) => {
                for partition in &stats.lag().partitions {
                    let Some(value) = of(partition, now) else {
                        continue;
                    };
                    let number = partition.partition.to_string();
                    let attribute = attribute("messaging.destination.partition.id", number);
                    tell(attribute, FigureValue::Now(value));
                }
            }
        }
    }
}

fn attribute(name: &'static str, value: String) -> Option<Attribute> {
    Some(Attribute { name, value })
}

impl RouteHandle {
    /// The attributes that every figure of the route has: its handler, its topic, its group.
    #[must_use]
    pub fn attributes(&self) -> [(&'static str, String); 3] {
        [
            ("dotmsg.handler", self.spec.handler.clone()),
            (
                "messaging.destination.name",
                self.topology.source.to_string(),
            ),
            ("messaging.consumer.group.name", self.spec.group.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_single_and_well_formed() {
        let names: BTreeSet<_> = FIGURES.iter().map(|figure| figure.name).collect();
        assert_eq!(names.len(), FIGURES.len());
        for figure in FIGURES {
            let named = figure.name.starts_with("dotmsg.") || figure.name.starts_with("messaging.");
            assert!(named && !figure.help.ends_with('.'), "{}", figure.name);
        }
    }
}
