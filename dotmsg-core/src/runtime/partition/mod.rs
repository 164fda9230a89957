//! One owned partition: what is settled, what is away, what is written down of it.
//!
//! A state machine without IO. The pump tells it what was delivered and how it ended; it says what the position record
//! is. One value describes the partition, so nothing here is ever written in parts.

mod delivered;
mod staging;
mod standing;
mod track;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::staging::Staged;
pub(crate) use self::standing::Around;
use self::track::Track;
use super::tiers::Tier;
use crate::delivery::{Provided, Role, Stream};
use crate::progress::{
    CrashCount, CrashLoopPolicy, Founding, LogIdentity, Mode, Noted, PositionRecord, SlowStart,
};
use crate::router::Topology;
use crate::runtime::ticket::Settles;

/// What a partition is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Handling messages.
    Running,
    /// (`at_most_once`) Nothing more is fetched, and what is settled is run to its end, until the deadline: its next owner
    /// will not get it.
    RunningOut(Instant),
    /// Waiting for running handlers, until the deadline.
    Draining(Instant),
    /// What still ran at the deadline is being dropped; it is not waited for longer than this.
    Dropping(Instant),
    /// Nothing runs; the clean record is being written, until the deadline.
    Leaving(Instant),
    /// Nothing is left to do for it.
    Left,
}
/// One owned partition.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) number: u32,
    pub(crate) grant: u64,
    /// Differs from every other ownership of this number.
    pub(crate) ownership: u32,
    pub(crate) phase: Phase,
    /// The source's stream, shared by all its deliveries.
    pub(crate) stream: Arc<Stream>,
    pub(crate) replay_stream: Arc<Stream>,
    pub(crate) source: Track,
    pub(crate) replay: Track,
    pub(crate) tiers: Vec<(Tier, Arc<Stream>)>,
    /// Waits for a commit (`at_most_once`, crash loop).
    pub(crate) staged: VecDeque<Staged>,
    /// So many of `staged`, from the front, are settled by the commit in flight (`at_most_once`).
    pub(crate) covered: usize,
    /// Dispatched with their progress confirmed, and not finished: nobody else would get them.
    pub(crate) settled_early: usize,
    owner: u128,
    epoch: u64,
    log: Option<LogIdentity>,
    pub(crate) founding: Founding,
    pub(crate) crash: CrashCount,
    pub(crate) crash_policy: CrashLoopPolicy,
    /// Something changed since the last commit was built.
    pub(crate) dirty: bool,
    /// (`exactly_once`) The open transaction holds what its handlers returned.
    pub(crate) enlisted: bool,
    /// When a commit was last confirmed, the one of the takeover included.
    pub(crate) committed: Option<Instant>,
    /// When the first commit began of those since then that are not confirmed.
    pub(crate) uncommitted: Option<Instant>,
    /// One message that is timed from its delivery until all up to it are settled: its offset, and when it was delivered.
    pub(crate) timed: Option<(u64, Instant)>,
    /// Delivered from the source and not finished, and their bytes.
    pub(crate) held: usize,
    pub(crate) held_bytes: usize,
    /// Tier records dispatched and not finished, and their bytes.
    pub(crate) retried: usize,
    retried_bytes: usize,
    /// Replay records delivered and not finished, and their bytes. Apart from `retried`: they may wait behind an away head,
    /// and must not keep it from being dispatched.
    pub(crate) replayed: usize,
    pub(crate) replayed_bytes: usize,
    /// Waiting behind away heads, and their bytes.
    pub(crate) parked: i64,
    pub(crate) parked_bytes: i64,
    /// The source is told to pause it.
    pub(crate) paused: bool,
    /// Its record does not fit its store until some away heads end.
    pub(crate) too_large: bool,
    /// Messages run one at a time, each noted before, and more at once while that goes well (crash loop).
    pub(crate) single: bool,
    /// The message that the owner before had noted, until it is dispatched here: noting others before it must not forget
    /// how often it was found.
    suspect: Option<Noted>,
    /// How many go between two commits of that mode.
    slow_start: SlowStart,
    /// The last commit of a single-mode note that was confirmed covers the head of `staged`.
    pub(crate) noted: bool,
    /// The replay partition is being read.
    pub(crate) replay_reading: bool,
}

