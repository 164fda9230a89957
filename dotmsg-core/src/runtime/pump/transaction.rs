//! The transaction of a route (`delivery = "exactly_once"`): what handlers returned and the progress past them, all or nothing.
//!
//! Handlers run on while a transaction is open, and put down what they return ([`Enlistment`]). When a commit is due nothing more
//! is put down, until all that was is reported: then the transaction holds the messages of exactly those that the position
//! records say are settled. It ends, and the next begins.
//!
//! When it cannot be committed (a refused message, a lost partition, a fenced producer, no answer), it is aborted, and every
//! partition with progress since the last commit is rewound: taken over again, from the position that is stored. So nothing here
//! depends on knowing how an unanswered commit ended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::{COMMIT_RETRY, Pump, Transacting, owned};
use crate::backend::{BoxFuture, Granted, PublishOutcome, TransactionOutcome, Transactions};
use crate::delivery::Delivery;
use crate::error::{Error, ErrorKind};
use crate::middleware::Outcome;
use crate::middleware::no_outcome;
use crate::middleware::publish_returned::{Call, Enlisted, Enlistment, Place, cannot_pass};
use crate::runtime::partition::Phase;

/// Before the second abort in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Before any.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is the matter with the open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Handlers put down what they return.
    Open,
    /// They wait, until what they did put down is reported.
    Closed,
    /// Its commit is on its way.
    Committing,
    /// Its abort is.
    Aborting,
}

/// Messages that were handed to the transaction together.
struct Run {
    outcomes: BoxFuture<'static, Vec<PublishOutcome>>,
    calls: Vec<Call>,
    records: usize,
    bytes: usize,
}

/// The open transaction.
pub(super) struct Transaction {
    transactions: Arc<dyn Transactions>,
    enlistment: Arc<Enlistment>,
    stage: Stage,
    /// Calls that put something down and whose report is here.
    reported: u64,
    /// Handed over and not answered, the earliest first, and their bytes.
    runs: VecDeque<Run>,
    bytes: usize,
    /// As many bytes may be unanswered; more are put down later.
    max_bytes: usize,
    full: bool,
    /// Why it cannot be committed.
    doomed: Option<Error>,
    aborting: Option<BoxFuture<'static, ()>>,
    /// Aborts since the last commit.
    aborts: u32,
}

impl Transaction {
    pub(super) fn new(parts: Transacting, max_bytes: usize) -> Self {
        Self {
            transactions: parts.transactions,
            enlistment: parts.enlistment,
            stage: Stage::Open,
            reported: 0,
            runs: VecDeque::new(),
            bytes: 0,
            max_bytes,
            full: false,
            doomed: None,
            aborting: None,
            aborts: 0,
        }
    }

    /// A call that put something down is reported.
    pub(super) fn reported(&mut self) {
        self.reported += 1;
    }

    /// It holds what must not be seen.
    pub(super) fn doom(&mut self, error: Error) {
        tracing::debug!(%error, "the transaction will be aborted");
        self.doomed.get_or_insert(error);
    }

    /// Whether there is nothing of it that has yet to end.
    pub(super) fn is_quiet(&self) -> bool {
        self.stage == Stage::Open && self.doomed.is_none() && self.runs.is_empty()
    }

    /// Whether whoever wants a commit has to wait for something else than the time.
    pub(super) fn is_ending(&self) -> bool {
        self.stage != Stage::Open
    }

    pub(super) fn is_aborting(&self) -> bool {
        self.doomed.is_some() || self.aborting.is_some()
    }

    /// A commit is due. Whether it may be made now: all that was put down is reported, and all messages have arrived.
    pub(super) fn may_commit(&mut self) -> bool {
        if self.stage == Stage::Open {
            self.stage = Stage::Closed;
        }
        self.stage == Stage::Closed
            && self.doomed.is_none()
            && self.all_reported()
            && self.runs.is_empty()
    }

    /// Nobody can put anything down any more, and nothing that was is unheard of.
    fn all_reported(&self) -> bool {
        self.enlistment.close() == self.reported
    }

    /// There is nothing to commit, or not yet.
    pub(super) fn reopen(&mut self) {
        self.stage = Stage::Open;
        self.steer();
    }

    pub(super) fn commit_begins(&mut self) -> Arc<dyn Transactions> {
        self.stage = Stage::Committing;
        Arc::clone(&self.transactions)
    }

    /// Whether it was committed; if not it is going to be aborted.
    pub(super) fn commit_ended(&mut self, outcome: TransactionOutcome) -> bool {
        match outcome {
            TransactionOutcome::Committed => {
                self.aborts = 0;
                self.begin();
                true
            }
            TransactionOutcome::Aborted(error) | TransactionOutcome::Unknown(error) => {
                self.stage = Stage::Closed;
                self.doom(error);
                false
            }
        }
    }

    /// The next one begins.
    fn begin(&mut self) {
        self.enlistment.begin();
        self.reported = 0;
        self.runs.clear();
        self.bytes = 0;
        self.doomed = None;
        self.stage = Stage::Open;
        self.steer();
    }

    /// Lets handlers put more down, or not.
    fn steer(&mut self) {
        self.full = self.bytes >= self.max_bytes;
        if self.stage == Stage::Open && !self.full {
            self.enlistment.open();
        } else {
            self.enlistment.close();
        }
    }

    /// Hands over what was put down, and hears what became of what was handed over before.
    fn poll_runs(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Some(enlisted) = self.enlistment.take(cx) {
            progress = true;
            if self.doomed.is_none() {
                self.hand_over(cx, enlisted);
            }
        }
        while let Some(run) = self.runs.front_mut() {
            let Poll::Ready(outcomes) = run.outcomes.as_mut().poll(cx) else {
                break;
            };
            progress = true;
            if let Some(run) = self.runs.pop_front() {
                self.bytes -= run.bytes;
                self.enlistment.answered(run.records);
                self.judge(&outcomes, run.calls);
            }
        }
        if progress && (self.full || self.bytes >= self.max_bytes) {
            self.steer();
        }
        progress
    }

