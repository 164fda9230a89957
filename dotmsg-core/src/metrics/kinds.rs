//! Counts by the kind of an error.
//!
//! A kind is text that a handler chooses, and an exporter makes a time series of each. So there are [`KINDS_MAX`] of them at
//! most: whoever puts an order's number into a kind gets one series for all that came too late. And whoever puts a whole order into
//! it gets its beginning.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The most kinds that are counted apart.
pub const KINDS_MAX: usize = 64;

/// Bytes of a kind that are looked at; of a longer one the beginning counts.
const KIND_BYTES_MAX: usize = 128;

/// What all other kinds are counted as.
pub const OTHER_KINDS: &str = "other kinds";

/// How often each kind was counted. For failures: it takes a lock.
#[derive(Debug, Default)]
pub struct Kinds(Mutex<BTreeMap<Box<str>, u64>>);

impl Kinds {
    /// Counts one of this kind.
    pub fn count(&self, kind: &str) {
        let kind = beginning(kind);
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = kinds.get_mut(kind) {
            *count += 1;
            return;
        }
        let kind = match kinds.len() < KINDS_MAX {
            true => kind,
            false => OTHER_KINDS,
        };
        *kinds.entry(kind.into()).or_default() += 1;
    }

    /// The counts by kind, in the order of their names.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Box<str>, u64)> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds
            .iter()
            .map(|(kind, count)| (kind.clone(), *count))
            .collect()
    }
}

fn beginning(kind: &str) -> &str {
    match kind.len() <= KIND_BYTES_MAX {
        true => kind,
        false => &kind[..kind.floor_char_boundary(KIND_BYTES_MAX)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_kind_the_beginning_is_kept() {
        let kinds = Kinds::default();
        for end in ["a", "b"] {
            kinds.count(&("ä".repeat(100_000) + end));
        }
        kinds.count(&("x".to_owned() + &"ä".repeat(100)));
        let seen = kinds.snapshot();
        let lengths = seen.iter().map(|(kind, count)| (kind.len(), *count));
        assert!(lengths.eq([(127, 1), (128, 2)]), "{seen:?}");
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted_as_one() {
        let kinds = Kinds::default();
        for number in 0..KINDS_MAX + 10 {
            kinds.count(&format!("order {number}"));
        }
        kinds.count("order 0");
        let seen = kinds.snapshot();
        assert_eq!(seen.len(), KINDS_MAX + 1);
        let of = |name: &str| seen.iter().find(|(kind, _)| **kind == *name);
        assert_eq!(of("order 0").map(|(_, count)| *count), Some(2));
        assert_eq!(of(OTHER_KINDS).map(|(_, count)| *count), Some(10));
    }
}
