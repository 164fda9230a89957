//! The pump of a route: it owns the source, the partitions and their progress, and moves messages between them.
//!
//! One task, one loop: events before batches (so that back-pressure never hides a revocation), reports before new work,
//! retries before the source (so that they never wait for its limits), commits last. Everything is polled in a fixed
//! order, so that one seed gives one history.

mod assignment;
mod commits;
mod lag;
mod learning;
mod leaving;
mod outcomes;
mod retries;
mod source;
mod spare;
mod timing;
mod transaction;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use self::lag::Looks;
use self::spare::Spare;
use self::transaction::Transaction;
use super::partition::{Partition, Phase};
use super::reports::Reports;
use super::stats::RouteStats;
use super::takeover::{Taken, TakeoverContext, max_record_bytes};
use super::workers::Workers;
use crate::backend::{
    Batch, BatchLimits, BoxFuture, CommitOutcome, Control, Granted, ReadBatch, Reader, Source,
    TransactionOutcome, Transactions,
};
use crate::clock::Clock;
use crate::delivery::{Delivery, Provided};
use crate::error::Result;
use crate::middleware::Outcome;
use crate::middleware::circuit_breaker::Breaker;
use crate::middleware::publish_returned::Enlistment;
use crate::progress::Census;
use crate::router::{RouteSpec, Topology};

/// After an append to a tier the record is committed this soon: attempts since the last commit would repeat.
const COMMIT_SOON: Duration = Duration::from_millis(5);
/// A commit that failed is tried again after this.
const COMMIT_RETRY: Duration = Duration::from_millis(200);
/// Workers in tasks of their own drop a handler as soon as it yields; one that does not for so long is not waited for.
const DROP_WITHIN: Duration = Duration::from_millis(500);
/// A member that was given nothing for so long says so.
const WAIT_TOLD_AFTER: Duration = Duration::from_secs(5);
/// The limit of a shutdown after its second signal, whatever the broker does. The first 3 s of it are for last commits.
pub(super) const ABANDON_WITHIN: Duration = Duration::from_secs(5);
const ABANDON_COMMIT_WITHIN: Duration = Duration::from_secs(3);
/// The part of a drain that is kept for a takeover's end, release and close, behind the last commit.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// One read of tier and replay partitions.
const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 1 << 20,
};
/// Rounds in one poll before other tasks get their turn: a source that always has a batch must not starve them.
const ROUNDS_PER_POLL: usize = 32;
/// The reserve of tier and replay records in hand, per partition: they never wait for the source's limits.
const RETRY_RESERVE: usize = 256;
/// The reserve in bytes, for all partitions of the route together: this part of `max_held_bytes` for tier records, and as
/// much again for replays. One record of each partition passes whatever its size.
const RETRY_BYTES_PART: usize = 4;

/// What a route has become when its pump ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteReport {
    /// The handler's name.
    pub handler: String,
    /// Messages that were given up unsettled because a handler still ran at the deadline of the shutdown: those that ran, and
    /// those of the same partition that waited for their turn. Their next owner gets them again, as it does those that a
    /// drain which ended in time left unbegun; these are not counted.
    pub abandoned: u64,
    /// (`at_most_once`) Messages that were given up after their progress was confirmed: nobody gets them again.
    pub lost: u64,
    /// What the broker had not answered when the shutdown's time was up: `start`, `takeover`, `commit`, `abort`,
    /// `release`, `close`. Whether it happened is not known; without the commit, what was settled since the last one is repeated.
    pub unanswered: Vec<&'static str>,
}

/// How far a shutdown has come; each signal is one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Not asked for.
    #[default]
    No,
    /// Stop fetching, drain, commit, close: within the route's drain timeout, a quarter of it for the last commit, and
    /// 6 s more.
    Drain,
    /// Give up what still runs, commit what is settled, close: within 5 s.
    Abandon,
}

/// A commit on its way.
struct Committing {
    future: BoxFuture<'static, Answer>,
    notes: Vec<Note>,
    began: Instant,
}

/// What a commit came to.
enum Answer {
    /// Each partition's progress by itself.
    Each(Vec<CommitOutcome>),
    /// All of it, with what was published in the same transaction.
    Whole(TransactionOutcome),
}

/// A partition whose takeover is under way, and what became of it meanwhile.
struct Taking {
    granted: Granted,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Revoked,
    Lost,
}

/// What one partition's part of a commit covers.
struct Note {
    partition: u32,
    ownership: u32,
    staged: bool,
    ends_single: bool,
    clean: bool,
    /// (`exactly_once`) The transaction holds what its handlers returned.
    enlisted: bool,
}

/// What a pump is made of.
pub(crate) struct PumpParts<S: Service<Delivery>> {
    pub(crate) takeover: TakeoverContext,
    pub(crate) source: Box<dyn Source>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) workers: Workers<S>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<RouteStats>,
    pub(crate) shutdown: watch::Receiver<Shutdown>,
    /// (`exactly_once`)
    pub(crate) transactions: Option<Transacting>,
    pub(crate) provided: Option<Arc<Provided>>,
    pub(crate) breaker: Option<Arc<Breaker>>,
}

/// The member's transactions, and where its handlers put down what goes into them.
pub(crate) struct Transacting {
    pub(crate) transactions: Arc<dyn Transactions>,
    pub(crate) enlistment: Arc<Enlistment>,
}

