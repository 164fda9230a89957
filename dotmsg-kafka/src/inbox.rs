//! What the polling thread has read and the runtime has not taken yet: bounded, in batches.
//!
//! Batches are handed over by swapping vectors, which are used again. What must stay true: per partition, what is taken is what
//! was put, in order; nothing of a partition is taken after it was removed or paused; the thread puts nothing while there is
//! no room, and is told when there is.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dotmsg_core::backend::{BatchLimits, Record};
use dotmsg_core::error::{Error, Result};

/// Vectors kept for later, at most.
const SPARE: usize = 16;

/// From where a partition is read, and the number of this start of reading, which its chunks carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The offset that is to be read first.
    pub(crate) offset: u64,
    /// Greater than that of every earlier start.
    pub(crate) start: u64,
}

/// Records of one partition.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Their topic.
    pub(crate) topic: Arc<str>,
    /// Their partition.
    pub(crate) partition: u32,
    /// Under which grant they were read.
    pub(crate) grant: u64,
    /// Which start of reading they belong to.
    pub(crate) start: u64,
    /// The records.
    pub(crate) records: Vec<Record>,
    /// Offsets that were to be read next and are gone.
    pub(crate) removed: Option<Range<u64>>,
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.records
            .iter()
            .map(|record| record.message.size())
            .sum()
    }

    fn is_of(&self, topic: &str, partition: u32) -> bool {
        self.partition == partition && *self.topic == *topic
    }
}

/// One partition, as its reader sees it.
#[derive(Clone, Copy, Debug)]
struct Tap {
    /// The offset that follows what was taken last.
    next: u64,
    /// The start whose chunks are let in; `None` while it is closed.
    open: Option<u64>,
}

/// Chunks between the thread and the runtime.
#[derive(Debug)]
pub(crate) struct Inbox {
    chunks: VecDeque<Chunk>,
    messages: usize,
    bytes: usize,
    limits: BatchLimits,
    taps: BTreeMap<(Arc<str>, u32), Tap>,
    starts: u64,
    spare: Vec<Vec<Record>>,
    waker: Option<Waker>,
    failure: Option<Error>,
    /// The thread waits for room.
    starved: bool,
}