impl Partition {
    /// A partition as its takeover left it.
    pub(crate) fn new(
        number: u32,
        grant: u64,
        ownership: u32,
        record: PositionRecord,
        topology: &Topology,
        provided: Option<&Arc<Provided>>,
        crash_policy: CrashLoopPolicy,
    ) -> Self {
        let stream = |topic: &Arc<str>, role| {
            let stream = Stream::new(Arc::clone(topic), number, record.epoch, role);
            Arc::new(stream.providing(provided.cloned()))
        };
        let mode = crash_policy.mode(&record.crash, record.watermark());
        Self {
            number,
            grant,
            ownership,
            phase: Phase::Running,
            stream: stream(&topology.source, Role::Source),
            replay_stream: stream(&topology.replay, Role::Replay),
            source: Track::new(record.source),
            replay: Track::new(record.replay.unwrap_or_default()),
            tiers: Vec::new(),
            staged: VecDeque::new(),
            covered: 0,
            settled_early: 0,
            owner: record.owner,
            epoch: record.epoch,
            log: record.log,
            founding: record.founding,
            suspect: record.crash.noted,
            crash: record.crash,
            crash_policy,
            dirty: false,
            enlisted: false,
            committed: None,
            uncommitted: None,
            timed: None,
            held: 0,
            held_bytes: 0,
            retried: 0,
            retried_bytes: 0,
            replayed: 0,
            replayed_bytes: 0,
            parked: 0,
            parked_bytes: 0,
            paused: false,
            too_large: false,
            single: mode != Mode::Normal,
            slow_start: SlowStart::default(),
            noted: false,
            replay_reading: false,
        }
    }

    /// The tier of this delay; a removed tier exists as long as a name is in it.
    pub(crate) fn tier(&mut self, delay: Duration, topology: &Topology) -> usize {
        let role = Role::Tier { delay };
        if let Some(known) = self
            .tiers
            .iter()
            .position(|(_, stream)| stream.role == role)
        {
            return known;
        }
        let topic = topology.tier_topic(delay);
        let stream = Stream::new(Arc::clone(&topic), self.number, self.epoch, role)
            .providing(self.stream.all_provided());
        self.tiers
            .push((Tier::new(topic, millis(delay)), Arc::new(stream)));
        self.tiers.len() - 1
    }

    fn delay_ms(&self, tier: usize) -> u64 {
        match self.tiers[tier].1.role {
            Role::Tier { delay } => millis(delay),
            Role::Source | Role::Replay => 0,
        }
    }

    /// Names of all away heads.
    pub(crate) fn away(&self) -> usize {
        self.tiers.iter().map(|(tier, _)| tier.len()).sum()
    }

    /// Records in its tiers that nobody named, found since this was last asked: their count must not go with the partition.
    pub(crate) fn take_void(&mut self) -> u64 {
        let tiers = self.tiers.iter_mut();
        tiers.map(|(tier, _)| std::mem::take(&mut tier.void)).sum()
    }

    /// Bytes of tier records in hand: dispatched, or read ahead.
    pub(crate) fn retry_bytes(&self) -> usize {
        let ahead = self.tiers.iter().map(|(tier, _)| tier.ahead_bytes);
        self.retried_bytes + ahead.sum::<usize>()
    }

    /// Whether a further tier record may be dispatched: up to `most`, and always when nothing else can move the partition on
    /// (retries that wait behind an away head of their key wait for just that head).
    pub(crate) fn may_retry(&self, most: usize) -> bool {
        self.retried < most || self.only_parked()
    }

    /// Messages in hand, wherever they are from.
    pub(crate) fn in_hand(&self) -> usize {
        self.held + self.retried + self.replayed
    }

    /// Whether all that is in hand waits for an away head.
    pub(crate) fn only_parked(&self) -> bool {
        self.in_hand() as i64 == self.parked
    }

    /// Whether nothing runs or is ready to: all that is in hand waits for a commit or for an away head.
    pub(crate) fn nothing_runs(&self) -> bool {
        (self.in_hand() - self.staged.len()) as i64 == self.parked
    }

    /// The position record as of now, with the first `covered` of those staged settled.
    pub(crate) fn record(&self, clean: bool, covered: usize) -> PositionRecord {
        let covered = || self.staged.range(..covered.min(self.staged.len()));
        let source = covered().filter_map(|staged| match staged.item.ticket.settles {
            Settles::Source(seq) => Some(seq),
            _ => None,
        });
        let replay = covered().filter_map(|staged| match staged.item.ticket.settles {
            Settles::Replay(seq) => Some(seq),
            _ => None,
        });
        let replay = self.replay.map_after(replay);
        PositionRecord {
            owner: self.owner,
            epoch: self.epoch,
            log: self.log.clone(),
            source: self.source.map_after(source),
            replay: (replay.end() > 0).then_some(replay),
            names: self
                .tiers
                .iter()
                .flat_map(|(tier, _)| tier.names())
                .collect(),
            clean,
            crash: self.crash,
            founding: self.founding,
        }
    }

    /// Tells everything that sleeps on its behalf to end.
    pub(crate) fn stop_streams(&self) {
        self.streams().for_each(Stream::stop);
    }

    /// Makes everything that still runs of it count for nothing.
    pub(crate) fn annul_streams(&self) {
        self.streams().for_each(Stream::annul);
    }

    fn streams(&self) -> impl Iterator<Item = &Stream> {
        let tiers = self.tiers.iter().map(|(_, stream)| stream);
        [&self.stream, &self.replay_stream]
            .into_iter()
            .chain(tiers)
            .map(|stream| &**stream)
    }
}

/// Whole milliseconds, as tiers are named by.
pub(crate) fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}
