//! What happened in one run, in order, and what was left in the end.
//!
//! Outcomes have three values, as a caller sees them: ok, failed (it did certainly not happen), unknown. Beside what was
//! *told*, the history holds what was *done*: the simulation knows whether an append or a commit without an answer was
//! stored, and a check may use that.
//!
//! A rolling hash covers every event, so that two runs can be compared by one number. What must stay true: the same plan
//! gives the same hash in every process.

mod hash;
mod text;

use std::fmt;
use std::sync::Arc;

use self::hash::mix;
use super::plan::Point;
use crate::error::ErrorKind;
use crate::progress::PositionRecord;
use crate::testing::Became;

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// It happened.
    Ok,
    /// It did not.
    Failed,
    /// Nothing.
    Unknown,
    /// Refused: another owner.
    Fenced,
}

/// A source record: partition and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// One of the topics that the group itself writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    /// The tier of this delay.
    Tier(u64),
    /// The dead letters.
    DeadLetter,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A producer published a message of the plan.
    Published {
        /// Its number.
        message: u32,
        /// What the producer was told.
        told: Told,
        /// Where it lies, if it was appended.
        place: Option<Place>,
    },
    /// The member was started.
    Started,
    /// It was told to stop.
    Stopping,
    /// It has stopped, with so many messages abandoned.
    Stopped(u64),
    /// It was killed, at a point or at once.
    Killed(Option<Point>),
    /// It stands still.
    Froze,
    /// It goes on.
    Woke,
    /// Its app ended with an error.
    Failed(ErrorKind, Box<str>),
    /// A partition was given to it, under a grant.
    Assigned(u32, u64),
    /// A partition is asked back.
    Revoking(u32),
    /// A partition was taken.
    Lost(u32),
    /// It has released a partition that it had under a grant.
    Released(u32, u64),
    /// It got records of a partition under a grant.
    Batch {
        /// The partition.
        partition: u32,
        /// The grant.
        grant: u64,
        /// The first and the last offset.
        offsets: (u64, u64),
        /// They are delivered a second time, on purpose.
        again: bool,
    },
    /// The handler was called.
    Called {
        /// For this record of the source.
        place: Place,
        /// As this attempt, from 1.
        attempt: u32,
        /// Under this epoch of the partition.
        epoch: u64,
        /// As a replayed dead letter.
        replay: bool,
        /// As it lies in a tier: of this delay, at this offset of the tier's partition.
        tier: Option<(u64, u64)>,
    },
    /// That call is over: it has returned or was dropped.
    Left(Place),
    /// The handler came to its effect.
    Effect {
        /// Of this record of the source.
        place: Place,
        /// It was applied; false: a handler that dedups found that it had been.
        applied: bool,
    },
    /// The delivery came to this.
    Ended(Place, Became),
    /// A copy was published to one of the group's own topics.
    Appended {
        /// Which.
        own: Own,
        /// Of this record of the source.
        place: Place,
        /// Where it lies, if it was appended; the partition is the source's.
        offset: Option<u64>,
        /// What the member was told.
        told: Told,
    },
    /// Progress of a partition was committed.
    Commit {
        /// The partition.
        partition: u32,
        /// Under this grant.
        grant: u64,
        /// Whether it is stored.
        stored: bool,
        /// What the member was told.
        told: Told,
        /// It was sent after the member had heard that this ownership is lost. Not said of what a takeover writes: nothing
        /// calls that back, and the broker refuses it.
        late: bool,
        /// The position record.
        record: Arc<PositionRecord>,
    },
    /// The member holds more messages than ever before.
    Held(u64),
    /// Dead letters were replayed, so many.
    Replayed(u64),
    /// With all members stopped, the position of a partition was moved.
    Reset(u32, u64),
    /// With all members stopped, the source topic was made anew.
    Recreated,
    /// The broker went down, or came back.
    Broker {
        /// Whether it is up.
        up: bool,
    },
}

/// Who did it when nobody did: the broker, a producer.
pub const NOBODY: u32 = u32::MAX;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Virtual milliseconds since the beginning.
    pub at_ms: u64,
    /// The member, or [`NOBODY`].
    pub member: u32,
    /// Which start of a member it was, counted over all members from 0.
    pub life: u32,
    /// The route, by its place in [`History::routes`].
    pub route: u32,
    /// What happened.
    pub what: What,
}

/// A route of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteName {
    /// The handler's name.
    pub handler: String,
    /// The group.
    pub group: String,
    /// The source topic.
    pub topic: String,
    /// Later messages of a key wait for a failing one. Of a handler of batches
    /// this is not told: the order in its calls is for a check of one's own.
    pub keeps_order: bool,
}

/// A record of a source topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The message of the plan; `None`: not one of them.
    pub message: Option<u32>,
    /// Its key, as a number that is the same for the same key of the run; `None` is null.
    pub key: Option<u32>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The source record it stands for.
    pub place: Place,
    /// The kind of failure.
    pub kind: String,
    /// Attempts.
    pub attempts: u32,
    /// When it was appended, in milliseconds since the beginning.
    pub at_ms: u64,
    /// Topic, key, payload and the other headers are those of the source record.
    pub same_message: bool,
}

/// What was left of one route in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Final {
    /// The source topic, by partition and offset.
    pub source: Vec<Vec<Recorded>>,
    /// The position records, by partition.
    pub positions: Vec<Option<PositionRecord>>,
    /// The dead letters.
    pub letters: Vec<Letter>,
    /// Whether all was settled in the end.
    pub settled: bool,
}

/// Everything that happened, and what was left.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The app's routes.
    pub routes: Vec<RouteName>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What was left, by route.
    pub left: Vec<Final>,
    /// When the last fault was over.
    pub calm_at_ms: u64,
    /// When the run ended.
    pub over_at_ms: u64,
    hash: u64,
}

impl History {
    pub(crate) fn push(&mut self, event: Event) {
        self.hash = mix(self.hash, event.at_ms);
        self.hash = mix(
            self.hash,
            u64::from(event.member) << 32 | u64::from(event.life),
        );
        for word in event.what.words() {
            self.hash = mix(self.hash, word);
        }
        self.events.push(event);
    }

    /// One number for all events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The numbers of the messages that were appended to their topic, whatever their producer was told.
    pub fn published(&self) -> impl Iterator<Item = usize> {
        self.events.iter().filter_map(|event| match event.what {
            What::Published {
                message,
                place: Some(_),
                ..
            } => usize::try_from(message).ok(),
            _ => None,
        })
    }

    /// The source record at a place.
    #[must_use]
    pub fn recorded(&self, route: u32, place: Place) -> Option<Recorded> {
        let source = &self.left.get(route as usize)?.source;
        let partition = source.get(place.partition as usize)?;
        partition.get(usize::try_from(place.offset).ok()?).copied()
    }

    /// The events as lines, those of one source record only when one is given.
    #[must_use]
    pub fn text(&self, of: Option<Place>) -> String {
        let about = |event: &&Event| of.is_none_or(|place| event.what.is_about(place));
        let events = self.events.iter().filter(about);
        events.map(|event| format!("{event}\n")).collect()
    }
}
