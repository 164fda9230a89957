//! The plan of one run: everything that will be done to the app, as an explicit list.
//!
//! A seed is drawn into a plan first, and only the plan is run: so a fault can be taken out without changing any other, a
//! failing case can be made smaller piece by piece, and it survives changes to how seeds are drawn. Times are virtual
//! milliseconds since the beginning of the run.
//!
//! What must stay true: a plan that is printed and parsed is the same plan, and a run depends on nothing else.

mod draw;
mod fault;
mod parse;
mod text;

pub use draw::Size;
pub use fault::{Fault, Kind, Point, Step};
pub use parse::PlanError;

use std::time::Duration;

use crate::log::Assignor;

/// How long the run goes on for what lies in wait.
const IN_WAIT_MS: u64 = 1_000;

/// What a message's handler comes to after its transient failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Last {
    /// It succeeds.
    #[default]
    Ok,
    /// It fails for good.
    Dead,
    /// It discards the message.
    Discard,
    /// It panics.
    Panic,
}

/// One message, and what its handler does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number; messages that are taken out leave the others theirs.
    pub id: u32,
    /// When it is published.
    pub at_ms: u64,
    /// Its key; `None` is null.
    pub key: Option<u32>,
    /// How long an attempt takes until its effect.
    pub takes_ms: u64,
    /// How long the handler goes on after its effect.
    pub lingers_ms: u64,
    /// Attempts that fail transiently before the last word.
    pub fails: u32,
    /// The last word.
    pub last: Last,
}

/// How the app under simulation is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Members of the group.
    pub members: u32,
    /// From the start of one member to that of the next.
    pub stagger_ms: u64,
    /// Partitions of the source topic.
    pub partitions: u32,
    /// Handlers running at once, per member.
    pub concurrency: u32,
    /// Worker tasks, per member.
    pub workers: u32,
    /// Messages held at once, per member.
    pub held: u32,
    /// Delays of the tiers, ascending.
    pub tiers_ms: Vec<u64>,
    /// The delays of a member that was started again: the ladder was edited. Empty: it was not. As many as before.
    pub later_tiers_ms: Vec<u64>,
    /// The largest position record that the broker stores.
    pub record_bytes: usize,
    /// Calls in a row before a tier or the dead letter.
    pub attempts: u32,
    /// Later messages of a key wait for a failing one.
    pub keep: bool,
    /// How often progress is committed.
    pub commit_ms: u64,
    /// Unclean takeovers in a row after which messages run one at a time; 0 = off.
    pub crash_loop: u32,
    /// A member that is silent for so long is taken for dead.
    pub session_ms: u64,
    /// How partitions are shared.
    pub assignor: Assignor,
    /// Members are static: they come back under their names.
    pub instances: bool,
    /// Effects are applied once per message, as with a dedup table.
    pub dedup: bool,
    /// Calls of the broker take no time unless a fault says so.
    pub prompt: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            members: 1,
            stagger_ms: 100,
            partitions: 1,
            concurrency: 16,
            workers: 1,
            held: 1_000,
            tiers_ms: Vec::new(),
            later_tiers_ms: Vec::new(),
            record_bytes: 4_096,
            attempts: 1,
            keep: true,
            commit_ms: 200,
            crash_loop: 0,
            session_ms: 300,
            assignor: Assignor::default(),
            instances: false,
            dedup: false,
            prompt: false,
        }
    }
}

/// One run, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Seed of what is too small to be listed: the order in which tasks come to their turn, and short delays of calls.
    pub seed: u64,
    /// The app's configuration.
    pub setting: Setting,
    /// What is published.
    pub messages: Vec<Planned>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, size: Size) -> Self {
        draw::draw(seed, size)
    }

    /// When nothing goes wrong any more: after the last message and the last fault.
    #[must_use]
    pub fn calm_at_ms(&self) -> u64 {
        let messages = self.messages.iter().map(|message| message.at_ms);
        // What lies in wait for a member may first have to wait until a dead one's session is over.
        let in_wait = |fault: &Fault| {
            if fault.waits() {
                IN_WAIT_MS + self.setting.session_ms
            } else {
                0
            }
        };
        let faults = self
            .faults
            .iter()
            .map(|fault| fault.over_at_ms() + in_wait(fault));
        messages.chain(faults).max().unwrap_or(0) + 1
    }
}

impl Plan {
    /// How long after the last fault everything has to be settled: a session (5 s at most), a member that is put out for not
    /// polling (30 s), and the ladder for each message that fails, since those of one key climb it one after the other.
    #[must_use]
    pub fn settled_within(&self) -> Duration {
        // A panic is tried again, like any failure that says nothing else.
        let climbs = |one: &&Planned| one.fails > 0 || one.last == Last::Panic;
        let failing = self.messages.iter().filter(climbs).count() as u64;
        let ladder = |tiers: &[u64]| tiers.iter().sum::<u64>();
        let setting = &self.setting;
        let longest = ladder(&setting.tiers_ms).max(ladder(&setting.later_tiers_ms));
        let busy: u64 = self
            .messages
            .iter()
            .map(|one| one.takes_ms + one.lingers_ms)
            .sum();
        Duration::from_millis(60_000 + 2 * (failing * longest + u64::from(setting.calls()) * busy))
    }
}

impl Planned {
    /// Whether it becomes a dead letter. `None`: that depends on which ladder it is on when it fails.
    #[must_use]
    pub fn ends_dead(&self, setting: &Setting) -> Option<bool> {
        let last = matches!(self.last, Last::Dead | Last::Panic);
        if self.fails > 0 && !last && !setting.later_tiers_ms.is_empty() {
            return None;
        }
        Some(last || self.fails >= setting.calls())
    }
}

impl Setting {
    /// Calls that a message gets before it is dead.
    #[must_use]
    pub fn calls(&self) -> u32 {
        let rounds = u32::try_from(self.tiers_ms.len()).unwrap_or(u32::MAX);
        self.attempts.saturating_mul(rounds.saturating_add(1))
    }
}
