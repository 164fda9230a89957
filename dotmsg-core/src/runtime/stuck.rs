//! Calls of a handler that do not end.
//!
//! Nothing is noted when a call begins: a look, now and then, finds which messages are in hand, and remembers when it saw each
//! of them first. So an age is too small by up to the time between two looks, and no message pays for it.

use std::time::Duration;

use tokio::time::Instant;

use super::ticket::Ticket;
use crate::clock::Timestamp;

/// A call that has run for so long is stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(60);

/// The most stuck calls that are told of one by one.
pub const STUCK_MAX: usize = 16;

/// A call of a handler that has run for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckCall {
    /// The partition of its message.
    pub partition: u32,
    /// The offset of its message, in the topic that it was read from: the source, a tier, or the replay topic.
    pub offset: u64,
    /// A hash of its key, the same for all messages of the key while the process runs: logs and metrics show no keys. `None`: it
    /// has no key.
    pub key_hash: Option<u64>,
    /// It runs since then, at least.
    pub since: Timestamp,
}

impl StuckCall {
    /// Whether both are of one message.
    pub(crate) fn is_of_same(&self, other: &Self) -> bool {
        (self.partition, self.offset, self.key_hash)
            == (other.partition, other.offset, other.key_hash)
    }
}

/// A message whose handler runs, as its worker sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHand {
    pub(crate) ticket: Ticket,
    pub(crate) key_hash: Option<u64>,
}

/// What one worker had in hand at the last look.
#[derive(Debug, Default)]
pub(crate) struct Calls(Vec<(InHand, Instant)>);

impl Calls {
    /// Takes over what is in hand now. What was there before is older than now.
    pub(crate) fn look(&mut self, now: Instant, in_hand: Vec<InHand>) {
        let before = std::mem::take(&mut self.0);
        let place = |ticket: &Ticket| (ticket.partition, ticket.ownership, ticket.offset);
        let mut known: Vec<_> = before
            .iter()
            .map(|(call, since)| (place(&call.ticket), call.ticket.settles, *since))
            .collect();
        known.sort_unstable_by_key(|(place, ..)| *place);
        let since = |ticket: &Ticket| {
            let first = known.partition_point(|(known, ..)| *known < place(ticket));
            known[first..]
                .iter()
                .take_while(|(known, ..)| *known == place(ticket))
                .find(|(_, settles, _)| *settles == ticket.settles)
                .map(|(.., since)| *since)
        };
        self.0 = in_hand
            .into_iter()
            .map(|call| (call, since(&call.ticket).unwrap_or(now)))
            .collect();
    }

    /// Those that are stuck.
    pub(crate) fn stuck(&self, now: Instant) -> impl Iterator<Item = (&InHand, Instant)> {
        let long = move |since: Instant| now.saturating_duration_since(since) >= STUCK_AFTER;
        let stuck = self.0.iter().filter(move |(_, since)| long(*since));
        stuck.map(|(call, since)| (call, *since))
    }

    /// Whether anything is in hand.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ticket::Settles;

    fn in_hand(offset: u64, settles: Settles) -> InHand {
        let ticket = Ticket {
            partition: 3,
            ownership: 1,
            settles,
            offset,
            size: 0,
        };
        InHand {
            ticket,
            key_hash: Some(offset),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_stuck_once_it_was_in_hand_for_a_minute() {
        let mut calls = Calls::default();
        let source = Settles::Nothing { replay: false };
        let tier = Settles::Tier { delay_ms: 5_000 };
        let start = Instant::now();
        calls.look(start, vec![in_hand(7, source), in_hand(8, source)]);
        let later = start + Duration::from_secs(30);
        // 8 has ended; what was read from a tier at the same offset is another message.
        calls.look(
            later,
            vec![in_hand(7, tier), in_hand(7, source), in_hand(9, source)],
        );
        let at = start + STUCK_AFTER;
        let stuck: Vec<_> = calls
            .stuck(at)
            .map(|(call, since)| (call.ticket.settles, since))
            .collect();
        assert_eq!(stuck, [(source, start)]);
        assert_eq!(calls.stuck(at - Duration::from_nanos(1)).count(), 0);
        assert_eq!(calls.stuck(later + STUCK_AFTER).count(), 3);
        calls.look(later + STUCK_AFTER, Vec::new());
        assert!(!calls.any());
    }
}
