//! The memory log behind a valve: what the runtime does while the broker's answers are late.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::backend::{
    Backend, BoxFuture, CommitOutcome, Control, ControlFace, Face, Granted, Membership, Progress,
    Subscription,
};
use crate::error::{Error, ErrorKind, Result};
use crate::log::LogBroker;

/// What becomes of commits, and what is said of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Answer {
    #[default]
    Stored,
    Failed,
    /// No answer, and it is stored.
    UnknownStored,
    /// No answer, and it is not.
    UnknownNotStored,
    /// Not stored, and fewer outcomes than entries.
    Short,
}

/// What passes, and what was asked for.
#[derive(Debug)]
pub(super) struct Valve {
    commits: watch::Sender<bool>,
    releases: watch::Sender<bool>,
    joins: watch::Sender<bool>,
    positions: watch::Sender<bool>,
    closes: watch::Sender<bool>,
    close_answers: watch::Sender<bool>,
    answer: Mutex<Answer>,
    /// Commits that arrived, let through or not.
    pub(super) arrived: AtomicUsize,
    /// Partitions that were released, in order.
    pub(super) released: Mutex<Vec<u32>>,
    /// While this is true nothing may be released.
    pub(super) runs: Arc<AtomicBool>,
    /// A release while it was.
    pub(super) overlapped: AtomicBool,
    /// Calls of close.
    pub(super) closed: AtomicUsize,
}

impl Valve {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            commits: watch::Sender::new(true),
            releases: watch::Sender::new(true),
            joins: watch::Sender::new(true),
            positions: watch::Sender::new(true),
            closes: watch::Sender::new(true),
            close_answers: watch::Sender::new(true),
            answer: Mutex::default(),
            arrived: AtomicUsize::new(0),
            released: Mutex::default(),
            runs: Arc::default(),
            overlapped: AtomicBool::new(false),
            closed: AtomicUsize::new(0),
        })
    }

    /// Whether commits are carried out; those that wait go on when it opens.
    pub(super) fn commits(&self, open: bool) {
        self.commits.send_replace(open);
    }

    /// What becomes of the commits that pass from now on.
    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The same for releases.
    pub(super) fn releases(&self, open: bool) {
        self.releases.send_replace(open);
    }

    /// The same for subscriptions.
    pub(super) fn joins(&self, open: bool) {
        self.joins.send_replace(open);
    }

    /// The same for reading positions.
    pub(super) fn positions(&self, open: bool) {
        self.positions.send_replace(open);
    }

    /// The same for leaving the group.
    pub(super) fn closes(&self, open: bool) {
        self.closes.send_replace(open);
    }

    /// Whether it is heard that the group was left.
    pub(super) fn close_answers(&self, open: bool) {
        self.close_answers.send_replace(open);
    }

    /// Commits that arrived.
    pub(super) fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }
}

async fn opened(gate: &watch::Sender<bool>) {
    let mut gate = gate.subscribe();
    gate.wait_for(|open| *open)
        .await
        .expect("the valve outlives its users");
}

/// The broker behind its valve.
#[derive(Debug)]
pub(super) struct Gated {
    broker: LogBroker,
    pub(super) valve: Arc<Valve>,
}

impl Gated {
    pub(super) fn new(broker: &LogBroker) -> Self {
        Self {
            broker: broker.clone(),
            valve: Valve::new(),
        }
    }
}

impl Face for Gated {
    fn broker(&self) -> &LogBroker {
        &self.broker
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            opened(&self.valve.joins).await;
            let (source, inner) = self.broker.subscribe(subscription).await?;
            let valve = Arc::clone(&self.valve);
            let control: Arc<dyn Control> = Arc::new(GatedControl { inner, valve });
            Ok((source, control))
        })
    }
}

#[derive(Debug)]
struct GatedControl {
    inner: Arc<dyn Control>,
    valve: Arc<Valve>,
}

impl ControlFace for GatedControl {
    fn inner(&self) -> &Arc<dyn Control> {
        &self.inner
    }

    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            opened(&self.valve.positions).await;
            self.inner.position(partition, grant).await
        })
    }

    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        self.valve.arrived.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            opened(&self.valve.commits).await;
            let answer = *self.valve.answer.lock().unwrap();
            let lost = || Error::new(ErrorKind::Timeout, "commit", "as the test wants it");
            let entries = progress.len();
            let all = |outcome: fn(Error) -> CommitOutcome| {
                (0..entries).map(|_| outcome(lost())).collect::<Vec<_>>()
            };
            match answer {
                Answer::Stored => self.inner.commit(progress).await,
                Answer::Failed => all(CommitOutcome::Failed),
                Answer::Short => Vec::new(),
                Answer::UnknownNotStored => all(CommitOutcome::Unknown),
                Answer::UnknownStored => {
                    self.inner.commit(progress).await;
                    all(CommitOutcome::Unknown)
                }
            }
        })
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let runs = self.valve.runs.load(Ordering::SeqCst);
            self.valve.overlapped.fetch_or(runs, Ordering::SeqCst);
            let partitions = given_up.iter().map(|granted| granted.partition);
            self.valve.released.lock().unwrap().extend(partitions);
            opened(&self.valve.releases).await;
            self.inner.release(given_up).await
        })
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.valve.closed.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            opened(&self.valve.closes).await;
            let closed = self.inner.close(deadline).await;
            opened(&self.valve.close_answers).await;
            closed
        })
    }
}
