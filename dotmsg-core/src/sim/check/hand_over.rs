//! I10, the other half: a hand-over with nothing in its way repeats nothing.
//!
//! What is in the way: a call that stands still, a commit that was not confirmed or not in full, a broker that is down or full,
//! a record that was cut for lack of room. Then the former owner could not have done better, and the next one repeats.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, Violation};
use crate::progress::{Origin, PositionRecord};
use crate::sim::history::{Event, Place, Told, What};
use crate::sim::plan::Setting;
use crate::testing::Became;

/// A partition in the hands of one life.
#[derive(Default)]
struct Hand {
    grant: u64,
    /// The epoch of its last stored record.
    epoch: u64,
    clean: bool,
    /// Something was in the way since that record.
    hindered: bool,
    /// What ended in it, and whether it went away; without what its last stored record knows of.
    open: BTreeMap<u64, Became>,
}

/// What is known of one life.
#[derive(Default)]
struct Known {
    hands: BTreeMap<u32, Hand>,
    /// The epoch of each record's last call; `None`: it was a replay, which says nothing of the source.
    called: BTreeMap<Place, Option<u64>>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    if view.plan.setting.record_bytes < Setting::default().record_bytes {
        return;
    }
    let mut lives: BTreeMap<u32, Known> = BTreeMap::new();
    // Of two deliveries of one record, the second is open when the first has ended.
    let mut twice = view.delivered_twice();
    for event in view.events() {
        if let What::Broker { up: false } = event.what {
            let hands = lives.values_mut().flat_map(|life| life.hands.values_mut());
            hands.for_each(|hand| hand.hindered = true);
            continue;
        }
        let life = lives.entry(event.life).or_default();
        if matches!(event.what, What::Froze | What::Woke) {
            life.hands
                .values_mut()
                .for_each(|hand| hand.hindered = true);
        } else if event.route == view.route {
            if let What::Ended(place, _) = event.what
                && twice.at(place).is_some_and(|twice| *twice)
            {
                continue;
            }
            life.note(view, event, found);
        }
    }
}

impl Known {
    fn note(&mut self, view: &View<'_>, event: &Event, found: &mut Vec<Violation>) {
        match &event.what {
            What::Assigned(partition, grant) => {
                let hand = Hand {
                    grant: *grant,
                    ..Hand::default()
                };
                self.hands.insert(*partition, hand);
            }
            What::Lost(partition) => {
                self.hands.remove(partition);
            }
            What::Called {
                place,
                epoch,
                replay,
                ..
            } => {
                self.called.insert(*place, (!replay).then_some(*epoch));
            }
            What::Ended(_, Became::Interrupted) => {}
            What::Ended(place, became) => {
                if let (Some(Some(epoch)), Some(hand)) =
                    (self.called.get(place), self.hands.get_mut(&place.partition))
                    && *epoch == hand.epoch
                {
                    hand.open.insert(place.offset, *became);
                }
            }
            What::Commit {
                partition,
                grant,
                stored,
                told,
                record,
                ..
            } => {
                if let Some(hand) = self.hands.get_mut(partition)
                    && hand.grant == *grant
                {
                    hand.committed(*stored && *told == Told::Ok, record);
                }
            }
            What::Released(partition, grant) => {
                if let Some(hand) = self.hands.get_mut(partition)
                    && hand.grant == *grant
                {
                    std::mem::take(hand).released(view, event, *partition, found);
                }
            }
            _ => {}
        }
    }
}

impl Hand {
    fn committed(&mut self, confirmed: bool, record: &PositionRecord) {
        self.hindered = !confirmed;
        if !confirmed {
            return;
        }
        (self.epoch, self.clean) = (record.epoch, record.clean);
        let named: BTreeSet<Origin> = record.names.iter().map(|name| name.origin).collect();
        self.open.retain(|offset, became| {
            let away = matches!(became, Became::Away(_));
            !record.source.is_settled(*offset) || named.contains(&Origin::Source(*offset)) != away
        });
    }

    fn released(self, view: &View<'_>, event: &Event, partition: u32, found: &mut Vec<Violation>) {
        if self.hindered || self.epoch == 0 {
            return;
        }
        if let Some((&offset, became)) = self.open.first_key_value() {
            found.push(view.violation(
                "I10 a clean hand-over repeats nothing",
                event.at_ms,
                Place { partition, offset },
                format!("life {} released its partition before a stored record said that it came to {became:?}: look at the last commit", event.life),
            ));
        } else if !self.clean {
            found.push(view.violation(
                "I10 a clean hand-over repeats nothing",
                event.at_ms,
                None,
                format!("life {} released partition {partition} although its last stored record is not clean: look at the last commit", event.life),
            ));
        }
    }
}
