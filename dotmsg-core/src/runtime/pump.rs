//! The pump of a route: it owns the source, the partitions and their progress, and moves messages between them.
//!
//! One task, one loop: events before batches (so that back-pressure never hides a revocation), reports before new work,
//! retries before the source (so that they never wait for its limits), commits last. Everything is polled in a fixed
//! order, so that one seed gives one history.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::lanes::AwayName;
use super::partition::{Partition, Phase, Staged};
use super::stats::RouteStats;
use super::takeover::{Taken, TakeoverContext, crash_policy, max_record_bytes, take_over};
use super::ticket::{Report, Ticket};
use super::tiers::Reading;
use super::worker::Item;
use super::workers::Workers;
use crate::backend::{
    AssignmentEvent, Batch, BatchLimits, BoxFuture, CommitOutcome, Control, Granted, Progress,
    ReadBatch, Reader, Source,
};
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::middleware::{Ended, Outcome};
use crate::progress::Origin;
use crate::router::{DeliverySemantics as Semantics, RouteSpec, Topology};

/// After an append to a tier the record is committed this soon: attempts since the last commit would repeat.
const COMMIT_SOON: Duration = Duration::from_millis(5);
/// A commit that failed is tried again after this.
const COMMIT_RETRY: Duration = Duration::from_millis(200);
/// One read of tier and replay partitions.
const READ_LIMITS: BatchLimits = BatchLimits {
    messages: 256,
    bytes: 1 << 20,
};
/// The reserve of tier and replay records in hand, per partition: they never wait for the source's limits.
const RETRY_RESERVE: usize = 256;

/// What a route has become when its pump ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteReport {
    /// The handler's name.
    pub handler: String,
    /// Messages that were given up unsettled at the deadline of the shutdown; their next owner gets them again.
    pub abandoned: u64,
}

/// How far a shutdown has come; each signal is one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Not asked for.
    #[default]
    No,
    /// Stop fetching, drain, commit, close.
    Drain,
    /// Give up what still runs, commit what is settled, close.
    Abandon,
}

/// A commit on its way.
struct Committing {
    future: BoxFuture<'static, Vec<CommitOutcome>>,
    notes: Vec<Note>,
}

/// What one partition's part of a commit covers.
struct Note {
    partition: u32,
    ownership: u32,
    staged: bool,
    clean: bool,
}

/// What a pump is made of.
pub(crate) struct PumpParts<S: Service<Delivery>> {
    pub(crate) takeover: TakeoverContext,
    pub(crate) source: Box<dyn Source>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) workers: Workers<S>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<RouteStats>,
    pub(crate) shutdown: tokio::sync::watch::Receiver<Shutdown>,
}

/// The pump of one route.
pub(crate) struct Pump<S: Service<Delivery>> {
    route: Arc<RouteSpec>,
    topology: Arc<Topology>,
    takeover: TakeoverContext,
    control: Arc<dyn Control>,
    source: Box<dyn Source>,
    reader: Box<dyn Reader>,
    workers: Workers<S>,
    clock: Arc<dyn Clock>,
    stats: Arc<RouteStats>,
    shutdown: tokio::sync::watch::Receiver<Shutdown>,
    shutdown_changed: Option<BoxFuture<'static, ()>>,
    stage: Shutdown,
    partitions: Vec<Option<Partition>>,
    ownerships: u32,
    taking_over: Option<BoxFuture<'static, Result<Vec<Taken>>>>,
    granted: Vec<Granted>,
    committing: Option<Committing>,
    commit_at: Option<Instant>,
    closing: Option<BoxFuture<'static, Result<()>>>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Instant>,
    reports: Vec<Report>,
    batch: Batch,
    read: ReadBatch,
    max_record_bytes: usize,
    held: usize,
    held_bytes: usize,
    source_pending: bool,
    reader_pending: bool,
    replay_exists: bool,
    abandoned: u64,
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(crate) fn new(parts: PumpParts<S>, replay_exists: bool) -> Self {
        let takeover = parts.takeover;
        Self {
            route: Arc::clone(&takeover.route),
            topology: Arc::clone(&takeover.topology),
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
            partitions: Vec::new(),
            ownerships: 0,
            taking_over: None,
            granted: Vec::new(),
            committing: None,
            commit_at: None,
            closing: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            reports: Vec::new(),
            batch: Batch::default(),
            read: ReadBatch::default(),
            held: 0,
            held_bytes: 0,
            source_pending: false,
            reader_pending: true,
            replay_exists,
            abandoned: 0,
        }
    }

