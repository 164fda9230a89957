//! I4 and I13: how often an effect is applied. Once, where the handler dedups; else again only by another owner, and never
//! once its end is committed.

use super::{View, Violation};
use crate::progress::{Origin, PositionRecord};
use crate::sim::history::What;

/// What is known of one record.
#[derive(Clone, Copy, Default)]
struct Known {
    effects: u32,
    /// Life and epoch of the last end.
    ended: Option<(u32, u64)>,
    /// Life and epoch of the last call.
    called: (u32, u64),
    /// That call was for a replayed dead letter.
    replay: bool,
    /// A record of this epoch that settles it was stored.
    settled: Option<u64>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut known = view.table::<Known>();
    let mut twice = view.delivered_twice();
    let mut below = vec![0; known.0.len()];
    for event in view.of_route() {
        match &event.what {
            What::Called {
                place,
                epoch,
                replay,
                ..
            } => {
                let Some(known) = known.at(*place) else {
                    continue;
                };
                known.called = (event.life, *epoch);
                known.replay = *replay;
                if *replay || twice.at(*place).is_some_and(|twice| *twice) {
                    continue;
                }
                if known.ended == Some((event.life, *epoch)) {
                    found.push(view.violation(
                        "I13 repeats have a cause",
                        event.at_ms,
                        *place,
                        format!("life {} calls the handler again in the ownership in which it ended: look at what was read twice", event.life),
                    ));
                }
                if known.settled.is_some_and(|settled| *epoch >= settled) {
                    found.push(view.violation(
                        "I13 repeats have a cause",
                        event.at_ms,
                        *place,
                        format!("life {} calls the handler although its end is committed: look at the resume map that it took over", event.life),
                    ));
                }
            }
            What::Effect {
                place,
                applied: true,
            } => {
                if let Some(known) = known.at(*place) {
                    known.effects += 1;
                    if view.plan.setting.dedup && known.effects > 1 {
                        found.push(view.violation(
                            "I4 effects once",
                            event.at_ms,
                            *place,
                            "its effect was applied twice although the handler dedups",
                        ));
                    }
                }
            }
            What::Ended(place, became) => {
                // What ends without a call, as a duplicate does, is no end of another life's call.
                if became.is_settled()
                    && let Some(known) = known.at(*place)
                    && known.called.0 == event.life
                    && !known.replay
                {
                    known.ended = Some(known.called);
                }
            }
            What::Commit {
                partition,
                stored: true,
                record,
                ..
            } => {
                let below = &mut below[*partition as usize];
                commit(&mut known.0[*partition as usize], below, record);
            }
            _ => {}
        }
    }
}

/// What a stored record says of the records of its partition. The last one counts: a later one may have been cut, and what is cut is
/// unsettled again.
fn commit(known: &mut [Known], below: &mut u64, record: &PositionRecord) {
    let first = usize::try_from(*below).unwrap_or(usize::MAX);
    for (offset, known) in (*below..).zip(known.iter_mut().skip(first)) {
        if !record.source.is_settled(offset) {
            known.settled = None;
        } else if known.settled.is_none()
            && !record
                .names
                .iter()
                .any(|name| name.origin == Origin::Source(offset))
        {
            known.settled = Some(record.epoch);
        }
    }
    if record.names.is_empty() {
        *below = (*below).max(record.watermark());
    }
}
