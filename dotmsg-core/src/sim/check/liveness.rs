//! I12: once nothing goes wrong any more, everything is settled within limited time. And nobody fails without a cause.

use super::{View, Violation};
use crate::error::ErrorKind;
use crate::sim::history::{History, What};
use crate::sim::plan::{Fault, Kind, Plan};

/// A member may give up what failed while the broker did: so long after the last fault.
const GIVEN_UP_WITHIN_MS: u64 = 1_000;

/// The app was never started.
pub(super) fn never_started(history: &History, found: &mut Vec<Violation>) {
    let failure = history
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.what {
            What::Failed(_, text) => Some(text.to_string()),
            _ => None,
        });
    let problem = failure.unwrap_or_else(|| "no member was ever started".to_owned());
    found.push(Violation {
        invariant: "I12 liveness",
        at_ms: history.over_at_ms,
        place: None,
        problem,
    });
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let left = &view.history.left[view.route as usize];
    if !left.settled {
        let open: Vec<String> = (0..)
            .zip(left.source.iter().zip(&left.positions))
            .filter_map(|(partition, (source, position)): (u32, _)| match position {
                None => Some(format!("partition {partition} has no position")),
                Some(record) if !record.settled(source.len() as u64) => Some(format!(
                    "partition {partition} is at {} of {} with {} away",
                    record.watermark(),
                    source.len(),
                    record.names.len()
                )),
                Some(_) => None,
            })
            .collect();
        found.push(view.violation(
            "I12 liveness",
            view.history.over_at_ms,
            None,
            format!(
                "not settled {} ms after the last fault: {}",
                view.history.over_at_ms - view.history.calm_at_ms,
                open.join(", ")
            ),
        ));
    }
    for event in &view.history.events {
        if let What::Failed(kind, text) = &event.what
            && !(event.at_ms <= view.history.calm_at_ms + GIVEN_UP_WITHIN_MS
                && has_a_cause(*kind, view.plan))
        {
            found.push(view.violation(
                "I12 liveness",
                event.at_ms,
                None,
                format!(
                    "member {} failed, and nothing that was done to it explains that: {text}",
                    event.member
                ),
            ));
        }
    }
}

/// A broker that is down, has no room, or refuses one commit after the other ends an app, when the plan has such a time.
fn has_a_cause(kind: ErrorKind, plan: &Plan) -> bool {
    let broker_fails = |fault: &Fault| {
        matches!(
            fault.kind,
            Kind::Outage { .. }
                | Kind::Full { .. }
                | Kind::CommitFails
                | Kind::CommitPartly
                | Kind::CommitUnsent
                | Kind::CommitUnheard
        )
    };
    matches!(
        kind,
        ErrorKind::Unreachable | ErrorKind::Full | ErrorKind::Timeout
    ) && plan.faults.iter().any(broker_fails)
}
