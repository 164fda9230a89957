//! The store in memory: bounded, shared by the workers of a route, gone with the process.

mod id;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::id::Sought;
use self::table::{Claimed, Table};
use super::{Claim, DedupStore, Reply};
use crate::delivery::{Delivery, Position};
use crate::middleware::identity::{self, Identity};

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupLimits {
    /// Ids of handled messages, at least 1 and at most four billion; beyond it the oldest are forgotten. Default 100,000.
    pub max_ids: usize,
    /// How long after its success an id is known. Default 1 h.
    pub keep_for: Duration,
}

impl Default for DedupLimits {
    fn default() -> Self {
        Self {
            max_ids: 100_000,
            keep_for: Duration::from_secs(3600),
        }
    }
}

/// Remembers ids in memory.
///
/// What it takes: 64 bytes for each id and, for the index, between 11 and 23; so at most 9 MB for 100,000 ids. Ids of more than 38
/// bytes take their length on top, and all of them together at most 128 bytes for each of `max_ids`: beyond that the oldest are
/// forgotten before there are so many. Memory grows with what is remembered, up to that, and is used again then: a message costs no
/// allocation.
///
/// Ids that are being handled come on top of `max_ids` and are never forgotten: there are as many as handlers that run.
pub struct MemoryStore {
    hasher: foldhash::fast::RandomState,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    table: Table,
    /// By claim, those who wait for its end.
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl MemoryStore {
    /// An empty store.
    ///
    /// # Panics
    /// When `max_ids` is 0, or more than four billion.
    #[must_use]
    pub fn new(limits: DedupLimits) -> Self {
        Self {
            hasher: foldhash::fast::RandomState::default(),
            start: Instant::now(),
            state: Mutex::new(State {
                table: Table::new(limits.max_ids, millis(limits.keep_for)),
                waiting: BTreeMap::new(),
            }),
        }
    }

    /// How many ids of handled messages it holds, expired ones among them until they are come upon.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().table.handled()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // What `DedupStore` says, for those who know that memory answers at once.

    /// What the claim of an id comes to.
    pub(crate) fn claim_now(&self, delivery: &Delivery) -> Claim {
        let (hash, sought) = match identity::of(delivery) {
            Identity::Id(id) => (self.hasher.hash_one(id), Sought::new(id)),
            Identity::Origin(origin) => {
                let Position {
                    topic,
                    partition,
                    offset,
                } = origin.position;
                let topic = self.hasher.hash_one(topic);
                let words = (topic, offset, origin.made_at, partition);
                let hash = self.hasher.hash_one(words);
                (hash, Sought::origin(&origin, topic))
            }
        };
        let mut state = self.lock();
        match state.table.claim(hash, &sought, || self.now()) {
            Claimed::Granted(token) => Claim::Granted(token),
            Claimed::Handled => Claim::Handled,
            Claimed::Running(token) => state.wait(token),
        }
    }

    /// The message with this claim was handled.
    pub(crate) fn succeed_now(&self, token: u64) {
        let now = self.now();
        self.end(token, |table| table.succeed(token, now));
    }

    /// It was not.
    pub(crate) fn release_now(&self, token: u64) {
        self.end(token, |table| table.release(token));
    }

    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a claim by `change`, and wakes those who wait for that.
    #[inline]
    fn end(&self, token: u64, change: impl FnOnce(&mut Table)) {
        let mut state = self.lock();
        change(&mut state.table);
        if !state.waiting.is_empty() {
            wake(state, token);
        }
    }
}

/// Wakes those who wait for the end of a claim.
#[cold]
fn wake(mut state: MutexGuard<'_, State>, token: u64) {
    let waiting = state.waiting.remove(&token);
    drop(state);
    for one in waiting.into_iter().flatten() {
        let _gone = one.send(());
    }
}

impl State {
    /// Ends with a claim.
    #[cold]
    fn wait(&mut self, token: u64) -> Claim {
        let (tell, over) = oneshot::channel();
        self.waiting.entry(token).or_default().push(tell);
        Claim::Running(Box::pin(async move {
            let _told = over.await;
        }))
    }
}

impl DedupStore for MemoryStore {
    #[inline]
    fn claim(&self, delivery: &Delivery) -> Reply<Claim> {
        Reply::Now(self.claim_now(delivery))
    }

    #[inline]
    fn succeed(&self, _: &Delivery, token: u64) -> Reply<()> {
        self.succeed_now(token);
        Reply::Now(())
    }

    fn release(&self, _: &Delivery, token: u64) {
        self.release_now(token);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("table", &self.lock().table)
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    // Not `as_millis`, which divides 128 bits.
    let whole = duration.as_secs().saturating_mul(1_000);
    whole.saturating_add(duration.subsec_millis().into())
}
