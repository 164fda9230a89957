//! The one thread that writes: group commit.
//!
//! It takes everything that waits, from all partitions, writes it, syncs each file it touched once, and only then lets
//! readers see the records and answers the waiters. What arrives meanwhile is the next group, so the cost of a sync is
//! shared by as many as wait for it. Records are synced before the positions of the same group.
//!
//! A failed write or sync takes the log down ([`Health`]): everything in that group is answered *unknown* (its bytes
//! may be found at the next open), everything after *failed*.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::directory::Directory;
use super::disk::Disk;
use super::frame::Frame;
use super::group_commit::Work;
use super::health::Health;
use super::journal::{Change, Journal};
use super::lock;
use super::lock_file::LockFile;
use super::options::Fsync;
use super::positions::Positions;
use super::topic::Topic;
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

/// The first offset of each part, `None` where the topic is gone.
pub(super) type Firsts = Vec<Option<u64>>;

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
    /// Append.
    Append(Vec<Part>, Waiter<Firsts>),
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
    let mut work = Work::new(desk);
    loop {
        let orders = {
            let waiting = lock(&queue.waiting);
            let mut waiting = queue
                .arrived
                .wait_while(waiting, |waiting| waiting.orders.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut waiting.orders)
        };
        if let Some(stop) = work.group(orders) {
            drop(work);
            let _ = stop.send(());
            return;
        }
    }
}

/// Answers an order that is not carried out.
pub(super) fn refuse(order: Order) {
    match order {
        Order::Append(_, waiter) => drop(waiter.send(Done::Failed)),
        Order::Positions(_, _, waiter) | Order::Barrier(waiter) => {
            drop(waiter.send(Done::Failed));
        }
        Order::Delete(_, waiter) => drop(waiter.send(Err(io::ErrorKind::BrokenPipe.into()))),
        Order::Stop(waiter) => drop(waiter.send(())),
    }
}
