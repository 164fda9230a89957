//! I3 and I5: what is committed. Nothing counts as settled that has not ended and is not named; and only the current
//! owner's word counts: who has lost a partition, and knows it, does not even try, and nobody calls a handler before a record of
//! its own epoch is stored.

use std::collections::BTreeSet;

use super::{View, Violation};
use crate::progress::{Origin, PositionRecord};
use crate::sim::history::{Event, Place, What};

/// What is known of one partition.
#[derive(Default)]
struct Known {
    /// Every offset below has ended.
    ended_below: u64,
    /// The newest grant that was given out, and to which life.
    owner: Option<(u32, u64)>,
    /// Epoch and owner's token of the last record that was stored.
    epoch: Option<(u64, u128)>,
    /// The lives that have stored a record, each with its epoch.
    written: BTreeSet<(u32, u64)>,
}

pub(super) fn check(view: &View<'_>, found: &mut Vec<Violation>) {
    let partitions = view.history.left[view.route as usize].source.len();
    let mut known: Vec<Known> = (0..partitions).map(|_| Known::default()).collect();
    let mut ended = view.ended_before();
    for event in view.of_route() {
        match &event.what {
            What::Assigned(partition, grant) => {
                if let Some(known) = known.get_mut(*partition as usize)
                    && known.owner.is_none_or(|(_, newest)| newest < *grant)
                {
                    known.owner = Some((event.life, *grant));
                }
            }
            What::Called { place, epoch, .. } => {
                let taken = |known: &Known| known.written.contains(&(event.life, *epoch));
                if !known.get(place.partition as usize).is_some_and(taken) {
                    found.push(view.violation(
                        "I5 taken over before dispatch",
                        event.at_ms,
                        *place,
                        format!(
                            "life {} calls the handler in epoch {epoch}, of which it has stored no record: look at what the takeover takes for confirmed",
                            event.life
                        ),
                    ));
                }
            }
            What::Commit {
                partition,
                grant,
                late: true,
                ..
            } => found.push(view.violation(
                "I5 a lost partition is not committed",
                event.at_ms,
                None,
                format!(
                    "life {} committed partition {partition} under grant {grant} after it had heard that it is lost: look at what the loss leaves of it",
                    event.life
                ),
            )),
            What::Commit {
                partition,
                grant,
                stored: true,
                record,
                ..
            } => {
                if let Some(known) = known.get_mut(*partition as usize) {
                    known.written.insert((event.life, record.epoch));
                    owner(view, event, *partition, *grant, record, known, found);
                    settled(
                        view,
                        event,
                        *partition,
                        record,
                        known,
                        &mut ended.0[*partition as usize],
                        found,
                    );
                }
            }
            What::Ended(place, became) if became.is_settled() => {
                if let Some(ended) = ended.at(*place) {
                    *ended = true;
                }
            }
            _ => {}
        }
    }
}

fn owner(
    view: &View<'_>,
    event: &Event,
    partition: u32,
    grant: u64,
    record: &PositionRecord,
    known: &mut Known,
    found: &mut Vec<Violation>,
) {
    let mut refused = |problem: String| {
        let place = Place {
            partition,
            offset: record.watermark(),
        };
        found.push(view.violation(
            "I5 no commit of a former owner",
            event.at_ms,
            place,
            problem,
        ));
    };
    if let Some((life, newest)) = known.owner
        && (life, newest) != (event.life, grant)
        && newest > grant
    {
        refused(format!(
            "life {} committed under grant {grant} after life {life} was given grant {newest}: look at the fencing of the broker",
            event.life
        ));
    }
    if let Some((epoch, owner)) = known.epoch
        && (record.epoch < epoch || (record.epoch == epoch && record.owner != owner))
    {
        refused(format!(
            "epoch {} was stored after epoch {epoch} of another owner: look at the takeover",
            record.epoch
        ));
    }
    known.epoch = Some((record.epoch, record.owner));
}

fn settled(
    view: &View<'_>,
    event: &Event,
    partition: u32,
    record: &PositionRecord,
    known: &mut Known,
    ended: &mut [bool],
    found: &mut Vec<Violation>,
) {
    while ended.get(usize::try_from(known.ended_below).unwrap_or(usize::MAX)) == Some(&true) {
        known.ended_below += 1;
    }
    let mut names: Option<BTreeSet<u64>> = None;
    for offset in known.ended_below..record.source.end().max(record.watermark()) {
        let index = usize::try_from(offset).unwrap_or(usize::MAX);
        let settled = offset < record.watermark() || record.source.is_settled(offset);
        if !settled || ended.get(index) == Some(&true) {
            continue;
        }
        let names = names.get_or_insert_with(|| source_names(record));
        if names.contains(&offset) {
            continue;
        }
        found.push(view.violation(
            "I3 committed past the unsettled",
            event.at_ms,
            Place { partition, offset },
            format!(
                "life {} committed it as settled (watermark {}, map to {}), it has not ended and no name says where it waits: look at what completed it in the tracker",
                event.life,
                record.watermark(),
                record.source.end()
            ),
        ));
        // Told once.
        if let Some(ended) = ended.get_mut(index) {
            *ended = true;
        }
    }
}

fn source_names(record: &PositionRecord) -> BTreeSet<u64> {
    let origins = record.names.iter().map(|name| name.origin);
    let of_source = origins.filter_map(|origin| match origin {
        Origin::Source(offset) => Some(offset),
        Origin::Replay(_) => None,
    });
    of_source.collect()
}
