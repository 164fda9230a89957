//! Outcomes: what workers report moves progress, names and counters.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::{COMMIT_RETRY, COMMIT_SOON, Pump, add, current};
use crate::delivery::Delivery;
use crate::middleware::{Ended, Outcome};
use crate::runtime::partition::{Partition, Phase};
use crate::runtime::ticket::{Report, Settles, Ticket};

const HANDLED: Outcome = Outcome::Settled(Ended::Handled);

/// Source records that were handled, summed up over the reports of one turn: nearly all of them.
#[derive(Default)]
struct Handled {
    messages: usize,
    bytes: usize,
    begins_commit: bool,
}

impl Handled {
    /// Settles it, if it is one of a partition that is still owned; `false`, and nothing done, if not.
    #[inline]
    fn note(&mut self, partitions: &mut [Option<Partition>], ticket: &Ticket) -> bool {
        let Settles::Source(seq) = ticket.settles else {
            return false;
        };
        let Some(partition) = current(partitions, ticket.partition, ticket.ownership) else {
            return false;
        };
        partition.source_done(seq, ticket.size as usize);
        self.messages += 1;
        self.bytes += ticket.size as usize;
        self.begins_commit |= !std::mem::replace(&mut partition.dirty, true);
        true
    }
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn apply_reports(&mut self) -> bool {
        let mut reports = std::mem::take(&mut self.reports);
        let progress = !reports.is_empty();
        let mut handled = Handled::default();
        for report in reports.drain(..) {
            match report {
                Report::Finished(ticket, HANDLED)
                    if handled.note(&mut self.partitions, &ticket) => {}
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
                        if messages > 0 && partition.single() {
                            partition.crash.noted = None;
                            partition.dirty = true;
                            self.commit_within(Duration::ZERO);
                        }
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
        self.count(&handled);
        progress
    }

    /// Takes over what was summed up.
    fn count(&mut self, handled: &Handled) {
        self.held -= handled.messages;
        self.held_bytes -= handled.bytes;
        add(&self.stats.handled, handled.messages as u64);
        if handled.begins_commit {
            self.commit_within(self.route.commit_interval);
        }
    }

    pub(super) fn finish(&mut self, ticket: Ticket, outcome: Outcome) {
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

    pub(super) fn commit_within(&mut self, delay: Duration) {
        let at = Instant::now() + delay;
        self.commit_at = Some(self.commit_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn drained(&mut self, number: u32, ownership: u32) {
        if let Some(partition) = current(&mut self.partitions, number, ownership)
            && let Phase::Draining(_) | Phase::Dropping(_) = partition.phase
        {
            // The last commit has at least this long, however late the drain ended.
            partition.phase =
                Phase::Leaving(Instant::now() + self.route.drain_timeout / 4 + COMMIT_RETRY);
            partition.dirty = true;
            self.commit_within(Duration::ZERO);
        }
    }
}
