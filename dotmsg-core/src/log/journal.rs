//! The file of position records and of noted [ends](super::ends): frames of entries, the last entry of a key counts.
//!
//! A group has a name, so an entry of a group without one is about the partition itself: its noted end.
//!
//! An entry lies whole in one frame, so a record is stored whole or not at all. When the file has grown well beyond
//! what it says, and at every opening, it is written anew beside itself and renamed into place. What is renamed is whole
//! and ends with a frame without entries: if that is not found, nothing older is left that could count in place of what is
//! damaged, and the file is refused. Only what was appended behind it can be torn.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Input, put_optional, put_varint};
use super::disk::{Disk, DiskFile, file_error};
use super::ends::{End, Ends};
use super::frame::{Frame, HEADER};
use super::options::DamagedTail;
use super::positions::{PositionKey, Positions};
use super::recovery::{Check, Tail, recover, refused};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// A file smaller than this is never rewritten.
const LEAST_BYTES: u64 = 1 << 20;
/// The growth over a rewritten file after which it is rewritten.
const GROWTH: u64 = 4;
/// Bytes after which a rewrite begins another frame.
const FRAME_BYTES: usize = 64 << 10;

/// A position record that is set, or removed.
pub(super) type Change = (PositionKey, Option<Bytes>);

/// The file, open behind its end.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    salt: u32,
    file: Box<dyn DiskFile>,
    next: u64,
    bytes: u64,
    rewrite_at: u64,
    /// What it says about partitions.
    ends: Ends,
}

/// An entry of the file.
enum Entry {
    Position(Change),
    End(End),
}

impl Journal {
    /// What the file of a log says; `None` when there is none.
    pub(super) fn read(
        disk: &dyn Disk,
        path: &Path,
        salt: u32,
        damaged: DamagedTail,
    ) -> Result<Option<(Positions, Ends)>> {
        let mut positions = Positions::default();
        let mut ends = Ends::default();
        let exists = path.try_exists();
        if !exists.map_err(|error| file_error(path, error))? {
            return Ok(None);
        }
        // A commit that is lost makes an older one count, which costs a redelivery.
        let check = Check::Tail(Tail {
            confirmed: 0,
            damaged: DamagedTail::Cut,
            disk,
        });
        let mut whole = false;
        recover(path, salt, 0, check, |header, at, bytes| {
            whole |= header.count == 0;
            let frame = Bytes::copy_from_slice(bytes);
            for entry in decode(&frame, header.count)
                .ok_or_else(|| refused(path, at, "an entry in a whole frame is malformed"))?
            {
                match entry {
                    Entry::Position((key, record)) => positions.put(key, record),
                    Entry::End(end) => ends.put(end),
                }
            }
            Ok(())
        })?;
        if !whole && damaged == DamagedTail::Refuse {
            return Err(not_whole(path));
        }
        Ok(Some((positions, ends)))
    }

    /// Writes the file anew, to say this.
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        salt: u32,
        positions: &Positions,
        ends: Ends,
    ) -> Result<Self> {
        let (file, next, bytes) = rewrite(&*disk, &path, salt, positions, &ends)
            .map_err(|error| file_error(&path, error))?;
        Ok(Self {
            disk,
            path,
            salt,
            file,
            next,
            bytes,
            rewrite_at: LEAST_BYTES.max(bytes * GROWTH),
            ends,
        })
    }

    /// Writes changes and ends behind the end; they count once [`Journal::sync`] has succeeded.
    pub(super) fn write(
        &mut self,
        changes: &[Change],
        ends: Vec<End>,
        stamp: Timestamp,
    ) -> io::Result<()> {
        let mut frame = Frame::new();
        for (key, record) in changes {
            frame.push(|out| encode(key, record.as_ref(), out));
        }
        for end in ends {
            frame.push(|out| encode_end(&end, out));
            self.ends.put(end);
        }
        frame.finish(stamp);
        self.file.write(frame.seal(self.salt, self.next))?;
        self.next += u64::from(frame.count());
        self.bytes += frame.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    /// Rewrites the file when it has grown well beyond these, its positions.
    pub(super) fn shrink(&mut self, positions: &Positions) -> io::Result<()> {
        if self.bytes < self.rewrite_at {
            return Ok(());
        }
        (self.file, self.next, self.bytes) =
            rewrite(&*self.disk, &self.path, self.salt, positions, &self.ends)?;
        self.rewrite_at = LEAST_BYTES.max(self.bytes * GROWTH);
        Ok(())
    }
}

fn rewrite(
    disk: &dyn Disk,
    path: &Path,
    salt: u32,
    positions: &Positions,
    ends: &Ends,
) -> io::Result<(Box<dyn DiskFile>, u64, u64)> {
    let mut contents = Vec::new();
    let mut next = 0;
    let mut frame = Frame::new();
    let mut close = |frame: &mut Frame| {
        if frame.count() > 0 {
            frame.finish(Timestamp::default());
            contents.extend_from_slice(frame.seal(salt, next));
            next += u64::from(frame.count());
            *frame = Frame::new();
        }
    };
    for (key, record) in positions.iter() {
        frame.push(|out| encode(key, Some(record), out));
        if frame.len() >= FRAME_BYTES {
            close(&mut frame);
        }
    }
    for end in ends.iter() {
        frame.push(|out| encode_end(&end, out));
        if frame.len() >= FRAME_BYTES {
            close(&mut frame);
        }
    }
    close(&mut frame);
    // The mark of the end of what is renamed into place. See `Journal::read`.
    frame.finish(Timestamp::default());
    contents.extend_from_slice(frame.seal(salt, next));
    disk.replace(path, &contents)?;
    Ok((disk.append(path)?, next, contents.len() as u64))
}

/// The error of a file that was damaged where no crash tears it.
fn not_whole(path: &Path) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "read positions",
        "the file ends before the positions that were there when it was opened last",
    )
    .with("file", path.display())
    .remedy(
        "Restore it from a copy; what was cut off is kept beside it. To go on with the positions that are left, open the \
         log once with on_damaged_tail = \"cut\": groups whose position is lost start anew",
    )
}

fn encode(key: &PositionKey, record: Option<&Bytes>, out: &mut Vec<u8>) {
    encode_place(&key.group, &key.topic, key.partition, out);
    put_optional(out, record);
}

fn encode_end(end: &End, out: &mut Vec<u8>) {
    encode_place("", &end.topic, end.partition, out);
    put_optional(
        out,
        Some(&Bytes::copy_from_slice(&end.offset.to_le_bytes())),
    );
}

fn encode_place(group: &str, topic: &str, partition: u32, out: &mut Vec<u8>) {
    for text in [group, topic] {
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    put_varint(out, u64::from(partition));
}

fn decode(frame: &Bytes, count: u32) -> Option<Vec<Entry>> {
    let mut input = Input::new(frame, HEADER, frame.len());
    let mut entries = Vec::new();
    for _ in 0..count {
        let key = PositionKey {
            group: input.text()?.into(),
            topic: input.text()?.into(),
            partition: u32::try_from(input.varint()?).ok()?,
        };
        let record = input.optional()?;
        entries.push(if key.group.is_empty() {
            Entry::End(End {
                topic: key.topic,
                partition: key.partition,
                offset: u64::from_le_bytes(record?.as_ref().try_into().ok()?),
            })
        } else {
            // A copy: a slice would keep the whole frame for as long as the record counts.
            let record = record.map(|record| Bytes::copy_from_slice(&record));
            Entry::Position((key, record))
        });
    }
    Some(entries)
}
