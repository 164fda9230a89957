//! The list, and what each figure reads.

use super::{Figure, Number, Read};
use crate::app::RouteHandle;
use crate::clock::Timestamp;
use crate::lag::PartitionLag;
use crate::metrics::{Histogram, Kinds};
use crate::runtime::RouteStats;

/// How a message ends, and the counter of it.
pub(super) const OUTCOMES: &[(&str, Number)] = &[
    ("handled", RouteStats::handled),
    ("discarded", RouteStats::discarded),
    ("dead_lettered", RouteStats::dead_lettered),
    ("duplicate", RouteStats::duplicates),
    ("shed", RouteStats::shed),
];

const fn figure(name: &'static str, unit: &'static str, read: Read, help: &'static str) -> Figure {
    Figure {
        name,
        unit,
        help,
        read,
    }
}

const fn counter(name: &'static str, unit: &'static str, of: Number, help: &'static str) -> Figure {
    figure(name, unit, Read::Count(of), help)
}

const fn now(name: &'static str, unit: &'static str, of: Number, help: &'static str) -> Figure {
    figure(name, unit, Read::Now(of), help)
}

const fn is(name: &'static str, of: fn(&RouteHandle) -> bool, help: &'static str) -> Figure {
    figure(name, "1", Read::Is(of), help)
}

const fn durations(
    name: &'static str,
    of: fn(&RouteStats) -> &Histogram,
    help: &'static str,
) -> Figure {
    figure(name, "s", Read::Durations(of), help)
}

const fn kinds(
    name: &'static str,
    unit: &'static str,
    of: fn(&RouteStats) -> &Kinds,
    help: &'static str,
) -> Figure {
    figure(name, unit, Read::Kinds(of), help)
}

const fn partitions(
    name: &'static str,
    unit: &'static str,
    of: fn(&PartitionLag, Timestamp) -> Option<f64>,
    help: &'static str,
) -> Figure {
    figure(name, unit, Read::Partitions(of), help)
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
        RouteStats::running,
        "Calls of the handler that run now; of a batch each message counts",
    ),
    now(
        "dotmsg.calls.stuck",
        "{call}",
        RouteStats::stuck_calls,
        "Calls of the handler that have run for a minute or longer, repeats in place and publishing included",
    ),
    now(
        "dotmsg.held",
        "{message}",
        RouteStats::held,
        "Messages that are delivered and not settled, parked ones included",
    ),
    now(
        "dotmsg.parked",
        "{message}",
        RouteStats::parked,
        "Messages that wait behind failed ones of their key",
    ),
    now(
        "dotmsg.away",
        "{key}",
        RouteStats::away,
        "Keys whose failed message waits in a tier",
    ),
    now(
        "dotmsg.partitions.owned",
        "{partition}",
        RouteStats::owned,
        "Partitions that this process owns",
    ),
    now(
        "dotmsg.partitions.paused",
        "{partition}",
        RouteStats::paused,
        "Partitions that are paused at a limit",
    ),
    is(
        "dotmsg.ready",
        |route| route.stats.is_ready(),
        "1 while the route works, 0 before it has joined its group and once it stops",
    ),
    is(
        "dotmsg.circuit.open",
        RouteHandle::is_circuit_open,
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
