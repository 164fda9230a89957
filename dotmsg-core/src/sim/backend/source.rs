//! Events and batches. Batches may come late, twice, or behind those of other partitions that were read after them.
//!
//! What is kept back waits in a stash: per partition in its order, not while the partition is paused, and within the
//! limits of the poll that takes it. A batch of an earlier ownership is handed over all the same: telling it by its grant
//! is the runtime's business.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use crate::backend::{AssignmentEvent, Batch, BatchLimits, Control, Record, Source};
use crate::error::Result;
use crate::sim::history::What;
use crate::sim::life::Life;
use crate::sim::plan::Kind;
use crate::sim::world::lock;

/// What both halves of a membership share.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) life: Arc<Life>,
    pub(super) route: u32,
    pub(super) inner: Arc<dyn Control>,
    pub(super) state: Mutex<State>,
}

/// One partition, as this member has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) grant: u64,
    /// The grant under which a commit was last confirmed.
    pub(super) written: u64,
    /// The grant under which its takeover was last through: it was resumed from a position.
    pub(super) taken: u64,
    /// The last grant that the member was told is lost.
    pub(super) lost: u64,
    pub(super) paused: bool,
    /// One past the highest offset that was delivered under this grant.
    pub(super) delivered: u64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    partitions: Vec<Seen>,
    stash: Vec<Stashed>,
}

/// When a batch is due that only comes once its partition is owned again: it lay in the client's queue when that was lost.
const WITH_THE_NEXT_GRANT: u64 = u64::MAX;

#[derive(Debug)]
struct Stashed {
    batch: Batch,
    due_ms: u64,
    again: bool,
}

impl State {
    pub(super) fn seen(&mut self, partition: u32) -> &mut Seen {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, Seen::default());
        }
        &mut self.partitions[index]
    }

    /// What is kept back of a partition comes then.
    fn put_off(&mut self, partition: u32, due_ms: u64) {
        let of_it = |kept: &&mut Stashed| kept.batch.partition == partition;
        for kept in self.stash.iter_mut().filter(of_it) {
            kept.due_ms = due_ms;
        }
    }

    /// What is kept back of this ownership is not wanted: it is read anew from elsewhere.
    pub(super) fn drop_stashed(&mut self, partition: u32) {
        let grant = self.seen(partition).grant;
        self.stash
            .retain(|kept| kept.batch.partition != partition || kept.batch.grant != grant);
    }
}

impl Session {
    pub(super) fn new(life: Arc<Life>, route: u32, inner: Arc<dyn Control>) -> Self {
        Self {
            life,
            route,
            inner,
            state: Mutex::default(),
        }
    }
}

