//! What waits for a commit before it is dispatched: everything under `at_most_once`, and in a crash loop one message at a time,
//! or a few.

use std::collections::VecDeque;

use super::Partition;
use crate::progress::{Mode, Origin};
use crate::router::Ordering;
use crate::runtime::lanes::AwayName;
use crate::runtime::ticket::{Item, Settles, Ticket};

/// A message that waits for a commit before it is dispatched.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) item: Item,
    pub(crate) name: Option<AwayName>,
}
impl Partition {
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

    /// Prepares the crash note for a commit that is about to be built, while messages run one at a time: names the next one, if it
    /// goes alone, or ends the mode. `true` when it ends with this commit, once that is confirmed and not before: whatever ends the
    /// process until then must not find the note of a message that has ended well.
    pub(crate) fn note_next(&mut self, ordering: Ordering) -> bool {
        if !self.single || !self.nothing_runs() {
            return false;
        }
        self.slow_start.all_ended();
        let mode = self.crash_policy.mode(&self.crash, self.source.watermark());
        if mode == Mode::Normal {
            self.crash.end();
            return true;
        }
        self.suspect_first(ordering);
        let alone = self.suspect.is_some() || self.slow_start.at_once() == 1;
        self.crash.noted = match self.staged.front() {
            Some(next) if alone => {
                let origin = self.origin_of(&next.item.ticket);
                let suspect = self.suspect.filter(|suspect| suspect.origin == origin);
                suspect.or_else(|| {
                    self.crash.note(origin);
                    self.crash.noted
                })
            }
            // Nothing runs: whoever was noted is not to blame for what comes.
            _ => self.suspect,
        };
        false
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

    /// What the confirmed commit lets go: the message that it notes, or the first few when it notes none.
    pub(crate) fn take_next(&mut self) -> VecDeque<Staged> {
        self.slow_start.let_go();
        let most = match self.crash.noted {
            Some(_) => 1,
            None => self.slow_start.at_once(),
        };
        let later = self.staged.split_off(most.min(self.staged.len()));
        std::mem::replace(&mut self.staged, later)
    }

    /// A staged message is dispatched that the confirmed commit lets go; whether it is to be set aside instead of run.
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
}
