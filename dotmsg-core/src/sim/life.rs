//! One start of one member, until its end: whether it goes on, and what it was about to do.
//!
//! Everything that a member does passes here: its calls of the broker, and through the [`Observer`] its route and its
//! handlers. A member that stands still is not polled at all; one that is dead does nothing more, not even in the rest of
//! the poll in which it died, and what it does is not noted either.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::history::{Place, What};
use super::plan::{Kind, Point, Step};
use super::world::{Window, World, lock};
use crate::app::AppHandle;
use crate::delivery::{Delivery, Role};
use crate::error::{Error, ErrorKind};
use crate::middleware::{Away, Ended, Observer, Outcome};
use crate::runtime::RouteStats;
use crate::testing::Became;

const ALIVE: u8 = 0;
const FROZEN: u8 = 1;
const DEAD: u8 = 2;

/// Started again after so long when its app failed by itself, as a supervisor does.
pub(super) const RESTART_MS: u64 = 500;

/// One start of one member.
#[derive(Debug)]
pub(crate) struct Life {
    pub(super) world: Arc<World>,
    pub(super) member: u32,
    pub(super) number: u32,
    state: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
    /// The broker went down: this connection is gone for good.
    cut: AtomicBool,
    died: Notify,
    down_ms: AtomicU64,
    delay: Window,
    random: Mutex<fastrand::Rng>,
    stats: OnceLock<Vec<Arc<RouteStats>>>,
    most_held: AtomicU64,
    pub(super) readers: AtomicU32,
}

impl Life {
    pub(super) fn new(world: &Arc<World>, member: u32) -> Arc<Self> {
        let number = world.next_life();
        Arc::new(Self {
            world: Arc::clone(world),
            member,
            number,
            state: AtomicU8::new(ALIVE),
            wakers: Mutex::default(),
            cut: AtomicBool::new(false),
            died: Notify::new(),
            down_ms: AtomicU64::new(RESTART_MS),
            delay: Window::default(),
            random: Mutex::new(fastrand::Rng::with_seed(world.seed_of(u64::from(number)))),
            stats: OnceLock::new(),
            most_held: AtomicU64::new(0),
            readers: AtomicU32::new(0),
        })
    }

    /// Its app has been started: the routes' names go into the history, their counters are looked at.
    pub(super) fn started(&self, handle: &AppHandle) {
        let stats = handle.routes().iter().map(|route| Arc::clone(&route.stats));
        let _ = self.stats.set(stats.collect());
    }

    pub(super) fn push(&self, route: u32, what: What) {
        if !self.is_dead() {
            self.world.push(self.member, self.number, route, what);
        }
    }

    // ---- how it is going ------------------------------------------------------------------------------------------

    pub(super) fn is_dead(&self) -> bool {
        self.state.load(Relaxed) == DEAD
    }

