//! When a diagnosis is logged: when it has become another one, and at most once a minute.

use std::time::Duration;

use super::Diagnosis;
use crate::clock::Timestamp;

/// The least time between two lines about the lag of one route.
const LEAST: Duration = Duration::from_secs(60);

/// What was logged last. A route of which nothing was logged is well.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    last: Option<(Timestamp, Diagnosis)>,
}

impl Notice {
    /// Whether this one is to be logged now. It is asked again at the next look, so that what is held back is not lost.
    pub(crate) fn is_due(&mut self, now: Timestamp, diagnosis: &Diagnosis) -> bool {
        let due = match &self.last {
            None => diagnosis.is_trouble(),
            Some((at, before)) => !before.is_like(diagnosis) && now.since(*at) >= LEAST,
        };
        if due {
            self.last = Some((now, diagnosis.clone()));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot(partition: u32) -> Diagnosis {
        Diagnosis::Hot {
            partition,
            records: 1,
            share: 1.0,
            oldest: LEAST,
        }
    }

    #[test]
    fn changes_are_told_at_most_once_a_minute() {
        let mut notice = Notice::default();
        let mut told = |seconds: i64, diagnosis: &Diagnosis| {
            notice.is_due(Timestamp(seconds * 1_000), diagnosis)
        };
        assert!(
            !told(0, &Diagnosis::Idle),
            "a route that is well says nothing"
        );
        assert!(told(1, &hot(0)));
        assert!(!told(100, &hot(0)), "no change");
        assert!(told(101, &hot(1)));
        assert!(!told(110, &Diagnosis::Idle), "too soon");
        assert!(!told(120, &hot(1)), "as it was told");
        assert!(!told(160, &Diagnosis::Idle));
        assert!(told(161, &Diagnosis::Idle));
        assert!(!told(500, &Diagnosis::KeepingUp { catch_up: None }));
    }
}
