//! One owned partition: what is settled, what is away, what is written down of it.
//!
//! A state machine without IO. The pump tells it what was delivered and how it ended; it says what the position record
//! is. One value describes the partition, so nothing here is ever written in parts.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lanes::AwayName;
use super::ticket::{Item, Settles, Ticket};
use super::tiers::Tier;
use crate::backend::Record;
use crate::delivery::{Role, Stream};
use crate::middleware::{Away, Outcome};
use crate::progress::{
    CrashCount, CrashLoopPolicy, Cursor, Founding, LogIdentity, Mode, Noted, Origin,
    PositionRecord, ResumeMap, Seq, Tracker,
};
use crate::router::{Ordering, Topology};

/// Progress through one log: the source partition, or the replay partition of its number.
#[derive(Debug)]
pub(crate) struct Track {
    tracker: Tracker,
    earlier: Cursor,
    earlier_end: u64,
}

impl Track {
    fn new(earlier: ResumeMap) -> Self {
        Self {
            tracker: Tracker::new(earlier.watermark()),
            earlier_end: earlier.end(),
            earlier: earlier.into_cursor(),
        }
    }

    /// Notes a delivery; `None`: an earlier owner settled it.
    #[inline]
    fn begin(&mut self, offset: u64) -> Option<Seq> {
        if offset < self.earlier_end && self.earlier.is_settled(offset) {
            self.tracker.skip(offset);
            return None;
        }
        Some(self.tracker.begin(offset))
    }

    /// See [`Tracker::peek`]; `None` also for an offset that an earlier owner knew.
    #[inline]
    fn peek(&self, offset: u64) -> Option<Seq> {
        if offset < self.earlier_end {
            return None;
        }
        self.tracker.peek(offset)
    }

    /// How many offsets of a range that was removed nobody has settled: those that an earlier owner did are no loss.
    pub(crate) fn unsettled_in(&self, removed: &Range<u64>) -> u64 {
        let beyond = removed
            .end
            .saturating_sub(removed.start.max(self.earlier_end));
        let listed = self.earlier.map().runs().map(|run| {
            run.end
                .min(removed.end)
                .saturating_sub(run.start.max(removed.start))
        });
        beyond + listed.sum::<u64>()
    }

    /// Reading goes on at `start`: nothing below it that was not read yet is there any more.
    pub(crate) fn pass(&mut self, start: u64) {
        if let Some(last) = start.checked_sub(1) {
            self.tracker.skip(last);
        }
    }

    /// The map once the deliveries with these numbers are settled, too.
    fn map_after(&self, settled: impl Iterator<Item = Seq>) -> ResumeMap {
        let mut settled = settled.peekable();
        if settled.peek().is_none() {
            return self.map();
        }
        let mut after = self.tracker.clone();
        for seq in settled {
            after.complete(seq);
        }
        after.resume_map().followed_by(self.earlier.map())
    }

    fn map(&self) -> ResumeMap {
        self.tracker.resume_map().followed_by(self.earlier.map())
    }

    /// Where reading goes on.
    pub(crate) fn end(&self) -> u64 {
        self.tracker.end()
    }

    /// Every offset below is settled.
    pub(crate) fn watermark(&self) -> u64 {
        self.tracker.watermark()
    }
}

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