/// The half that the route owns.
pub(super) struct SimSource {
    session: Arc<Session>,
    inner: Option<Box<dyn Source>>,
    timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl SimSource {
    pub(super) fn new(session: Arc<Session>, inner: Box<dyn Source>) -> Self {
        Self {
            session,
            inner: Some(inner),
            timer: None,
        }
    }

    /// Takes what may be handed over now out of the stash; else says when the next may.
    fn unstash(&self, limits: BatchLimits, batch: &mut Batch) -> Result<bool, Option<u64>> {
        let now = self.session.life.world.now_ms();
        let mut state = lock(&self.session.state);
        let State { partitions, stash } = &mut *state;
        let mut next = None;
        for index in 0..stash.len() {
            let partition = stash[index].batch.partition;
            let first = stash[..index]
                .iter()
                .all(|other| other.batch.partition != partition);
            let paused = partitions
                .get(partition as usize)
                .is_some_and(|seen| seen.paused);
            if !first || paused {
                continue;
            }
            if stash[index].due_ms == WITH_THE_NEXT_GRANT {
                continue;
            }
            if stash[index].due_ms > now {
                next = Some(next.map_or(stash[index].due_ms, |next: u64| {
                    next.min(stash[index].due_ms)
                }));
                continue;
            }
            let kept = &mut stash[index];
            let count = fitting(&kept.batch.records, limits);
            batch.partition = partition;
            batch.grant = kept.batch.grant;
            batch.records.clear();
            batch.records.extend(kept.batch.records.drain(..count));
            let again = kept.again;
            if kept.batch.records.is_empty() {
                stash.remove(index);
            }
            return Ok(again);
        }
        Err(next)
    }

    /// Keeps a batch back if that is planned or its partition's turn; gives whether it was.
    fn stash(&self, batch: &mut Batch) -> bool {
        let life = &self.session.life;
        let wanted = |kind: &Kind| matches!(kind, Kind::Duplicate | Kind::Reorder { .. });
        let fault = life.world.take(life.member, wanted);
        let chance = life.random(16);
        let mut state = lock(&self.session.state);
        let behind = state
            .stash
            .iter()
            .any(|kept| kept.batch.partition == batch.partition);
        let now = life.world.now_ms();
        let by_ms = match fault {
            Some(Kind::Reorder { by_ms }) => by_ms,
            _ if chance == 0 => u64::from(life.random(8)),
            _ => 0,
        };
        if let Some(Kind::Duplicate) = fault {
            let twice = Stashed {
                batch: Batch {
                    partition: batch.partition,
                    grant: batch.grant,
                    records: batch.records.clone(),
                },
                due_ms: now + u64::from(life.random(20)),
                again: true,
            };
            if behind {
                state.stash.push(keep(batch, now));
                state.stash.push(twice);
                return true;
            }
            state.stash.push(twice);
            return false;
        }
        if by_ms == 0 && !behind {
            return false;
        }
        state.stash.push(keep(batch, now + by_ms));
        true
    }

    fn note(&self, batch: &Batch, again: bool) {
        let session = &self.session;
        let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else {
            return;
        };
        let offsets = (first.offset, last.offset);
        let mut state = lock(&session.state);
        let seen = state.seen(batch.partition);
        if seen.grant == batch.grant {
            seen.delivered = seen.delivered.max(last.offset + 1);
        }
        drop(state);
        session.life.push(
            session.route,
            What::Batch {
                partition: batch.partition,
                grant: batch.grant,
                offsets,
                again,
            },
        );
        session.life.look_at_held();
    }

    fn heard(&self, event: &AssignmentEvent) {
        let Session {
            life, route, state, ..
        } = &*self.session;
        match event {
            AssignmentEvent::Assigned(granted) => {
                for granted in granted {
                    let mut state = lock(state);
                    let seen = state.seen(granted.partition);
                    seen.grant = granted.grant;
                    seen.paused = true;
                    seen.delivered = 0;
                    state.put_off(granted.partition, life.world.now_ms());
                    life.push(*route, What::Assigned(granted.partition, granted.grant));
                }
            }
            AssignmentEvent::Revoking { partitions, .. } => {
                for &partition in partitions {
                    life.push(*route, What::Revoking(partition));
                }
            }
            AssignmentEvent::Lost(partitions) => {
                for &partition in partitions {
                    let mut state = lock(state);
                    let seen = state.seen(partition);
                    seen.lost = seen.grant;
                    if life.random(2) == 0 {
                        state.put_off(partition, WITH_THE_NEXT_GRANT);
                    }
                    life.push(*route, What::Lost(partition));
                }
            }
            AssignmentEvent::OutOfRange { .. } => {}
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, due_ms: u64) -> Poll<()> {
        let at = self.session.life.world.at(due_ms);
        match &mut self.timer {
            Some((set, timer)) => {
                if *set != due_ms {
                    timer.as_mut().reset(at);
                    *set = due_ms;
                }
            }
            None => self.timer = Some((due_ms, Box::pin(tokio::time::sleep_until(at)))),
        }
        match &mut self.timer {
            Some((_, timer)) => timer.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Source for SimSource {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>> {
        let life = &self.session.life;
        ready!(life.poll_alive(cx));
        if let Some(error) = life.unreachable("poll event") {
            return Poll::Ready(Err(error));
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Pending;
        };
        match inner.poll_event(cx) {
            Poll::Ready(Ok(event)) => {
                self.heard(&event);
                Poll::Ready(Ok(event))
            }
            Poll::Pending => {
                life.watch_cut(cx);
                Poll::Pending
            }
            failed => failed,
        }
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>> {
        let session = Arc::clone(&self.session);
        ready!(session.life.poll_alive(cx));
        if let Some(error) = session.life.unreachable("poll batch") {
            return Poll::Ready(Err(error));
        }
        batch.records.clear();
        loop {
            match self.unstash(limits, batch) {
                Ok(again) => {
                    self.note(batch, again);
                    return Poll::Ready(Ok(()));
                }
                Err(Some(due_ms)) if self.poll_timer(cx, due_ms).is_ready() => continue,
                Err(_) => {}
            }
            let Some(inner) = &mut self.inner else {
                return Poll::Pending;
            };
            ready!(inner.poll_batch(cx, limits, batch))?;
            if !self.stash(batch) {
                self.note(batch, false);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Drop for SimSource {
    fn drop(&mut self) {
        let life = &self.session.life;
        if life.is_dead()
            && !life.is_cut()
            && let Some(inner) = self.inner.take()
        {
            life.world.bury(inner, Arc::clone(&self.session.inner));
        }
    }
}

fn keep(batch: &mut Batch, due_ms: u64) -> Stashed {
    Stashed {
        batch: std::mem::take(batch),
        due_ms,
        again: false,
    }
}

/// How many of the records one poll may hand over: at least one.
fn fitting(records: &[Record], limits: BatchLimits) -> usize {
    let mut bytes = 0;
    let within = records.iter().take(limits.messages).take_while(|record| {
        bytes += record.message.size();
        bytes <= limits.bytes
    });
    within.count().max(1)
}
