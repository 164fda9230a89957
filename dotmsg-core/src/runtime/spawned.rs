//! Workers in tasks of their own: CPU parallelism.
//!
//! A key always goes to the same worker (by its hash), so that its order is one worker's business.

use std::convert::Infallible;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use tower_service::Service;
use tracing::Instrument;

use super::lanes::AwayName;
use super::mailbox::{Command, Commands, HandedOver, Mailbox};
use super::permits::Permits;
use super::reports::{Handled, Report, Reports};
use super::ticket::{Item, Settles, Ticket};
use super::worker::{LanePolicy, Worker};
use crate::backend::Record;
use crate::delivery::{Delivery, Stream};
use crate::error::{Error, ErrorKind, Result};
use crate::middleware::Outcome;
use crate::progress::Seq;
use crate::router::Ordering;

struct Remote {
    mailbox: Arc<Mailbox>,
    outbox: Commands,
    task: tokio::task::JoinHandle<()>,
}

/// Workers in tasks of their own, as the pump sees them.
pub(crate) struct Spawned {
    remotes: Vec<Remote>,
    pump: Arc<AtomicWaker>,
    permits: Arc<Permits>,
    hasher: foldhash::fast::FixedState,
    policy: LanePolicy,
    next: usize,
    /// Workers that still run something of a stopped partition.
    draining: Vec<(u32, u32, usize)>,
}

impl Spawned {
    /// Spawns `count` workers that share `concurrency` permits.
    pub(super) fn new<S>(service: S, policy: LanePolicy, concurrency: usize, count: usize) -> Self
    where
        S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let permits = Arc::new(Permits::new(concurrency));
        let pump = Arc::new(AtomicWaker::new());
        let spawn = |_| {
            let mailbox = Arc::new(Mailbox::new(Arc::clone(&pump)));
            let worker = Worker::new(service.clone(), policy, Arc::clone(&permits), concurrency);
            Remote {
                task: tokio::spawn(run(worker, Arc::clone(&mailbox)).in_current_span()),
                mailbox,
                outbox: Commands::default(),
            }
        };
        Self {
            remotes: (0..count).map(spawn).collect(),
            pump,
            permits,
            hasher: foldhash::fast::FixedState::with_seed(policy.hash_seed),
            policy,
            next: 0,
            draining: Vec::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.remotes.len()
    }

    /// A record of the source, for the worker of its key.
    #[inline]
    pub(super) fn hand_over(
        &mut self,
        stream: &Arc<Stream>,
        ownership: u32,
        seq: Seq,
        size: u32,
        record: &mut Record,
    ) {
        let to = self.worker_of(stream.partition, record);
        let record = record.take();
        let handed = HandedOver { record, seq, size };
        let outbox = &mut self.remotes[to].outbox;
        outbox.push_record(stream, ownership, handed);
    }

    /// See [`Worker::offer`].
    pub(super) fn offer(&mut self, item: Item) {
        let to = self.worker_of(item.ticket.partition, &item.record);
        self.command(to, Command::Offer(Box::new(item)));
    }

    /// See [`Worker::offer_head`].
    pub(super) fn offer_head(&mut self, item: Item) {
        let to = self.worker_of(item.ticket.partition, &item.record);
        self.command(to, Command::OfferHead(Box::new(item)));
    }

    /// See [`Worker::restore_away`].
    pub(super) fn restore_away(&mut self, partition: u32, key: Option<Bytes>, name: AwayName) {
        let to = self.worker_of_key(partition, key.as_deref());
        self.command(to, Command::RestoreAway(partition, key, name));
    }

    /// See [`Worker::stop_partition`]; one report when all workers are through with it.
    pub(super) fn stop_partition(&mut self, partition: u32, ownership: u32) {
        self.draining
            .push((partition, ownership, self.remotes.len()));
        for to in 0..self.remotes.len() {
            self.command(to, Command::Stop(partition, ownership));
        }
    }

    /// See [`Worker::abandon_partition`]; they do it when they have their turn.
    pub(super) fn abandon_partition(&mut self, partition: u32) {
        for to in 0..self.remotes.len() {
            self.command(to, Command::Abandon(partition));
        }
        self.send();
    }

    /// Asks each of them what it has in hand; a report of each will tell.
    pub(super) fn look(&mut self) {
        for to in 0..self.remotes.len() {
            self.command(to, Command::Look(to));
        }
    }

    /// Calls that run now.
    pub(super) fn running(&self) -> usize {
        self.permits.used()
    }

    fn command(&mut self, to: usize, command: Command) {
        self.remotes[to].outbox.commands.push(command);
    }

    #[inline]
    fn worker_of(&mut self, partition: u32, record: &Record) -> usize {
        match self.policy.ordering {
            Ordering::Partition => partition as usize % self.remotes.len(),
            Ordering::Key => self.worker_of_key(partition, record.message.key.as_deref()),
            Ordering::None => self.worker_of_key(partition, None),
        }
    }

