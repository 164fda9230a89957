//! A partition on disk: segment files, oldest first, and where in them an offset lies.
//!
//! Only confirmed bytes are known here, so nobody reads what a power cut could take back. The index has one entry per
//! 64 KiB; it is derived data, rebuilt at open, and grows by 16 bytes per 64 KiB of log, the only memory a backlog
//! costs. A *span* runs from one entry to the next: it holds whole frames and is what one read fetches.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::retention::{Retained, Retention};
use crate::backend::OffsetRange;
use crate::clock::Timestamp;

/// Bytes between index entries, and so the least a full read fetches.
pub(super) const SPAN_BYTES: u64 = 64 << 10;

/// The segments of one partition.
#[derive(Debug)]
pub(super) struct Segments {
    directory: Arc<Path>,
    partition: u32,
    salt: u32,
    segments: VecDeque<Segment>,
    /// Files that retention let go and that are still there, oldest first.
    expired: VecDeque<PathBuf>,
}

/// One file of a partition.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its first offset, which names the file.
    pub(super) base: u64,
    /// One past its last offset.
    pub(super) end: u64,
    /// Confirmed bytes.
    pub(super) bytes: u64,
    pub(super) newest: Timestamp,
    /// Ascending; the first entry is the base at byte 0.
    pub(super) index: Vec<Entry>,
}

/// Where the frame that begins with an offset lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) at: u64,
}

/// A place at the edge of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The segment.
    pub(super) base: u64,
    /// The byte.
    pub(super) at: u64,
}

/// Bytes to read: whole frames, from `place.at` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) to: u64,
}

impl Segment {
    pub(super) fn new(base: u64) -> Self {
        Self {
            base,
            end: base,
            bytes: 0,
            newest: Timestamp(i64::MIN),
            index: Vec::new(),
        }
    }

    /// The same, knowing only the last index entry: what a writer needs to go on, and to report what it added.
    pub(super) fn head(&self) -> Self {
        Self {
            index: self.index.last().copied().into_iter().collect(),
            ..*self
        }
    }

    /// Notes a frame behind the last.
    pub(super) fn push(&mut self, length: u64, next: u64, stamp: Timestamp) {
        let due = self
            .index
            .last()
            .is_none_or(|last| self.bytes - last.at >= SPAN_BYTES);
        if due {
            self.index.push(Entry {
                offset: self.end,
                at: self.bytes,
            });
        }
        self.bytes += length;
        self.end = next;
        self.newest = self.newest.max(stamp);
    }

    fn span_from(&self, at: u64) -> Span {
        let after = self.index.partition_point(|entry| entry.at <= at);
        Span {
            place: Place {
                base: self.base,
                at,
            },
            to: self.index.get(after).map_or(self.bytes, |entry| entry.at),
        }
    }
}

impl Segments {
    /// A partition with these segments, oldest first, each beginning where the one before ends.
    pub(super) fn new(
        directory: Arc<Path>,
        partition: u32,
        salt: u32,
        segments: VecDeque<Segment>,
    ) -> Self {
        Self {
            directory,
            partition,
            salt,
            segments,
            expired: VecDeque::new(),
        }
    }

    pub(super) fn range(&self) -> OffsetRange {
        OffsetRange {
            start: self.segments.front().map_or(0, |first| first.base),
            end: self.segments.back().map_or(0, |last| last.end),
        }
    }

    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    /// The segment that is appended to, if there is one yet.
    pub(super) fn active(&self) -> Option<&Segment> {
        self.segments.back()
    }

    /// The file of the segment that begins at `base`.
    pub(super) fn path(&self, base: u64) -> PathBuf {
        segment_path(&self.directory, self.partition, base)
    }

    /// What to read for `offset`: from the place where an earlier read ended, when it is still there, else by index.
    pub(super) fn span(&self, offset: u64, hint: Option<Place>) -> Option<Span> {
        let range = self.range();
        let offset = offset.max(range.start);
        if offset >= range.end {
            return None;
        }
        let index = self.segments.partition_point(|s| s.base <= offset) - 1;
        let segment = &self.segments[index];
        if let Some(hint) = hint
            && hint.base == segment.base
            && hint.at < segment.bytes
        {
            return Some(segment.span_from(hint.at));
        }
        let entry = segment.index.partition_point(|e| e.offset <= offset) - 1;
        Some(segment.span_from(segment.index[entry].at))
    }

    /// Takes over what was confirmed: the state of each segment that was written to, ascending.
    pub(super) fn confirm(&mut self, written: impl Iterator<Item = Segment>) {
        for mut segment in written {
            match self.segments.back_mut() {
                Some(last) if last.base == segment.base => {
                    let known = last.index.last().map(|entry| entry.at);
                    segment.index.retain(|entry| Some(entry.at) > known);
                    last.index.append(&mut segment.index);
                    last.end = segment.end;
                    last.bytes = segment.bytes;
                    last.newest = last.newest.max(segment.newest);
                }
                _ => self.segments.push_back(segment),
            }
        }
    }

    /// Takes the segments that `retention` lets go out of sight; their files are [expired](Segments::expired) then.
    pub(super) fn apply(&mut self, retention: &Retention) {
        let expired = retention.expired(self.segments.iter().map(|segment| Retained {
            bytes: segment.bytes,
            newest: segment.newest,
        }));
        for segment in self.segments.drain(..expired) {
            let file = segment_path(&self.directory, self.partition, segment.base);
            self.expired.push_back(file);
        }
    }

    /// The oldest file that is to be removed.
    pub(super) fn expired(&self) -> Option<&PathBuf> {
        self.expired.front()
    }

    /// It was removed.
    pub(super) fn expired_is_gone(&mut self) {
        self.expired.pop_front();
    }
}

/// The name of a segment file.
pub(super) fn segment_path(directory: &Path, partition: u32, base: u64) -> PathBuf {
    directory.join(format!("{partition:05}-{base:020}.segment"))
}

/// Partition and base of a segment file's name; `None` for other files.
pub(super) fn parse_segment_name(name: &str) -> Option<(u32, u64)> {
    let (partition, base) = name.strip_suffix(".segment")?.split_once('-')?;
    Some((partition.parse().ok()?, base.parse().ok()?))
}
