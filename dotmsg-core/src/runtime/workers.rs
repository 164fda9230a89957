//! The workers of a route behind one face: one inside the pump's own task, or several in tasks of their own.
//!
//! One worker needs no hand-over at all and is the default. Several are CPU parallelism: a key always goes to the same
//! worker (by its hash), commands and reports travel in batches through buffers that are swapped, so that a message
//! costs no allocation and a batch one lock and one wake.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use tower_service::Service;

use super::lanes::AwayName;
use super::permits::Permits;
use super::ticket::{Report, Ticket};
use super::worker::{Item, LanePolicy, Worker};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::middleware::Outcome;

enum Command {
    Offer(Item),
    /// Boxed: retries are rare, and every command is as large as the largest.
    OfferHead(Box<Item>),
    RestoreAway(u32, Option<Bytes>, AwayName),
    Stop(u32, u32),
    Abandon(u32),
    /// Obeyed.
    Done,
}

/// What pump and one spawned worker share.
#[derive(Default)]
struct Mailbox {
    commands: Mutex<Vec<Command>>,
    worker: AtomicWaker,
    reports: Mutex<Vec<Report>>,
    pump: Arc<AtomicWaker>,
    /// Set by the pump: the worker is to end.
    closed: std::sync::atomic::AtomicBool,
    /// Set when the worker's task has ended, however it did.
    ended: std::sync::atomic::AtomicBool,
}

struct Remote {
    mailbox: Arc<Mailbox>,
    outbox: Vec<Command>,
}

/// All workers of a route.
pub(crate) enum Workers<S: Service<Delivery>> {
    /// In the pump's task.
    Inline(Box<Worker<S>>),
    /// In tasks of their own.
    Spawned(Spawned),
}

/// Workers in tasks of their own.
pub(crate) struct Spawned {
    remotes: Vec<Remote>,
    pump: Arc<AtomicWaker>,
    hasher: foldhash::fast::FixedState,
    policy: LanePolicy,
    next: usize,
    /// Workers that still run something of a stopped partition.
    draining: Vec<(u32, u32, usize)>,
    incoming: Vec<Report>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl<S> Workers<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// `count` workers that share `concurrency` permits.
    pub(crate) fn new(service: S, policy: LanePolicy, concurrency: usize, count: usize) -> Self {
        let permits = Arc::new(Permits::new(concurrency));
        if count <= 1 {
            return Self::Inline(Box::new(Worker::new(service, policy, permits, concurrency)));
        }
        let pump = Arc::new(AtomicWaker::new());
        let mut remotes = Vec::with_capacity(count);
        let mut tasks = Vec::with_capacity(count);
        for _ in 0..count {
            let mailbox = Arc::new(Mailbox {
                pump: Arc::clone(&pump),
                ..Mailbox::default()
            });
            let worker = Worker::new(service.clone(), policy, Arc::clone(&permits), concurrency);
            tasks.push(tokio::spawn(run(worker, Arc::clone(&mailbox))));
            remotes.push(Remote {
                mailbox,
                outbox: Vec::new(),
            });
        }
        Self::Spawned(Spawned {
            remotes,
            pump,
            hasher: foldhash::fast::FixedState::with_seed(policy.hash_seed),
            policy,
            next: 0,
            draining: Vec::new(),
            incoming: Vec::new(),
            tasks,
        })
    }

    /// See [`Worker::offer`].
    #[inline]
    pub(crate) fn offer(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Arc<Stream>,
        record: &mut Record,
        ticket: &Ticket,
        condemned: Option<&'static str>,
        reports: &mut Vec<Report>,
    ) -> Option<Outcome> {
        match self {
            Self::Inline(worker) => worker.offer(cx, stream, record, ticket, condemned, reports),
            Self::Spawned(spawned) => {
                let to = spawned.worker_of(ticket.partition, record);
                spawned.remotes[to].outbox.push(Command::Offer(Item {
                    stream: Arc::clone(stream),
                    record: record.take(),
                    ticket: *ticket,
                    condemned,
                }));
                None
            }
        }
    }

    /// See [`Worker::offer_head`].
    pub(crate) fn offer_head(
        &mut self,
        cx: &mut Context<'_>,
        item: Item,
        reports: &mut Vec<Report>,
    ) -> Option<Outcome> {
        match self {
            Self::Inline(worker) => worker.offer_head(cx, item, reports),
            Self::Spawned(spawned) => {
                let to = spawned.worker_of(item.ticket.partition, &item.record);
                let outbox = &mut spawned.remotes[to].outbox;
                outbox.push(Command::OfferHead(Box::new(item)));
                None
            }
        }
    }

