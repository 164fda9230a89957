//! I6: the dead letters are those of the messages that were given up, each with its lineage, and of nobody else.

use std::collections::BTreeMap;

use super::{View, Violation};
use crate::sim::history::{Letter, Place};
use crate::sim::plan::Planned;

const INVARIANT: &str = "I6 dead letters";

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let left = &view.history.left[view.route as usize];
    let over = view.history.over_at_ms;
    let mut lettered = view.table::<bool>();
    let planned: BTreeMap<u32, &Planned> =
        view.plan.messages.iter().map(|one| (one.id, one)).collect();
    let of = |place: Place| {
        let message = view.history.recorded(view.route, place)?.message?;
        planned.get(&message).copied()
    };
    // What was in a topic of the same name before says nothing of this one.
    let of_this_topic = |letter: &&Letter| letter.at_ms >= view.recreated_ms();
    for letter in left.letters.iter().filter(of_this_topic) {
        let place = letter.place;
        if !letter.same_message {
            found.push(view.violation(
                INVARIANT,
                over,
                place,
                "its dead letter is not the message as it lies in the source (partition, key, payload, headers, timestamp)",
            ));
        }
        let Some(lettered) = lettered.at(place) else {
            found.push(view.violation(
                INVARIANT,
                over,
                place,
                "a dead letter of a record that the source does not hold",
            ));
            continue;
        };
        *lettered = true;
        if !view.scripted || letter.kind == "crash_loop" {
            continue;
        }
        if let Some(planned) = of(place)
            && planned.ends_dead(&view.plan.setting) == Some(false)
        {
            found.push(view.violation(
                INVARIANT,
                over,
                place,
                format!("a dead letter of kind {} after {} attempts, and its handler succeeds at the latest at attempt {}", letter.kind, letter.attempts, planned.fails + 1),
            ));
        }
    }
    if !view.scripted {
        return;
    }
    for (place, lettered) in lettered.iter() {
        if let Some(planned) = of(place)
            && planned.ends_dead(&view.plan.setting) == Some(true)
            && !lettered
            && left.settled
            && !view.is_passed_over(place)
        {
            found.push(view.violation(
                INVARIANT,
                over,
                place,
                "its handler gives it up, and there is no dead letter: look at what settled it",
            ));
        }
    }
}
