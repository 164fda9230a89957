//! What all members share: the broker, the time, the faults that lie in wait, and the history.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Canary;
use super::history::{Event, History, NOBODY, RouteName, What};
use super::plan::{Fault, Kind, Plan, Setting};
use crate::app::{AppHandle, RouteHandle};
use crate::backend::{Control, Source};
use crate::clock::{Clock, Timestamp, TokioClock};
use crate::log::{LogBroker, LogOptions};
use crate::router::Topology;
use crate::testing::START;

/// A member has so long from poll to poll. Long: nothing here polls too rarely but what stands still, and the session finds that.
const POLL_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memberships of members that were killed: a broker notices only when their session is over.
type Buried = Mutex<Vec<(Box<dyn Source>, Arc<dyn Control>)>>;

/// The world of one run.
pub(crate) struct World {
    began: Instant,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) broker: LogBroker,
    pub(super) history: Mutex<History>,
    pub(super) canary: Option<Canary>,
    pub(super) setting: Setting,
    topologies: Mutex<Vec<Arc<Topology>>>,
    seed: u64,
    lives: AtomicU32,
    waiting: Mutex<Vec<Fault>>,
    /// When the first of those is due: saves the lock on most calls.
    next_due: AtomicU64,
    slow: Window,
    full: Window,
    down: AtomicBool,
    buried: Buried,
}

/// A time within which something holds.
#[derive(Debug, Default)]
pub(super) struct Window {
    until_ms: AtomicU64,
    by_ms: AtomicU64,
}

impl Window {
    /// Holds from now on until then; one that holds longer already stays.
    pub(super) fn open(&self, until_ms: u64, by_ms: u64) {
        self.until_ms.fetch_max(until_ms, Relaxed);
        self.by_ms.store(by_ms, Relaxed);
    }

    /// By how much, when it holds; 0 else.
    pub(super) fn at(&self, now_ms: u64) -> u64 {
        if now_ms < self.until_ms.load(Relaxed) {
            self.by_ms.load(Relaxed)
        } else {
            0
        }
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(plan: &Plan, canary: Option<Canary>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(START));
        let mut options = LogOptions::new(Arc::clone(&clock));
        options.auto_create = true;
        options.default_partitions = plan.setting.partitions;
        options.seed = Some(plan.seed);
        options.session_timeout = Duration::from_millis(plan.setting.session_ms);
        options.poll_timeout = POLL_TIMEOUT;
        options.assignor = plan.setting.assignor;
        let broker = LogBroker::memory(options);
        let mut waiting: Vec<Fault> = plan
            .faults
            .iter()
            .filter(|fault| fault.waits())
            .copied()
            .collect();
        waiting.sort_by_key(|fault| fault.at_ms);
        let mut history = History::default();
        history.events.reserve(8 * plan.messages.len() + 64);
        Self {
            began: Instant::now(),
            clock,
            broker,
            setting: plan.setting.clone(),
            topologies: Mutex::default(),
            history: Mutex::new(history),
            canary,
            seed: plan.seed,
            lives: AtomicU32::new(0),
            next_due: AtomicU64::new(waiting.first().map_or(u64::MAX, |fault| fault.at_ms)),
            waiting: Mutex::new(waiting),
            slow: Window::default(),
            full: Window::default(),
            down: AtomicBool::new(false),
            buried: Mutex::default(),
        }
    }

    /// Notes the app's routes, once.
    pub(super) fn register(&self, app: &AppHandle) {
        let mut history = lock(&self.history);
        if history.routes.is_empty() {
            let name = |route: &RouteHandle| RouteName {
                handler: route.spec.handler.clone(),
                group: route.spec.group.clone(),
                topic: route.topology.source.to_string(),
                // Messages of one key that are in one call are called together, and their ends are told in any order.
                keeps_order: route.spec.keeps_order() && route.spec.batch.is_none(),
            };
            history.routes = app.routes().iter().map(name).collect();
            let topologies = app.routes().iter().map(|route| Arc::clone(&route.topology));
            *lock(&self.topologies) = topologies.collect();
        }
    }

    /// The topics of the app's routes.
    pub(super) fn topologies(&self) -> Vec<Arc<Topology>> {
        lock(&self.topologies).clone()
    }

    /// When a stamp of the broker was, in milliseconds since the beginning.
    pub(super) fn since_start(&self, at: Timestamp) -> u64 {
        u64::try_from(at.since(START).as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn at(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    pub(super) fn next_life(&self) -> u32 {
        self.lives.fetch_add(1, Relaxed)
    }

    /// A seed of its own for a part of the run.
    pub(super) fn seed_of(&self, part: u64) -> u64 {
        // The odd constant of splitmix64: neighbouring parts get distant seeds.
        self.seed ^ part.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    pub(super) fn nobody(&self, what: What) {
        self.push(NOBODY, 0, 0, what);
    }

    pub(super) fn push(&self, member: u32, life: u32, route: u32, what: What) {
        let at_ms = self.now_ms();
        lock(&self.history).push(Event {
            at_ms,
            member,
            life,
            route,
            what,
        });
    }

    /// Takes the first fault that is due for this member and of a kind that is wanted.
    pub(super) fn take(&self, member: u32, wanted: impl Fn(&Kind) -> bool) -> Option<Kind> {
        let now = self.now_ms();
        if now < self.next_due.load(Relaxed) {
            return None;
        }
        let mut waiting = lock(&self.waiting);
        let due =
            |fault: &Fault| fault.at_ms <= now && fault.member == member && wanted(&fault.kind);
        let index = waiting.iter().position(due)?;
        let fault = waiting.remove(index);
        let next = waiting.first().map_or(u64::MAX, |fault| fault.at_ms);
        self.next_due.store(next, Relaxed);
        Some(fault.kind)
    }

    /// From here on nothing goes wrong.
    pub(super) fn calm(&self) {
        lock(&self.waiting).clear();
        self.next_due.store(u64::MAX, Relaxed);
    }

    pub(super) fn slow(&self) -> &Window {
        &self.slow
    }

    pub(super) fn full(&self) -> &Window {
        &self.full
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Relaxed);
        self.nobody(What::Broker { up: !down });
    }

    /// Keeps the membership of a killed member until its session is over.
    pub(super) fn bury(&self, source: Box<dyn Source>, control: Arc<dyn Control>) {
        lock(&self.buried).push((source, control));
    }

    /// A broker that was down knows nobody any more.
    pub(super) fn forget_buried(&self) {
        let buried = std::mem::take(&mut *lock(&self.buried));
        drop(buried);
    }
}
