//! A history as lines for a person, and which of them are about one source record.

use std::fmt;

use super::{Event, NOBODY, Place, What};

impl What {
    /// Whether it has to do with a source record.
    pub(super) fn is_about(&self, of: Place) -> bool {
        match self {
            Self::Published { place, .. } => *place == Some(of),
            Self::Called { place, .. }
            | Self::Left(place)
            | Self::Effect { place, .. }
            | Self::Ended(place, _)
            | Self::Appended { place, .. } => *place == of,
            Self::Batch {
                partition, offsets, ..
            } => *partition == of.partition && (offsets.0..=offsets.1).contains(&of.offset),
            Self::Assigned(partition, _)
            | Self::Revoking(partition)
            | Self::Lost(partition)
            | Self::Released(partition, _)
            | Self::Commit { partition, .. } => *partition == of.partition,
            _ => true,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} ms  ", self.at_ms)?;
        match self.member {
            NOBODY => f.write_str("            ")?,
            member => write!(f, "m{member} life {:<3} ", self.life)?,
        }
        match &self.what {
            What::Published {
                message,
                told,
                place,
            } => {
                write!(f, "message {message} published: {told:?}")?;
                place.map_or(Ok(()), |place| write!(f, ", lies at {place}"))
            }
            What::Started => f.write_str("started"),
            What::Stopping => f.write_str("told to stop"),
            What::Stopped(abandoned) => write!(f, "stopped, {abandoned} abandoned"),
            What::Killed(Some(point)) => write!(f, "killed {point}"),
            What::Killed(None) => f.write_str("killed"),
            What::Froze => f.write_str("stands still"),
            What::Woke => f.write_str("wakes up"),
            What::Failed(kind, text) => write!(f, "failed ({kind:?}): {text}"),
            What::Assigned(partition, grant) => {
                write!(f, "partition {partition} assigned, grant {grant}")
            }
            What::Revoking(partition) => write!(f, "partition {partition} asked back"),
            What::Lost(partition) => write!(f, "partition {partition} lost"),
            What::Released(partition, grant) => {
                write!(f, "partition {partition} released, grant {grant}")
            }
            What::Batch {
                partition,
                offsets,
                again,
                ..
            } => {
                write!(
                    f,
                    "got {partition}/{}..={}{}",
                    offsets.0,
                    offsets.1,
                    if *again { " again" } else { "" }
                )
            }
            What::Called {
                place,
                attempt,
                epoch,
                replay,
                tier,
            } => {
                let replay = if *replay { ", replayed" } else { "" };
                write!(
                    f,
                    "called for {place}, attempt {attempt}, epoch {epoch}{replay}"
                )?;
                tier.map_or(Ok(()), |(delay, offset)| {
                    write!(f, ", from {delay}@{offset}")
                })
            }
            What::Replayed(letters) => write!(f, "{letters} dead letters replayed"),
            What::Reset(partition, to) => write!(f, "partition {partition} reset to {to}"),
            What::Recreated => f.write_str("source topic made anew"),
            What::Left(place) => write!(f, "call for {place} over"),
            What::Effect {
                place,
                applied: true,
            } => write!(f, "effect of {place}"),
            What::Effect {
                place,
                applied: false,
            } => write!(f, "effect of {place} was there already"),
            What::Ended(place, became) => write!(f, "{place} came to {became:?}"),
            What::Appended {
                own,
                place,
                offset,
                told,
            } => {
                write!(f, "{place} to {own:?}: {told:?}")?;
                offset.map_or(Ok(()), |offset| write!(f, ", lies at {offset}"))
            }
            What::Commit {
                partition,
                grant,
                stored,
                told,
                late,
                record,
            } => {
                let stored = if *stored { "stored" } else { "not stored" };
                write!(
                    f,
                    "commit of {partition}, grant {grant}: {told:?}, {stored}; epoch {} watermark {} end {} names",
                    record.epoch,
                    record.watermark(),
                    record.source.end(),
                )?;
                for name in record.names.iter() {
                    write!(
                        f,
                        " {}@{}={}",
                        name.tier.0,
                        name.offset,
                        name.origin.offset()
                    )?;
                }
                f.write_str(if record.clean { ", clean" } else { "" })?;
                f.write_str(if *late { ", sent after the loss" } else { "" })
            }
            What::Held(messages) => write!(f, "holds {messages} messages"),
            What::Broker { up: true } => f.write_str("broker is back"),
            What::Broker { up: false } => f.write_str("broker is down"),
        }
    }
}
