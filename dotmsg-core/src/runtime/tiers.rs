//! One tier of one partition: the names of what waits in it, and the order in which it is read.
//!
//! A tier partition is read *by name*: only when the lowest name is due, and from its offset on. Whatever lies between the
//! names is void (written by a former owner, or the unconfirmed copy of an append that was repeated) and is skipped and
//! counted. Offsets and due times ascend together, since the delay is constant, so the lowest name is the next one due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::backend::Record;
use crate::progress::{Name, Origin, TierId};

/// A name that waits for its due time.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    origin: Origin,
    due: Instant,
}

/// One tier of one partition.
#[derive(Debug)]
pub(crate) struct Tier {
    /// The tier topic.
    pub(crate) topic: Arc<str>,
    delay_ms: u64,
    waiting: BTreeMap<u64, Waiting>,
    dispatched: BTreeMap<u64, Origin>,
    /// Read, named, not yet due.
    ahead: VecDeque<Record>,
    /// The next offset a read would give; `None`: not being read.
    reading: Option<u64>,
    /// Records found that nobody named.
    pub(crate) void: u64,
}

/// What the reader is to do for a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Read from this offset.
    From(u64),
    /// Stop reading.
    Stop,
    /// Leave it as it is.
    Keep,
}

impl Tier {
    /// A tier in which nothing waits.
    pub(crate) fn new(topic: Arc<str>, delay_ms: u64) -> Self {
        Self {
            topic,
            delay_ms,
            waiting: BTreeMap::new(),
            dispatched: BTreeMap::new(),
            ahead: VecDeque::new(),
            reading: None,
            void: 0,
        }
    }

    /// Names a confirmed record. A name below what was read already sends the reader back: its confirmation was late.
    pub(crate) fn name(&mut self, offset: u64, origin: Origin, due: Instant) {
        self.waiting.insert(offset, Waiting { origin, due });
        if self.reading.is_some_and(|next| offset < next)
            || self.ahead.back().is_some_and(|last| offset < last.offset)
        {
            self.ahead.clear();
            self.reading = None;
        }
    }

    /// The outcome of a dispatched record is known: its origin, and the name is gone.
    pub(crate) fn settle(&mut self, offset: u64) -> Option<Origin> {
        self.dispatched.remove(&offset)
    }

    /// When the next name is due; `None` while the reader is at work on it.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let (_, name) = self.waiting.first_key_value()?;
        self.reading.is_none().then_some(name.due)
    }

    /// The next record that is due, when it has been read: its name moves to the dispatched ones.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Record> {
        let (&offset, name) = self.waiting.first_key_value()?;
        if name.due > now || self.ahead.front()?.offset != offset {
            return None;
        }
        let name = self.waiting.remove(&offset).expect("it was just seen");
        self.dispatched.insert(offset, name.origin);
        self.ahead.pop_front()
    }

    /// What the reader is to do now.
    pub(crate) fn next_reading(&mut self, now: Instant) -> Reading {
        let due = self
            .waiting
            .first_key_value()
            .filter(|(_, name)| name.due <= now)
            .map(|(offset, _)| *offset);
        let read_already = self.ahead.front().map(|record| record.offset) == due;
        match (due, self.reading) {
            (Some(offset), Some(next)) if !read_already && next <= offset => Reading::Keep,
            (Some(offset), _) if !read_already => {
                self.ahead.clear();
                self.reading = Some(offset);
                Reading::From(offset)
            }
            (_, Some(_)) => {
                self.reading = None;
                Reading::Stop
            }
            (_, None) => Reading::Keep,
        }
    }

    /// Takes what was read; reading went on at `removed`, when retention was faster.
    ///
    /// # Errors
    /// The offset of a named record that the log does not hold any more.
    pub(crate) fn take_read(
        &mut self,
        records: &mut Vec<Record>,
        removed: Option<u64>,
    ) -> Result<(), u64> {
        let Some(next) = self.reading else {
            records.clear();
            return Ok(());
        };
        if let Some(start) = removed.filter(|start| next < *start) {
            if let Some((&missing, _)) = self.waiting.range(next..start).next() {
                return Err(missing);
            }
            self.reading = Some(start);
        }
        let (Some(first), Some(last)) = (
            records.first().map(|record| record.offset),
            records.last().map(|record| record.offset),
        ) else {
            return Ok(());
        };
        if let Some((&missing, _)) = self.waiting.range(next..first).next() {
            return Err(missing);
        }
        self.reading = Some(last + 1);
        for record in records.drain(..) {
            if self.waiting.contains_key(&record.offset) {
                self.ahead.push_back(record);
            } else if !self.dispatched.contains_key(&record.offset) {
                self.void += 1;
            }
        }
        Ok(())
    }

    /// The names, for the position record.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> + '_ {
        let waiting = self
            .waiting
            .iter()
            .map(|(offset, name)| (*offset, name.origin));
        let dispatched = self
            .dispatched
            .iter()
            .map(|(offset, origin)| (*offset, *origin));
        waiting.chain(dispatched).map(|(offset, origin)| Name {
            tier: TierId(self.delay_ms),
            offset,
            origin,
        })
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.dispatched.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::message::Message;
    use std::time::Duration;

    fn records(offsets: impl IntoIterator<Item = u64>) -> Vec<Record> {
        offsets
            .into_iter()
            .map(|offset| Record {
                offset,
                receipt: 0,
                appended_at: Timestamp(0),
                message: Message::default(),
            })
            .collect()
    }

    fn tier() -> Tier {
        Tier::new("orders.billing.retry.5s".into(), 5_000)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_read_before_it_is_due_and_the_unnamed_is_void() {
        let start = Instant::now();
        let due = start + Duration::from_secs(5);
        let mut tier = tier();
        tier.name(3, Origin::Source(10), due);
        tier.name(5, Origin::Source(11), due + Duration::from_secs(1));
        assert_eq!(tier.next_reading(start), Reading::Keep);
        assert_eq!(tier.next_reading(due), Reading::From(3));
        tier.take_read(&mut records(3..7), None).unwrap();
        assert_eq!(tier.void, 2);
        assert_eq!(tier.pop_due(due).unwrap().offset, 3);
        assert!(tier.pop_due(due).is_none());
        assert_eq!(tier.next_reading(due), Reading::Stop);
        assert_eq!(tier.len(), 2);
        assert_eq!(tier.settle(3), Some(Origin::Source(10)));
        assert_eq!(
            tier.pop_due(due + Duration::from_secs(1)).unwrap().offset,
            5
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_confirmation_sends_the_reader_back() {
        let now = Instant::now();
        let mut tier = tier();
        tier.name(4, Origin::Source(1), now);
        assert_eq!(tier.next_reading(now), Reading::From(4));
        tier.take_read(&mut records(4..6), None).unwrap();
        tier.name(2, Origin::Source(0), now);
        assert_eq!(tier.next_reading(now), Reading::From(2));
        tier.take_read(&mut records(2..6), None).unwrap();
        assert_eq!(tier.pop_due(now).unwrap().offset, 2);
        assert_eq!(tier.pop_due(now).unwrap().offset, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_record_that_is_gone_is_an_error() {
        let now = Instant::now();
        let mut tier = tier();
        tier.name(4, Origin::Source(1), now);
        tier.next_reading(now);
        assert_eq!(tier.take_read(&mut records(7..8), None), Err(4));
        assert_eq!(tier.take_read(&mut Vec::new(), Some(4)), Ok(()));
        assert_eq!(tier.take_read(&mut Vec::new(), Some(5)), Err(4));
    }
}
