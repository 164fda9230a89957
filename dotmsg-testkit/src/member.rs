//! A member of a group on the level of the contract: what a case sees of a `Source` and its `Control`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use dotmsg_core::backend::{
    AssignmentEvent, Backend, Batch, BatchLimits, CommitOutcome, Control, Granted, Progress,
    Record, Source, Subscription,
};
use dotmsg_core::error::{Error, Result};
use dotmsg_core::progress::PositionRecord;

use crate::topic::ALL;
use crate::wait::{DEADLINE, within};

/// One member. Dropping it without [`Member::leave`] is what a crash is to the group.
pub(crate) struct Member {
    /// A source is not `Sync`, and a member that waits for an answer is borrowed; nobody ever waits for this lock.
    source: Mutex<Box<dyn Source>>,
    pub(crate) control: Arc<dyn Control>,
    /// The grant of each partition that is owned.
    pub(crate) owned: BTreeMap<u32, u64>,
    /// Partitions to be given up, until they are released.
    pub(crate) revoking: Vec<u32>,
    /// Partitions that were taken away without asking.
    pub(crate) lost: Vec<u32>,
    /// Partitions that retention overtook: the position that was to be read, and the start.
    pub(crate) overtaken: Vec<(u32, u64, u64)>,
}

/// What a member hears or reads next.
pub(crate) enum Next {
    Event,
    Batch(Batch),
}

impl Member {
    pub(crate) async fn try_join(backend: &dyn Backend, topic: &str, group: &str) -> Result<Self> {
        Self::try_join_as(backend, Subscription::new(topic, group)).await
    }

    /// Joins as the subscription says.
    pub(crate) async fn try_join_as(
        backend: &dyn Backend,
        subscription: Subscription,
    ) -> Result<Self> {
        let joined = within("the group is joined", backend.subscribe(subscription)).await;
        let (source, control) = joined?;
        Ok(Self {
            source: Mutex::new(source),
            control,
            owned: BTreeMap::new(),
            revoking: Vec::new(),
            lost: Vec::new(),
            overtaken: Vec::new(),
        })
    }

    pub(crate) async fn join(backend: &dyn Backend, topic: &str, group: &str) -> Self {
        let joined = Self::try_join(backend, topic, group).await;
        joined.unwrap_or_else(|error| panic!("group {group} of {topic} is not joined: {error}"))
    }

    /// Joins and waits for so many partitions, which it owns alone then.
    pub(crate) async fn owner(
        backend: &dyn Backend,
        topic: &str,
        group: &str,
        partitions: usize,
    ) -> Self {
        let mut member = Self::join(backend, topic, group).await;
        member.owns(partitions).await;
        member
    }

    /// Waits until it owns so many.
    pub(crate) async fn owns(&mut self, partitions: usize) {
        let what = format!("{partitions} partitions are assigned");
        within(&what, async {
            while self.owned.len() != partitions {
                self.event().await;
            }
        })
        .await;
    }

    /// Waits for an event and notes it.
    pub(crate) async fn event(&mut self) {
        let event = poll_fn(|cx| of(&mut self.source).poll_event(cx));
        match within("an assignment event", event).await {
            Ok(event) => self.note(event),
            Err(error) => panic!("the source failed: {error}"),
        }
    }