    /// Runs until the shutdown is complete or something fails for good.
    pub(crate) async fn run(mut self) -> Result<RouteReport> {
        let stats = Arc::clone(&self.stats);
        let result = std::future::poll_fn(|cx| self.poll(cx)).await;
        stats.answer_for_ever();
        result
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<RouteReport>> {
        self.stats.register(cx.waker());
        loop {
            if !tokio::task::coop::has_budget_remaining() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut progress = self.poll_shutdown(cx);
            progress |= self.poll_events(cx)?;
            progress |= self.poll_takeover(cx)?;
            self.workers.poll(cx, &mut self.reports);
            progress |= self.apply_reports();
            progress |= self.poll_retries(cx)?;
            progress |= self.poll_source(cx)?;
            progress |= self.poll_commit(cx);
            progress |= self.poll_leaving();
            if let Some(done) = self.poll_closing(cx) {
                return Poll::Ready(done);
            }
            self.workers.flush();
            if !progress && !self.poll_timer(cx) {
                break;
            }
        }
        self.publish_stats();
        if self.stats.is_asked() && self.is_idle() {
            self.stats.answer_idle();
        }
        Poll::Pending
    }

    // ---- shutdown, assignment -------------------------------------------------------------------------------------

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            let stage = *self.shutdown.borrow_and_update();
            if stage > self.stage {
                self.stage = stage;
                self.start_stop(stage);
                progress = true;
            }
            let future = self.shutdown_changed.get_or_insert_with(|| {
                let mut shutdown = self.shutdown.clone();
                Box::pin(async move {
                    // An error means that nobody is left to ask for it: then this never resolves.
                    if shutdown.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            if future.as_mut().poll(cx).is_pending() {
                return progress;
            }
            self.shutdown_changed = None;
        }
    }

    fn start_stop(&mut self, stage: Shutdown) {
        let timeout = match stage {
            Shutdown::Abandon => Duration::ZERO,
            Shutdown::No | Shutdown::Drain => self.route.drain_timeout,
        };
        let numbers: Vec<u32> = (0..).take(self.partitions.len()).collect();
        self.give_up(&numbers, timeout);
    }

    fn poll_events(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let mut progress = false;
        while let Poll::Ready(event) = self.source.poll_event(cx)? {
            progress = true;
            match event {
                AssignmentEvent::Assigned(granted) => self.granted.extend(granted),
                AssignmentEvent::Revoking { partitions, within } => {
                    self.granted
                        .retain(|granted| !partitions.contains(&granted.partition));
                    // A fifth of the time is kept for the last commit.
                    let timeout = self.route.drain_timeout.min(within * 4 / 5);
                    self.give_up(&partitions, timeout);
                }
                AssignmentEvent::Lost(partitions) => {
                    self.granted
                        .retain(|granted| !partitions.contains(&granted.partition));
                    for number in partitions {
                        self.lose(number);
                    }
                }
            }
        }
        Ok(progress)
    }

    /// Starts nothing more of these partitions and lets what runs end within `timeout`.
    fn give_up(&mut self, numbers: &[u32], timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for &number in numbers {
            let Some(partition) = owned(&mut self.partitions, number) else {
                continue;
            };
            match &mut partition.phase {
                Phase::Running => {
                    partition.phase = Phase::Draining(deadline);
                    partition.stop_streams();
                    self.control.pause(number);
                    let ownership = partition.ownership;
                    self.workers
                        .stop_partition(number, ownership, &mut self.reports);
                }
                Phase::Draining(until) | Phase::Leaving(until) => *until = deadline.min(*until),
                Phase::Left => {}
            }
        }
        self.workers.flush();
    }

    /// A partition that is gone: nothing of it may be committed.
    fn lose(&mut self, number: u32) {
        let Some(partition) = owned(&mut self.partitions, number) else {
            return;
        };
        tracing::warn!(topic = %self.topology.source, partition = number, "partition lost; its progress since the last commit is repeated elsewhere");
        partition.stop_streams();
        let ownership = partition.ownership;
        self.workers
            .stop_partition(number, ownership, &mut self.reports);
        self.workers.abandon_partition(number);
        self.forget(number);
    }

    fn forget(&mut self, number: u32) {
        let Some(partition) = self
            .partitions
            .get_mut(number as usize)
            .and_then(Option::take)
        else {
            return;
        };
        self.held -= partition.held;
        self.held_bytes -= partition.held_bytes;
        for (tier, _) in &partition.tiers {
            self.reader.unassign(&tier.topic, number);
        }
        if partition.replay_reading {
            self.reader.unassign(&self.topology.replay, number);
        }
    }

    fn poll_takeover(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if self.taking_over.is_none() && !self.granted.is_empty() && self.stage == Shutdown::No {
            let granted = std::mem::take(&mut self.granted);
            self.taking_over = Some(Box::pin(take_over(self.takeover.clone(), granted)));
        }
        let Some(future) = &mut self.taking_over else {
            return Ok(false);
        };
        let Poll::Ready(taken) = future.as_mut().poll(cx) else {
            return Ok(false);
        };
        self.taking_over = None;
        for taken in taken? {
            self.install(taken);
        }
        Ok(true)
    }

    fn install(&mut self, taken: Taken) {
        let Granted { partition, grant } = taken.granted;
        self.ownerships += 1;
        let from = taken.record.watermark();
        let mut owned = Partition::new(
            partition,
            grant,
            self.ownerships,
            taken.record,
            &self.topology,
            crash_policy(&self.route),
        );
        let now = Instant::now();
        let wall = self.clock.now();
        for head in taken.heads {
            let delay = Duration::from_millis(head.name.tier.0);
            let tier = owned.tier(delay, &self.topology);
            // At most "first seen + delay" when clocks disagree, and never early for a stamp cut to milliseconds.
            let left = head.appended_at.after(delay).since(wall) + Duration::from_millis(1);
            let due = now + left.min(delay);
            owned.tiers[tier]
                .0
                .name(head.name.offset, head.name.origin, due);
            let name = AwayName {
                delay_ms: head.name.tier.0,
                offset: head.name.offset,
            };
            self.workers.restore_away(partition, head.key, name);
        }
        if owned.single() {
            tracing::warn!(topic = %self.topology.source, partition, "crash loop: one message at a time");
        }
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.partitions[index] = Some(owned);
        if self.stage == Shutdown::No {
            self.control.resume(partition, Some(from));
        } else {
            self.give_up(&[partition], Duration::ZERO);
        }
    }

    // ---- outcomes -------------------------------------------------------------------------------------------------

    fn apply_reports(&mut self) -> bool {
        let mut reports = std::mem::take(&mut self.reports);
        let progress = !reports.is_empty();
        for report in reports.drain(..) {
            match report {
                Report::Finished(ticket, outcome) => self.finish(ticket, outcome),
                Report::Parked {
                    partition,
                    ownership,
                    messages,
                    bytes,
                } => {
                    if let Some(partition) = current(&mut self.partitions, partition, ownership) {
                        partition.parked += messages;
                        partition.parked_bytes += bytes;
                    }
                }
                Report::Drained {
                    partition,
                    ownership,
                } => self.drained(partition, ownership),
            }
        }
        if self.reports.is_empty() {
            self.reports = reports;
        }
        progress
    }

    fn finish(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(partition) = current(&mut self.partitions, ticket.partition, ticket.ownership)
        else {
            return;
        };
        let before = (partition.held, partition.held_bytes);
        let was_dirty = partition.dirty;
        let named = partition.finish(ticket, outcome, Instant::now, &self.topology);
        self.held -= before.0 - partition.held;
        self.held_bytes -= before.1 - partition.held_bytes;
        let soon = match outcome {
            Outcome::Settled(ended) => {
                let counter = match ended {
                    Ended::Handled => &self.stats.handled,
                    Ended::Discarded => &self.stats.discarded,
                    Ended::DeadLettered => &self.stats.dead_lettered,
                };
                add(counter, 1);
                None
            }
            Outcome::Away(_) => {
                add(&self.stats.retried, 1);
                named.map(|_| COMMIT_SOON)
            }
            Outcome::Interrupted => None,
        };
        if soon.is_some() || !was_dirty {
            self.commit_within(soon.unwrap_or(self.route.commit_interval));
        }
    }

    fn commit_within(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.commit_at = Some(self.commit_at.map_or(at, |before| before.min(at)));
    }

    fn drained(&mut self, number: u32, ownership: u32) {
        if let Some(partition) = current(&mut self.partitions, number, ownership)
            && let Phase::Draining(_) = partition.phase
        {
            // The last commit has at least this long, however late the drain ended.
            partition.phase =
                Phase::Leaving(Instant::now() + self.route.drain_timeout / 4 + COMMIT_RETRY);
            partition.dirty = true;
            self.commit_within(Duration::ZERO);
        }
    }

    // ---- retries and replay ---------------------------------------------------------------------------------------

    fn poll_retries(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        if self.stage != Shutdown::No {
            return Ok(false);
        }
        let mut progress = false;
        let now = Instant::now();
        for index in 0..self.partitions.len() {
            progress |= self.dispatch_due(cx, index, now);
            self.steer_reader(index, now)?;
        }
        self.reader_pending = false;
        match self.reader.poll_batch(cx, READ_LIMITS, &mut self.read)? {
            Poll::Pending => {
                self.reader_pending = true;
                Ok(progress)
            }
            Poll::Ready(()) => {
                let mut read = std::mem::take(&mut self.read);
                self.take_read(cx, &mut read)?;
                self.read = read;
                Ok(true)
            }
        }
    }

    fn dispatch_due(&mut self, cx: &mut Context<'_>, index: usize, now: Instant) -> bool {
        let mut progress = false;
        loop {
            let Some(partition) = running(&mut self.partitions, index) else {
                return progress;
            };
            let mut due = None;
            for tier in 0..partition.tiers.len() {
                if partition.retried >= RETRY_RESERVE {
                    break;
                }
                if let Some(record) = partition.tiers[tier].0.pop_due(now) {
                    due = Some(partition.tier_item(tier, record));
                    break;
                }
            }
            let Some((item, name)) = due else {
                return progress;
            };
            progress = true;
            self.hand_over(cx, index, item, Some(name));
        }
    }

    fn steer_reader(&mut self, index: usize, now: Instant) -> Result<()> {
        let replay_exists = self.replay_exists;
        let Some(partition) = running(&mut self.partitions, index) else {
            return Ok(());
        };
        let number = partition.number;
        for (tier, _) in &mut partition.tiers {
            match tier.next_reading(now) {
                Reading::Keep => {}
                Reading::From(offset) => self.reader.assign(&tier.topic, number, offset)?,
                Reading::Stop => self.reader.unassign(&tier.topic, number),
            }
        }
        let want =
            replay_exists && partition.retried < RETRY_RESERVE && partition.staged.is_empty();
        if want != partition.replay_reading {
            partition.replay_reading = want;
            if want {
                let from = partition.replay.end();
                self.reader.assign(&self.topology.replay, number, from)?;
            } else {
                self.reader.unassign(&self.topology.replay, number);
            }
        }
        Ok(())
    }

    fn take_read(&mut self, cx: &mut Context<'_>, read: &mut ReadBatch) -> Result<()> {
        let index = read.partition as usize;
        let Some(partition) = running(&mut self.partitions, index) else {
            read.records.clear();
            return Ok(());
        };
        let topic = read.topic.take().unwrap_or_default();
        if topic == self.topology.replay {
            for record in read.records.drain(..) {
                if let Some(partition) = running(&mut self.partitions, index)
                    && let Some(item) = partition.replay_item(record)
                {
                    self.hand_over(cx, index, item, None);
                }
            }
            return Ok(());
        }
        let Some((tier, _)) = partition
            .tiers
            .iter_mut()
            .find(|(tier, _)| tier.topic == topic)
        else {
            read.records.clear();
            return Ok(());
        };
        tier.take_read(&mut read.records).map_err(|offset| {
            Error::new(
                ErrorKind::PositionLost,
                "read retry topic",
                "a message that waits for its retry is not there any more",
            )
            .with("topic", &topic)
            .with("partition", read.partition)
            .with("offset", offset)
            .remedy("Its retention must exceed the source's plus the ladder")
        })
    }

    // ---- source ---------------------------------------------------------------------------------------------------

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        self.source_pending = false;
        if self.stage != Shutdown::No {
            return Ok(false);
        }
        self.steer_source();
        let Some(limits) = self.room() else {
            return Ok(false);
        };
        match self.source.poll_batch(cx, limits, &mut self.batch)? {
            Poll::Pending => {
                self.source_pending = true;
                Ok(false)
            }
            Poll::Ready(()) => {
                self.take_batch(cx);
                Ok(true)
            }
        }
    }

    /// What may be fetched now; `None` at a limit.
    fn room(&self) -> Option<BatchLimits> {
        let limits = &self.route.limits;
        let messages = limits.max_held_messages.saturating_sub(self.held);
        let bytes = limits.max_held_bytes.saturating_sub(self.held_bytes);
        (messages > 0 && bytes > 0).then(|| BatchLimits {
            messages: messages.min(limits.batch_messages),
            bytes,
        })
    }

    /// Pauses partitions at a cap, and resumes them below it. The cap never drops and never reorders.
    fn steer_source(&mut self) {
        let park = &self.route.limits.park;
        let (mut parked, mut parked_bytes, mut away) = (0, 0, 0);
        for partition in self.partitions.iter().flatten() {
            parked += partition.parked;
            parked_bytes += partition.parked_bytes;
            away += partition.away();
        }
        let full = parked >= park.max_held_messages as i64
            || parked_bytes >= park.max_held_bytes as i64
            || away >= park.max_keys;
        for partition in self.partitions.iter_mut().flatten() {
            if partition.phase != Phase::Running {
                continue;
            }
            let pause = !partition.staged.is_empty()
                || partition.too_large
                || (full && partition.away() > 0);
            if pause == partition.paused {
                continue;
            }
            partition.paused = pause;
            if pause {
                if partition.staged.is_empty() {
                    tracing::warn!(topic = %self.topology.source, partition = partition.number, parked, away, "paused: too much waits behind retries (park.*)");
                }
                self.control.pause(partition.number);
            } else {
                self.control.resume(partition.number, None);
            }
        }
    }

    fn take_batch(&mut self, cx: &mut Context<'_>) {
        let Self {
            partitions,
            workers,
            batch,
            reports,
            route,
            stats,
            held,
            held_bytes,
            ..
        } = self;
        let index = batch.partition as usize;
        let Some(partition) = running(partitions, index) else {
            batch.records.clear();
            return;
        };
        if partition.grant != batch.grant {
            batch.records.clear();
            return;
        }
        add(&stats.delivered, batch.records.len() as u64);
        let before = (partition.held, partition.held_bytes);
        let staged = route.delivery == Semantics::AtMostOnce || partition.single();
        if staged {
            for record in batch.records.drain(..) {
                stage_source(partition, route.delivery, record);
            }
            *held += partition.held - before.0;
            *held_bytes += partition.held_bytes - before.1;
            self.commit_within(Duration::ZERO);
            return;
        }
        let stream = Arc::clone(&partition.stream);
        for record in batch.records.drain(..) {
            let Some(ticket) = partition.source_item(&record) else {
                continue;
            };
            if let Some(outcome) = workers.offer(cx, &stream, record, ticket, None, reports) {
                reports.push(Report::Finished(ticket, outcome));
            }
        }
        *held += partition.held - before.0;
        *held_bytes += partition.held_bytes - before.1;
    }

    /// Dispatches a retry or a replay, or stages it while the partition runs one message at a time.
    fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        index: usize,
        item: Item,
        name: Option<AwayName>,
    ) {
        add(&self.stats.delivered, 1);
        let Some(partition) = running(&mut self.partitions, index) else {
            return;
        };
        if partition.single() {
            partition.staged.push_back(Staged { item, name });
            partition.dirty = true;
            self.commit_within(Duration::ZERO);
            return;
        }
        self.dispatch(cx, item, name);
    }

    fn dispatch(&mut self, cx: &mut Context<'_>, item: Item, name: Option<AwayName>) {
        let ticket = item.ticket;
        let outcome = match name {
            Some(name) => self.workers.offer_head(cx, item, name, &mut self.reports),
            None => self.workers.offer(
                cx,
                &item.stream,
                item.record,
                ticket,
                item.condemned,
                &mut self.reports,
            ),
        };
        self.reports
            .extend(outcome.map(|outcome| Report::Finished(ticket, outcome)));
    }

    /// Dispatches what a confirmed commit allows: everything (`at_most_once`), or the one message it notes.
    fn dispatch_staged(&mut self, cx: &mut Context<'_>, index: usize) -> bool {
        let semantics = self.route.delivery;
        let Some(partition) = running(&mut self.partitions, index) else {
            return false;
        };
        if partition.staged.is_empty() {
            return false;
        }
        let everything = semantics == Semantics::AtMostOnce || !partition.single();
        if everything {
            if semantics != Semantics::AtMostOnce {
                partition.end_single();
            }
            let staged = std::mem::take(&mut partition.staged);
            for Staged { item, name } in staged {
                self.dispatch(cx, item, name);
            }
            return true;
        }
        if !partition.noted {
            return false;
        }
        partition.noted = false;
        let Some(Staged { mut item, name }) = partition.staged.pop_front() else {
            return false;
        };
        if partition.crash_policy.dead_letter(&partition.crash)
            == Some(origin_of(&item.ticket, partition))
        {
            item.condemned = Some("crash_loop");
        }
        self.dispatch(cx, item, name);
        true
    }

    // ---- commits --------------------------------------------------------------------------------------------------

    fn poll_commit(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if self.committing.is_none() {
            self.start_commit();
        }
        if let Some(committing) = &mut self.committing
            && let Poll::Ready(outcomes) = committing.future.as_mut().poll(cx)
        {
            let notes = std::mem::take(&mut committing.notes);
            self.committing = None;
            for (note, outcome) in notes.into_iter().zip(outcomes) {
                self.committed(cx, note, outcome);
            }
            progress = true;
        }
        progress
    }

    fn start_commit(&mut self) {
        let asked = self.stats.is_asked();
        let due = self.commit_at.is_some_and(|at| at <= Instant::now());
        if self.commit_at.is_none() || !(due || asked) {
            return;
        }
        self.commit_at = None;
        let mut progress = Vec::new();
        let mut notes = Vec::new();
        for partition in self.partitions.iter_mut().flatten() {
            let clean = matches!(partition.phase, Phase::Leaving(_));
            if partition.phase == Phase::Left || !partition.dirty {
                continue;
            }
            let nothing_runs = partition.held == partition.staged_source()
                && partition.retried == partition.staged_retries();
            let staged = !partition.staged.is_empty();
            if staged && partition.single() && nothing_runs && !clean {
                let origin = partition
                    .staged
                    .front()
                    .map(|staged| origin_of(&staged.item.ticket, partition))
                    .expect("it is not empty");
                partition.crash.note(origin);
            }
            match partition.record(clean).encode_within(self.max_record_bytes) {
                Ok(encoded) => {
                    partition.too_large = false;
                    partition.dirty = false;
                    progress.push(Progress {
                        partition: partition.number,
                        grant: partition.grant,
                        watermark: partition.source.watermark(),
                        record: encoded.bytes.into(),
                    });
                    notes.push(Note {
                        partition: partition.number,
                        ownership: partition.ownership,
                        staged: staged
                            && (nothing_runs || self.route.delivery == Semantics::AtMostOnce),
                        clean,
                    });
                }
                Err(error) => {
                    if !partition.too_large {
                        tracing::warn!(topic = %self.topology.source, partition = partition.number, %error, "paused");
                    }
                    partition.too_large = true;
                }
            }
        }
        if progress.is_empty() {
            return;
        }
        let control = Arc::clone(&self.control);
        self.committing = Some(Committing {
            future: Box::pin(async move { control.commit(progress).await }),
            notes,
        });
    }

    fn committed(&mut self, cx: &mut Context<'_>, note: Note, outcome: CommitOutcome) {
        let Some(partition) = current(&mut self.partitions, note.partition, note.ownership) else {
            return;
        };
        match outcome {
            CommitOutcome::Committed => {
                add(&self.stats.commits, 1);
                if note.clean && !partition.dirty {
                    partition.phase = Phase::Left;
                }
                if note.staged {
                    partition.noted = true;
                    self.dispatch_staged(cx, note.partition as usize);
                }
            }
            CommitOutcome::Fenced => self.lose(note.partition),
            CommitOutcome::Failed(error) | CommitOutcome::Unknown(error) => {
                tracing::warn!(topic = %self.topology.source, partition = note.partition, %error, "commit failed; repeated");
                partition.dirty = true;
                self.commit_within(COMMIT_RETRY);
            }
        }
    }

    // ---- leaving --------------------------------------------------------------------------------------------------

    /// Enforces the deadlines of partitions that are being given up, and releases those that are through.
    fn poll_leaving(&mut self) -> bool {
        let now = Instant::now();
        let mut left = Vec::new();
        let mut progress = false;
        for index in 0..self.partitions.len() {
            let Some(partition) = &mut self.partitions[index] else {
                continue;
            };
            match partition.phase {
                Phase::Draining(deadline) if deadline <= now => {
                    let (number, ownership) = (partition.number, partition.ownership);
                    let running = (partition.held + partition.retried) as u64;
                    self.workers.abandon_partition(number);
                    self.abandoned += running;
                    tracing::warn!(topic = %self.topology.source, partition = number, messages = running, "drain deadline: given up unsettled");
                    self.drained(number, ownership);
                    progress = true;
                }
                Phase::Leaving(deadline) if deadline <= now => {
                    tracing::error!(topic = %self.topology.source, partition = partition.number, "left without a confirmed last commit");
                    partition.phase = Phase::Left;
                    progress = true;
                }
                Phase::Left => left.push(partition.number),
                Phase::Running | Phase::Draining(_) | Phase::Leaving(_) => {}
            }
        }
        if left.is_empty() || self.closing.is_some() {
            return progress;
        }
        for &number in &left {
            self.forget(number);
        }
        let control = Arc::clone(&self.control);
        self.closing = Some(Box::pin(async move { control.release(left).await }));
        true
    }

    /// Ends the pump once everything is given up: close, then the report.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Option<Result<RouteReport>> {
        loop {
            if let Some(closing) = &mut self.closing {
                match closing.as_mut().poll(cx) {
                    Poll::Pending => return None,
                    Poll::Ready(Err(error)) => {
                        tracing::warn!(topic = %self.topology.source, %error, "release failed");
                    }
                    Poll::Ready(Ok(())) => {}
                }
                self.closing = None;
                if self.stage == Shutdown::No || self.partitions.iter().any(Option::is_some) {
                    return None;
                }
                return Some(Ok(RouteReport {
                    handler: self.route.handler.clone(),
                    abandoned: self.abandoned,
                }));
            }
            let through = self.stage != Shutdown::No
                && self.taking_over.is_none()
                && self.committing.is_none()
                && self.partitions.iter().all(Option::is_none);
            if !through {
                return None;
            }
            let control = Arc::clone(&self.control);
            let deadline = self.route.drain_timeout;
            self.closing = Some(Box::pin(async move { control.close(deadline).await }));
        }
    }

