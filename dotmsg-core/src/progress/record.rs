//! The position record: the one atomic value, per (group, topic, source partition), that a new owner knows.
//!
//! It is one value because half of it is loss: a watermark written without the name of a head that went away forgets the
//! head, a name without the watermark runs it twice. Stores write it whole and accept it from the current owner only.
//!
//! What must stay true: whatever is cut, the settled set of what is written is part of the settled set of the record, and
//! every name whose origin is below the cut is there. The first byte is the format for ever.

use std::collections::BTreeSet;
use std::fmt;

use super::crash::{CrashCount, CrashLoopPolicy, Noted};
use super::founding::{Founding, Witness};
use super::names::{Name, Names, Origin};
use super::resume::ResumeMap;
use super::wire::{Reader, RecordError, put, put_text};

/// The format that is written, and the newest that is read.
pub const FORMAT: u8 = 1;

const CLEAN: u8 = 1;
const LOG: u8 = 1 << 1;
const LEADER_EPOCH: u8 = 1 << 2;
const REPLAY: u8 = 1 << 3;
const NOTED: u8 = 1 << 4;
const NOTED_REPLAY: u8 = 1 << 5;
const UNTIL: u8 = 1 << 6;

/// Which log the offsets of a record belong to, as far as the backend can tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogIdentity {
    /// Id of the cluster; empty where the backend has none.
    pub cluster: String,
    /// Id of the topic, which a topic created again under the same name does not share; empty where the backend has none.
    pub topic: String,
    /// Leader epoch of the record before the watermark: does the log still reach the watermark in it? Never compared for equality.
    pub leader_epoch: Option<u64>,
}

impl LogIdentity {
    /// The log of a topic as it is now; leader epochs are not part of the backend contract.
    #[must_use]
    pub fn of(cluster: String, topic: String) -> Self {
        Self {
            cluster,
            topic,
            leader_epoch: None,
        }
    }

    /// Whether offsets of the one mean something in the other: the topic was not created again, and it is the same cluster.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.topic == other.topic && self.cluster == other.cluster
    }
}

/// What is known of one source partition of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PositionRecord {
    /// Random token of the owner that wrote it.
    pub owner: u128,
    /// Ownership epoch of that owner: one more at each takeover.
    pub epoch: u64,
    /// The log that the offsets belong to, where the backend can tell.
    pub log: Option<LogIdentity>,
    /// What is settled in the source partition.
    pub source: ResumeMap,
    /// What is settled in the replay partition, once it has been read.
    pub replay: Option<ResumeMap>,
    /// The away heads (under `relax` each waiting message).
    pub names: Names,
    /// False from a takeover on, true after a clean release.
    pub clean: bool,
    /// Unclean takeovers in a row.
    pub crash: CrashCount,
    /// How the group began on the topic, which tells about partitions that have no record.
    pub founding: Founding,
}

/// A record in bytes, and what was left out to make it fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes, for [`PositionRecord::decode`].
    pub bytes: Vec<u8>,
    /// From this source offset on everything was written as unsettled, and names of source origins there were left out.
    pub cut: Option<u64>,
    /// The same for the replay partition, which is cut only when cutting the source does not do.
    pub replay_cut: Option<u64>,
}

impl Encoded {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cut.is_none() && self.replay_cut.is_none()
    }
}

/// A record is too large for its store even without anything that may be cut: the source must pause until heads come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoesNotFit {
    /// Bytes that the smallest form takes.
    pub needed: usize,
    /// Bytes that the store takes.
    pub limit: usize,
    /// Names that cannot be left out.
    pub names: u64,
}

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            needed,
            limit,
            names,
        } = self;
        write!(
            f,
            "position record needs {needed} bytes for the names of {names} away heads, its store takes {limit}: \
             the source partition pauses until some of them end; lower `park.max_keys` to pause earlier"
        )
    }
}

impl std::error::Error for DoesNotFit {}

impl PositionRecord {
    /// The first record of a group on a partition: settled below `watermark`, epoch 1.
    #[must_use]
    pub fn new(owner: u128, watermark: u64) -> Self {
        Self {
            owner,
            epoch: 1,
            source: ResumeMap::at(watermark),
            crash: CrashCount {
                watermark,
                ..CrashCount::default()
            },
            ..Self::default()
        }
    }

    /// Whether it belongs to another log of the same name.
    #[must_use]
    pub fn is_of_other_log(&self, log: &LogIdentity) -> bool {
        self.log.as_ref().is_some_and(|of| !of.is_same(log))
    }

    /// What a stored record tells about the other partitions of its topic, as it is now.
    #[must_use]
    pub fn witness(bytes: &[u8], log: &LogIdentity) -> Witness {
        match Self::decode(bytes) {
            Err(_) => Witness::Unreadable,
            Ok(record) if record.is_of_other_log(log) => Witness::OtherLog(record.founding),
            Ok(record) => Witness::SameLog(record.founding),
        }
    }

