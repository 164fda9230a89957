//! Every line of the report, in its order.
//!
//! Bars come from what was measured of the shapes before they were built, and from what the peer reaches: see `docs/benchmarks.md`.

use super::{Better, Line, Source};

/// Every line of this build.
pub(crate) fn lines() -> Vec<Line> {
    let mut lines = disk();
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