impl Inbox {
    /// An empty one, for at most so much and one chunk more.
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self {
            chunks: VecDeque::new(),
            messages: 0,
            bytes: 0,
            limits,
            taps: BTreeMap::new(),
            starts: 0,
            spare: Vec::new(),
            waker: None,
            failure: None,
            starved: false,
        }
    }

    /// Whether there is room for more; if not, [`Inbox::take`] says when there is.
    pub(crate) fn has_room(&mut self) -> bool {
        self.starved = self.messages >= self.limits.messages || self.bytes >= self.limits.bytes;
        !self.starved
    }

    /// A vector for records.
    pub(crate) fn spare(&mut self) -> Vec<Record> {
        self.spare.pop().unwrap_or_default()
    }

    /// Adds a chunk, unless its partition was closed, or started anew, since it was read.
    pub(crate) fn put(&mut self, chunk: Chunk) {
        let tap = self.taps.get(&(Arc::clone(&chunk.topic), chunk.partition));
        if tap.is_none_or(|tap| tap.open != Some(chunk.start)) {
            return;
        }
        self.messages += chunk.records.len();
        self.bytes += chunk.bytes();
        self.chunks.push_back(chunk);
        self.wake();
    }

    /// Nothing more comes: the next poll says so.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next records, into `records`, whose former content is dropped; with the chunk they are from. `true`: the thread waited
    /// for room, and there is some now.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        records: &mut Vec<Record>,
    ) -> Poll<Result<(Chunk, bool)>> {
        records.clear();
        let Some(chunk) = self.take(limits, records) else {
            if let Some(error) = self.failure.take() {
                self.failure = Some(again(&error));
                return Poll::Ready(Err(error));
            }
            if self
                .waker
                .as_ref()
                .is_none_or(|waker| !waker.will_wake(cx.waker()))
            {
                self.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let room = self.messages < self.limits.messages / 2 && self.bytes < self.limits.bytes / 2;
        let wanted = self.starved && room;
        self.starved &= !wanted;
        Poll::Ready(Ok((chunk, wanted)))
    }

    /// The first chunk, or as much of it as the limits allow, with its records in `records`.
    fn take(&mut self, limits: BatchLimits, records: &mut Vec<Record>) -> Option<Chunk> {
        let chunk = self.chunks.front_mut()?;
        let fits = fitting(&chunk.records, limits);
        let taken = if fits == chunk.records.len() {
            let mut chunk = self.chunks.pop_front()?;
            std::mem::swap(records, &mut chunk.records);
            let emptied = std::mem::take(&mut chunk.records);
            if emptied.capacity() > 0 && self.spare.len() < SPARE {
                self.spare.push(emptied);
            }
            chunk
        } else {
            records.extend(chunk.records.drain(..fits));
            Chunk {
                topic: Arc::clone(&chunk.topic),
                records: Vec::new(),
                removed: chunk.removed.take(),
                ..*chunk
            }
        };
        self.messages -= records.len();
        self.bytes -= records
            .iter()
            .map(|record| record.message.size())
            .sum::<usize>();
        let next = match (records.last(), &taken.removed) {
            (Some(last), _) => last.offset + 1,
            (None, Some(removed)) => removed.end,
            (None, None) => return Some(taken),
        };
        if let Some(tap) = self
            .taps
            .get_mut(&(Arc::clone(&taken.topic), taken.partition))
        {
            tap.next = next;
        }
        Some(taken)
    }

    /// Nothing of a partition is taken from now on; what is there is dropped.
    pub(crate) fn close(&mut self, topic: &Arc<str>, partition: u32) {
        if let Some(tap) = self.taps.get_mut(&(Arc::clone(topic), partition)) {
            tap.open = None;
        }
        self.chunks.retain(|chunk| !chunk.is_of(topic, partition));
        self.messages = self.chunks.iter().map(|chunk| chunk.records.len()).sum();
        self.bytes = self.chunks.iter().map(Chunk::bytes).sum();
    }

    /// Nothing of a partition is known any more.
    pub(crate) fn forget(&mut self, topic: &Arc<str>, partition: u32) {
        self.close(topic, partition);
        self.taps.remove(&(Arc::clone(topic), partition));
    }

    /// A partition is read from `from`, else from behind what was taken of it. `None` when it was never started and `from` says
    /// nothing.
    pub(crate) fn start(
        &mut self,
        topic: &Arc<str>,
        partition: u32,
        from: Option<u64>,
    ) -> Option<Begin> {
        self.close(topic, partition);
        let key = (Arc::clone(topic), partition);
        let next = from.or_else(|| self.taps.get(&key).map(|tap| tap.next))?;
        self.starts += 1;
        let open = Some(self.starts);
        self.taps.insert(key, Tap { next, open });
        Some(Begin {
            offset: next,
            start: self.starts,
        })
    }
}

/// How many of the records fit; at least one, if there is one.
fn fitting(records: &[Record], limits: BatchLimits) -> usize {
    let mut bytes = 0_usize;
    let within = records
        .iter()
        .take(limits.messages.max(1))
        .take_while(|record| {
            bytes = bytes.saturating_add(record.message.size());
            bytes <= limits.bytes
        });
    within.count().max(1).min(records.len())
}

/// The same error once more, for whoever polls again.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.operation(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotmsg_core::clock::Timestamp;
    use dotmsg_core::message::Message;

    const LIMITS: BatchLimits = BatchLimits {
        messages: 10,
        bytes: 100,
    };

    /// An inbox with partitions 0 and 1 started: starts 1 and 2.
    fn inbox() -> (Inbox, Arc<str>) {
        let (mut inbox, topic) = (Inbox::new(LIMITS), Arc::from("t"));
        assert_eq!(
            inbox.start(&topic, 0, Some(4)),
            Some(Begin {
                offset: 4,
                start: 1
            })
        );
        assert_eq!(
            inbox.start(&topic, 1, Some(0)),
            Some(Begin {
                offset: 0,
                start: 2
            })
        );
        (inbox, topic)
    }

    fn chunk(partition: u32, offsets: Range<u64>) -> Chunk {
        let record = |offset| Record {
            offset,
            receipt: 0,
            appended_at: Timestamp(0),
            message: Message::new("0123456789"),
        };
        Chunk {
            topic: "t".into(),
            partition,
            grant: 1,
            start: u64::from(partition) + 1,
            records: offsets.map(record).collect(),
            removed: None,
        }
    }

    fn take(inbox: &mut Inbox, limits: BatchLimits) -> Option<(u32, Vec<u64>, bool)> {
        let mut records = Vec::new();
        match inbox.poll_take(
            &mut Context::from_waker(Waker::noop()),
            limits,
            &mut records,
        ) {
            Poll::Ready(Ok((chunk, wanted))) => {
                let offsets = records.iter().map(|record| record.offset).collect();
                Some((chunk.partition, offsets, wanted))
            }
            _ => None,
        }
    }

    #[test]
    fn batches_keep_their_limits_and_one_record_always_fits() {
        let (mut inbox, _) = inbox();
        inbox.put(chunk(0, 0..5));
        let limits = BatchLimits {
            messages: 2,
            bytes: 1_000,
        };
        assert_eq!(take(&mut inbox, limits), Some((0, vec![0, 1], false)));
        let limits = BatchLimits {
            messages: 9,
            bytes: 1,
        };
        assert_eq!(take(&mut inbox, limits), Some((0, vec![2], false)));
        assert_eq!(take(&mut inbox, LIMITS), Some((0, vec![3, 4], false)));
        assert_eq!(take(&mut inbox, LIMITS), None);
    }

    #[test]
    fn a_thread_that_waits_for_room_hears_of_it_once() {
        let (mut inbox, _) = inbox();
        inbox.put(chunk(0, 0..10));
        assert!(!inbox.has_room());
        let limits = BatchLimits {
            messages: 4,
            bytes: 1_000,
        };
        assert!(!take(&mut inbox, limits).unwrap().2, "six are left");
        assert!(take(&mut inbox, limits).unwrap().2);
        assert!(!take(&mut inbox, limits).unwrap().2, "it knows");
        assert!(inbox.has_room());
    }

    #[test]
    fn what_is_removed_is_not_taken_and_what_follows_is_known() {
        let (mut inbox, topic) = inbox();
        inbox.put(chunk(0, 4..6));
        inbox.put(chunk(1, 0..2));
        inbox.put(chunk(0, 6..8));
        assert_eq!(take(&mut inbox, LIMITS), Some((0, vec![4, 5], false)));
        inbox.close(&topic, 0);
        inbox.put(chunk(0, 8..9));
        assert_eq!(take(&mut inbox, LIMITS), Some((1, vec![0, 1], false)));
        assert_eq!(take(&mut inbox, LIMITS), None);
        assert!(inbox.has_room());
        assert_eq!(
            inbox.start(&topic, 0, None),
            Some(Begin {
                offset: 6,
                start: 3
            }),
            "from behind what was taken"
        );
        inbox.put(chunk(0, 8..9));
        assert_eq!(
            take(&mut inbox, LIMITS),
            None,
            "it was read before the start"
        );
    }

    #[test]
    fn a_failure_is_told_each_time_after_what_came_before() {
        let (mut inbox, _) = inbox();
        inbox.put(chunk(0, 0..1));
        inbox.fail(Error::new(
            dotmsg_core::error::ErrorKind::Closed,
            "read",
            "gone",
        ));
        assert!(take(&mut inbox, LIMITS).is_some());
        for _ in 0..2 {
            let mut records = Vec::new();
            let polled = inbox.poll_take(
                &mut Context::from_waker(Waker::noop()),
                LIMITS,
                &mut records,
            );
            assert!(matches!(polled, Poll::Ready(Err(_))));
        }
    }
}