    /// Whether it is not the first start of its member.
    pub(super) fn is_later(&self) -> bool {
        self.number >= self.world.setting.members
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    pub(super) fn poll_alive(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state.load(Relaxed) {
            ALIVE => Poll::Ready(()),
            FROZEN => {
                lock(&self.wakers).push(cx.waker().clone());
                Poll::Pending
            }
            // Nobody wakes the dead.
            _ => Poll::Pending,
        }
    }

    pub(super) async fn alive(&self) {
        std::future::poll_fn(|cx| self.poll_alive(cx)).await;
    }

    /// Kills it; started again after `down_ms`.
    pub(super) fn die(&self, point: Option<Point>, down_ms: u64) {
        if self.is_dead() {
            return;
        }
        self.push(0, What::Killed(point));
        self.down_ms.store(down_ms, Relaxed);
        self.state.store(DEAD, Relaxed);
        self.died.notify_one();
    }

    /// Resolves once it is dead; gives how long it is down.
    pub(super) async fn death(&self) -> u64 {
        self.died.notified().await;
        self.down_ms.load(Relaxed)
    }

    pub(super) fn freeze(&self) {
        if self
            .state
            .compare_exchange(ALIVE, FROZEN, Relaxed, Relaxed)
            .is_ok()
        {
            self.push(0, What::Froze);
        }
    }

    pub(super) fn wake(&self) {
        if self
            .state
            .compare_exchange(FROZEN, ALIVE, Relaxed, Relaxed)
            .is_ok()
        {
            self.push(0, What::Woke);
            self.wake_all();
        }
    }

    /// The connection is gone.
    pub(super) fn cut(&self) {
        self.cut.store(true, Relaxed);
        self.wake_all();
    }

    fn wake_all(&self) {
        for waker in std::mem::take(&mut *lock(&self.wakers)) {
            waker.wake();
        }
    }

    /// Has `cx` woken when the connection is cut.
    pub(super) fn watch_cut(&self, cx: &Context<'_>) {
        let mut wakers = lock(&self.wakers);
        if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
    }

    pub(super) fn delay(&self, until_ms: u64, by_ms: u64) {
        self.delay.open(until_ms, by_ms);
    }

    // ---- what it does ---------------------------------------------------------------------------------------------

    /// A number below `limit`, of its own seed.
    pub(super) fn random(&self, limit: u32) -> u32 {
        lock(&self.random).u32(..limit)
    }

    /// Before a call of the broker is done: it takes its time, and may be the last that the member does.
    pub(super) async fn before(&self, step: Option<Step>) {
        self.alive().await;
        self.reach(step, true);
        self.latency(true).await;
    }

    /// After a call of the broker, before the member hears of it.
    pub(super) async fn after(&self, step: Option<Step>) {
        self.reach(step, false);
        self.latency(false).await;
    }

    /// Dies here if that is planned.
    fn reach(&self, step: Option<Step>, before: bool) {
        let Some(step) = step else {
            return;
        };
        let here = Point { before, step };
        let wanted = |kind: &Kind| matches!(kind, Kind::Crash { point, .. } if *point == here);
        if !self.is_dead()
            && let Some(Kind::Crash { down_ms, .. }) = self.world.take(self.member, wanted)
        {
            self.die(Some(here), down_ms);
        }
    }

    /// See [`Life::reach`]; for what is not awaited. Whether it goes on.
    pub(super) fn passes(&self, step: Step, before: bool) -> bool {
        self.reach(Some(step), before);
        !self.is_dead()
    }

    async fn latency(&self, asked: bool) {
        self.alive().await;
        let late = self.delay.at(self.world.now_ms());
        let by = match self.random(32) {
            _ if self.world.setting.prompt => 0,
            0..=19 => 0,
            20..=27 => {
                for _ in 0..self.random(3) {
                    tokio::task::yield_now().await;
                }
                0
            }
            _ if asked => u64::from(1 + self.random(5)),
            _ => 1,
        };
        if late + by > 0 {
            tokio::time::sleep(Duration::from_millis(late + by)).await;
        }
        self.alive().await;
    }

    /// The time that an append or a commit takes on a slow disk.
    pub(super) async fn disk(&self) {
        let by = self.world.slow().at(self.world.now_ms());
        if by > 0 {
            tokio::time::sleep(Duration::from_millis(by)).await;
            self.alive().await;
        }
    }

    /// Why a call of the broker cannot be done.
    pub(super) fn unreachable(&self, operation: &'static str) -> Option<Error> {
        (self.is_cut() || self.world.is_down()).then(|| {
            Error::new(
                ErrorKind::Unreachable,
                operation,
                "the simulated broker is down",
            )
        })
    }

    /// Notes how much it holds, when that is more than ever.
    pub(super) fn look_at_held(&self) {
        let Some(stats) = self.stats.get() else {
            return;
        };
        for (route, stats) in (0..).zip(stats) {
            let held = stats.held();
            if self.most_held.fetch_max(held, Relaxed) < held {
                self.push(route, What::Held(held));
            }
        }
    }

    /// The place of a route in the history.
    pub(super) fn route(&self, handler: &str) -> u32 {
        let history = lock(&self.world.history);
        let of_handler = |route: &super::history::RouteName| route.handler == handler;
        let index = history.routes.iter().position(of_handler);
        index
            .and_then(|index| u32::try_from(index).ok())
            .unwrap_or(0)
    }
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

fn place(delivery: &Delivery) -> Place {
    let origin = delivery.origin();
    Place {
        partition: origin.partition,
        offset: origin.offset,
    }
}

impl Observer for Life {
    fn called(&self, handler: &str, delivery: &Delivery) {
        if !self.passes(Step::Call, true) {
            return;
        }
        let called = What::Called {
            place: place(delivery),
            attempt: delivery.attempt(),
            epoch: delivery.epoch(),
            replay: delivery.stream().role == Role::Replay
                || delivery
                    .lineage()
                    .is_some_and(|lineage| lineage.replay_offset.is_some()),
            tier: match delivery.stream().role {
                Role::Tier { delay } => Some((millis(delay), delivery.position().offset)),
                Role::Source | Role::Replay => None,
            },
        };
        self.push(self.route(handler), called);
    }

    fn left(&self, handler: &str, delivery: &Delivery) {
        self.push(self.route(handler), What::Left(place(delivery)));
        self.passes(Step::Call, false);
    }

    fn ended(&self, handler: &str, delivery: &Delivery, outcome: Outcome) {
        let became = match outcome {
            Outcome::Settled(Ended::Handled | Ended::Returned { discarded: false }) => {
                Became::Handled
            }
            Outcome::Settled(Ended::Discarded | Ended::Returned { discarded: true }) => {
                Became::Discarded
            }
            Outcome::Settled(Ended::DeadLettered) => Became::DeadLettered,
            Outcome::Settled(Ended::Duplicate) => Became::Duplicate,
            Outcome::Settled(Ended::Shed) => Became::Shed,
            Outcome::Away(Away { delay, .. }) => Became::Away(delay),
            Outcome::Interrupted => Became::Interrupted,
            Outcome::PutBack => unreachable!("nobody is told of it: nothing has ended"),
        };
        self.push(self.route(handler), What::Ended(place(delivery), became));
    }

    fn poll_running(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_alive(cx)
    }
}
