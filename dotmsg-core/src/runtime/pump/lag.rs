//! Looking at the route's lag: now and then, and when somebody asks.
//!
//! A look takes down what the partitions say of themselves, asks the backend for the rest in a future of its own, and puts
//! both together. It runs beside everything else; nothing waits for it, and no message pays for it: its time is looked at
//! when the pump's timer fires and when a commit is built.
//!
//! Looks become rare while nothing moves, so that a route that has nothing to do costs nothing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower_service::Service;

use super::{Pump, Shutdown};
use crate::backend::{BoxFuture, Reader};
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::error::Result;
use crate::lag::{Asked, Course, Lag, Notice, Rest, Seen, Why, ago, look};
use crate::middleware::Outcome;
use crate::runtime::partition::{Around, Phase};
use crate::runtime::stuck::{Calls, InHand, STUCK_AFTER, STUCK_MAX, StuckCall};

/// The time from look to look.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// It doubles while nothing moves, up to this, or up to [`STUCK_AFTER`] while handlers run.
const LOOK_SELDOM: Duration = Duration::from_secs(5 * 60);
/// A look that is not answered by then has failed.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The looks of one route.
#[derive(Default)]
pub(super) struct Looks {
    /// The next one; `None` while one is under way, and without partitions.
    pub(super) at: Option<Instant>,
    /// Its time has come.
    pub(super) due: bool,
    every: Duration,
    looking: Option<Looking>,
    reader: Option<Box<dyn Reader>>,
    courses: BTreeMap<u32, (u32, Course)>,
    notice: Notice,
    /// What each worker has in hand.
    calls: Vec<Calls>,
}

struct Looking {
    owned: Vec<Owned>,
    /// The question it answers.
    asked: Option<u64>,
    future: BoxFuture<'static, Looked>,
}

/// What was asked, what the backend said, and the reader for the next time.
type Looked = (
    Vec<Asked>,
    Result<Vec<Seen>, String>,
    Option<Box<dyn Reader>>,
);

/// What only the owner of a partition knows, as it was when the look began.
struct Owned {
    ownership: u32,
    held: u64,
    why: Why,
    committed: Option<Timestamp>,
    uncommitted: Option<Timestamp>,
}

impl Looks {
    /// Something has come: if looks have become rare, a call of it that does not end would be seen late.
    #[inline]
    pub(super) fn stir(&mut self) {
        if self.every > LOOK_EVERY {
            self.moved(Instant::now());
        }
    }

    /// Something moves: a next look that is far away comes nearer.
    pub(super) fn moved(&mut self, now: Instant) {
        self.every = LOOK_EVERY;
        if self.looking.is_none() {
            let soon = now + LOOK_EVERY;
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
            self.due = self.at.is_some_and(|at| at <= now);
        }
    }
}

