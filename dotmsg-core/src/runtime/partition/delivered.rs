//! What is delivered of a partition, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Partition;
use crate::backend::Record;
use crate::middleware::{Away, Outcome};
use crate::progress::{Origin, Seq};
use crate::router::Topology;
use crate::runtime::lanes::AwayName;
use crate::runtime::ticket::{Item, Settles, Ticket};

impl Partition {
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

    /// The end of a source record that was handled: [`finish`](Self::finish) without its other cases.
    #[inline]
    pub(crate) fn source_done(&mut self, seq: Seq, bytes: usize) {
        self.held -= 1;
        self.held_bytes -= bytes;
        self.source.tracker.complete(seq);
    }

    /// How long the timed message took, once all up to it are settled; then another one is timed.
    #[inline]
    pub(crate) fn timed_settlement(&mut self) -> Option<Duration> {
        let (offset, delivered) = self.timed?;
        (self.source.watermark() > offset).then(|| {
            self.timed = None;
            delivered.elapsed()
        })
    }

    /// A message is not in hand any more.
    pub(super) fn let_go(&mut self, ticket: &Ticket) {
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
}
