//! Commits: one at a time, every dirty partition in it, each as one whole position record.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower_service::Service;

use super::{Answer, COMMIT_RETRY, Committing, Note, Pump, add, current};
use crate::backend::{BoxFuture, CommitOutcome, Progress};
use crate::delivery::Delivery;
use crate::middleware::Outcome;
use crate::progress::Encoded;
use crate::router::DeliverySemantics as Semantics;
use crate::runtime::partition::Phase;

/// Bytes by which a takeover may lengthen a record: epoch, crash count, what it has learned of its group.
const TAKEOVER_ROOM: usize = 64;

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn poll_commit(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if self.committing.is_none() {
            self.start_commit();
        }
        if let Some(committing) = &mut self.committing
            && let Poll::Ready(answer) = committing.future.as_mut().poll(cx)
        {
            let notes = std::mem::take(&mut committing.notes);
            let took = committing.began.elapsed();
            self.stats.metrics().commits.record(took, 1);
            self.committing = None;
            self.answered(cx, notes, answer);
            progress = true;
        }
        progress
    }

    fn answered(&mut self, cx: &mut Context<'_>, notes: Vec<Note>, answer: Answer) {
        match answer {
            Answer::Each(outcomes) => {
                for (note, outcome) in notes.into_iter().zip(CommitOutcome::of_each(outcomes)) {
                    self.committed(cx, note, outcome);
                }
            }
            Answer::Whole(outcome) => {
                let ended = self.transaction.as_mut();
                let committed = ended.is_some_and(|one| one.commit_ended(outcome));
                for note in notes {
                    match committed {
                        true => self.committed(cx, note, CommitOutcome::Committed),
                        false => self.uncommitted(&note),
                    }
                }
            }
        }
    }

    /// The largest record that is stored. In a transaction no record is cut: what is cut is handled again, and what was returned
    /// for it is there. So a takeover, whose record is a little longer, must find room.
    fn record_limit(&self) -> usize {
        match self.transaction {
            Some(_) => self.max_record_bytes.saturating_sub(TAKEOVER_ROOM),
            None => self.max_record_bytes,
        }
    }

    /// A record that cannot be stored keeps the transaction open, which holds what that partition's handlers returned.
    fn keep_open(&mut self, notes: &[Note]) {
        for note in notes {
            self.uncommitted(note);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.reopen();
        }
    }

    /// Its progress is not stored, and what its handlers returned is where it was.
    fn uncommitted(&mut self, note: &Note) {
        if let Some(partition) = current(&mut self.partitions, note.partition, note.ownership) {
            partition.dirty = true;
            partition.enlisted |= note.enlisted;
            partition.covered = 0;
        }
    }

    pub(super) fn start_commit(&mut self) {
        let asked = self.stats.is_asked();
        let Some(at) = self.commit_at else {
            return;
        };
        let now = Instant::now();
        if !(at <= now || asked) {
            return;
        }
        if let Some(transaction) = &mut self.transaction
            && !transaction.may_commit()
        {
            return;
        }
        self.commit_at = None;
        self.looks.moved(now);
        let mut progress = Vec::new();
        let mut notes = Vec::new();
        let (mut again, mut keep) = (false, false);
        let limit = self.record_limit();
        let whole_only = self.transaction.is_some();
        for partition in self.partitions.iter_mut().flatten() {
            let clean = matches!(partition.phase, Phase::Leaving(_));
            if partition.phase == Phase::Left || !partition.dirty {
                continue;
            }
            partition.uncommitted.get_or_insert(now);
            let nothing_runs = partition.nothing_runs();
            let staged = !partition.staged.is_empty();
            let covered = match (self.route.delivery, partition.phase) {
                (Semantics::AtMostOnce, Phase::Running) => partition.staged.len(),
                _ => 0,
            };
            let ends_single = !clean && partition.note_next(self.route.ordering);
            let record = partition.record(clean, covered);
            let encoded = record.encode_within(limit);
            let fits = |encoded: &Encoded| encoded.is_whole() || !whole_only;
            match encoded.map(|encoded| fits(&encoded).then_some(encoded)) {
                Ok(Some(encoded)) => {
                    partition.covered = covered;
                    partition.too_large = whole_only && encoded.bytes.len() > limit / 2;
                    partition.dirty = false;
                    progress.push(Progress {
                        partition: partition.number,
                        grant: partition.grant,
                        watermark: record.watermark(),
                        record: encoded.bytes.into(),
                    });
                    notes.push(Note {
                        partition: partition.number,
                        ownership: partition.ownership,
                        staged: staged && covered == 0 && (nothing_runs || !partition.single),
                        ends_single,
                        clean,
                        enlisted: std::mem::take(&mut partition.enlisted),
                    });
                }
                unfit => {
                    if !partition.too_large {
                        let names = unfit.err().map_or(0, |error| error.names);
                        tracing::warn!(topic = %self.topology.source, partition = partition.number, names, limit, "paused: its position record does not fit its store");
                    }
                    // It stays dirty, so that nothing else would ask for its next commit.
                    partition.too_large = true;
                    again = true;
                    keep |= partition.enlisted;
                }
            }
        }
        if again {
            self.commit_within(self.route.commit_interval);
        }
        if keep {
            self.keep_open(&notes);
            return;
        }
        let future: BoxFuture<'static, Answer> = match &mut self.transaction {
            Some(transaction) if progress.is_empty() => {
                transaction.reopen();
                return;
            }
            Some(transaction) => {
                let transactions = transaction.commit_begins();
                Box::pin(async move { Answer::Whole(transactions.commit(progress).await) })
            }
            None if progress.is_empty() => return,
            None => {
                let control = Arc::clone(&self.control);
                Box::pin(async move { Answer::Each(control.commit(progress).await) })
            }
        };
        self.committing = Some(Committing {
            future,
            notes,
            began: now,
        });
    }

    pub(super) fn committed(&mut self, cx: &mut Context<'_>, note: Note, outcome: CommitOutcome) {
        let Some(partition) = current(&mut self.partitions, note.partition, note.ownership) else {
            return;
        };
        match outcome {
            CommitOutcome::Committed => {
                add(&self.stats.commits, 1);
                partition.committed = Some(Instant::now());
                partition.uncommitted = None;
                if note.clean && !partition.dirty {
                    partition.phase = Phase::Left;
                    partition.annul_streams();
                }
                if note.ends_single {
                    partition.single = false;
                    tracing::info!(topic = %self.topology.source, partition = note.partition, "crash loop over: messages run side by side again");
                }
                if partition.covered > 0 {
                    self.dispatch_covered(cx, note.partition);
                } else if note.staged {
                    partition.noted = true;
                    self.dispatch_staged(cx, note.partition as usize);
                }
            }
            CommitOutcome::Fenced => self.lose(note.partition),
            CommitOutcome::Failed(error) | CommitOutcome::Unknown(error) => {
                tracing::warn!(topic = %self.topology.source, partition = note.partition, %error, "commit failed; repeated");
                partition.dirty = true;
                partition.covered = 0;
                if let Phase::RunningOut(_) = partition.phase {
                    // Not run and not known to be settled: the last commit leaves them to the next owner.
                    self.unstage(note.partition, 0);
                }
                self.commit_within(COMMIT_RETRY);
            }
        }
    }
}
