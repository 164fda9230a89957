//! I2, the time of it: a head that went away comes back when the delay of its tier is over, and not before.
//!
//! The delay counts from the append, whoever reads the record: a new owner knows the stamp only.

use std::collections::BTreeMap;

use super::{View, Violation};
use crate::sim::history::{Own, What};

/// A record of a tier: its delay, partition and offset.
type InTier = (u64, u32, u64);

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut appended: BTreeMap<InTier, u64> = BTreeMap::new();
    // Not from the last operation on: what lies in a tier outlives it.
    let of_route = view.history.events.iter();
    for event in of_route.filter(|event| event.route == view.route) {
        match &event.what {
            What::Appended {
                own: Own::Tier(delay),
                place,
                offset: Some(offset),
                ..
            } => {
                appended.insert((*delay, place.partition, *offset), event.at_ms);
            }
            What::Called {
                place,
                tier: Some((delay, offset)),
                ..
            } => {
                let Some(since) = appended.get(&(*delay, place.partition, *offset)) else {
                    found.push(view.violation(
                        "I2 retries have a cause",
                        event.at_ms,
                        *place,
                        format!("member {} calls the handler for a record of the tier of {delay} ms that nobody appended", event.member),
                    ));
                    continue;
                };
                if event.at_ms < since + delay {
                    found.push(view.violation(
                        "I2 no early retry",
                        event.at_ms,
                        *place,
                        format!("member {} calls the handler {} ms after it went away for {delay} ms: look at when its name is due", event.member, event.at_ms - since),
                    ));
                }
            }
            _ => {}
        }
    }
}
