//! A member that is one too many: its group has met, and there is no partition left for it.
//!
//! It is no mistake, since it takes over when another member ends. But whoever has added a process in order to be faster has to be
//! told that it does nothing.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::{Pump, Shutdown};
use crate::delivery::Delivery;
use crate::middleware::Outcome;

/// What has nothing for so long is not in the middle of a rebalance.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// Whether this member has nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Spare {
    /// It owns something, or has not heard yet.
    #[default]
    No,
    /// It owns nothing, which is said then.
    Until(Instant),
    /// It was said.
    Told,
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Notes whether it owns anything; when it is to be said that it does not.
    pub(super) fn watch_spare(&mut self) -> Option<Instant> {
        let owns = self.partitions.iter().any(Option::is_some);
        let may_own = owns || !self.taking.is_empty() || !self.granted.is_empty();
        if may_own || !self.assigned || self.stage != Shutdown::No {
            self.spare = Spare::No;
        } else if self.spare == Spare::No {
            self.spare = Spare::Until(Instant::now() + TOLD_AFTER);
        }
        match self.spare {
            Spare::Until(at) => Some(at),
            Spare::No | Spare::Told => None,
        }
    }

    /// Says it, if it is time.
    pub(super) fn tell_spare(&mut self, now: Instant) {
        if matches!(self.spare, Spare::Until(at) if at <= now) {
            self.spare = Spare::Told;
            tracing::warn!(topic = %self.topology.source, "owns no partition: the group has more members than the topic has partitions; this one works when another ends");
        }
    }
}
