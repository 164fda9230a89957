//! Sizes and durations as the configuration has them, for what prints settings: exact, so that they can be read again.

use std::time::Duration;

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// Bytes, in the largest unit that divides them: `64MiB`.
pub(crate) fn size(bytes: usize) -> String {
    let bytes = bytes as u64;
    let unit = UNITS
        .into_iter()
        .find(|(_, bits)| bytes.trailing_zeros() >= *bits);
    match unit {
        Some((unit, bits)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

/// In units that do not depend on a calendar: `1m30s`.
pub(crate) fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 7] = [
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let mut left = duration.as_nanos();
    let mut written = String::new();
    for (unit, nanos) in UNITS {
        if left >= nanos {
            written.push_str(&format!("{}{unit}", left / nanos));
            left %= nanos;
        }
    }
    match written.is_empty() {
        true => "0s".to_owned(),
        false => written,
    }
}
