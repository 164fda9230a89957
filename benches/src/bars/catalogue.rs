//! Every line of the report, in its order.
//!
//! Bars come from what was measured of the shapes before they were built, and from what the peer reaches: see `docs/benchmarks.md`.

use super::{Better, Line, Source};

/// Every line of this build.
pub(crate) fn lines() -> Vec<Line> {
    let mut lines = counted();
    lines.extend(clocked());
    lines.extend(directory());
    lines.extend(disk());
    if cfg!(feature = "peer") {
        lines.extend(peer());
    }
    lines
}

/// A line without a bar: something to compare with.
fn plain(name: &'static str, source: Source, unit: &'static str, better: Better) -> Line {
    Line {
        name,
        source,
        unit,
        better,
        bar: None,
        goal: None,
        reference: None,
    }
}

fn instructions(name: &'static str, workload: &'static str) -> Line {
    plain(
        name,
        Source::Instructions(workload),
        "instructions/message",
        Better::Lower,
    )
}

fn allocations(name: &'static str, workload: &'static str) -> Line {
    plain(
        name,
        Source::Allocations(workload),
        "allocations/message",
        Better::Lower,
    )
}

fn rate(name: &'static str, workload: &'static str) -> Line {
    plain(name, Source::Rate(workload), "messages/s", Better::Higher)
}

/// No allocation per message: what shows below this is the growth of buffers, which doubles and ends.
const NO_ALLOCATION: f64 = 0.01;

impl Line {
    fn bar(mut self, bar: f64) -> Self {
        self.bar = Some(bar);
        self
    }

    fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// The peer's line; none in a build without it.
    fn peer(mut self, name: &'static str) -> Self {
        self.reference = cfg!(feature = "peer").then_some(name);
        self
    }
}

/// What a message costs.
fn counted() -> Vec<Line> {
    let difference = |name, more, less| {
        plain(
            name,
            Source::Difference(more, less),
            "instructions/message",
            Better::Lower,
        )
    };
    vec![
        instructions("bytes.instructions", "own.bytes")
            .bar(700.0)
            .goal(600.0)
            .peer("peer.bytes.instructions"),
        allocations("bytes.allocations", "own.bytes")
            .bar(NO_ALLOCATION)
            .peer("peer.bytes.allocations"),
        instructions("bytes_bare.instructions", "own.bytes_bare"),
        difference(
            "layers.instructions",
            "bytes.instructions",
            "bytes_bare.instructions",
        )
        .bar(120.0),
        instructions("json.instructions", "own.json")
            .bar(1_500.0)
            .goal(1_400.0)
            .peer("peer.json.instructions"),
        allocations("json.allocations", "own.json")
            .bar(NO_ALLOCATION)
            .peer("peer.json.allocations"),
        instructions("awaits_once.instructions", "own.awaits_once")
            .bar(1_500.0)
            .peer("peer.awaits_once.instructions"),
        allocations("awaits_once.allocations", "own.awaits_once")
            .bar(NO_ALLOCATION)
            .peer("peer.awaits_once.allocations"),
        instructions(
            "awaits_once_default.instructions",
            "own.awaits_once_default",
        ),
        instructions("json_workers.instructions", "own.json_workers")
            .bar(1_800.0)
            .peer("peer.json_workers.instructions"),
        allocations("json_workers.allocations", "own.json_workers")
            .bar(NO_ALLOCATION)
            .peer("peer.json_workers.allocations"),
        instructions("bytes_measured.instructions", "own.bytes_measured"),
        difference(
            "measured.instructions",
            "bytes_measured.instructions",
            "bytes.instructions",
        )
        .bar(62.0),
        allocations("bytes_measured.allocations", "own.bytes_measured").bar(NO_ALLOCATION),
        instructions(
            "awaits_once_measured.instructions",
            "own.awaits_once_measured",
        ),
        instructions("bytes_traced.instructions", "own.bytes_traced"),
        difference(
            "traced.instructions",
            "bytes_traced.instructions",
            "bytes.instructions",
        ),
        allocations("bytes_traced.allocations", "own.bytes_traced").bar(NO_ALLOCATION),
        instructions("bytes_unsampled.instructions", "own.bytes_unsampled"),
        allocations("bytes_unsampled.allocations", "own.bytes_unsampled").bar(NO_ALLOCATION),
        instructions("bytes_full.instructions", "own.bytes_full").bar(900.0),
        allocations("bytes_full.allocations", "own.bytes_full").bar(NO_ALLOCATION),
        instructions("bytes_batch_1.instructions", "own.bytes_batch_1"),
        allocations("bytes_batch_1.allocations", "own.bytes_batch_1"),
        instructions("json_batch_1.instructions", "own.json_batch_1"),
        instructions(
            "json_workers_batch_1.instructions",
            "own.json_workers_batch_1",
        ),
    ]
}

