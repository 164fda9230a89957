//! How far a replay has come, as a value that can be stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The next offset of each partition of a dead-letter topic; partitions that are not in it start at their first record.
///
/// Serialises as a map from partition to offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplayCursor(BTreeMap<u32, u64>);

impl ReplayCursor {
    /// The first record of every partition.
    #[must_use]
    pub fn start() -> Self {
        Self::default()
    }

    /// The same with this partition at this offset.
    #[must_use]
    pub fn with(mut self, partition: u32, next: u64) -> Self {
        self.0.insert(partition, next);
        self
    }

    /// Where a partition goes on; 0 when nothing was read of it.
    #[must_use]
    pub fn next(&self, partition: u32) -> u64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    /// The record before `next` is through.
    pub(super) fn pass(&mut self, partition: u32, next: u64) {
        let at = self.0.entry(partition).or_default();
        *at = next.max(*at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_being_stored() {
        let cursor = ReplayCursor::start().with(3, 41);
        let text = serde_json::to_string(&cursor).unwrap();
        assert_eq!(text, r#"{"3":41}"#);
        assert_eq!(serde_json::from_str::<ReplayCursor>(&text).unwrap(), cursor);
        assert_eq!((cursor.next(3), cursor.next(4)), (41, 0));
    }
}
