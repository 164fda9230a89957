//! The crash loop: finding the message that kills the process.
//!
//! A message that aborts the process leaves no error to count. What is left is that owners keep coming back unclean at the
//! same watermark. After some of those the partition runs one message at a time and notes each in the record *before* its
//! dispatch; the one found noted by enough unclean takeovers becomes a dead letter of kind `crash_loop`.
//!
//! Nearly always that is one of the first. And often there is none: members were put out of their group again and again, or
//! killed from outside, and everybody waits. So an owner lets more go between two commits the longer it goes well ([`SlowStart`]). A
//! message that ends the process in company is noted by nobody; the next owner begins where that company began, alone again.
//!
//! The mode ends with the dead letter, or where what can have been in flight ends. Both are early on purpose: a message that
//! is met only afterwards starts a count of its own, and every count begins further on (ADR 0002).
//!
//! What must stay true: a clean release clears the count (a row of crashes is broken); a message is noted only when nothing
//! else runs, and whatever ends the mode forgets the note, or the next message would be blamed.

use super::names::Origin;

/// When a partition is taken for one in a crash loop. `takeovers` = 0 turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashLoopPolicy {
    /// Unclean takeovers in a row at one watermark from which messages run one at a time. Default 5, 0 = off.
    pub takeovers: u32,
    /// Unclean takeovers that found a message noted after which it becomes a dead letter. Default 3, 0 = never.
    pub confirmations: u32,
    /// Messages that an owner has in hand at most (`max_held_messages`). Default 20,000.
    pub in_hand: u64,
}

impl Default for CrashLoopPolicy {
    fn default() -> Self {
        Self {
            takeovers: 5,
            confirmations: 3,
            in_hand: 20_000,
        }
    }
}

impl CrashLoopPolicy {
    /// How a partition whose record says `crash` runs at `watermark`. Ask again as the watermark moves.
    #[must_use]
    pub fn mode(&self, crash: &CrashCount, watermark: u64) -> Mode {
        match crash.until {
            Some(until) if self.takeovers > 0 && watermark < until => Mode::Single { until },
            _ => Mode::Normal,
        }
    }

    /// The message that is to become a dead letter instead of being dispatched again.
    #[must_use]
    pub fn dead_letter(&self, crash: &CrashCount) -> Option<Origin> {
        let enabled = self.takeovers > 0 && self.confirmations > 0;
        crash
            .noted
            .filter(|noted| enabled && noted.confirmations >= self.confirmations)
            .map(|noted| noted.origin)
    }
}

/// How a partition runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As configured.
    Normal,
    /// One message at a time, each noted in the record (confirmed) before its dispatch. An owner for which that goes well for a
    /// while lets several go together, unnoted.
    Single {
        /// The watermark at which normal running resumes.
        until: u64,
    },
}

/// So many messages go alone: as many commits as a restart of the process is worth.
const ALONE: u32 = 16;
/// No more than 2 to this power go at once.
const LIMIT: u32 = 20;

/// How many messages an owner lets go between two commits in single-message mode: one, [`ALONE`] times, then twice as many each
/// time. No record keeps it: every owner begins with one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SlowStart {
    went_well: u32,
    is_out: bool,
}

impl SlowStart {
    /// What the next commit lets go.
    pub(crate) fn at_once(self) -> usize {
        1 << self.went_well.saturating_sub(ALONE - 1).min(LIMIT)
    }

    /// It has gone.
    pub(crate) fn let_go(&mut self) {
        self.is_out = true;
    }

    /// Nothing runs.
    pub(crate) fn all_ended(&mut self) {
        let ended = std::mem::take(&mut self.is_out);
        self.went_well = self.went_well.saturating_add(u32::from(ended));
    }
}

/// A message noted before its dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// The message.
    pub origin: Origin,
    /// Unclean takeovers that found it noted.
    pub confirmations: u32,
}

/// What a position record knows of crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrashCount {
    /// Unclean takeovers in a row at `watermark`.
    pub takeovers: u32,
    /// The watermark of the last takeover.
    pub watermark: u64,
    /// The message that was dispatched last in single-message mode, if it went alone.
    pub noted: Option<Noted>,
    /// The watermark at which single-message mode ends at the latest; `None` in normal running.
    pub until: Option<u64>,
}

impl CrashCount {
    /// Notes `origin` before its dispatch in single-message mode; its confirmations stay when it was noted already.
    pub fn note(&mut self, origin: Origin) {
        if self.noted.is_none_or(|noted| noted.origin != origin) {
            self.noted = Some(Noted {
                origin,
                confirmations: 0,
            });
        }
    }

    /// Ends single-message mode: a message that ends the process after this is counted anew.
    pub fn end(&mut self) {
        *self = Self {
            watermark: self.watermark,
            ..Self::default()
        };
    }

    /// The count after a takeover at `watermark` of a record that was left clean or not.
    pub(super) fn taken_over(
        &self,
        clean: bool,
        watermark: u64,
        reached: u64,
        policy: &CrashLoopPolicy,
    ) -> Self {
        if clean {
            return Self {
                watermark,
                ..Self::default()
            };
        }
        // In single-message mode the watermark moves with every message: that must not start the count anew.
        let single = self.until.filter(|until| watermark < *until);
        let takeovers = match single {
            None if watermark != self.watermark => 1,
            _ => self.takeovers.saturating_add(1),
        };
        let looping = policy.takeovers > 0 && takeovers >= policy.takeovers;
        let until = single.or_else(|| looping.then(|| reached.max(watermark.saturating_add(1))));
        let confirm = |noted: Noted| Noted {
            confirmations: noted.confirmations.saturating_add(1),
            ..noted
        };
        let noted = self.noted.filter(|_| until.is_some()).map(confirm);
        Self {
            takeovers,
            watermark,
            noted,
            until,
        }
    }
}