/// What a route reaches.
fn clocked() -> Vec<Line> {
    let figure = |name, workload, figure, unit, better| {
        plain(name, Source::Figure(workload, figure), unit, better)
    };
    vec![
        rate("zero_work.rate", "own.zero_work")
            .bar(3_000_000.0)
            .goal(4_000_000.0)
            .peer("peer.zero_work_by_key.rate"),
        rate("zero_work_2_workers.rate", "own.zero_work_2_workers")
            .peer("peer.zero_work_by_key.rate"),
        rate("slow.rate", "own.slow")
            .bar(45_000.0)
            .peer("peer.slow_workers.rate"),
        allocations("slow.allocations", "own.slow_counted").bar(NO_ALLOCATION),
        figure(
            "slow.most_running",
            "own.slow",
            "most_running",
            "messages",
            Better::Lower,
        )
        .bar(5_000.0),
        figure(
            "zipf.hottest_nominal_share",
            "own.zipf",
            "hottest_nominal_share",
            "",
            Better::Higher,
        )
        .bar(0.95),
        figure(
            "zipf.hottest_share",
            "own.zipf",
            "hottest_share",
            "",
            Better::Higher,
        ),
        figure("zipf.delay", "own.zipf", "delay_ms", "ms", Better::Lower),
    ]
}

/// The directory log.
fn directory() -> Vec<Line> {
    let figure = |name, workload, figure, unit, better| {
        plain(name, Source::Figure(workload, figure), unit, better)
    };
    let append = |name, figure| {
        plain(
            name,
            Source::Figure("log.append", figure),
            "MiB/s",
            Better::Higher,
        )
    };
    vec![
        figure(
            "log.append.share_of_plain",
            "log.append",
            "share_of_plain",
            "",
            Better::Higher,
        )
        .bar(0.8),
        append("log.append.throughput", "mebibytes_per_second"),
        append("log.append.plain_throughput", "plain_mebibytes_per_second"),
        rate("log.read.rate", "log.read").bar(1_000_000.0),
        figure(
            "log.restart.seconds",
            "log.restart",
            "open_seconds",
            "s",
            Better::Lower,
        )
        .bar(3.0),
        // The default limit of held bytes, 64 MiB, and 64 MiB.
        figure(
            "log.waiting.memory",
            "log.waiting",
            "most_mebibytes",
            "MiB",
            Better::Lower,
        )
        .bar(128.0),
        figure(
            "log.waiting.growth",
            "log.waiting",
            "growth_mebibytes",
            "MiB",
            Better::Lower,
        )
        .bar(4.0),
    ]
}

/// The disk without a log.
fn disk() -> Vec<Line> {
    let throughput = |name, workload| {
        plain(
            name,
            Source::Figure(workload, "mebibytes_per_second"),
            "MiB/s",
            Better::Higher,
        )
    };
    vec![
        throughput("disk.write_sync_each", "disk.write_sync_each"),
        throughput("disk.write_sync_group", "disk.write_sync_group"),
        throughput("disk.read", "disk.read"),
    ]
}

/// RustStream 0.7.7, measured in the same run.
fn peer() -> Vec<Line> {
    vec![
        instructions("peer.bytes.instructions", "peer.bytes"),
        allocations("peer.bytes.allocations", "peer.bytes"),
        instructions("peer.bytes_batch.instructions", "peer.bytes_batch"),
        allocations("peer.bytes_batch.allocations", "peer.bytes_batch"),
        instructions("peer.json.instructions", "peer.json"),
        allocations("peer.json.allocations", "peer.json"),
        instructions("peer.json_batch.instructions", "peer.json_batch"),
        allocations("peer.json_batch.allocations", "peer.json_batch"),
        instructions("peer.awaits_once.instructions", "peer.awaits_once"),
        allocations("peer.awaits_once.allocations", "peer.awaits_once"),
        instructions("peer.json_workers.instructions", "peer.json_workers"),
        allocations("peer.json_workers.allocations", "peer.json_workers"),
        instructions("peer.json_by_key.instructions", "peer.json_by_key"),
        allocations("peer.json_by_key.allocations", "peer.json_by_key"),
        rate("peer.bytes.rate", "peer.bytes"),
        rate("peer.json.rate", "peer.json"),
        rate("peer.zero_work_by_key.rate", "peer.zero_work_by_key"),
        rate("peer.slow_workers.rate", "peer.slow_workers"),
        rate("peer.slow_by_key.rate", "peer.slow_by_key"),
    ]
}
