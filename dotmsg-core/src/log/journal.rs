//! The file of position records: frames of entries, the last entry of a key counts.
//!
//! An entry lies whole in one frame, so a record is stored whole or not at all. When the file has grown well beyond
//! what it says, it is written anew beside itself and renamed into place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{Input, put_optional, put_varint};
use super::disk::{Disk, DiskFile, file_error};
use super::frame::{Frame, HEADER};
use super::positions::{PositionKey, Positions};
use super::recovery::{Check, recover, refused};
use crate::clock::Timestamp;
use crate::error::Result;

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
}

impl Journal {
    /// Reads the file of a log, makes it when there is none, and rewrites it.
    pub(super) fn open(disk: Arc<dyn Disk>, path: PathBuf, salt: u32) -> Result<(Self, Positions)> {
        let mut positions = Positions::default();
        if path.exists() {
            recover(&path, salt, 0, Check::Tail, |header, at, bytes| {
                let frame = Bytes::copy_from_slice(bytes);
                for (key, record) in decode(&frame, header.count)
                    .ok_or_else(|| refused(&path, at, "an entry in a whole frame is malformed"))?
                {
                    positions.put(key, record);
                }
                Ok(())
            })?;
        }
        let (file, next, bytes) =
            rewrite(&*disk, &path, salt, &positions).map_err(|error| file_error(&path, error))?;
        let journal = Self {
            disk,
            path,
            salt,
            file,
            next,
            bytes,
            rewrite_at: LEAST_BYTES.max(bytes * GROWTH),
        };
        Ok((journal, positions))
    }

    /// Writes changes behind the end; they count once [`Journal::sync`] has succeeded.
    pub(super) fn write(&mut self, changes: &[Change], stamp: Timestamp) -> io::Result<()> {
        let mut frame = Frame::new();
        for (key, record) in changes {
            frame.push(|out| encode(key, record.as_ref(), out));
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
            rewrite(&*self.disk, &self.path, self.salt, positions)?;
        self.rewrite_at = LEAST_BYTES.max(self.bytes * GROWTH);
        Ok(())
    }
}

fn rewrite(
    disk: &dyn Disk,
    path: &Path,
    salt: u32,
    positions: &Positions,
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
    close(&mut frame);
    disk.replace(path, &contents)?;
    Ok((disk.append(path)?, next, contents.len() as u64))
}

fn encode(key: &PositionKey, record: Option<&Bytes>, out: &mut Vec<u8>) {
    for text in [&key.group, &key.topic] {
        put_varint(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    put_varint(out, u64::from(key.partition));
    put_optional(out, record);
}

fn decode(frame: &Bytes, count: u32) -> Option<Vec<Change>> {
    let mut input = Input::new(frame, HEADER, frame.len());
    let mut changes = Vec::new();
    for _ in 0..count {
        let key = PositionKey {
            group: input.text()?.into(),
            topic: input.text()?.into(),
            partition: u32::try_from(input.varint()?).ok()?,
        };
        // A copy: a slice would keep the whole frame for as long as the record counts.
        let record = input
            .optional()?
            .map(|record| Bytes::copy_from_slice(&record));
        changes.push((key, record));
    }
    Some(changes)
}