    /// The error that ends the source.
    pub(crate) async fn failure(&mut self) -> Error {
        let mut batch = Batch::default();
        let source = of(&mut self.source);
        let ended = poll_fn(|cx| {
            while let Poll::Ready(event) = source.poll_event(cx) {
                match event {
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(error),
                }
            }
            match source.poll_batch(cx, ALL, &mut batch) {
                Poll::Ready(Err(error)) => Poll::Ready(error),
                Poll::Ready(Ok(())) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        });
        within("the source ends with an error", ended).await
    }

    fn note(&mut self, event: AssignmentEvent) {
        match event {
            AssignmentEvent::Assigned(granted) => {
                for granted in granted {
                    let before = self.owned.insert(granted.partition, granted.grant);
                    assert_ne!(before, Some(granted.grant), "a grant is given once");
                }
            }
            AssignmentEvent::Revoking { partitions, within } => {
                assert!(!within.is_zero(), "a revocation leaves no time to drain");
                self.revoking.extend(partitions);
            }
            AssignmentEvent::Lost(partitions) => {
                for partition in partitions {
                    self.owned.remove(&partition);
                    self.revoking.retain(|revoking| *revoking != partition);
                    self.lost.push(partition);
                }
            }
            AssignmentEvent::OutOfRange {
                partition,
                grant,
                position,
                start,
            } => {
                assert_eq!(self.owned.get(&partition), Some(&grant), "an older grant");
                self.overtaken.push((partition, position, start));
            }
        }
    }

    /// The next event or batch, events first.
    pub(crate) async fn next(&mut self, limits: BatchLimits) -> Result<Next> {
        within("an event or a batch", self.wait_next(limits)).await
    }

    /// The same, however long it takes; may be dropped.
    pub(crate) async fn wait_next(&mut self, limits: BatchLimits) -> Result<Next> {
        let mut batch = Batch::default();
        let (source, mut heard) = (of(&mut self.source), None);
        let next = poll_fn(|cx| {
            if let Poll::Ready(event) = source.poll_event(cx) {
                heard = Some(event);
                return Poll::Ready(Ok(()));
            }
            source.poll_batch(cx, limits, &mut batch)
        });
        next.await?;
        match heard {
            Some(event) => {
                self.note(event?);
                Ok(Next::Event)
            }
            None => {
                let current = self.owned.get(&batch.partition);
                assert_eq!(current, Some(&batch.grant), "a batch of another grant");
                Ok(Next::Batch(batch))
            }
        }
    }

    /// Polls for events for ever, noting them: what a member does beside whatever a case looks at.
    pub(crate) async fn keep_polling(&mut self) {
        loop {
            let event = poll_fn(|cx| of(&mut self.source).poll_event(cx)).await;
            match event {
                Ok(event) => self.note(event),
                Err(error) => panic!("the source failed: {error}"),
            }
        }
    }

    /// The partitions that it owns.
    pub(crate) fn partitions(&self) -> Vec<u32> {
        self.owned.keys().copied().collect()
    }

    /// The next batch.
    pub(crate) async fn batch(&mut self, limits: BatchLimits) -> Batch {
        loop {
            match self.next(limits).await {
                Ok(Next::Batch(batch)) => return batch,
                Ok(Next::Event) => {}
                Err(error) => panic!("the source failed: {error}"),
            }
        }
    }

    /// The next so many records, with their partitions, in the order in which they came.
    pub(crate) async fn records(&mut self, count: usize) -> Vec<(u32, Record)> {
        let mut records = Vec::new();
        while records.len() < count {
            let batch = self.batch(ALL).await;
            let partition = batch.partition;
            records.extend(batch.records.into_iter().map(|record| (partition, record)));
        }
        assert_eq!(records.len(), count, "more records than were published");
        records
    }

    /// Reads every partition that it owns from this offset.
    pub(crate) fn resume_all(&self, from: u64) {
        for partition in self.owned.keys() {
            self.control.resume(*partition, Some(from));
        }
    }

    /// Commits under the grant that it has of the partition.
    pub(crate) async fn commit(&self, partition: u32, watermark: u64) -> CommitOutcome {
        let grant = self.owned[&partition];
        self.commit_as(partition, grant, watermark, record_of(watermark))
            .await
    }

    /// Commits these bytes under a grant.
    pub(crate) async fn commit_as(
        &self,
        partition: u32,
        grant: u64,
        watermark: u64,
        record: Bytes,
    ) -> CommitOutcome {
        let progress = Progress {
            partition,
            grant,
            watermark,
            record,
        };
        let mut outcomes =
            within("a commit is answered", self.control.commit(vec![progress])).await;
        assert_eq!(outcomes.len(), 1, "one outcome per entry");
        outcomes.remove(0)
    }

    /// The stored position record of a partition that it owns.
    pub(crate) async fn position(&self, partition: u32) -> Option<Bytes> {
        let read = self.control.position(partition, self.owned[&partition]);
        let read = within("a position is read", read).await;
        read.unwrap_or_else(|error| panic!("the position of {partition} is not told: {error}"))
    }

    /// Gives up what it is asked for.
    pub(crate) async fn release(&mut self) {
        let partitions = std::mem::take(&mut self.revoking);
        let given_up = partitions.iter().map(|partition| Granted {
            partition: *partition,
            grant: self.owned[partition],
        });
        let released = self.control.release(given_up.collect());
        if let Err(error) = within("partitions are released", released).await {
            panic!("partitions {partitions:?} are not released: {error}");
        }
        for partition in partitions {
            self.owned.remove(&partition);
        }
    }

    pub(crate) async fn leave(self) {
        if let Err(error) = within("the group is left", self.control.close(DEADLINE)).await {
            panic!("the group is not left: {error}");
        }
    }
}

fn of(source: &mut Mutex<Box<dyn Source>>) -> &mut dyn Source {
    &mut **source.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// A position record that says this watermark.
pub(crate) fn record_of(watermark: u64) -> Bytes {
    PositionRecord::new(7, watermark).encode().into()
}

/// # Panics
/// When it was not stored.
#[track_caller]
pub(crate) fn stored(outcome: &CommitOutcome) {
    assert!(
        matches!(outcome, CommitOutcome::Committed),
        "a commit of the owner was not stored: {outcome:?}"
    );
}

/// # Panics
/// When it was not refused.
#[track_caller]
pub(crate) fn fenced(outcome: &CommitOutcome) {
    assert!(
        matches!(outcome, CommitOutcome::Fenced),
        "a commit of somebody who is not the owner was not refused: {outcome:?}"
    );
}

/// Does some work while all of these members are polled for events.
pub(crate) async fn all_polled<T>(members: &mut [Member], work: impl Future<Output = T>) -> T {
    let mut polled: Vec<_> = members
        .iter_mut()
        .map(|member| Box::pin(member.keep_polling()))
        .collect();
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        for member in &mut polled {
            let _ = member.as_mut().poll(cx);
        }
        work.as_mut().poll(cx)
    })
    .await
}
