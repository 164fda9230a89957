//! Sizes as the configuration has them, for what prints settings: exact, so that they can be read again.

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