/// A message that waits for a commit before it is dispatched.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) item: Item,
    pub(crate) name: Option<AwayName>,
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
    /// Messages run one at a time, each noted before (crash loop).
    pub(crate) single: bool,
    /// The message that the owner before had noted, until it is dispatched here: noting others before it must not forget
    /// how often it was found.
    suspect: Option<Noted>,
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
        crash_policy: CrashLoopPolicy,
    ) -> Self {
        let stream = |topic: &Arc<str>, role| {
            Arc::new(Stream::new(Arc::clone(topic), number, record.epoch, role))
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
            noted: false,
            replay_reading: false,
        }
    }

    /// Notes a source record as in hand: its number and its bytes. `None`: settled by an earlier owner.
    #[inline]
    pub(crate) fn begin_source(&mut self, record: &Record) -> Option<(Seq, u32)> {
        let seq = self.source.begin(record.offset)?;
        let size = u32::try_from(record.message.size()).unwrap_or(u32::MAX);
        self.held += 1;
        self.held_bytes += size as usize;
        Some((seq, size))
    }

    /// The same, as a ticket.
    pub(crate) fn source_item(&mut self, record: &Record) -> Option<Ticket> {
        let (seq, size) = self.begin_source(record)?;
        Some(Ticket {
            partition: self.number,
            ownership: self.ownership,
            settles: Settles::Source(seq),
            offset: record.offset,
            size,
        })
    }

    /// The number that a record of the source will have, without noting anything: for one that is offered to a handler
    /// first. What follows is [`source_handled`](Self::source_handled) or [`source_held`](Self::source_held). `None`: it
    /// has to be noted first.
    #[inline]
    pub(crate) fn peek_source(&self, offset: u64) -> Option<Seq> {
        self.source.peek(offset)
    }

    /// The record with this number was handled at once.
    #[inline]
    pub(crate) fn source_handled(&mut self, offset: u64) {
        self.source.tracker.pass(offset);
    }

    /// The record with this number was not: it is in hand now.
    #[inline(always)]
    pub(crate) fn source_held(&mut self, offset: u64, seq: Seq, bytes: usize) -> Ticket {
        let begun = self.source.tracker.begin(offset);
        debug_assert_eq!(begun, seq, "nothing was begun in between");
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.held += 1;
        self.held_bytes += size as usize;
        Ticket {
            partition: self.number,
            ownership: self.ownership,
            settles: Settles::Source(seq),
            offset,
            size,
        }
    }

    /// A replay record as an item to dispatch; `None`: settled by an earlier owner.
    pub(crate) fn replay_item(&mut self, record: Record) -> Option<Item> {
        let seq = self.replay.begin(record.offset)?;
        let ticket = self.ticket(&record, Settles::Replay(seq));
        self.replayed += 1;
        self.replayed_bytes += ticket.size as usize;
        Some(Item {
            stream: Arc::clone(&self.replay_stream),
            record,
            ticket,
            condemned: None,
        })
    }

    /// A named tier record that is due, as an item to dispatch.
    pub(crate) fn tier_item(&mut self, tier: usize, record: Record) -> (Item, AwayName) {
        let delay_ms = self.delay_ms(tier);
        let name = AwayName {
            delay_ms,
            offset: record.offset,
        };
        let settles = Settles::Tier { delay_ms };
        let ticket = self.ticket(&record, settles);
        self.retried += 1;
        self.retried_bytes += ticket.size as usize;
        let item = Item {
            stream: Arc::clone(&self.tiers[tier].1),
            record,
            ticket,
            condemned: None,
        };
        (item, name)
    }

    fn delay_ms(&self, tier: usize) -> u64 {
        match self.tiers[tier].1.role {
            Role::Tier { delay } => millis(delay),
            Role::Source | Role::Replay => 0,
        }
    }

    #[inline]
    fn ticket(&self, record: &Record, settles: Settles) -> Ticket {
        Ticket {
            partition: self.number,
            ownership: self.ownership,
            settles,
            offset: record.offset,
            size: u32::try_from(record.message.size()).unwrap_or(u32::MAX),
        }
    }

    /// The commit that covers the front of `staged` is confirmed: these may run now, and only here (`at_most_once`).
    pub(crate) fn settle_covered(&mut self) -> VecDeque<Staged> {
        let later = self.staged.split_off(self.covered.min(self.staged.len()));
        let mut covered = std::mem::replace(&mut self.staged, later);
        self.covered = 0;
        for Staged { item, .. } in &mut covered {
            let replay = match item.ticket.settles {
                Settles::Source(seq) => {
                    self.source.tracker.complete(seq);
                    false
                }
                Settles::Replay(seq) => {
                    self.replay.tracker.complete(seq);
                    true
                }
                Settles::Tier { .. } | Settles::Nothing { .. } => continue,
            };
            item.ticket.settles = Settles::Nothing { replay };
            self.settled_early += 1;
        }
        covered
    }

    /// Drops what is staged behind the first `keep`: it stays unsettled, for the next owner.
    pub(crate) fn unstage(&mut self, keep: usize) {
        for Staged { item, .. } in self.staged.split_off(keep.min(self.staged.len())) {
            self.let_go(&item.ticket);
        }
        self.covered = self.covered.min(keep);
    }

    /// Whether all that was settled early has ended, but for followers of a head that is away.
    pub(crate) fn has_run_out(&self) -> bool {
        self.staged.is_empty() && self.only_parked()
    }

    /// The end of a source record that was handled: [`finish`](Self::finish) without its other cases.
    #[inline]
    pub(crate) fn source_done(&mut self, seq: Seq, bytes: usize) {
        self.held -= 1;
        self.held_bytes -= bytes;
        self.source.tracker.complete(seq);
    }

    /// A message is not in hand any more.
    fn let_go(&mut self, ticket: &Ticket) {
        let (count, bytes) = match ticket.settles {
            Settles::Source(_) | Settles::Nothing { replay: false } => {
                (&mut self.held, &mut self.held_bytes)
            }
            Settles::Tier { .. } => (&mut self.retried, &mut self.retried_bytes),
            Settles::Replay(_) | Settles::Nothing { replay: true } => {
                (&mut self.replayed, &mut self.replayed_bytes)
            }
        };
        *count -= 1;
        *bytes -= ticket.size as usize;
    }

    /// The end of a message; when it is away, the topology tells its tier and `now` when it is due at the latest.
    ///
    /// Returns the index of the tier that gained a name.
    pub(crate) fn finish(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: impl FnOnce() -> Instant,
        topology: &Topology,
    ) -> Option<usize> {
        self.let_go(&ticket);
        if let Settles::Nothing { .. } = ticket.settles {
            // A handler that outlived its partition was given up for lost before.
            self.settled_early = self.settled_early.saturating_sub(1);
            return None;
        }
        if outcome == Outcome::Interrupted {
            return None;
        }
        self.dirty = true;
        let origin = match ticket.settles {
            Settles::Nothing { .. } => return None,
            Settles::Source(seq) => {
                self.source.tracker.complete(seq);
                Origin::Source(ticket.offset)
            }
            Settles::Replay(seq) => {
                self.replay.tracker.complete(seq);
                Origin::Replay(ticket.offset)
            }
            Settles::Tier { delay_ms } => {
                let tier = self.tier(Duration::from_millis(delay_ms), topology);
                self.tiers[tier]
                    .0
                    .settle(ticket.offset)
                    .expect("a dispatched tier record is named")
            }
        };
        let Outcome::Away(Away { delay, offset, .. }) = outcome else {
            // The message that ended the process is set aside: what waits behind it need not go one at a time.
            if self.crash_policy.dead_letter(&self.crash) == Some(origin) {
                self.crash.end();
            }
            return None;
        };
        let tier = self.tier(delay, topology);
        self.tiers[tier].0.name(offset, origin, now() + delay);
        Some(tier)
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
        let stream = Stream::new(Arc::clone(&topic), self.number, self.epoch, role);
        self.tiers
            .push((Tier::new(topic, millis(delay)), Arc::new(stream)));
        self.tiers.len() - 1
    }

    /// Names of all away heads.
    pub(crate) fn away(&self) -> usize {
        self.tiers.iter().map(|(tier, _)| tier.len()).sum()
    }

    /// Records in its tiers that nobody named.
    pub(crate) fn void(&self) -> u64 {
        self.tiers.iter().map(|(tier, _)| tier.void).sum()
    }

    /// Prepares the crash note for a commit that is about to be built, while messages run one at a time: names the next one,
    /// or ends the mode. `true` when it ends with this commit, once that is confirmed and not before: whatever ends the
    /// process until then must not find the note of a message that has ended well.
    pub(crate) fn note_next(&mut self, ordering: Ordering) -> bool {
        if !self.single || !self.nothing_runs() {
            return false;
        }
        let mode = self.crash_policy.mode(&self.crash, self.source.watermark());
        if mode == Mode::Normal {
            self.crash.end();
            return true;
        }
        self.suspect_first(ordering);
        self.crash.noted = match self.staged.front() {
            Some(next) => {
                let origin = self.origin_of(&next.item.ticket);
                let suspect = self.suspect.filter(|suspect| suspect.origin == origin);
                suspect.or_else(|| {
                    self.crash.note(origin);
                    self.crash.noted
                })
            }
            // Nothing runs: whoever was noted is not to blame for what comes.
            None => self.suspect,
        };
        false
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

    /// Puts the message that earlier owners noted to the front of those staged: noting another one first, which may only
    /// wait for an away head, would forget how often it was found. It stays behind messages of its key.
    pub(crate) fn suspect_first(&mut self, ordering: Ordering) {
        let Some(noted) = self.crash.noted else {
            return;
        };
        let found = self
            .staged
            .iter()
            .position(|staged| self.origin_of(&staged.item.ticket) == noted.origin);
        let Some(index) = found else {
            return;
        };
        let key = |staged: &Staged| staged.item.record.message.key.clone();
        let suspect = key(&self.staged[index]);
        let waits = match ordering {
            Ordering::Key => {
                suspect.is_some() && self.staged.range(..index).any(|one| key(one) == suspect)
            }
            Ordering::Partition => true,
            Ordering::None => false,
        };
        if !waits && let Some(staged) = self.staged.remove(index) {
            self.staged.push_front(staged);
        }
    }

    /// The staged message that the confirmed note names is dispatched; whether it is to be set aside instead of run.
    pub(crate) fn begin_noted(&mut self, ticket: &Ticket) -> bool {
        let origin = self.origin_of(ticket);
        // From now on it is judged by what this owner sees of it.
        self.suspect.take_if(|suspect| suspect.origin == origin);
        self.crash_policy.dead_letter(&self.crash) == Some(origin)
    }

    /// The origin of a message in hand, as the crash note names it.
    pub(crate) fn origin_of(&self, ticket: &Ticket) -> Origin {
        match ticket.settles {
            Settles::Source(_) | Settles::Nothing { replay: false } => {
                Origin::Source(ticket.offset)
            }
            Settles::Replay(_) | Settles::Nothing { replay: true } => Origin::Replay(ticket.offset),
            Settles::Tier { delay_ms } => self
                .tiers
                .iter()
                .flat_map(|(tier, _)| tier.names())
                .find(|name| name.tier.0 == delay_ms && name.offset == ticket.offset)
                .map_or(Origin::Source(ticket.offset), |name| name.origin),
        }
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
        self.stream.stop();
        self.replay_stream.stop();
        for (_, stream) in &self.tiers {
            stream.stop();
        }
    }
}

/// Whole milliseconds, as tiers are named by.
pub(crate) fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}