    #[inline]
    fn worker_of_key(&mut self, partition: u32, key: Option<&[u8]>) -> usize {
        let Some(key) = key else {
            self.next = (self.next + 1) % self.remotes.len();
            return self.next;
        };
        // The upper bits: the lane table uses the lower ones.
        let hash = self.hasher.hash_one(key) >> 32;
        (hash as usize + partition as usize) % self.remotes.len()
    }

    /// Hands over what was offered since the last call.
    pub(super) fn send(&mut self) {
        for remote in &mut self.remotes {
            remote.mailbox.send(&mut remote.outbox);
        }
    }

    /// Collects what they report.
    ///
    /// # Errors
    /// A worker's task panicked: what it had in hand would never end.
    pub(super) fn collect(&mut self, cx: &mut Context<'_>, reports: &mut Reports) -> Result<()> {
        self.pump.register(cx.waker());
        self.send();
        for remote in &self.remotes {
            if remote.mailbox.has_ended() {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "run route",
                    "the task of a worker panicked",
                ));
            }
            remote.mailbox.collect(reports);
        }
        if !self.draining.is_empty() {
            let draining = &mut self.draining;
            reports.others.retain(|report| is_last(draining, report));
        }
        Ok(())
    }
}

/// Whether a report is to be passed on: of the reports that a partition is drained, the last worker's.
fn is_last(draining: &mut Vec<(u32, u32, usize)>, report: &Report) -> bool {
    let &Report::Drained {
        partition,
        ownership,
    } = report
    else {
        return true;
    };
    let of_it = |entry: &(u32, u32, usize)| (entry.0, entry.1) == (partition, ownership);
    let Some(index) = draining.iter().position(of_it) else {
        return false;
    };
    draining[index].2 -= 1;
    let last = draining[index].2 == 0;
    if last {
        draining.remove(index);
    }
    last
}

impl Drop for Spawned {
    fn drop(&mut self) {
        for remote in &self.remotes {
            remote.mailbox.close();
            remote.task.abort();
        }
    }
}

/// Tells the pump that a worker's task has ended, by a panic too.
struct TellEnd(Arc<Mailbox>);

impl Drop for TellEnd {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The task of a spawned worker.
async fn run<S>(mut worker: Worker<S>, mailbox: Arc<Mailbox>)
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    let _tell = TellEnd(Arc::clone(&mailbox));
    let mut inbox = Commands::default();
    let mut reports = Reports::default();
    std::future::poll_fn(move |cx| {
        if mailbox.receive(cx.waker(), &mut inbox).is_none() {
            return Poll::Ready(());
        }
        let mut records = inbox.records.iter_mut();
        for command in inbox.commands.drain(..) {
            if let Command::Records {
                stream,
                ownership,
                count,
            } = command
            {
                for handed in records.by_ref().take(count) {
                    // The command to stop is behind all of them.
                    if stream.is_stopping() {
                        continue;
                    }
                    take(&mut worker, cx, &stream, ownership, handed, &mut reports);
                }
            } else {
                obey(&mut worker, cx, command, &mut reports);
            }
        }
        inbox.records.clear();
        worker.poll(cx, &mut reports);
        mailbox.report(&mut reports);
        Poll::Pending
    })
    .await;
}

/// Takes a record of the source where it lies: it is not moved again before a handler has it.
#[inline]
fn take<S>(
    worker: &mut Worker<S>,
    cx: &mut Context<'_>,
    stream: &Arc<Stream>,
    ownership: u32,
    handed: &mut HandedOver,
    reports: &mut Reports,
) where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    let called = worker.try_at_once(cx, stream, &mut handed.record);
    if let Some(called) = &called
        && called.poll == Poll::Ready(Outcome::HANDLED)
    {
        reports.handled.push(Handled {
            seq: handed.seq,
            partition: stream.partition,
            ownership,
            size: handed.size,
        });
        return;
    }
    let ticket = Ticket {
        partition: stream.partition,
        ownership,
        settles: Settles::Source(handed.seq),
        offset: handed.record.offset,
        size: handed.size,
    };
    match called {
        None => worker.offer(cx, stream, &mut handed.record, &ticket, None, reports),
        Some(called) => match called.poll {
            Poll::Ready(outcome) => reports.finished(&ticket, outcome),
            Poll::Pending => worker.keep_running(called, ticket),
        },
    }
}

fn obey<S>(worker: &mut Worker<S>, cx: &mut Context<'_>, command: Command, reports: &mut Reports)
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone,
{
    match command {
        Command::Records { .. } => unreachable!("its records were taken"),
        Command::Offer(mut item) => {
            let Item {
                stream,
                record,
                ticket,
                condemned,
            } = &mut *item;
            worker.offer(cx, stream, record, ticket, *condemned, reports);
        }
        Command::OfferHead(item) => worker.offer_head(cx, *item, reports),
        Command::RestoreAway(partition, key, name) => worker.restore_away(partition, key, name),
        Command::Stop(partition, ownership) => {
            worker.stop_partition(partition, ownership, reports);
        }
        Command::Abandon(partition) => worker.abandon_partition(partition, reports),
        Command::Look(number) => reports.in_hand(number, worker.in_hand()),
    }
}
