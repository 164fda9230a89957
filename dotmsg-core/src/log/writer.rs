//! The one thread that writes: group commit.
//!
//! It takes everything that waits, from all partitions, writes it, syncs each file it touched once, and only then lets
//! readers see the records and answers the waiters. What arrives meanwhile is the next group, so the cost of a sync is
//! shared by as many as wait for it. Records are synced before the positions of the same group.
//!
//! A failed write or sync takes the log down ([`Health`]): everything in that group is answered *unknown* (its bytes
//! may be found at the next open), everything after *failed*.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::directory::Directory;
use super::disk::{Disk, write_error_kind};
use super::frame::Frame;
use super::head::Head;
use super::health::Health;
use super::journal::{Change, Journal};
use super::lock;
use super::lock_file::LockFile;
use super::options::Fsync;
use super::positions::Positions;
use super::retention::Retention;
use super::topic::{Partition, Topic};
use crate::clock::Timestamp;

/// What became of something that was handed to the writer.
#[derive(Debug)]
pub(super) enum Done<T> {
    /// Written and durable.
    Ok(T),
    /// It may be found at the next open.
    Unknown,
    /// Not written.
    Failed,
}

/// Whom to tell.
pub(super) type Waiter<T> = oneshot::Sender<Done<T>>;

/// Records of one publish call for one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) topic: Arc<Topic>,
    pub(super) partition: u32,
    /// Finished, not yet numbered.
    pub(super) frames: Vec<Frame>,
    pub(super) stamp: Timestamp,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Append; answers the first offset of each part, `None` where the topic is gone.
    Append(Vec<Part>, Waiter<Vec<Option<u64>>>),
    /// Store position records.
    Positions(Vec<Change>, Timestamp, Waiter<()>),
    /// Answer once everything before is.
    Barrier(Waiter<()>),
    /// Remove a topic's files.
    Delete(Arc<Topic>, oneshot::Sender<io::Result<()>>),
    /// Finish; answered when the directory is unlocked.
    Stop(oneshot::Sender<()>),
}

