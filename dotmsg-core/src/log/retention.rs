//! How much of a partition is kept: by age and by bytes, by whole segments, never the active one.
//!
//! A segment is as old as its newest record, so nothing younger than the limit is ever removed. By bytes, the oldest
//! segment goes as long as what remains still reaches the limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backend;
use crate::clock::Timestamp;

/// What may be removed; of a topic that says nothing, the log's own settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) age: Option<Duration>,
    pub(super) bytes: Option<u64>,
}

impl Limits {
    /// Those of a topic.
    pub(super) fn of(self, asked: backend::Retention) -> Self {
        match asked {
            backend::Retention::AsBackend => self,
            backend::Retention::Forever => Self::default(),
            backend::Retention::For(age) => Self {
                age: Some(age),
                bytes: None,
            },
        }
    }

    /// At this time.
    pub(super) fn at(self, now: Timestamp) -> Retention {
        Retention {
            age: self.age,
            bytes: self.bytes,
            now,
        }
    }
}

/// What a topic was asked to keep, as its file says it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kept {
    #[default]
    AsBackend,
    Forever,
    ForMs(u64),
}

impl From<backend::Retention> for Kept {
    fn from(asked: backend::Retention) -> Self {
        match asked {
            backend::Retention::AsBackend => Self::AsBackend,
            backend::Retention::Forever => Self::Forever,
            backend::Retention::For(age) => {
                Self::ForMs(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl From<Kept> for backend::Retention {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::AsBackend => Self::AsBackend,
            Kept::Forever => Self::Forever,
            Kept::ForMs(ms) => Self::For(Duration::from_millis(ms)),
        }
    }
}

/// The limits, and the time they are applied at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) age: Option<Duration>,
    pub(super) bytes: Option<u64>,
    pub(super) now: Timestamp,
}

/// What retention looks at in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retained {
    pub(super) bytes: u64,
    pub(super) newest: Timestamp,
}

impl Retention {
    /// How many of the oldest segments may go; `segments` are oldest first, the last is the active one.
    pub(super) fn expired(
        &self,
        segments: impl ExactSizeIterator<Item = Retained> + Clone,
    ) -> usize {
        let removable = segments.len().saturating_sub(1);
        let mut kept: u64 = segments.clone().map(|segment| segment.bytes).sum();
        let mut expired = 0;
        for segment in segments.take(removable) {
            let aged = self
                .age
                .is_some_and(|age| self.now.since(segment.newest) > age);
            let excess = self
                .bytes
                .is_some_and(|limit| kept - segment.bytes >= limit);
            if !aged && !excess {
                break;
            }
            kept -= segment.bytes;
            expired += 1;
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(age_ms: Option<u64>, bytes: Option<u64>, segments: &[(u64, i64)]) -> usize {
        let retention = Retention {
            age: age_ms.map(Duration::from_millis),
            bytes,
            now: Timestamp(100),
        };
        retention.expired(segments.iter().map(|&(bytes, newest)| Retained {
            bytes,
            newest: Timestamp(newest),
        }))
    }

    #[test]
    fn whole_segments_go_and_the_active_one_stays() {
        let segments = [(10, 10), (10, 20), (10, 30)];
        assert_eq!(expired(Some(80), None, &segments), 1);
        assert_eq!(expired(Some(1), None, &segments), 2);
        assert_eq!(expired(None, Some(20), &segments), 1);
        assert_eq!(expired(None, Some(0), &segments), 2);
        assert_eq!(expired(None, None, &segments), 0);
        assert_eq!(expired(Some(1), Some(0), &[]), 0);
    }
}
