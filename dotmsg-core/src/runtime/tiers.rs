//! One tier of one partition: the names of what waits in it, and the order in which it is read.
//!
//! A tier partition is read *by name*: only when the lowest name is due, and from its offset on. Whatever lies between the
//! names is void (written by a former owner, or the unconfirmed copy of an append that was repeated) and is skipped and
//! counted. Offsets and due times ascend together, since the delay is constant, so the lowest name is the next one due.
//!
//! What is read ahead is kept only as far as there is room and it is due soon: whatever is dropped is found by its name
//! again, so that memory never depends on how much waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Record;
use crate::progress::{Name, Origin, TierId};

/// What is due later than this is not kept ahead: it is read again when it is due.
const KEEP_AHEAD: Duration = Duration::from_secs(1);

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
    /// Read, named, not yet dispatched: the lowest names, without a gap.
    ahead: VecDeque<Record>,
    /// Their bytes.
    pub(crate) ahead_bytes: usize,
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
            ahead_bytes: 0,
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
            self.drop_ahead();
            self.reading = None;
        }
    }

    fn drop_ahead(&mut self) {
        self.ahead.clear();
        self.ahead_bytes = 0;
    }

    /// Stops reading it for now; whether it was being read.
    pub(crate) fn stop_reading(&mut self) -> bool {
        self.reading.take().is_some()
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

    /// When the next name is due, whatever the reader does.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let (_, name) = self.waiting.first_key_value()?;
        Some(name.due)
    }

    /// The next record that is due, when it has been read: its name moves to the dispatched ones.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Record> {
        let (&offset, name) = self.waiting.first_key_value()?;
        if name.due > now || self.ahead.front()?.offset != offset {
            return None;
        }
        let name = self.waiting.remove(&offset).expect("it was just seen");
        self.dispatched.insert(offset, name.origin);
        let record = self.ahead.pop_front()?;
        self.ahead_bytes -= record.message.size();
        Some(record)
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
                self.drop_ahead();
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

    /// Takes what was read, within `room` bytes, and at least the first that is named; reading went on at `removed`, when
    /// retention was faster.
    ///
    /// # Errors
    /// The offset of a named record that the log does not hold any more.
    pub(crate) fn take_read(
        &mut self,
        records: &mut Vec<Record>,
        removed: Option<u64>,
        now: Instant,
        room: usize,
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
        let (soon, limit) = (now + KEEP_AHEAD, self.ahead_bytes + room);
        for record in records.drain(..) {
            if let Some(name) = self.waiting.get(&record.offset) {
                let bytes = self.ahead_bytes + record.message.size();
                if !self.ahead.is_empty() && (name.due > soon || bytes > limit) {
                    // It and all behind it are read again, from its name on.
                    break;
                }
                self.ahead_bytes = bytes;
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
    use proptest::prelude::*;

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
        tier.take_read(&mut records(3..7), None, due, usize::MAX)
            .unwrap();
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
        tier.take_read(&mut records(4..6), None, now, usize::MAX)
            .unwrap();
        tier.name(2, Origin::Source(0), now);
        assert_eq!(tier.next_reading(now), Reading::From(2));
        tier.take_read(&mut records(2..6), None, now, usize::MAX)
            .unwrap();
        assert_eq!(tier.pop_due(now).unwrap().offset, 2);
        assert_eq!(tier.pop_due(now).unwrap().offset, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_record_that_is_gone_is_an_error() {
        let now = Instant::now();
        let mut tier = tier();
        tier.name(4, Origin::Source(1), now);
        tier.next_reading(now);
        assert_eq!(
            tier.take_read(&mut records(7..8), None, now, usize::MAX),
            Err(4)
        );
        assert_eq!(
            tier.take_read(&mut Vec::new(), Some(4), now, usize::MAX),
            Ok(())
        );
        assert_eq!(
            tier.take_read(&mut Vec::new(), Some(5), now, usize::MAX),
            Err(4)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_or_is_not_due_soon_is_read_again() {
        let now = Instant::now();
        let mut tier = tier();
        let mut three = records(0..3);
        for record in &mut three {
            record.message = Message::new(vec![0; 10]);
        }
        tier.name(0, Origin::Source(0), now);
        tier.name(2, Origin::Source(2), now);
        assert_eq!(tier.next_reading(now), Reading::From(0));
        tier.take_read(&mut three, None, now, 0).unwrap();
        assert_eq!((tier.ahead_bytes, tier.void), (10, 1), "the first passes");
        assert_eq!(tier.pop_due(now).unwrap().offset, 0);
        assert_eq!(tier.ahead_bytes, 0);
        assert_eq!(tier.next_reading(now), Reading::From(2));
        let later = now + Duration::from_secs(60);
        tier.name(3, Origin::Source(3), later);
        tier.take_read(&mut records(2..4), None, now, usize::MAX)
            .unwrap();
        assert_eq!(tier.pop_due(now).unwrap().offset, 2);
        assert_eq!(tier.next_reading(now), Reading::Stop);
        assert_eq!(tier.next_reading(later), Reading::From(3), "not kept");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// 40 records, some named, due one after the other; read in batches of any size, with any room.
        #[test]
        fn every_name_is_dispatched_once_in_order_when_due_and_within_its_room(
            log in prop::collection::vec((any::<bool>(), 0usize..30), 40),
            reads in prop::collection::vec((1usize..8, 0usize..60, 0u64..400), 20..60),
        ) {
            let start = Instant::now();
            let due = |offset: u64| start + Duration::from_millis(offset * 100);
            let named: Vec<u64> = (0..).zip(&log).filter(|(_, one)| one.0).map(|(offset, _)| offset).collect();
            let mut stored = records(0..40);
            for (record, (_, bytes)) in stored.iter_mut().zip(&log) {
                record.message = Message::new(vec![0; *bytes]);
            }
            let mut tier = tier();
            for &offset in &named {
                tier.name(offset, Origin::Source(offset), due(offset));
            }
            let (mut now, mut at, mut popped) = (start, None, Vec::new());
            let rest = std::iter::repeat_n((4, 16, 200), 200);
            for (count, room, pass) in reads.into_iter().chain(rest) {
                match tier.next_reading(now) {
                    Reading::From(offset) => at = Some(offset as usize),
                    Reading::Stop => at = None,
                    Reading::Keep => {}
                }
                if let Some(from) = at.filter(|from| *from < stored.len()) {
                    let to = (from + count).min(stored.len());
                    let before = tier.ahead_bytes;
                    tier.take_read(&mut stored[from..to].to_vec(), None, now, room).unwrap();
                    at = Some(to);
                    prop_assert!(tier.ahead_bytes - before <= room || tier.ahead.len() == 1);
                }
                while let Some(record) = tier.pop_due(now) {
                    prop_assert!(due(record.offset) <= now);
                    popped.push(record.offset);
                }
                let ahead: usize = tier.ahead.iter().map(|record| record.message.size()).sum();
                prop_assert_eq!(tier.ahead_bytes, ahead);
                now += Duration::from_millis(pass);
            }
            prop_assert_eq!(&popped, &named);
            prop_assert!(tier.void as usize <= stored.len() - named.len(), "none is counted twice");
        }
    }
}
