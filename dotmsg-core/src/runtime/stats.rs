//! What a running route tells others: counters, and an answer to "are you idle?".
//!
//! Everything is an atomic that the route's task writes at the end of a poll; reading it never touches the hot path.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;

use super::lag_gauge::LagGauge;
use super::question::Question;
use super::stuck::StuckCall;
use crate::error::Result;
use crate::lag::Lag;
use crate::metrics::RouteMetrics;

/// Counters of one route. All count since the route started; those that say "now" are 0 once it has ended.
#[derive(Default)]
pub struct RouteStats {
    pub(crate) delivered: AtomicU64,
    pub(crate) handled: AtomicU64,
    pub(crate) discarded: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) away: AtomicU64,
    pub(crate) void: AtomicU64,
    pub(crate) paused: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) owned: AtomicU64,
    pub(crate) stuck_calls: AtomicU64,
    /// It has heard what it gets, and was not told to stop.
    pub(crate) ready: AtomicBool,
    /// Its loop runs: before and after that its task waits for the broker and answers nobody.
    pumps: AtomicBool,
    stuck: Mutex<Vec<StuckCall>>,
    metrics: Arc<RouteMetrics>,
    pub(super) lag: LagGauge,
    idle: Question,
    alive: Question,
    route: AtomicWaker,
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        impl RouteStats {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> u64 { self.$name.load(Ordering::Relaxed) })*
        }

        /// The counters and nothing else.
        impl fmt::Debug for RouteStats {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("RouteStats")$(.field(stringify!($name), &self.$name()))*.finish()
            }
        }
    };
}

readers! {
    /// Messages that were handed to the workers, retries and replays included.
    delivered,
    /// Messages whose handler succeeded.
    handled,
    /// Messages discarded on purpose.
    discarded,
    /// Messages in the dead-letter topic.
    dead_lettered,
    /// Messages settled without a call because one with their id was handled before (`dedup`).
    duplicates,
    /// Messages dropped without a call (`shed`).
    shed,
    /// Attempts that went to a tier.
    retried,
    /// Messages delivered and not settled now, parked ones included.
    held,
    /// Messages waiting behind away heads now.
    parked,
    /// Heads that wait in tiers now.
    away,
    /// Records found in tiers that nobody named.
    void,
    /// Partitions paused at a cap now.
    paused,
    /// Records of the source or of the replay topic that retention removed before this route had read them.
    removed,
    /// (`at_most_once`) Messages given up after their progress was confirmed: nobody gets them again.
    lost,
    /// Commits confirmed.
    commits,
    /// Calls of the handler that run now.
    running,
    /// Partitions that this process owns now.
    owned,
    /// Calls of the handler that have run for a minute or longer; [`stuck`](Self::stuck) tells which.
    stuck_calls,
}

impl RouteStats {
    /// How far the partitions that this process owns are behind, as it was looked at last: at most 10 s ago while they move,
    /// up to 5 minutes ago while nothing does. Empty before the first look. For an exporter, which may call it at any rate.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.lag.get()
    }

    /// The same as of now; once the route is told to stop, what was seen last.
    ///
    /// # Errors
    /// The route has ended or does not answer; the broker does not say where partitions end.
    pub async fn look_at_lag(&self) -> Result<Lag> {
        self.lag.ask(|| self.route.wake()).await
    }

    /// Waits until the route has nothing to do but wait for new messages or for the next due retry, with its progress
    /// committed. A route that ended counts as idle.
    pub async fn idle(&self) {
        self.idle.ask(|| self.route.wake()).await;
    }

    /// What is measured beside the counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<RouteMetrics> {
        &self.metrics
    }

    /// Whether the route works: it has joined its group and heard which partitions it gets, be it none, and was not told to
    /// stop. A rebalance changes nothing about it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.has_ended()
    }

    /// The calls of the handler that have run for a minute or longer, the oldest first and at most
    /// [`STUCK_MAX`](super::STUCK_MAX), as they were looked at last: about every 10 s while messages come, and every minute
    /// while nothing else happens.
    #[must_use]
    pub fn stuck(&self) -> Vec<StuckCall> {
        self.stuck_now().clone()
    }

    /// Waits until the route's task has had its turn. It never waits for a broker; so if it does not answer for seconds, something
    /// blocks the thread. A route that has not joined its group yet, or has ended, has nothing that could block one: it counts as
    /// having answered.
    pub async fn answer(&self) {
        if self.pumps.load(Ordering::Relaxed) {
            self.alive.ask(|| self.route.wake()).await;
        }
    }

    /// So many calls are stuck, of which these are told.
    pub(crate) fn set_stuck(&self, told: Vec<StuckCall>, all: usize) {
        self.stuck_calls.store(all as u64, Ordering::Relaxed);
        *self.stuck_now() = told;
    }

    fn stuck_now(&self) -> MutexGuard<'_, Vec<StuckCall>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route's loop begins or has ended.
    pub(crate) fn set_pumps(&self, pumps: bool) {
        self.pumps.store(pumps, Ordering::Relaxed);
        self.answer_alive();
    }

    /// The route's task has its turn.
    pub(crate) fn answer_alive(&self) {
        if let Some(asked) = self.alive.open() {
            self.alive.answer(asked);
        }
    }

    pub(crate) fn register(&self, route: &Waker) {
        self.route.register(route);
    }

    /// The last one who waits for the route to be idle, if somebody does.
    pub(crate) fn asked(&self) -> Option<u64> {
        self.idle.open()
    }

    /// Somebody waits for the route to be idle.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked().is_some()
    }

    /// Answers whoever asked up to this one.
    pub(crate) fn answer_idle(&self, asked: u64) {
        self.idle.answer(asked);
    }

    /// Whether the route ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.idle.is_over()
    }

    /// The route ended: everybody who asks is answered.
    pub(crate) fn answer_for_ever(&self) {
        self.lag.end();
        self.alive.answer_for_ever();
        let of_now = [&self.held, &self.parked, &self.away, &self.paused];
        for counter in of_now.into_iter().chain([&self.running, &self.owned]) {
            counter.store(0, Ordering::Relaxed);
        }
        self.set_stuck(Vec::new(), 0);
        self.idle.answer_for_ever();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_counters_only() {
        let stats = RouteStats::default();
        stats.handled.store(7, Ordering::Relaxed);
        stats.answer_for_ever();
        assert_eq!(
            format!("{stats:?}"),
            "RouteStats { delivered: 0, handled: 7, discarded: 0, dead_lettered: 0, duplicates: 0, shed: 0, \
             retried: 0, held: 0, parked: 0, away: 0, void: 0, paused: 0, removed: 0, lost: 0, commits: 0, running: 0, \
             owned: 0, stuck_calls: 0 }"
        );
    }
}
