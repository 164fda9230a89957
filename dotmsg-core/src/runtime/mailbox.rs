//! What the pump and one worker in a task of its own share.
//!
//! Both directions are buffers that are swapped, so that a batch costs one lock and one wake, and a message no allocation.
//! Records of the source are handed over apart from the commands, as small as they can be: each is written once and read
//! where it lies. A command says how many of them are its own, so that commands and records keep their order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use super::lanes::AwayName;
use super::reports::Reports;
use super::ticket::Item;
use crate::backend::Record;
use crate::delivery::Stream;
use crate::progress::Seq;

/// What a worker is to do.
pub(super) enum Command {
    /// The next records of the source, so many, of one stream and ownership.
    Records {
        stream: Arc<Stream>,
        ownership: u32,
        count: usize,
    },
    /// Boxed, like the next one: they are rare, and every command is as large as the largest.
    Offer(Box<Item>),
    OfferHead(Box<Item>),
    RestoreAway(u32, Option<Bytes>, AwayName),
    Stop(u32, u32),
    Abandon(u32),
    /// Tell what is in hand, under this number.
    Look(usize),
}

/// A record of the source on its way to a worker.
pub(super) struct HandedOver {
    pub(super) record: Record,
    pub(super) seq: Seq,
    /// Its bytes, as the limits count them.
    pub(super) size: u32,
}

/// Commands, and the records that they speak of.
#[derive(Default)]
pub(super) struct Commands {
    pub(super) commands: Vec<Command>,
    pub(super) records: Vec<HandedOver>,
}

impl Commands {
    /// Adds a record of the source.
    #[inline]
    pub(super) fn push_record(&mut self, stream: &Arc<Stream>, ownership: u32, record: HandedOver) {
        self.records.push(record);
        if let Some(Command::Records {
            stream: last,
            count,
            ..
        }) = self.commands.last_mut()
            && Arc::ptr_eq(last, stream)
        {
            *count += 1;
            return;
        }
        self.commands.push(Command::Records {
            stream: Arc::clone(stream),
            ownership,
            count: 1,
        });
    }

    fn append(&mut self, from: &mut Self) {
        if self.commands.is_empty() {
            std::mem::swap(self, from);
        } else {
            self.commands.append(&mut from.commands);
            self.records.append(&mut from.records);
        }
    }
}

/// What pump and one spawned worker share.
pub(super) struct Mailbox {
    commands: Mutex<Commands>,
    worker: AtomicWaker,
    reports: Mutex<Reports>,
    pump: Arc<AtomicWaker>,
    /// Set by the pump: the worker is to end.
    closed: AtomicBool,
    /// Set when the worker's task has ended, however it did.
    ended: AtomicBool,
}

impl Mailbox {
    /// An empty one, whose reports wake `pump`.
    pub(super) fn new(pump: Arc<AtomicWaker>) -> Self {
        Self {
            commands: Mutex::default(),
            worker: AtomicWaker::new(),
            reports: Mutex::default(),
            pump,
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Hands over what the pump has written, if anything; `outbox` keeps its room.
    pub(super) fn send(&self, outbox: &mut Commands) {
        if outbox.commands.is_empty() {
            return;
        }
        lock(&self.commands).append(outbox);
        self.worker.wake();
    }

    /// Takes what the worker has reported.
    pub(super) fn collect(&self, reports: &mut Reports) {
        reports.append(&mut lock(&self.reports));
    }

    /// Asks the worker to end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.worker.wake();
    }

    /// Whether the worker's task has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Takes the commands into `inbox` (empty); `None` when the worker is to end.
    pub(super) fn receive(&self, worker: &Waker, inbox: &mut Commands) -> Option<()> {
        self.worker.register(worker);
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        std::mem::swap(&mut *lock(&self.commands), inbox);
        Some(())
    }

    /// Reports, if there is anything; `reports` keeps its room.
    pub(super) fn report(&self, reports: &mut Reports) {
        if reports.is_empty() {
            return;
        }
        lock(&self.reports).append(reports);
        self.pump.wake();
    }

    /// The worker's task has ended.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.pump.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
