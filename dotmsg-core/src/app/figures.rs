//! Every figure that an app tells of itself, once: what exporters show is this list.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions for messaging where these have one
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>), and begin with `dotmsg.` otherwise. An
//! attribute has few values: topics, groups, routes, partitions, kinds of errors, of which there is a bound; never a key, an id
//! or an offset.
//!
//! Reading them costs the messages nothing: they are kept anyway ([`RouteStats`], [`RouteMetrics`](crate::metrics::RouteMetrics),
//! [`Lag`](crate::lag::Lag)).

use super::RouteHandle;
use crate::clock::Timestamp;
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
    /// What kind of figure it is.
    pub kind: FigureKind,
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

#[derive(Clone, Copy, Debug)]
enum Read {
    Count(fn(&RouteStats) -> u64),
    Outcomes,
    Kinds(fn(&RouteStats) -> &Kinds),
    Now(fn(&RouteHandle) -> f64),
    Durations(fn(&RouteStats) -> &Histogram),
    Partitions(fn(&crate::lag::PartitionLag, Timestamp) -> Option<f64>),
}

impl Figure {
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
            Read::Now(now) => tell(None, FigureValue::Now(now(route))),
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

type Counter = fn(&RouteStats) -> u64;

/// How a message ends, and the counter of it.
const OUTCOMES: &[(&str, Counter)] = &[
    ("handled", RouteStats::handled),
    ("discarded", RouteStats::discarded),
    ("dead_lettered", RouteStats::dead_lettered),
    ("duplicate", RouteStats::duplicates),
    ("shed", RouteStats::shed),
];

const fn figure(
    name: &'static str,
    unit: &'static str,
    kind: FigureKind,
    read: Read,
    help: &'static str,
) -> Figure {
    Figure {
        name,
        unit,
        help,
        kind,
        read,
    }
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    of: Counter,
    help: &'static str,
) -> Figure {
    figure(name, unit, FigureKind::Counter, Read::Count(of), help)
}

const fn now(
    name: &'static str,
    unit: &'static str,
    of: fn(&RouteHandle) -> f64,
    help: &'static str,
) -> Figure {
    figure(name, unit, FigureKind::Gauge, Read::Now(of), help)
}

const fn durations(
    name: &'static str,
    of: fn(&RouteStats) -> &Histogram,
    help: &'static str,
) -> Figure {
    figure(name, "s", FigureKind::Histogram, Read::Durations(of), help)
}

const fn kinds(
    name: &'static str,
    unit: &'static str,
    of: fn(&RouteStats) -> &Kinds,
    help: &'static str,
) -> Figure {
    figure(name, unit, FigureKind::Counter, Read::Kinds(of), help)
}

const fn partitions(
    name: &'static str,
    unit: &'static str,
    of: fn(&crate::lag::PartitionLag, Timestamp) -> Option<f64>,
    help: &'static str,
) -> Figure {
    figure(name, unit, FigureKind::Gauge, Read::Partitions(of), help)
}

/// All figures.
pub const FIGURES: &[Figure] = &[
    counter(
        "messaging.client.consumed.messages",
        "{message}",
        RouteStats::delivered,
        "Messages that were handed to the workers, retries and replays included",
    ),
    durations(
        "messaging.process.duration",
        |stats| &stats.metrics().calls,
        "How long calls of the handler take, repeats included; of calls that end at once one in sixteen is measured and counts for all",
    ),
    kinds(
        "dotmsg.call.failures",
        "{call}",
        |stats| &stats.metrics().failures,
        "Calls of the handler that failed, by the kind of the error",
    ),
    figure(
        "dotmsg.messages",
        "{message}",
        FigureKind::Counter,
        Read::Outcomes,
        "Messages that ended, by how",
    ),
    kinds(
        "dotmsg.dead_letters",
        "{message}",
        |stats| &stats.metrics().dead_letters,
        "Dead letters that were written, by the kind of the error",
    ),
    counter(
        "dotmsg.retries",
        "{message}",
        RouteStats::retried,
        "Failed messages that went to a tier",
    ),
    durations(
        "dotmsg.settlement.duration",
        |stats| &stats.metrics().settlements,
        "From when a message was fetched until all up to it were settled; of one message of each partition at a time",
    ),
    durations(
        "dotmsg.commit.duration",
        |stats| &stats.metrics().commits,
        "How long a commit of progress takes until the broker has answered",
    ),
    counter(
        "dotmsg.commits",
        "{commit}",
        RouteStats::commits,
        "Commits of a partition's progress that were confirmed",
    ),
    now(
        "dotmsg.calls.running",
        "{call}",
        |route| route.stats.running() as f64,
        "Calls of the handler that run now; of a batch each message counts",
    ),
    now(
        "dotmsg.calls.stuck",
        "{call}",
        |route| route.stats.stuck_calls() as f64,
        "Calls of the handler that have run for a minute or longer, repeats in place and publishing included",
    ),
    now(
        "dotmsg.held",
        "{message}",
        |route| route.stats.held() as f64,
        "Messages that are delivered and not settled, parked ones included",
    ),
    now(
        "dotmsg.parked",
        "{message}",
        |route| route.stats.parked() as f64,
        "Messages that wait behind failed ones of their key",
    ),
    now(
        "dotmsg.away",
        "{key}",
        |route| route.stats.away() as f64,
        "Keys whose failed message waits in a tier",
    ),
    now(
        "dotmsg.partitions.owned",
        "{partition}",
        |route| route.stats.owned() as f64,
        "Partitions that this process owns",
    ),
    now(
        "dotmsg.partitions.paused",
        "{partition}",
        |route| route.stats.paused() as f64,
        "Partitions that are paused at a limit",
    ),
    now(
        "dotmsg.ready",
        "1",
        |route| f64::from(u8::from(route.stats.is_ready())),
        "1 while the route works, 0 before it has joined its group and once it stops",
    ),
    now(
        "dotmsg.circuit.open",
        "1",
        |route| f64::from(u8::from(route.is_circuit_open())),
        "1 while the circuit breaker lets no message through",
    ),
    partitions(
        "dotmsg.lag",
        "{message}",
        |partition, _| Some(partition.records as f64),
        "Messages behind: not settled yet, delivered or not",
    ),
    partitions(
        "dotmsg.lag.age",
        "s",
        |partition, now| partition.behind_for(now).map(|age| age.as_secs_f64()),
        "Age of the oldest message behind, 0 when nothing is: what the watermark waits for",
    ),
    partitions(
        "dotmsg.commit.age",
        "s",
        |partition, now| partition.committed.map(|at| now.since(at).as_secs_f64()),
        "Time since a commit was confirmed",
    ),
    partitions(
        "dotmsg.commit.pending.age",
        "s",
        |partition, now| {
            let since = partition.uncommitted;
            Some(since.map_or(0.0, |at| now.since(at).as_secs_f64()))
        },
        "Time since the first commit began that is not confirmed, 0 when none is: progress that a crash would repeat",
    ),
    counter(
        "dotmsg.void",
        "{message}",
        RouteStats::void,
        "Records in tiers that no position names: of owners that were gone",
    ),
    counter(
        "dotmsg.removed",
        "{message}",
        RouteStats::removed,
        "Messages that retention removed before they were read",
    ),
    counter(
        "dotmsg.lost",
        "{message}",
        RouteStats::lost,
        "Messages that were given up after their progress was confirmed (at_most_once)",
    ),
];

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
            assert_eq!(
                figure.kind == FigureKind::Histogram,
                matches!(figure.read, Read::Durations(_))
            );
        }
    }
}