    /// See [`Worker::restore_away`].
    pub(crate) fn restore_away(&mut self, partition: u32, key: Option<Bytes>, name: AwayName) {
        match self {
            Self::Inline(worker) => worker.restore_away(partition, key, name),
            Self::Spawned(spawned) => {
                let to = spawned.worker_of_key(partition, key.as_deref());
                let outbox = &mut spawned.remotes[to].outbox;
                outbox.push(Command::RestoreAway(partition, key, name));
            }
        }
    }

    /// See [`Worker::stop_partition`]; one [`Report::Drained`] when all workers are through with it.
    pub(crate) fn stop_partition(
        &mut self,
        partition: u32,
        ownership: u32,
        reports: &mut Vec<Report>,
    ) {
        match self {
            Self::Inline(worker) => worker.stop_partition(partition, ownership, reports),
            Self::Spawned(spawned) => {
                let all = spawned.remotes.len();
                spawned.draining.push((partition, ownership, all));
                for remote in &mut spawned.remotes {
                    remote.outbox.push(Command::Stop(partition, ownership));
                }
            }
        }
    }

    /// See [`Worker::abandon_partition`]. Workers in tasks of their own do it later; [`Report::Drained`] tells when all have.
    pub(crate) fn abandon_partition(&mut self, partition: u32, reports: &mut Vec<Report>) {
        match self {
            Self::Inline(worker) => worker.abandon_partition(partition, reports),
            Self::Spawned(spawned) => {
                for remote in &mut spawned.remotes {
                    remote.outbox.push(Command::Abandon(partition));
                }
                spawned.send();
            }
        }
    }

    /// Lets the workers work and collects what they report.
    ///
    /// # Errors
    /// A worker's task panicked: what it had in hand would never end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) -> Result<()> {
        match self {
            Self::Inline(worker) => {
                worker.poll(cx, reports);
                Ok(())
            }
            Self::Spawned(spawned) => spawned.collect(cx, reports),
        }
    }

    /// Whether they work in tasks of their own, which need their turn.
    pub(crate) fn are_spawned(&self) -> bool {
        matches!(self, Self::Spawned(_))
    }

    /// Whether a further message would have to wait for a permit. Not known of workers in tasks of their own.
    pub(crate) fn is_saturated(&self) -> bool {
        match self {
            Self::Inline(worker) => worker.is_saturated(),
            Self::Spawned(_) => false,
        }
    }

    /// Hands over what was offered since the last call.
    pub(crate) fn flush(&mut self) {
        if let Self::Spawned(spawned) = self {
            spawned.send();
        }
    }
}

impl Spawned {
    fn worker_of(&mut self, partition: u32, record: &Record) -> usize {
        use crate::router::Ordering;
        match self.policy.ordering {
            Ordering::Partition => partition as usize % self.remotes.len(),
            Ordering::Key => self.worker_of_key(partition, record.message.key.as_deref()),
            Ordering::None => self.worker_of_key(partition, None),
        }
    }

    fn worker_of_key(&mut self, partition: u32, key: Option<&[u8]>) -> usize {
        use std::hash::BuildHasher;
        let Some(key) = key else {
            self.next = (self.next + 1) % self.remotes.len();
            return self.next;
        };
        // The upper bits: the lane table uses the lower ones.
        let hash = self.hasher.hash_one(key) >> 32;
        (hash as usize + partition as usize) % self.remotes.len()
    }

    fn send(&mut self) {
        for remote in &mut self.remotes {
            if remote.outbox.is_empty() {
                continue;
            }
            {
                let mut commands = lock(&remote.mailbox.commands);
                if commands.is_empty() {
                    std::mem::swap(&mut *commands, &mut remote.outbox);
                } else {
                    commands.append(&mut remote.outbox);
                }
            }
            remote.mailbox.worker.wake();
        }
    }

