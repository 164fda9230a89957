//! Counts by the kind of an error.
//!
//! A kind is text that a handler chooses, and an exporter makes a time series of each. So there are [`KINDS_MAX`] of them at
//! most: whoever puts an order's number into a kind gets one series for all that came too late.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The most kinds that are counted apart.
pub const KINDS_MAX: usize = 64;

/// What all other kinds are counted as.
pub const OTHER_KINDS: &str = "other kinds";

/// How often each kind was counted. For failures: it takes a lock.
#[derive(Debug, Default)]
pub struct Kinds(Mutex<BTreeMap<Box<str>, u64>>);

impl Kinds {
    /// Counts one of this kind.
    pub fn count(&self, kind: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
