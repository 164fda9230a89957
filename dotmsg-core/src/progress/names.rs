//! The names of the away heads: where in the tiers the messages wait that the source no longer owes.
//!
//! A name is (tier, offset in the tier partition, origin). In an outage thousands of heads go away one after the other, so
//! names are kept and written as runs in which offset and origin rise together. A tier partition has the number of its
//! source partition, so none is stored; a tier is named by its delay, so that a record outlives an edited ladder.
//!
//! What must stay true: runs are sorted by (tier, kind of origin, offset, origin); a name is dropped only with the part
//! of the map that covers its origin.

use super::wire::{Reader, RecordError, put, unzigzag, zigzag};
use crate::delivery::Lineage;
use crate::message::Headers;

/// A tier, by its delay in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TierId(pub u64);

/// Where a message was first read: an offset of the source partition, or of the replay partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An offset of the source partition.
    Source(u64),
    /// An offset of the group's replay partition.
    Replay(u64),
}

impl Origin {
    /// The offset, in whichever partition.
    #[must_use]
    pub fn offset(self) -> u64 {
        match self {
            Self::Source(offset) | Self::Replay(offset) => offset,
        }
    }

    /// The origin of the same kind at `offset`.
    pub(super) fn with_offset(self, offset: u64) -> Self {
        match self {
            Self::Source(_) => Self::Source(offset),
            Self::Replay(_) => Self::Replay(offset),
        }
    }

    pub(super) fn is_replay(self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

/// The record of one away head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The tier in which it waits.
    pub tier: TierId,
    /// Its offset in the tier partition that has the number of the source partition.
    pub offset: u64,
    /// Where the message was first read.
    pub origin: Origin,
}

impl Name {
    /// Whether a record says that it is the copy that this name stands for. One at the right offset that does not was
    /// written to a topic that was deleted and made anew, or by somebody else.
    #[must_use]
    pub fn is_of(&self, headers: &Headers) -> bool {
        Lineage::read(headers).is_some_and(|lineage| match self.origin {
            Origin::Source(offset) => lineage.replay_offset.is_none() && lineage.offset == offset,
            Origin::Replay(offset) => lineage.replay_offset == Some(offset),
        })
    }
}

/// The names of a position record, compact: collect them from an iterator in any order, repeats fall together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    runs: Vec<Run>,
}

/// `length` names; from one to the next, offset and origin rise by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: Name,
    length: u64,
}

impl Run {
    fn name(&self, index: u64) -> Name {
        let Name {
            tier,
            offset,
            origin,
        } = self.first;
        Name {
            tier,
            offset: offset + index,
            origin: origin.with_offset(origin.offset() + index),
        }
    }

    fn last(&self) -> Name {
        self.name(self.length - 1)
    }

    fn group(&self) -> (TierId, bool) {
        group(&self.first)
    }
}

/// Names are sorted by this first: a group is written with one header.
fn group(name: &Name) -> (TierId, bool) {
    (name.tier, name.origin.is_replay())
}

impl FromIterator<Name> for Names {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        let mut names: Vec<Name> = names.into_iter().collect();
        names.sort_unstable_by_key(|name| (group(name), name.offset, name.origin));
        names.dedup();
        let mut runs: Vec<Run> = Vec::new();
        for name in names {
            match runs.last_mut() {
                Some(run) if follows(&run.last(), &name) => run.length += 1,
                _ => runs.push(Run {
                    first: name,
                    length: 1,
                }),
            }
        }
        Self { runs }
    }
}

fn follows(before: &Name, name: &Name) -> bool {
    group(before) == group(name)
        && before.offset.checked_add(1) == Some(name.offset)
        && before.origin.offset().checked_add(1) == Some(name.origin.offset())
}

