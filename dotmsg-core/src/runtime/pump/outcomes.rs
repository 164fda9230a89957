//! Outcomes: what workers report moves progress, names and counters.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::transaction::gone_with_messages;
use super::{ABANDON_COMMIT_WITHIN, COMMIT_RETRY, COMMIT_SOON, Pump, Shutdown, add, current};
use crate::delivery::Delivery;
use crate::middleware::{Ended, Outcome};
use crate::runtime::partition::{Partition, Phase};
use crate::runtime::reports::{Handled, Report};
use crate::runtime::ticket::{Settles, Ticket};

/// What the handled records of one turn come to.
#[derive(Default)]
struct Sum {
    messages: usize,
    bytes: usize,
    begins_commit: bool,
}

impl Sum {
    /// Settles a handled record, if its partition is still owned.
    #[inline(always)]
    fn add(&mut self, partitions: &mut [Option<Partition>], handled: &Handled) {
        let Some(partition) = current(partitions, handled.partition, handled.ownership) else {
            return;
        };
        partition.source_done(handled.seq, handled.size as usize);
        self.messages += 1;
        self.bytes += handled.size as usize;
        self.begins_commit |= !std::mem::replace(&mut partition.dirty, true);
    }
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn apply_reports(&mut self) -> bool {
        if self.reports.is_empty() {
            return false;
        }
        let mut reports = std::mem::take(&mut self.reports);
        let mut sum = Sum::default();
        for handled in reports.handled.drain(..) {
            sum.add(&mut self.partitions, &handled);
        }
        self.count(&sum);
        for report in reports.others.drain(..) {
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
                        // One message at a time: the one that was dispatched waits for an away head. It does not run, so
                        // that it is not to blame for what comes, and the next may go.
                        if messages > 0 && partition.single {
                            partition.crash.noted = None;
                            partition.dirty = true;
                            self.commit_within(Duration::ZERO);
                        }
                    }
                }
                Report::InHand(worker, calls) => self.looked_at_calls(worker, calls),
                Report::Drained {
                    partition,
                    ownership,
                } => self.drained(partition, ownership),
            }
        }
        debug_assert!(self.reports.is_empty(), "applying reports makes none");
        self.reports = reports;
        true
    }

    /// Takes over what was summed up.
    fn count(&mut self, sum: &Sum) {
        self.held -= sum.messages;
        self.held_bytes -= sum.bytes;
        add(&self.stats.handled, sum.messages as u64);
        if sum.begins_commit {
            let one_by_one = self.partitions.iter().flatten().any(|one| one.single);
            let interval = self.route.commit_interval;
            self.commit_within(if one_by_one { Duration::ZERO } else { interval });
        }
    }

    pub(super) fn finish(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Outcome::Settled(Ended::Returned { .. }) = outcome {
            self.enlisted(&ticket);
        }
        if current(&mut self.partitions, ticket.partition, ticket.ownership).is_none() {
            return;
        }
        if let (Settles::Nothing { .. }, Outcome::Interrupted) = (ticket.settles, outcome) {
            self.count_lost(ticket.partition, 1);
        }
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
                    Ended::Handled | Ended::Returned { discarded: false } => &self.stats.handled,
                    Ended::Discarded | Ended::Returned { discarded: true } => &self.stats.discarded,
                    Ended::DeadLettered => &self.stats.dead_lettered,
                    Ended::Duplicate => &self.stats.duplicates,
                    Ended::Shed => &self.stats.shed,
                };
                add(counter, 1);
                None
            }
            Outcome::Away(_) => {
                add(&self.stats.retried, 1);
                named.map(|_| COMMIT_SOON)
            }
            Outcome::Interrupted => None,
            Outcome::PutBack => unreachable!("it has not ended: its worker has it"),
        };
        let soon = soon.or(partition.single.then_some(Duration::ZERO));
        if soon.is_some() || !was_dirty {
            self.commit_within(soon.unwrap_or(self.route.commit_interval));
        }
    }

    /// What the handler returned is in the open transaction: so its end must be too.
    fn enlisted(&mut self, ticket: &Ticket) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        transaction.reported();
        match current(&mut self.partitions, ticket.partition, ticket.ownership) {
            Some(partition) => partition.enlisted = true,
            None => transaction.doom(gone_with_messages()),
        }
    }

    pub(super) fn commit_within(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.commit_at = Some(self.commit_at.map_or(at, |before| before.min(at)));
    }

    /// How long the last commit of a partition may take.
    pub(super) fn last_commit_within(&self) -> Duration {
        let limit = self.route.drain_timeout / 4 + COMMIT_RETRY;
        match self.stage {
            Shutdown::Abandon => limit.min(ABANDON_COMMIT_WITHIN),
            Shutdown::No | Shutdown::Drain => limit,
        }
    }

    pub(super) fn drained(&mut self, number: u32, ownership: u32) {
        let leave_by = Instant::now() + self.last_commit_within();
        if let Some(partition) = current(&mut self.partitions, number, ownership)
            && let Phase::Draining(_) | Phase::Dropping(_) = partition.phase
        {
            let lost = std::mem::take(&mut partition.settled_early) as u64;
            // The last commit has at least this long, however late the drain ended.
            partition.phase = Phase::Leaving(leave_by);
            partition.dirty = true;
            self.count_lost(number, lost);
            self.commit_within(Duration::ZERO);
        }
    }
}