    fn collect(&mut self, cx: &mut Context<'_>, reports: &mut Vec<Report>) -> Result<()> {
        self.pump.register(cx.waker());
        self.send();
        let incoming = if self.draining.is_empty() {
            &mut *reports
        } else {
            &mut self.incoming
        };
        for remote in &self.remotes {
            if remote
                .mailbox
                .ended
                .load(std::sync::atomic::Ordering::Acquire)
            {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "run route",
                    "the task of a worker panicked",
                ));
            }
            incoming.append(&mut lock(&remote.mailbox.reports));
        }
        for report in self.incoming.drain(..) {
            let Report::Drained {
                partition,
                ownership,
            } = report
            else {
                reports.push(report);
                continue;
            };
            let Some(index) = self
                .draining
                .iter()
                .position(|(number, of, _)| (*number, *of) == (partition, ownership))
            else {
                continue;
            };
            self.draining[index].2 -= 1;
            if self.draining[index].2 == 0 {
                self.draining.remove(index);
                reports.push(report);
            }
        }
        Ok(())
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        for (remote, task) in self.remotes.iter().zip(&self.tasks) {
            let closed = &remote.mailbox.closed;
            closed.store(true, std::sync::atomic::Ordering::Release);
            remote.mailbox.worker.wake();
            task.abort();
        }
    }
}

/// Tells the pump that a worker's task has ended, by a panic too.
struct TellEnd(Arc<Mailbox>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        let ended = &self.0.ended;
        ended.store(true, std::sync::atomic::Ordering::Release);
        self.0.pump.wake();
    }
}

/// The task of a spawned worker.
async fn run<S>(mut worker: Worker<S>, mailbox: Arc<Mailbox>)
where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    let _tell = TellEnd(Arc::clone(&mailbox));
    let mut commands = Vec::new();
    let mut reports = Vec::new();
    std::future::poll_fn(move |cx| {
        mailbox.worker.register(cx.waker());
        if mailbox.closed.load(std::sync::atomic::Ordering::Acquire) {
            return Poll::Ready(());
        }
        std::mem::swap(&mut *lock(&mailbox.commands), &mut commands);
        for command in &mut commands {
            if let Command::Offer(item) = command {
                offer(&mut worker, cx, item, &mut reports);
            } else {
                let command = std::mem::replace(command, Command::Done);
                obey(&mut worker, cx, command, &mut reports);
            }
        }
        commands.clear();
        worker.poll(cx, &mut reports);
        if !reports.is_empty() {
            {
                let mut outgoing = lock(&mailbox.reports);
                if outgoing.is_empty() {
                    std::mem::swap(&mut *outgoing, &mut reports);
                } else {
                    outgoing.append(&mut reports);
                }
            }
            mailbox.pump.wake();
        }
        Poll::Pending
    })
    .await;
}

/// Offers where it lies: a message is not moved again before a handler has it.
fn offer<S>(
    worker: &mut Worker<S>,
    cx: &mut Context<'_>,
    item: &mut Item,
    reports: &mut Vec<Report>,
) where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    if item.condemned.is_none()
        && let Some((slot, poll)) = worker.try_at_once(cx, &item.stream, &mut item.record)
    {
        match poll {
            Poll::Ready(outcome) => reports.push(Report::Finished(item.ticket, outcome)),
            Poll::Pending => worker.keep_running(slot, item.ticket, None),
        }
        return;
    }
    let outcome = worker.offer(
        cx,
        &item.stream,
        &mut item.record,
        &item.ticket,
        item.condemned,
        reports,
    );
    reports.extend(outcome.map(|outcome| Report::Finished(item.ticket, outcome)));
}

fn obey<S>(
    worker: &mut Worker<S>,
    cx: &mut Context<'_>,
    command: Command,
    reports: &mut Vec<Report>,
) where
    S: Service<Delivery, Response = Outcome, Error = Infallible>,
{
    match command {
        Command::Offer(mut item) => offer(worker, cx, &mut item, reports),
        Command::OfferHead(item) => {
            let ticket = item.ticket;
            let outcome = worker.offer_head(cx, *item, reports);
            reports.extend(outcome.map(|outcome| Report::Finished(ticket, outcome)));
        }
        Command::RestoreAway(partition, key, name) => worker.restore_away(partition, key, name),
        Command::Stop(partition, ownership) => {
            worker.stop_partition(partition, ownership, reports);
        }
        Command::Abandon(partition) => worker.abandon_partition(partition, reports),
        Command::Done => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

impl<S: Service<Delivery>> std::fmt::Debug for Workers<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(worker) => worker.fmt(f),
            Self::Spawned(spawned) => write!(f, "{} workers", spawned.remotes.len()),
        }
    }
}