impl Names {
    /// The names, by tier, then by kind of origin, then by offset.
    pub fn iter(&self) -> impl Iterator<Item = Name> + '_ {
        self.runs
            .iter()
            .flat_map(|run| (0..run.length).map(|index| run.name(index)))
    }

    /// How many there are. A record from a hostile store may claim any number: compare it with `park.max_keys` before reading them.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.length))
    }

    /// True when no head is away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// For each tier that is named, ascending, its lowest named offset: a tier partition is read from there.
    #[must_use]
    pub fn lowest_by_tier(&self) -> Vec<(TierId, u64)> {
        let mut lowest: Vec<(TierId, u64)> = Vec::new();
        for run in &self.runs {
            let Name { tier, offset, .. } = run.first;
            match lowest.last_mut() {
                Some(last) if last.0 == tier => last.1 = last.1.min(offset),
                _ => lowest.push((tier, offset)),
            }
        }
        lowest
    }

    /// Drops the names of origins in the source at or beyond `at`.
    pub(super) fn cut_source(&mut self, at: u64) {
        self.cut(at, false);
    }

    /// Drops the names of origins in the replay partition at or beyond `at`.
    pub(super) fn cut_replay(&mut self, at: u64) {
        self.cut(at, true);
    }

    fn cut(&mut self, at: u64, replay: bool) {
        self.runs.retain_mut(|run| {
            let origin = run.first.origin;
            if origin.is_replay() == replay {
                run.length = run.length.min(at.saturating_sub(origin.offset()));
            }
            run.length > 0
        });
    }

    /// Groups of one tier and kind: header, number of runs; for each run a token and what its flags announce.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(
            out,
            self.runs.chunk_by(|a, b| a.group() == b.group()).count() as u64,
        );
        let mut place = Place::default();
        for runs in self.runs.chunk_by(|a, b| a.group() == b.group()) {
            let (tier, replay) = runs[0].group();
            put(out, u128::from(tier.0) << 1 | u128::from(replay));
            put(out, runs.len() as u64);
            place.offset = 0;
            for run in runs {
                place.encode(run, out);
            }
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, RecordError> {
        const ORDER: RecordError = RecordError::Malformed {
            what: "names: not in order",
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut place = Place::default();
        for _ in 0..input.count("names")? {
            let header = input.wide("tier of a name")?;
            let tier = TierId(
                u64::try_from(header >> 1).map_err(|_| RecordError::Malformed {
                    what: "tier of a name",
                })?,
            );
            let kind = if header & 1 == 1 {
                Origin::Replay(0)
            } else {
                Origin::Source(0)
            };
            if runs
                .last()
                .is_some_and(|run| run.group() >= (tier, kind.is_replay()))
            {
                return Err(ORDER);
            }
            place.offset = 0;
            for index in 0..input.count("names")? {
                let run = place.decode(tier, kind, input)?;
                let before = if index == 0 {
                    None
                } else {
                    runs.last().map(Run::last)
                };
                if before
                    .is_some_and(|b| (b.offset, b.origin) >= (run.first.offset, run.first.origin))
                {
                    return Err(ORDER);
                }
                runs.push(run);
            }
        }
        Ok(Self { runs })
    }
}

/// The token says that a length follows: the run has more than one name.
const LONG: u128 = 1;
/// The token says that a step follows: the offset is not the next one.
const STEP: u128 = 2;

/// The last name written or read: the next one is written as its difference.
#[derive(Debug, Default)]
struct Place {
    offset: u64,
    origin: u64,
}

impl Place {
    /// A token of flags and the difference of the origins, so that heads that went away together cost a byte or two.
    fn encode(&mut self, run: &Run, out: &mut Vec<u8>) {
        let (first, last) = (run.first, run.last());
        let step = first.offset - self.offset;
        let origins = i128::from(first.origin.offset()) - i128::from(self.origin);
        let mut token = zigzag(origins) << 2;
        token |= if run.length > 1 { LONG } else { 0 };
        token |= if step == 1 { 0 } else { STEP };
        put(out, token);
        if step != 1 {
            put(out, step);
        }
        if run.length > 1 {
            put(out, run.length - 2);
        }
        (self.offset, self.origin) = (last.offset, last.origin.offset());
    }

    fn decode(
        &mut self,
        tier: TierId,
        kind: Origin,
        input: &mut Reader<'_>,
    ) -> Result<Run, RecordError> {
        const RANGE: RecordError = RecordError::Malformed {
            what: "names: an offset out of range",
        };
        let token = input.wide("names")?;
        let step = if token & STEP == 0 {
            1
        } else {
            input.u64("names")?
        };
        let more = if token & LONG == 0 {
            0
        } else {
            input.u64("names")?.checked_add(1).ok_or(RANGE)?
        };
        let offset = self.offset.checked_add(step).ok_or(RANGE)?;
        let origin =
            u64::try_from(i128::from(self.origin) + unzigzag(token >> 2)).map_err(|_| RANGE)?;
        self.offset = offset.checked_add(more).ok_or(RANGE)?;
        self.origin = origin.checked_add(more).ok_or(RANGE)?;
        let first = Name {
            tier,
            offset,
            origin: kind.with_offset(origin),
        };
        let length = more.checked_add(1).ok_or(RANGE)?;
        Ok(Run { first, length })
    }
}
