//! I1, I8, I9: what was published is there, once, and ends; nothing else does.

use super::{View, Violation};
use crate::sim::history::{Told, What};

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let mut ended = view.ended_before();
    for event in view.events() {
        match &event.what {
            What::Published {
                message,
                told,
                place,
            } => {
                let lies = place.and_then(|place| view.history.recorded(view.route, place));
                let there = lies.is_some_and(|recorded| recorded.message == Some(*message));
                if *told == Told::Ok && !there && view.scripted {
                    found.push(view.violation(
                        "I9 one value per offset",
                        event.at_ms,
                        *place,
                        format!("message {message} was confirmed there, and another lies there: look at the log's append"),
                    ));
                }
            }
            What::Called { place, .. } if event.route == view.route => {
                if view.history.recorded(view.route, *place).is_none() {
                    found.push(view.violation(
                        "I8 no phantom",
                        event.at_ms,
                        *place,
                        "a handler was called for a record that the source does not hold: look at the lineage of retries",
                    ));
                }
            }
            what => {
                if event.route == view.route
                    && let Some(place) = view.end(what)
                    && let Some(ended) = ended.at(place)
                {
                    *ended = true;
                }
            }
        }
    }
    for (place, _) in ended.iter().filter(|(_, ended)| !**ended) {
        let message = view
            .history
            .recorded(view.route, place)
            .and_then(|one| one.message);
        found.push(view.violation(
            "I1 no loss",
            view.history.over_at_ms,
            place,
            format!("message {message:?} was neither handled nor became a dead letter: look at the commits that settle it"),
        ));
    }
}
