//! All partitions of a group in one hand, for what must not run beside the group's members: a replay, a reset.
//!
//! It is a membership that must be alone ([`Subscription::exclusive`]), so that the backend's own rule keeps it so: whoever is
//! in the group already refuses it, and nobody's commit is accepted beside its own. It reads no batches.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::confirmed::commit_confirmed;
use super::{AssignmentEvent, Backend, Control, Progress, Source, Subscription};
use crate::error::{Error, ErrorKind, Result};

/// How long to wait for all partitions: a member that was killed keeps its own for a session timeout, 45 s on Kafka.
const JOIN_WITHIN: Duration = Duration::from_secs(60);
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A membership that owns every partition of its topic.
pub(crate) struct Exclusive {
    operation: &'static str,
    subscription: Subscription,
    source: Box<dyn Source>,
    control: Arc<dyn Control>,
    grants: BTreeMap<u32, u64>,
}

/// A new position of one partition.
#[derive(Clone, Debug)]
pub(crate) struct NewPosition {
    pub(crate) partition: u32,
    pub(crate) watermark: u64,
    pub(crate) record: Bytes,
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive")
            .field("subscription", &self.subscription)
            .field("partitions", &self.grants.len())
            .finish_non_exhaustive()
    }
}

impl Exclusive {
    /// Joins, and waits until every one of the topic's partitions is granted. `operation` is what the errors say was attempted.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`]: somebody else is in the group. Otherwise the backend's.
    pub(crate) async fn join(
        backend: &dyn Backend,
        subscription: Subscription,
        partitions: u32,
        operation: &'static str,
    ) -> Result<Self> {
        let subscription = subscription.exclusive();
        let (source, control) = match backend.subscribe(subscription.clone()).await {
            Ok(membership) => membership,
            // Its remedy is for members; the caller knows a better one.
            Err(error) if error.kind() == ErrorKind::Fenced => {
                return Err(occupied(operation, &subscription));
            }
            Err(error) => return Err(error),
        };
        let mut joined = Self {
            operation,
            subscription,
            source,
            control,
            grants: BTreeMap::new(),
        };
        let granted = tokio::time::timeout(JOIN_WITHIN, joined.granted(partitions)).await;
        let problem = match granted {
            Ok(Ok(())) => return Ok(joined),
            Ok(Err(error)) => error,
            Err(_) => occupied(operation, &joined.subscription)
                .with("partitions granted", joined.grants.len())
                .with("of", partitions),
        };
        // Whether leaving works makes no difference to what is to be reported.
        let _ = joined.control.close(LEAVE_WITHIN).await;
        Err(problem)
    }

    async fn granted(&mut self, partitions: u32) -> Result<()> {
        while (0..partitions).any(|partition| !self.grants.contains_key(&partition)) {
            let event = poll_fn(|cx| self.source.poll_event(cx)).await?;
            self.note(event)?;
        }
        Ok(())
    }

    /// Whether everything is still owned.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`]: another member joined or took a partition over. Otherwise the backend's.
    pub(crate) async fn check(&mut self) -> Result<()> {
        loop {
            let event = poll_fn(|cx| match self.source.poll_event(cx) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            });
            match event.await {
                Some(event) => self.note(event?)?,
                None => return Ok(()),
            }
        }
    }

    fn note(&mut self, event: AssignmentEvent) -> Result<()> {
        match event {
            AssignmentEvent::Assigned(granted) => {
                let granted = granted.into_iter().map(|one| (one.partition, one.grant));
                self.grants.extend(granted);
                Ok(())
            }
            AssignmentEvent::Revoking { .. } | AssignmentEvent::Lost(_) => {
                Err(occupied(self.operation, &self.subscription))
            }
            // Nothing is read through the membership.
            AssignmentEvent::OutOfRange { .. } => Ok(()),
        }
    }

    /// The stored record of a partition.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) async fn position(&mut self, partition: u32) -> Result<Option<Bytes>> {
        self.control
            .position(partition, self.grant(partition)?)
            .await
    }

    /// Stores positions, confirmed, each of another partition.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`]: another member owns one of them by now. The store does not answer, although asked again: some
    /// may be stored.
    pub(crate) async fn commit(&mut self, positions: Vec<NewPosition>) -> Result<()> {
        let mut open = Vec::with_capacity(positions.len());
        for position in positions {
            open.push(Progress {
                partition: position.partition,
                grant: self.grant(position.partition)?,
                watermark: position.watermark,
                record: position.record,
            });
        }
        self.check().await?;
        let last =
            match commit_confirmed(&*self.control, open).await {
                Ok(fenced) => {
                    return match fenced.first() {
                        None => Ok(()),
                        Some(partition) => Err(occupied(self.operation, &self.subscription)
                            .with("partition", partition)),
                    };
                }
                Err(last) => last,
            };
        let message = "the positions could not be stored";
        let error = Error::new(ErrorKind::Unreachable, self.operation, message)
            .with("topic", &self.subscription.topic)
            .with("group", &self.subscription.group);
        Err(match last {
            Some(last) => error.source_error(last),
            None => error,
        })
    }

    /// Leaves the group, so that its members may come back at once. Dropping does the same where a backend notices.
    ///
    /// # Errors
    /// The backend's.
    pub(crate) async fn leave(self) -> Result<()> {
        self.control.close(LEAVE_WITHIN).await
    }

    fn grant(&self, partition: u32) -> Result<u64> {
        let grant = self.grants.get(&partition).copied();
        grant.ok_or_else(|| {
            occupied(self.operation, &self.subscription).with("partition", partition)
        })
    }
}

fn occupied(operation: &'static str, of: &Subscription) -> Error {
    let message = "the group has another member; this must be alone in it";
    Error::new(ErrorKind::Fenced, operation, message)
        .with("topic", &of.topic)
        .with("group", &of.group)
}
