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
use crate::router::DeliverySemantics as Semantics;
use crate::runtime::partition::Phase;

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

    /// A record that cannot be stored keeps the transaction open: it may hold what that partition's handlers returned.
    fn keep_open(&mut self, notes: &[Note]) {
        for note in notes {
            self.uncommitted(note);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.reopen();
        }
    }

    /// Its progress is not stored, and what its handlers returned may still be in an open transaction.
    fn uncommitted(&mut self, note: &Note) {
        if let Some(partition) = current(&mut self.partitions, note.partition, note.ownership) {
            partition.dirty = true;
            partition.enlisted = true;
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
        let mut again = false;
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
            match record.encode_within(self.max_record_bytes) {
                Ok(encoded) => {
                    partition.covered = covered;
                    partition.too_large = false;
                    partition.dirty = false;
                    partition.enlisted = false;
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
                    });
                }
                Err(error) => {
                    if !partition.too_large {
                        tracing::warn!(topic = %self.topology.source, partition = partition.number, %error, "paused");
                    }
                    // It stays dirty, so that nothing else would ask for its next commit.
                    partition.too_large = true;
                    again = true;
                }
            }
        }
        if again {
            self.commit_within(self.route.commit_interval);
            if self.transaction.is_some() {
                self.keep_open(&notes);
                return;
            }
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
        self.committing = Some(Committing { future, notes });
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
