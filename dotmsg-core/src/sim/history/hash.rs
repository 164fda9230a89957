//! The rolling hash of a history: what of each event goes into it.
//!
//! What tells two runs apart and is the same in every process: who did what, when, to which record, with which outcome. No text but
//! its length, no grants, and of a position record its epoch, watermark, end and names.

use super::{Own, Place, What};
use crate::testing::Became;

/// One round of a multiply-rotate hash: quick, and every bit of the word matters.
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

fn place_word(place: Place) -> u64 {
    u64::from(place.partition) << 48 ^ place.offset
}

impl What {
    /// What the hash is about: a word for the sort, and the facts.
    pub(super) fn words(&self) -> [u64; 4] {
        match self {
            Self::Published {
                message,
                told,
                place,
            } => {
                let lies = place.map_or(u64::MAX, place_word);
                [1, u64::from(*message), *told as u64, lies]
            }
            Self::Started => [2, 0, 0, 0],
            Self::Stopping => [3, 0, 0, 0],
            Self::Stopped(abandoned) => [4, *abandoned, 0, 0],
            Self::Killed(point) => {
                let at = point.map_or(0, |point| {
                    2 + 2 * point.step as u64 + u64::from(point.before)
                });
                [5, at, 0, 0]
            }
            Self::Froze => [6, 0, 0, 0],
            Self::Woke => [7, 0, 0, 0],
            Self::Failed(kind, text) => [8, *kind as u64, text.len() as u64, 0],
            Self::Assigned(partition, grant) => [9, u64::from(*partition), *grant, 0],
            Self::Revoking(partition) => [10, u64::from(*partition), 0, 0],
            Self::Lost(partition) => [11, u64::from(*partition), 0, 0],
            Self::Released(partition, grant) => [12, u64::from(*partition), *grant, 0],
            Self::Batch {
                partition,
                offsets,
                again,
                ..
            } => {
                let sort = 13 + (u64::from(*again) << 8);
                [sort, u64::from(*partition), offsets.0, offsets.1]
            }
            Self::Replayed(letters) => [22, *letters, 0, 0],
            Self::Reset(partition, to) => [23, u64::from(*partition), *to, 0],
            Self::Recreated => [24, 0, 0, 0],
            Self::Called {
                place,
                attempt,
                epoch,
                replay,
                tier,
            } => {
                let lies = tier.map_or(0, |(delay, offset)| mix(delay, offset + 1));
                [
                    14 + (u64::from(*replay) << 8),
                    place_word(*place),
                    u64::from(*attempt) ^ lies,
                    *epoch,
                ]
            }
            Self::Left(place) => [15, place_word(*place), 0, 0],
            Self::Effect { place, applied } => [16, place_word(*place), u64::from(*applied), 0],
            Self::Ended(place, became) => {
                let became = match became {
                    Became::Handled => 0,
                    Became::Discarded => 1,
                    Became::DeadLettered => 2,
                    Became::Interrupted => 3,
                    Became::Away(delay) => 4 + u64::try_from(delay.as_millis()).unwrap_or(0),
                    // Below are delays.
                    Became::Duplicate => u64::MAX,
                    Became::Shed => u64::MAX - 1,
                };
                [17, place_word(*place), became, 0]
            }
            Self::Appended {
                own,
                place,
                offset,
                told,
            } => {
                let own = match own {
                    Own::Tier(delay) => *delay,
                    Own::DeadLetter => 0,
                };
                let lies = offset.unwrap_or(u64::MAX);
                [18 + ((*told as u64) << 8), place_word(*place), own, lies]
            }
            Self::Commit {
                partition,
                stored,
                told,
                late,
                record,
                ..
            } => {
                let told = (*told as u64) << 8 | u64::from(*late) << 1 | u64::from(*stored);
                let names = record.names.len();
                [
                    19 + (told << 8),
                    u64::from(*partition),
                    record.watermark(),
                    record.epoch ^ names << 32,
                ]
            }
            Self::Held(messages) => [20, *messages, 0, 0],
            Self::Broker { up } => [21, u64::from(*up), 0, 0],
        }
    }
}