impl<S> Pump<S>
where
    S: Service<Delivery, Response = Outcome, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    pub(super) fn poll_lag(&mut self, cx: &mut Context<'_>) -> bool {
        if self.looks.looking.is_none() {
            let asked = self.stats.lag.question();
            if asked.is_none() && !self.looks.due {
                return false;
            }
            if self.stage != Shutdown::No {
                (self.looks.due, self.looks.at) = (false, None);
                self.stats.lag.answer(Ok(self.stats.lag.get()), asked);
                return false;
            }
            self.start_look(asked);
        }
        let Some(looking) = &mut self.looks.looking else {
            return false;
        };
        let Poll::Ready((asked, seen, reader)) = looking.future.as_mut().poll(cx) else {
            return false;
        };
        self.looks.reader = reader;
        if let Some(looking) = self.looks.looking.take() {
            self.looked(looking, &asked, seen);
        }
        true
    }

    #[cold]
    fn start_look(&mut self, asked: Option<u64>) {
        self.looks.at = None;
        self.looks.due = false;
        let (now, wall) = (Instant::now(), self.clock.now());
        let past = |at: Instant| ago(wall, now.saturating_duration_since(at));
        let room = self.room().is_some();
        let mut owned = Vec::new();
        let mut standings = Vec::new();
        let running = self.partitions.iter().flatten();
        for partition in running.filter(|one| one.phase == Phase::Running) {
            let (number, watermark) = (partition.number, partition.source.watermark());
            let around = Around {
                runs: self.workers.runs(number, watermark),
                room,
            };
            let due = |due: Instant| wall.after(due.saturating_duration_since(now));
            owned.push(Owned {
                ownership: partition.ownership,
                held: partition.held as u64,
                why: partition.why(around, due),
                committed: partition.committed.map(past),
                uncommitted: partition.uncommitted.map(past),
            });
            let course = self.looks.courses.get(&number);
            let course = course.filter(|(ownership, _)| *ownership == partition.ownership);
            standings.push(Asked {
                standing: partition.standing(),
                known: course.and_then(|(_, course)| course.known()),
            });
        }
        let backend = Arc::clone(&self.takeover.backend);
        let topic = Arc::clone(&self.topology.source);
        let mut reader = self.looks.reader.take();
        let future = Box::pin(async move {
            let looking = look(&*backend, &topic, &mut reader, &standings);
            let seen = match timeout(LOOK_WITHIN, looking).await {
                Ok(seen) => seen.map_err(|error| error.to_string()),
                Err(_) => {
                    // What it is in the middle of is not known.
                    reader = None;
                    Err(format!("no answer within {LOOK_WITHIN:?}"))
                }
            };
            (standings, seen, reader)
        });
        self.looks.looking = Some(Looking {
            owned,
            asked,
            future,
        });
        self.workers.look(&mut self.reports);
    }

    /// What a worker has in hand, which it was asked for at the beginning of a look.
    #[cold]
    pub(super) fn looked_at_calls(&mut self, worker: usize, in_hand: Vec<InHand>) {
        let known = &mut self.looks.calls;
        known.resize_with(known.len().max(worker + 1), Calls::default);
        let (now, wall) = (Instant::now(), self.clock.now());
        known[worker].look(now, in_hand);
        let mut stuck: Vec<_> = known.iter().flat_map(|calls| calls.stuck(now)).collect();
        stuck.sort_by_key(|(_, call)| call.since);
        let told = stuck.iter().take(STUCK_MAX);
        let told: Vec<StuckCall> = told
            .map(|(place, call)| StuckCall {
                topic: Arc::clone(&place.topic),
                partition: place.partition,
                offset: place.offset,
                key_hash: call.key_hash,
                since: ago(wall, now.saturating_duration_since(call.since)),
            })
            .collect();
        let before = self.stats.stuck();
        let known = |call: &&StuckCall| before.iter().any(|known| known.is_of_same(call));
        for call in told.iter().filter(|call| !known(call)) {
            tracing::warn!(topic = %call.topic, partition = call.partition, offset = call.offset, key_hash = call.key_hash, after = ?STUCK_AFTER, "a call of the handler does not end, and its key waits; look at what it waits for, or set `timeout`");
        }
        let all = stuck.len();
        self.stats.set_stuck(told, all);
    }

    #[cold]
    fn looked(&mut self, looking: Looking, asked: &[Asked], seen: Result<Vec<Seen>, String>) {
        let before = self.stats.lag.get();
        let found = seen.map(|seen| self.table(looking.owned, asked, &seen));
        let moves = found.as_ref().is_ok_and(|lag| !lag.stands_as(&before));
        let longest = match self.looks.calls.iter().any(Calls::any) {
            true => STUCK_AFTER,
            false => LOOK_SELDOM,
        };
        self.looks.every = match moves {
            true => LOOK_EVERY,
            false => (self.looks.every * 2).clamp(LOOK_EVERY, longest),
        };
        self.looks.at = self
            .partitions
            .iter()
            .any(Option::is_some)
            .then(|| Instant::now() + self.looks.every);
        match &found {
            Ok(lag) => self.log_lag(lag),
            Err(error) => {
                tracing::debug!(topic = %self.topology.source, %error, "the lag could not be looked at");
            }
        }
        self.stats.lag.answer(found, looking.asked);
    }

    /// What was said and what was seen, in one table.
    fn table(&mut self, owned: Vec<Owned>, asked: &[Asked], seen: &[Seen]) -> Lag {
        let now = self.clock.now();
        let mut before = std::mem::take(&mut self.looks.courses);
        let mut partitions = Vec::with_capacity(owned.len());
        for ((owned, asked), seen) in owned.into_iter().zip(asked).zip(seen) {
            let known = before.remove(&seen.partition);
            let known = known.filter(|(ownership, _)| *ownership == owned.ownership);
            let mut course = known.map_or_else(Course::default, |(_, course)| course);
            let mut lag = course.observe(now, &asked.standing, seen);
            lag.held = owned.held;
            lag.committed = owned.committed;
            lag.uncommitted = owned.uncommitted;
            lag.rest = course.rests_since().map(|since| Rest {
                since,
                why: owned.why,
            });
            partitions.push(lag);
            let followed = (owned.ownership, course);
            self.looks.courses.insert(seen.partition, followed);
        }
        Lag {
            topic: self.topology.source.to_string(),
            group: self.route.group.clone(),
            at: now,
            circuit_open: self.breaker.as_ref().is_some_and(|one| one.is_open()),
            partitions,
        }
    }

    fn log_lag(&mut self, lag: &Lag) {
        let diagnosis = lag.diagnosis();
        if !self.looks.notice.is_due(lag.at, &diagnosis) {
            return;
        }
        if diagnosis.is_trouble() {
            tracing::warn!(topic = %self.topology.source, "falling behind: {diagnosis}");
        } else {
            tracing::info!(topic = %self.topology.source, "not falling behind any more: {diagnosis}");
        }
    }
}