    // ---- time, idleness -------------------------------------------------------------------------------------------

    /// Sleeps until the next thing that is due; `true` when it is due already.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let mut next = self.commit_at.filter(|_| self.committing.is_none());
        for partition in self.partitions.iter().flatten() {
            let at = match partition.phase {
                Phase::Running if partition.retried < RETRY_RESERVE => partition
                    .tiers
                    .iter()
                    .filter_map(|(tier, _)| tier.next_wake())
                    .min(),
                Phase::Draining(deadline) | Phase::Leaving(deadline) => Some(deadline),
                Phase::Running | Phase::Left => None,
            };
            next = match (next, at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let Some(next) = next else {
            self.timer_at = None;
            return false;
        };
        if self.timer_at != Some(next) {
            self.timer_at = Some(next);
            self.timer.as_mut().reset(next);
        }
        let due = self.timer.as_mut().poll(cx).is_ready();
        if due {
            self.timer_at = None;
        }
        due
    }

    fn is_idle(&self) -> bool {
        let partitions_idle = self.partitions.iter().flatten().all(|partition| {
            partition.phase == Phase::Running
                && partition.held as i64 == partition.parked
                && partition.retried == 0
                && !partition.dirty
        });
        let fetched = self.source_pending || self.room().is_none();
        partitions_idle
            && fetched
            && self.reader_pending
            && self.taking_over.is_none()
            && self.granted.is_empty()
            && self.committing.is_none()
            && self.reports.is_empty()
            && self.stage == Shutdown::No
            && !self.partitions.is_empty()
    }

    fn publish_stats(&self) {
        let partitions = || self.partitions.iter().flatten();
        let sum = |of: fn(&Partition) -> u64| partitions().map(of).sum::<u64>();
        let stats = &self.stats;
        stats.held.store(self.held as u64, Relaxed);
        stats.parked.store(sum(|p| p.parked.max(0) as u64), Relaxed);
        stats.away.store(sum(|p| p.away() as u64), Relaxed);
        stats.void.store(sum(Partition::void), Relaxed);
        stats.paused.store(sum(|p| u64::from(p.paused)), Relaxed);
    }
}

fn stage_source(partition: &mut Partition, semantics: Semantics, record: crate::backend::Record) {
    let Some(mut ticket) = partition.source_item(&record) else {
        return;
    };
    if semantics == Semantics::AtMostOnce {
        partition.settle_before(&mut ticket);
    }
    partition.dirty = true;
    let item = Item {
        stream: Arc::clone(&partition.stream),
        record,
        ticket,
        condemned: None,
    };
    partition.staged.push_back(Staged { item, name: None });
}

/// The origin of a staged message, as the crash note names it.
fn origin_of(ticket: &Ticket, partition: &Partition) -> Origin {
    partition.origin_of(ticket)
}

fn add(counter: &std::sync::atomic::AtomicU64, by: u64) {
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