    /// It is polled once here: a publisher takes the records then, and the order of runs is kept.
    fn hand_over(&mut self, cx: &mut Context<'_>, enlisted: Enlisted) {
        let transactions = Arc::clone(&self.transactions);
        let Enlisted {
            records,
            calls,
            bytes,
        } = enlisted;
        let count = records.len();
        let mut outcomes: BoxFuture<'static, _> =
            Box::pin(async move { transactions.publish(records).await });
        if let Poll::Ready(ready) = outcomes.as_mut().poll(cx) {
            outcomes = Box::pin(std::future::ready(ready));
        }
        self.bytes += bytes;
        self.runs.push_back(Run {
            outcomes,
            calls,
            records: count,
            bytes,
        });
    }

    /// One record that is not there, and the transaction cannot be committed. What one call returned stands together.
    fn judge(&mut self, outcomes: &[PublishOutcome], calls: Vec<Call>) {
        let any_suspect = self.enlistment.suspects_any();
        let mut outcomes = outcomes.iter();
        for Call { place, records } in calls {
            let mut own = outcomes.by_ref().take(records);
            let mut there = 0;
            let failed = own.find(|outcome| {
                let is_there = matches!(outcome, PublishOutcome::Ok(_));
                there += usize::from(is_there);
                !is_there
            });
            own.for_each(drop);
            match failed {
                Some(PublishOutcome::Failed(error)) => {
                    self.blame(place, error);
                    self.doom(copy(error));
                }
                Some(PublishOutcome::Unknown(error)) => self.doom(copy(error)),
                _ if there < records => self.doom(no_outcome()),
                _ if any_suspect => self.enlistment.arrived(&place),
                _ => {}
            }
        }
    }

    /// Whether the message is to blame, or its topic, or may be; a broker that is away is nobody's fault.
    fn blame(&self, place: Place, error: &Error) {
        let for_good = cannot_pass(error.kind());
        match error.kind() {
            ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Closed
            | ErrorKind::Fenced
            | ErrorKind::Full => {}
            // All that goes to the topic is refused.
            ErrorKind::NotFound | ErrorKind::Denied => {
                self.enlistment.refuse(place, error, for_good);
            }
            _ => self.enlistment.suspect(place, error, for_good),
        }
    }

    /// Before an abort: none the first time, then more and more.
    fn pause(&self) -> Duration {
        match self.aborts {
            0 => Duration::ZERO,
            again => (FIRST_PAUSE * 2_u32.saturating_pow(again - 1)).min(LONGEST_PAUSE),
        }
    }

    /// Starts the abort of what is doomed as soon as nothing more can come into it. Whether it has ended.
    fn poll_abort(&mut self, cx: &mut Context<'_>) -> bool {
        if self.aborting.is_none() {
            let due = self.doomed.is_some() && self.stage != Stage::Committing;
            if !due {
                return false;
            }
            self.stage = Stage::Closed;
            if !self.all_reported() {
                return false;
            }
            self.stage = Stage::Aborting;
            let pause = self.pause();
            self.aborts = self.aborts.saturating_add(1);
            self.aborting = Some(Box::pin(abort(Arc::clone(&self.transactions), pause)));
        }
        let ended = |aborting: &mut BoxFuture<'static, ()>| aborting.as_mut().poll(cx).is_ready();
        let has_ended = self.aborting.as_mut().is_some_and(ended);
        if has_ended {
            self.aborting = None;
        }
        has_ended
    }
}

/// Until it is known to have ended. The pause keeps what is aborted again and again from running as fast as it can.
async fn abort(transactions: Arc<dyn Transactions>, pause: Duration) {
    tokio::time::sleep(pause).await;
    while let Err(error) = transactions.abort().await {
        tracing::warn!(%error, "a transaction is not aborted yet; tried again");
        tokio::time::sleep(COMMIT_RETRY).await;
    }
}

/// Messages would be there without the progress past them.
pub(super) fn gone_with_messages() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "commit transaction",
        "it holds messages of a partition that was given up before they were committed",
    )
}

fn copy(error: &Error) -> Error {
    Error::new(error.kind(), "publish", error.to_string())
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Moves the open transaction on, where the route has one.
    pub(super) fn poll_transaction(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(transaction) = &mut self.transaction else {
            return false;
        };
        let mut progress = transaction.poll_runs(cx);
        if transaction.poll_abort(cx) {
            self.rewind();
            progress = true;
        }
        progress
    }

    /// The transaction is aborted: whatever has moved since the last commit begins again from what is stored.
    fn rewind(&mut self) {
        let Some(why) = self.transaction.as_mut().and_then(|one| one.doomed.take()) else {
            return;
        };
        let numbers = (0..).take(self.partitions.len());
        let moved: Vec<u32> = numbers
            .filter(|number| {
                owned(&mut self.partitions, *number).is_some_and(|partition| partition.dirty)
            })
            .collect();
        tracing::warn!(topic = %self.topology.source, partitions = moved.len(), error = %why, "a transaction was aborted: what it held is handled again");
        for number in moved {
            let Some(partition) = owned(&mut self.partitions, number) else {
                continue;
            };
            let granted = Granted {
                partition: number,
                grant: partition.grant,
            };
            let goes_on = partition.phase == Phase::Running;
            partition.enlisted = false;
            self.control.pause(number);
            self.end_ownership(number);
            match goes_on {
                true => self.granted.push(granted),
                false => self.unwanted.push(granted),
            }
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.begin();
        }
    }
}
