//! Progress: stored and answered, or one without the other, or only in part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::publisher::{refusal, silence};
use super::source::Session;
use crate::backend::{BoxFuture, CommitOutcome, Control, Granted, Progress};
use crate::error::{ErrorKind, Result};
use crate::progress::{PositionRecord, ResumeMap};
use crate::sim::Canary;
use crate::sim::history::{Told, What};
use crate::sim::plan::{Kind, Step};
use crate::sim::world::lock;

/// What is noted of an entry.
struct Entry {
    partition: u32,
    grant: u64,
    late: bool,
    record: Option<Arc<PositionRecord>>,
}

impl Session {
    /// The first commit of an ownership is its takeover.
    fn step_of(&self, progress: &[Progress]) -> Step {
        let mut state = lock(&self.state);
        let written = progress
            .iter()
            .all(|entry| state.seen(entry.partition).written == entry.grant);
        if written {
            Step::Commit
        } else {
            Step::WriteBack
        }
    }

    /// Whether the runtime has heard already that the ownership is lost which it had taken over.
    fn is_late(&self, progress: &Progress) -> bool {
        let seen = *lock(&self.state).seen(progress.partition);
        progress.grant <= seen.taken.min(seen.lost)
    }

    /// A settlement in the wrong order, for a test that it is found: what was delivered counts as settled.
    fn commit_first(&self, progress: &mut Progress) {
        let delivered = lock(&self.state).seen(progress.partition).delivered;
        let Ok(mut record) = PositionRecord::decode(&progress.record) else {
            return;
        };
        if delivered > record.watermark() {
            record.source = ResumeMap::at(delivered);
            progress.watermark = delivered;
            progress.record = record.encode().into();
        }
    }

    async fn store(
        &self,
        progress: Vec<Progress>,
        fault: Option<Kind>,
    ) -> (Vec<CommitOutcome>, Vec<bool>) {
        let life = &self.life;
        let count = progress.len();
        let not = |outcome: fn() -> CommitOutcome| {
            ((0..count).map(|_| outcome()).collect(), vec![false; count])
        };
        if fault == Some(Kind::CommitUnsent) {
            return not(|| CommitOutcome::Unknown(silence()));
        }
        if fault == Some(Kind::CommitFails)
            || (fault == Some(Kind::CommitPartly) && count == 1)
            || life.unreachable("commit").is_some()
        {
            return not(|| CommitOutcome::Failed(refusal(ErrorKind::Unreachable)));
        }
        if life.world.full().at(life.world.now_ms()) > 0 {
            return not(|| CommitOutcome::Failed(refusal(ErrorKind::Full)));
        }
        let mut sent = progress;
        let kept = (fault == Some(Kind::CommitPartly)).then(|| {
            let index = life.random(u32::try_from(count).unwrap_or(1)) as usize;
            sent.remove(index);
            index
        });
        let mut outcomes = self.inner.commit(sent).await;
        if let Some(index) = kept {
            outcomes.insert(
                index,
                CommitOutcome::Failed(refusal(ErrorKind::Unreachable)),
            );
        }
        let stored = |outcome: &CommitOutcome| matches!(outcome, CommitOutcome::Committed);
        let stored = outcomes.iter().map(stored).collect();
        if fault == Some(Kind::CommitUnheard) {
            return (unknown(count), stored);
        }
        (outcomes, stored)
    }

    fn note(&self, entry: Entry, stored: bool, outcome: &CommitOutcome) {
        let told = match outcome {
            CommitOutcome::Committed => Told::Ok,
            CommitOutcome::Fenced => Told::Fenced,
            CommitOutcome::Failed(_) => Told::Failed,
            CommitOutcome::Unknown(_) => Told::Unknown,
        };
        let Entry {
            partition,
            grant,
            late,
            record,
        } = entry;
        if told == Told::Ok {
            lock(&self.state).seen(partition).written = grant;
        }
        if let Some(record) = record {
            self.life.push(
                self.route,
                What::Commit {
                    partition,
                    grant,
                    stored,
                    told,
                    late,
                    record,
                },
            );
        }
    }
}

impl Control for Session {
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>> {
        Box::pin(async move {
            self.life.before(Some(Step::ReadPosition)).await;
            if let Some(error) = self.life.unreachable("read position") {
                return Err(error);
            }
            let position = self.inner.position(partition, grant).await;
            self.life.after(Some(Step::ReadPosition)).await;
            position
        })
    }

    fn commit(&self, mut progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>> {
        Box::pin(async move {
            let life = &self.life;
            let step = Some(self.step_of(&progress));
            let late: Vec<bool> = progress.iter().map(|one| self.is_late(one)).collect();
            life.before(step).await;
            life.disk().await;
            if life.world.canary == Some(Canary::CommitFirst) {
                progress.iter_mut().for_each(|one| self.commit_first(one));
            }
            let entry = |(one, late): (&Progress, bool)| Entry {
                partition: one.partition,
                grant: one.grant,
                late,
                record: PositionRecord::decode(&one.record).ok().map(Arc::new),
            };
            let entries: Vec<Entry> = progress.iter().zip(late).map(entry).collect();
            let fault = life.world.take(life.member, is_commit_fault);
            let (outcomes, stored) = self.store(progress, fault).await;
            for ((entry, stored), outcome) in entries.into_iter().zip(stored).zip(&outcomes) {
                self.note(entry, stored, outcome);
            }
            life.after(step).await;
            if life.is_cut() {
                return unknown(outcomes.len());
            }
            outcomes
        })
    }

    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.life.before(Some(Step::Release)).await;
            if let Some(error) = self.life.unreachable("release") {
                return Err(error);
            }
            for granted in &given_up {
                let released = What::Released(granted.partition, granted.grant);
                self.life.push(self.route, released);
            }
            let released = self.inner.release(given_up).await;
            self.life.after(Some(Step::Release)).await;
            released
        })
    }

    fn pause(&self, partition: u32) {
        lock(&self.state).seen(partition).paused = true;
        self.inner.pause(partition);
    }

    fn resume(&self, partition: u32, from: Option<u64>) {
        let mut state = lock(&self.state);
        state.seen(partition).paused = false;
        if from.is_some() {
            let seen = state.seen(partition);
            seen.taken = seen.grant;
            state.drop_stashed(partition);
        }
        drop(state);
        self.inner.resume(partition, from);
    }

    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.life.before(Some(Step::Close)).await;
            if let Some(error) = self.life.unreachable("close") {
                return Err(error);
            }
            let closed = self.inner.close(deadline).await;
            self.life.after(Some(Step::Close)).await;
            closed
        })
    }
}

fn is_commit_fault(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::CommitUnheard | Kind::CommitUnsent | Kind::CommitFails | Kind::CommitPartly
    )
}

fn unknown(count: usize) -> Vec<CommitOutcome> {
    (0..count)
        .map(|_| CommitOutcome::Unknown(silence()))
        .collect()
}