/// The pump of one route.
pub(crate) struct Pump<S: Service<Delivery>> {
    route: Arc<RouteSpec>,
    topology: Arc<Topology>,
    /// On every stream that it makes.
    provided: Option<Arc<Provided>>,
    breaker: Option<Arc<Breaker>>,
    takeover: TakeoverContext,
    control: Arc<dyn Control>,
    source: Box<dyn Source>,
    reader: Box<dyn Reader>,
    workers: Workers<S>,
    clock: Arc<dyn Clock>,
    stats: Arc<RouteStats>,
    shutdown: watch::Receiver<Shutdown>,
    shutdown_changed: Option<BoxFuture<'static, ()>>,
    stage: Shutdown,
    /// The shutdown ends here, whatever is still unanswered.
    end_at: Option<Instant>,
    partitions: Vec<Option<Partition>>,
    ownerships: u32,
    taking_over: Option<BoxFuture<'static, Result<Vec<Taken>>>>,
    /// What is being taken over.
    taking: Vec<Taking>,
    /// Its first takeover is through.
    started: bool,
    /// It has heard what it gets, be it nothing.
    assigned: bool,
    /// When it is said that it has not heard yet.
    wait_told_at: Option<Instant>,
    spare: Spare,
    granted: Vec<Granted>,
    /// A look at the group's records, while it begins.
    learning: Option<BoxFuture<'static, Result<Census>>>,
    committing: Option<Committing>,
    commit_at: Option<Instant>,
    /// (`exactly_once`)
    transaction: Option<Transaction>,
    /// Asked back before they were installed: they are only to be released.
    unwanted: Vec<Granted>,
    releasing: Option<BoxFuture<'static, Result<()>>>,
    closing: Option<BoxFuture<'static, Result<()>>>,
    looks: Looks,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    reports: Reports,
    batch: Batch,
    read: ReadBatch,
    max_record_bytes: usize,
    held: usize,
    held_bytes: usize,
    source_pending: bool,
    reader_pending: bool,
    abandoned: u64,
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(crate) fn new(parts: PumpParts<S>) -> Self {
        let takeover = parts.takeover;
        let max_unanswered = takeover.route.limits.max_held_bytes;
        Self {
            route: Arc::clone(&takeover.route),
            topology: Arc::clone(&takeover.topology),
            provided: parts.provided,
            breaker: parts.breaker,
            control: Arc::clone(&takeover.control),
            max_record_bytes: max_record_bytes(&takeover.backend.capability()),
            takeover,
            source: parts.source,
            reader: parts.reader,
            workers: parts.workers,
            clock: parts.clock,
            stats: parts.stats,
            shutdown: parts.shutdown,
            shutdown_changed: None,
            stage: Shutdown::No,
            end_at: None,
            partitions: Vec::new(),
            ownerships: 0,
            taking_over: None,
            taking: Vec::new(),
            started: false,
            assigned: false,
            wait_told_at: Some(Instant::now() + WAIT_TOLD_AFTER),
            spare: Spare::No,
            granted: Vec::new(),
            learning: None,
            committing: None,
            commit_at: None,
            transaction: parts
                .transactions
                .map(|parts| Transaction::new(parts, max_unanswered)),
            unwanted: Vec::new(),
            releasing: None,
            closing: None,
            looks: Looks::default(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            reports: Reports::default(),
            batch: Batch::default(),
            read: ReadBatch::default(),
            held: 0,
            held_bytes: 0,
            source_pending: false,
            reader_pending: true,
            abandoned: 0,
        }
    }

    /// Runs until the shutdown is complete or something fails for good.
    pub(crate) async fn run(mut self) -> Result<RouteReport> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<RouteReport>> {
        self.stats.register(cx.waker());
        // Before anything is looked at: who asks meanwhile may have published what the source did not see any more, and is
        // answered by the next poll.
        let asked = self.stats.asked();
        for round in 0.. {
            if round == ROUNDS_PER_POLL || !tokio::task::coop::has_budget_remaining() {
                cx.waker().wake_by_ref();
                break;
            }
            let mut progress = self.poll_shutdown(cx);
            progress |= self.poll_events(cx)?;
            progress |= self.poll_takeover(cx)?;
            progress |= self.poll_learning(cx);
            self.workers.poll(cx, &mut self.reports)?;
            progress |= self.apply_reports();
            progress |= self.poll_transaction(cx);
            progress |= self.poll_retries(cx)?;
            let held = self.held;
            let fetched = self.poll_source(cx)?;
            progress |= fetched;
            progress |= self.poll_commit(cx);
            progress |= self.poll_leaving(cx);
            progress |= self.poll_lag(cx);
            if let Some(done) = self.poll_closing(cx) {
                self.publish_stats();
                return Poll::Ready(done);
            }
            self.workers.flush();
            if fetched && (self.workers.are_spawned() || self.held > held) {
                // Workers on the same thread, and whatever handlers wait for, run only when this task lets them; without a
                // turn after every batch it would first fetch all that the limits allow.
                cx.waker().wake_by_ref();
                break;
            }
            if !progress && !self.poll_timer(cx) {
                break;
            }
        }
        self.publish_stats();
        if let Some(asked) = asked
            && self.is_idle()
        {
            self.stats.answer_idle(asked);
        }
        self.stats.answer_alive();
        Poll::Pending
    }
}

fn add(counter: &AtomicU64, by: u64) {
    // Only the route's own task writes, so that a plain load and store suffice.
    counter.store(counter.load(Relaxed) + by, Relaxed);
}

fn owned(partitions: &mut [Option<Partition>], number: u32) -> Option<&mut Partition> {
    partitions.get_mut(number as usize)?.as_mut()
}

fn running(partitions: &mut [Option<Partition>], index: usize) -> Option<&mut Partition> {
    partitions
        .get_mut(index)?
        .as_mut()
        .filter(|partition| partition.phase == Phase::Running)
}

fn current(
    partitions: &mut [Option<Partition>],
    number: u32,
    ownership: u32,
) -> Option<&mut Partition> {
    owned(partitions, number).filter(|partition| partition.ownership == ownership)
}
