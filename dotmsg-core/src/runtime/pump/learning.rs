//! While a group begins: looking now and then who else is there.
//!
//! The member that took over last knows of all partitions at once; the records of the others learn it here. Until they
//! have, the loss of the last one's records could pass for a group that still begins. It ends once every partition of the
//! topic has had a record.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::Pump;
use crate::delivery::Delivery;
use crate::middleware::Outcome;
use crate::progress::Founding;
use crate::runtime::partition::Phase;

const LEARN_EVERY: Duration = Duration::from_secs(30);

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Looks once more, in a while.
    pub(super) fn learn_later(&mut self) {
        if self.learning.is_some() {
            return;
        }
        let takeover = self.takeover.clone();
        let at_least = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        self.learning = Some(Box::pin(async move {
            tokio::time::sleep(LEARN_EVERY).await;
            Ok(takeover.group(at_least).await?.census)
        }));
    }

    pub(super) fn poll_learning(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(learning) = &mut self.learning else {
            return false;
        };
        let Poll::Ready(census) = learning.as_mut().poll(cx) else {
            return false;
        };
        self.learning = None;
        let complete = match census {
            Ok(census) => {
                self.learned(census.founding());
                census.is_complete()
            }
            Err(error) => {
                tracing::warn!(topic = %self.topology.source, %error, "who else is in the group could not be read; repeated");
                false
            }
        };
        if !complete && self.partitions.iter().any(Option::is_some) {
            self.learn_later();
        }
        true
    }

    fn learned(&mut self, founding: Founding) {
        let mut news = false;
        for partition in self.partitions.iter_mut().flatten() {
            if partition.phase == Phase::Running && partition.founding.learn(founding) {
                partition.dirty = true;
                news = true;
            }
        }
        if news {
            self.commit_within(self.route.commit_interval);
        }
    }
}