/// The queue and the thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: Vec<Order>,
    stopped: bool,
}

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: Directory,
    pub(super) journal: Journal,
    /// Held until the thread ends.
    pub(super) _lock: LockFile,
    pub(super) health: Arc<Health>,
    pub(super) positions: Arc<Mutex<Positions>>,
    pub(super) fsync: Fsync,
    pub(super) segment_bytes: u64,
    pub(super) retention_bytes: Option<u64>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(desk: Desk) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("dotmsg-log".into())
            .spawn(move || run(desk, &theirs))?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands an order over; after a stop its waiter is dropped unanswered, which counts as failed by then.
    pub(super) fn send(&self, order: Order) {
        let mut waiting = lock(&self.queue.waiting);
        if waiting.stopped {
            return refuse(order);
        }
        waiting.stopped = matches!(order, Order::Stop(_));
        waiting.orders.push(order);
        self.queue.arrived.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.send(Order::Stop(oneshot::channel().0));
        // The last handle may go down inside a waker that the writer itself runs: then it ends by itself.
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(desk: Desk, queue: &Queue) {
    let mut desk = Work {
        desk,
        heads: BTreeMap::new(),
    };
    loop {
        let orders = {
            let waiting = lock(&queue.waiting);
            let mut waiting = queue
                .arrived
                .wait_while(waiting, |waiting| waiting.orders.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut waiting.orders)
        };
        if let Some(stop) = desk.group(orders) {
            drop(desk);
            let _ = stop.send(());
            return;
        }
    }
}

/// Answers an order that is not carried out.
fn refuse(order: Order) {
    match order {
        Order::Append(_, waiter) => drop(waiter.send(Done::Failed)),
        Order::Positions(_, _, waiter) | Order::Barrier(waiter) => {
            drop(waiter.send(Done::Failed));
        }
        Order::Delete(_, waiter) => drop(waiter.send(Err(io::ErrorKind::BrokenPipe.into()))),
        Order::Stop(waiter) => drop(waiter.send(())),
    }
}

/// The thread's state.
struct Work {
    desk: Desk,
    heads: BTreeMap<(u64, u32), Head>,
}

/// Everything of a group that waits for its end.
#[derive(Default)]
struct Group {
    appends: Vec<(Waiter<Vec<Option<u64>>>, Vec<Option<u64>>)>,
    changes: Vec<Change>,
    stamp: Timestamp,
    units: Vec<Waiter<()>>,
    deletes: Vec<(Arc<Topic>, oneshot::Sender<io::Result<()>>)>,
    stop: Option<oneshot::Sender<()>>,
}

impl Work {
    /// Carries a group of orders out; gives whom to tell of the stop, when one was among them.
    fn group(&mut self, orders: Vec<Order>) -> Option<oneshot::Sender<()>> {
        let mut group = Group::default();
        let mut result = Ok(());
        let failed = self.desk.health.has_failed();
        for order in orders {
            match order {
                Order::Stop(waiter) => group.stop = Some(waiter),
                order if failed => refuse(order),
                Order::Append(parts, waiter) => {
                    let mut firsts = Vec::with_capacity(parts.len());
                    if result.is_ok() {
                        result = self.stage(parts, &mut firsts);
                    }
                    group.appends.push((waiter, firsts));
                }
                Order::Positions(mut changes, stamp, waiter) => {
                    group.changes.append(&mut changes);
                    group.stamp = stamp;
                    group.units.push(waiter);
                }
                Order::Barrier(waiter) => group.units.push(waiter),
                Order::Delete(topic, waiter) => group.deletes.push((topic, waiter)),
            }
        }
        let result = result.and_then(|()| self.commit(&group));
        self.answer(group, result)
    }

    /// Writes the parts of one call, or keeps them for one larger write.
    fn stage(&mut self, parts: Vec<Part>, firsts: &mut Vec<Option<u64>>) -> io::Result<()> {
        for mut part in parts {
            if part.topic.check("publish").is_err() {
                firsts.push(None);
                continue;
            }
            let key = (part.topic.number, part.partition);
            let head = match self.heads.entry(key) {
                std::collections::btree_map::Entry::Occupied(head) => head.into_mut(),
                std::collections::btree_map::Entry::Vacant(none) => none.insert(Head::open(
                    &*self.desk.disk,
                    Arc::clone(&part.topic),
                    part.partition,
                )?),
            };
            firsts.push(Some(head.next()));
            for frame in &mut part.frames {
                if head.is_full(frame.len() as u64, self.desk.segment_bytes) {
                    head.roll(&*self.desk.disk)?;
                }
                head.write(frame, part.stamp)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable, then visible: records first, positions after them.
    fn commit(&mut self, group: &Group) -> io::Result<()> {
        for head in self.heads.values_mut().filter(|head| head.is_dirty()) {
            head.flush(self.desk.fsync)?;
        }
        if !group.changes.is_empty() {
            self.desk.journal.write(&group.changes, group.stamp)?;
            if self.desk.fsync == Fsync::Group {
                self.desk.journal.sync()?;
            }
        }
        for head in self.heads.values_mut().filter(|head| head.is_dirty()) {
            for file in confirm(head, self.desk.retention_bytes) {
                if let Err(error) = std::fs::remove_file(&file) {
                    tracing::warn!(file = %file.display(), %error, "an expired segment stays");
                }
            }
        }
        if !group.changes.is_empty() {
            let mut positions = lock(&self.desk.positions);
            for (key, record) in &group.changes {
                positions.put(key.clone(), record.clone());
            }
            self.desk.journal.shrink(&positions)?;
        }
        Ok(())
    }

    fn answer(&mut self, group: Group, result: io::Result<()>) -> Option<oneshot::Sender<()>> {
        if let Err(error) = &result {
            let reason = format!("a write to the log failed and closed it: {error}");
            self.desk.health.fail(write_error_kind(error), reason);
        }
        let ok = result.is_ok();
        for (waiter, firsts) in group.appends {
            let _ = waiter.send(if ok { Done::Ok(firsts) } else { Done::Unknown });
        }
        for waiter in group.units {
            let _ = waiter.send(if ok { Done::Ok(()) } else { Done::Unknown });
        }
        for (topic, waiter) in group.deletes {
            self.heads.retain(|(number, _), _| *number != topic.number);
            let _ = waiter.send(self.desk.directory.delete_topic(&topic));
        }
        group.stop
    }
}

/// Shows a head's records to readers; gives the files that retention removed from sight when a segment began.
fn confirm(head: &mut Head, retention_bytes: Option<u64>) -> Vec<PathBuf> {
    let topic = Arc::clone(head.topic());
    let index = head.partition() as usize;
    let written = head.take_written();
    let rolled = written.len() > 1;
    let retention = Retention {
        age: topic.retention,
        bytes: retention_bytes,
        now: head.newest(),
    };
    topic.grow(|partitions| match &mut partitions[index] {
        Partition::Disk(segments) => {
            segments.confirm(written.into_iter());
            if rolled {
                segments.apply(&retention)
            } else {
                Vec::new()
            }
        }
        Partition::Memory(_) => Vec::new(),
    })
}
