//! I2: key order. Strict within an ownership; over all owners, messages of a key first end in the order of the source.
//!
//! A new owner starts at an uncommitted message and repeats all later ones, and a former one that does not know yet may
//! repeat what the new one handled; so over all owners only *first* ends are in order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{View, Violation};
use crate::sim::history::{Event, Place, What};

/// Where a key is, in the hands of one ownership.
#[derive(Clone, Copy, Default)]
struct At {
    /// The last offset that was called for; `None` before the first.
    last: Option<u64>,
    /// The handler runs for this offset.
    running: Option<u64>,
    /// That one has ended.
    ended: bool,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    if !view.history.routes[view.route as usize].keeps_order {
        return;
    }
    strict(view, found);
    first_ends(view, found);
}

/// An ownership of a partition: a life and its epoch; and in it, a key.
type Hand = (u32, u32, u64, u32);

fn strict(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut hands: BTreeMap<Hand, At> = BTreeMap::new();
    // The epoch under which a life has called for a record last.
    let mut epochs: BTreeMap<(u32, Place), u64> = BTreeMap::new();
    let mut twice = view.delivered_twice();
    for event in view.of_route() {
        match &event.what {
            What::Called {
                place,
                epoch,
                replay,
                ..
            } => {
                let Some(key) = view.key(*place) else {
                    continue;
                };
                epochs.insert((event.life, *place), *epoch);
                let hand = (event.life, place.partition, *epoch, key);
                let at = hands.entry(hand).or_default();
                let again = *replay || twice.at(*place).is_some_and(|twice| *twice);
                if let Some(problem) = wrong(at, place.offset, again) {
                    found.push(call(view, event, *place, &problem));
                }
                at.running = Some(place.offset);
                // A replayed one says nothing of where the source is.
                if !*replay {
                    (at.last, at.ended) = (Some(place.offset), false);
                }
            }
            What::Left(place) => with(view, &mut hands, &epochs, event.life, *place, |at| {
                at.running = at.running.filter(|running| *running != place.offset);
            }),
            What::Ended(place, became) if became.is_settled() => {
                with(view, &mut hands, &epochs, event.life, *place, |at| {
                    at.ended |= at.last == Some(place.offset);
                });
            }
            _ => {}
        }
    }
}

fn with(
    view: &View<'_>,
    hands: &mut BTreeMap<Hand, At>,
    epochs: &BTreeMap<(u32, Place), u64>,
    life: u32,
    place: Place,
    change: impl FnOnce(&mut At),
) {
    if let (Some(key), Some(epoch)) = (view.key(place), epochs.get(&(life, place)))
        && let Some(at) = hands.get_mut(&(life, place.partition, *epoch, key))
    {
        change(at);
    }
}

/// What is wrong with a call for `offset`, if anything; `again`: it was delivered twice on purpose.
fn wrong(at: &At, offset: u64, again: bool) -> Option<String> {
    if let Some(running) = at.running {
        return Some(format!(
            "the handler still runs for offset {running} of the same key"
        ));
    }
    let last = at.last.filter(|_| !again)?;
    match (offset.cmp(&last), at.ended) {
        (Ordering::Less, _) => Some(format!("offset {last} of the same key came before it")),
        (Ordering::Equal, true) => Some("it had ended in this ownership".to_owned()),
        (Ordering::Greater, false) => Some(format!("offset {last} of the same key has not ended")),
        (Ordering::Equal, false) | (Ordering::Greater, true) => None,
    }
}

fn call(view: &View<'_>, event: &Event, place: Place, problem: &str) -> Violation {
    let member = event.member;
    view.violation(
        "I2 key order",
        event.at_ms,
        place,
        format!("member {member} calls the handler for it although {problem}: look at the lane of its key"),
    )
}

fn first_ends(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut ended = view.ended_before();
    let mut replayed = view.table::<bool>();
    let mut last: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for event in view.of_route() {
        if let What::Called { place, replay, .. } = &event.what {
            if let Some(replayed) = replayed.at(*place) {
                *replayed = *replay;
            }
            continue;
        }
        let Some(place) = view.end(&event.what) else {
            continue;
        };
        // A replayed message has lost its place in the order.
        if replayed.at(place).is_some_and(|replayed| *replayed) {
            continue;
        }
        let (Some(ended), Some(key)) = (ended.at(place), view.key(place)) else {
            continue;
        };
        if std::mem::replace(ended, true) {
            continue;
        }
        let last = last.entry((place.partition, key)).or_insert(0);
        if place.offset < *last {
            found.push(view.violation(
                "I2 key order across owners",
                event.at_ms,
                place,
                format!("it ends for the first time after offset {last} of the same key: look at what the owner between them had read of the position record"),
            ));
        }
        *last = (*last).max(place.offset);
    }
}