    /// Every source offset below it is settled.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.source.watermark()
    }

    /// The record that a new owner writes, confirmed, before it dispatches anything.
    ///
    /// Single-message mode, if it begins, lasts until the watermark is where the former owner may have been: at the end of
    /// the map and as much further as it may have had in hand, but not beyond `log_end` as read at the takeover. Where a
    /// dedup store keeps an epoch too, raise `epoch` above the greater of both afterwards.
    #[must_use]
    pub fn takeover(&self, owner: u128, log_end: u64, policy: &CrashLoopPolicy) -> Self {
        let reached = log_end.min(self.source.end().saturating_add(policy.in_hand));
        // Who takes up what it lost itself has not ended: nothing killed it.
        let lives = self.owner == owner && !self.clean;
        let crash = match lives {
            true => self.crash,
            false => self
                .crash
                .taken_over(self.clean, self.watermark(), reached, policy),
        };
        Self {
            owner,
            epoch: self.epoch.saturating_add(1),
            clean: false,
            crash,
            ..self.clone()
        }
    }

    /// Moves the source to watermark `at`, forward or back: names of source origins from there on are dropped, others kept.
    ///
    /// The leader epoch belonged to the old watermark and is forgotten, and so is the count of crashes.
    pub fn reset_to(&mut self, at: u64) {
        self.source = ResumeMap::at(at);
        self.names.cut_source(at);
        self.crash = CrashCount {
            watermark: at,
            ..CrashCount::default()
        };
        if let Some(log) = &mut self.log {
            log.leader_epoch = None;
        }
    }

    /// Takes heads that are away back to where they were first read: their names are dropped and their origins are unsettled
    /// again, so that the next owner reads them there, and nothing else. For heads that their tier has lost.
    pub fn take_up_again(&mut self, heads: &BTreeSet<Name>) {
        let (mut source, mut replay) = (Vec::new(), Vec::new());
        for head in heads {
            match head.origin {
                Origin::Source(offset) => source.push(offset),
                Origin::Replay(offset) => replay.push(offset),
            }
        }
        self.source.unsettle(source);
        if let Some(map) = &mut self.replay {
            map.unsettle(replay);
        }
        self.forget(heads);
        self.crash = CrashCount {
            watermark: self.watermark(),
            ..CrashCount::default()
        };
        if let Some(log) = &mut self.log {
            log.leader_epoch = None;
        }
    }

    /// Drops the names of these heads. Their messages are lost to the group unless their origins are unsettled.
    pub fn forget(&mut self, heads: &BTreeSet<Name>) {
        let kept = self.names.iter().filter(|name| !heads.contains(name));
        self.names = kept.collect();
    }

    /// True when the source is settled up to `log_end` and no head is away. The lag of the replay partition is not looked at.
    #[must_use]
    pub fn settled(&self, log_end: u64) -> bool {
        self.watermark() >= log_end && self.names.is_empty()
    }

    /// Everything from source offset `at` on counts as unsettled, and the names of origins there go.
    pub fn cut(&mut self, at: u64) {
        self.source.cut(at);
        self.names.cut_source(at);
    }

    /// Everything from replay offset `at` on counts as unsettled, and the names of origins there go.
    pub fn cut_replay(&mut self, at: u64) {
        if let Some(replay) = &mut self.replay {
            replay.cut(at);
            self.names.cut_replay(at);
        }
    }

    /// The record in bytes, whole.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(FORMAT);
        out.push(self.flags());
        out.extend_from_slice(&self.owner.to_le_bytes());
        put(&mut out, self.epoch);
        if let Some(log) = &self.log {
            put_text(&mut out, &log.cluster);
            put_text(&mut out, &log.topic);
            log.leader_epoch
                .iter()
                .for_each(|epoch| put(&mut out, *epoch));
        }
        self.source.encode(&mut out);
        if let Some(replay) = &self.replay {
            replay.encode(&mut out);
        }
        self.names.encode(&mut out);
        put(&mut out, self.crash.takeovers);
        put(&mut out, self.crash.watermark);
        if let Some(noted) = self.crash.noted {
            put(&mut out, noted.origin.offset());
            put(&mut out, noted.confirmations);
        }
        self.crash
            .until
            .iter()
            .for_each(|until| put(&mut out, *until));
        put(&mut out, self.founding.partitions);
        put(&mut out, self.founding.known);
        out
    }

    /// The record in at most `limit` bytes.
    ///
    /// The source's map is cut first, as late as fits; then the replay partition's. Names of origins below the cuts stay.
    ///
    /// # Errors
    /// [`DoesNotFit`] when the names below both watermarks are too many.
    pub fn encode_within(&self, limit: usize) -> Result<Encoded, DoesNotFit> {
        let bytes = self.encode();
        if bytes.len() <= limit {
            return Ok(Encoded {
                bytes,
                cut: None,
                replay_cut: None,
            });
        }
        if let Some((cut, bytes)) = self.latest_cut(limit, &self.source, Self::cut) {
            return Ok(Encoded {
                bytes,
                cut: Some(cut),
                replay_cut: None,
            });
        }
        let mut smallest = self.clone();
        smallest.cut(self.watermark());
        let cut = Some(self.watermark());
        if let Some(replay) = &self.replay {
            if let Some((at, bytes)) = smallest.latest_cut(limit, replay, Self::cut_replay) {
                return Ok(Encoded {
                    bytes,
                    cut,
                    replay_cut: Some(at),
                });
            }
            smallest.cut_replay(replay.watermark());
        }
        let (needed, names) = (smallest.encode().len(), smallest.names.len());
        Err(DoesNotFit {
            needed,
            limit,
            names,
        })
    }

    /// The highest cut of `map` with which the record fits, by bisection; `None` when the cut at its watermark does not.
    ///
    /// A name left out can lengthen the difference to the next, so that sizes rise with the cut only but for a few bytes: what is
    /// returned always fits, and is the highest but for those.
    fn latest_cut(
        &self,
        limit: usize,
        map: &ResumeMap,
        cut: fn(&mut Self, u64),
    ) -> Option<(u64, Vec<u8>)> {
        let at = |offset| {
            let mut record = self.clone();
            cut(&mut record, offset);
            Some(record.encode()).filter(|bytes| bytes.len() <= limit)
        };
        let (mut fits, mut bytes) = (map.watermark(), at(map.watermark())?);
        let mut too_long = map.end();
        while fits.saturating_add(1) < too_long {
            let middle = fits.midpoint(too_long);
            match at(middle) {
                Some(shorter) => (fits, bytes) = (middle, shorter),
                None => too_long = middle,
            }
        }
        Some((fits, bytes))
    }

    fn flags(&self) -> u8 {
        let flag = |set, bit| if set { bit } else { 0 };
        let noted = self.crash.noted;
        flag(self.clean, CLEAN)
            | flag(self.log.is_some(), LOG)
            | flag(
                self.log
                    .as_ref()
                    .is_some_and(|log| log.leader_epoch.is_some()),
                LEADER_EPOCH,
            )
            | flag(self.replay.is_some(), REPLAY)
            | flag(noted.is_some(), NOTED)
            | flag(
                noted.is_some_and(|noted| noted.origin.is_replay()),
                NOTED_REPLAY,
            )
            | flag(self.crash.until.is_some(), UNTIL)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`]: the partition must stop, for the record may be the only trace of messages in the tiers.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut input = Reader::new(bytes);
        let found = input.byte("format")?;
        if found != FORMAT {
            return Err(RecordError::UnknownVersion {
                found,
                newest: FORMAT,
            });
        }
        let flags = Flags::decode(&mut input)?;
        let record = Self {
            owner: u128::from_le_bytes(input.bytes("owner")?),
            epoch: input.u64("epoch")?,
            log: flags.then(LOG, || decode_log(&flags, &mut input))?,
            source: ResumeMap::decode(&mut input)?,
            replay: flags.then(REPLAY, || ResumeMap::decode(&mut input))?,
            names: Names::decode(&mut input)?,
            clean: flags.has(CLEAN),
            crash: decode_crash(&flags, &mut input)?,
            founding: Founding {
                partitions: input.u32("partitions at the beginning")?,
                known: input.u32("partitions known")?,
            },
        };
        input.finish()?;
        Ok(record)
    }
}

fn decode_log(flags: &Flags, input: &mut Reader<'_>) -> Result<LogIdentity, RecordError> {
    Ok(LogIdentity {
        cluster: input.text("cluster id")?,
        topic: input.text("topic id")?,
        leader_epoch: flags.then(LEADER_EPOCH, || input.u64("leader epoch"))?,
    })
}

fn decode_crash(flags: &Flags, input: &mut Reader<'_>) -> Result<CrashCount, RecordError> {
    let kind = if flags.has(NOTED_REPLAY) {
        Origin::Replay
    } else {
        Origin::Source
    };
    Ok(CrashCount {
        takeovers: input.u32("unclean takeovers")?,
        watermark: input.u64("watermark of the last takeover")?,
        noted: flags.then(NOTED, || {
            Ok(Noted {
                origin: kind(input.u64("noted offset")?),
                confirmations: input.u32("confirmations")?,
            })
        })?,
        until: flags.then(UNTIL, || input.u64("end of single-message mode"))?,
    })
}

/// Which optional fields follow.
struct Flags(u8);

impl Flags {
    fn decode(input: &mut Reader<'_>) -> Result<Self, RecordError> {
        let flags = Self(input.byte("flags")?);
        let known = CLEAN | LOG | LEADER_EPOCH | REPLAY | NOTED | NOTED_REPLAY | UNTIL;
        let orphan = |bit, of| flags.has(bit) && !flags.has(of);
        if flags.0 & !known != 0 || orphan(LEADER_EPOCH, LOG) || orphan(NOTED_REPLAY, NOTED) {
            return Err(RecordError::Malformed { what: "flags" });
        }
        Ok(flags)
    }

    fn has(&self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn then<T>(
        &self,
        bit: u8,
        read: impl FnOnce() -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        if self.has(bit) {
            read().map(Some)
        } else {
            Ok(None)
        }
    }
}
