//! One span of a segment in memory, and the records not yet taken from it.
//!
//! Read on the caller's thread with one `pread`, from the page cache as a rule; a cold disk blocks that thread for one
//! read of 64 to 128 KiB (more where a single batch is larger). Keys, payloads and header values are slices of the
//! span: nothing is copied, and a record that is kept for long should be detached
//! ([`Message::detach`](crate::message::Message::detach)). Every frame is checked before its records are handed out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::codec::{self, Input, Names};
use super::frame::{self, HEADER, NoFrame};
use super::recovery::{newer, refused};
use super::segment::{Place, Span};
use crate::backend::{BatchLimits, Record};
use crate::clock::Timestamp;
use crate::error::Result;

/// A span in memory.
#[derive(Debug)]
pub(super) struct Fetched {
    bytes: Bytes,
    at: usize,
    place: Place,
    path: PathBuf,
    salt: u32,
    open: Option<OpenFrame>,
}

/// The frame that records are being taken from.
#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    end: usize,
    next: u64,
    left: u32,
    stamp: Timestamp,
}

impl Fetched {
    /// Reads a span.
    pub(super) fn read(file: &File, span: Span, path: PathBuf, salt: u32) -> io::Result<Self> {
        let mut bytes = vec![0; usize::try_from(span.to - span.place.at).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, span.place.at)?;
        Ok(Self {
            bytes: bytes.into(),
            at: 0,
            place: span.place,
            path,
            salt,
            open: None,
        })
    }

    /// Whether every record was taken.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_none() && self.at >= self.bytes.len()
    }

    /// The place behind the span.
    pub(super) fn end(&self) -> Place {
        Place {
            base: self.place.base,
            at: self.place.at + self.bytes.len() as u64,
        }
    }

    /// Adds the records from offset `next` on to `out`, within the limits (at least one, when there is one).
    pub(super) fn take(
        &mut self,
        next: &mut u64,
        limits: BatchLimits,
        names: &mut Names,
        out: &mut Vec<Record>,
    ) -> Result<()> {
        let mut bytes = 0;
        loop {
            // What lies before damage is handed out first; the damage is met again at the next call.
            let mut open = match self.frame() {
                Ok(Some(open)) => open,
                Err(error) if out.is_empty() => return Err(error),
                Ok(None) | Err(_) => return Ok(()),
            };
            let mut input = Input::new(&self.bytes, self.at, open.end);
            while open.left > 0 {
                if out.len() >= limits.messages.max(1) {
                    return Ok(());
                }
                let Some(message) = codec::decode(&mut input, names) else {
                    if out.is_empty() {
                        return Err(self.refused("a record in a whole frame is malformed"));
                    }
                    return Ok(());
                };
                let offset = open.next;
                if offset >= *next {
                    bytes += message.size();
                    if bytes > limits.bytes && !out.is_empty() {
                        return Ok(());
                    }
                    out.push(Record {
                        offset,
                        receipt: 0,
                        appended_at: open.stamp,
                        message,
                    });
                    *next = offset + 1;
                }
                open.next += 1;
                open.left -= 1;
                self.at = input.at();
                self.open = Some(open);
            }
            self.at = open.end;
            self.open = None;
        }
    }

    /// The frame at hand, or the next one, checked; `None` at the end of the span.
    fn frame(&mut self) -> Result<Option<OpenFrame>> {
        if self.open.is_some() || self.at >= self.bytes.len() {
            return Ok(self.open);
        }
        let rest = &self.bytes[self.at..];
        let header = match frame::header(rest, self.salt) {
            Ok(header) => header,
            Err(NoFrame::Damaged) => return Err(self.refused("a frame fails its check")),
            Err(NoFrame::Version(version)) => {
                return Err(newer(&self.path, self.byte(), version));
            }
        };
        let whole = rest.get(..header.length as usize);
        if !whole.is_some_and(|frame| header.matches(frame)) {
            return Err(self.refused("a frame fails its check"));
        }
        self.open = Some(OpenFrame {
            end: self.at + header.length as usize,
            next: header.first,
            left: header.count,
            stamp: header.stamp,
        });
        self.at += HEADER;
        Ok(self.open)
    }

    fn byte(&self) -> u64 {
        self.place.at + self.at as u64
    }

    fn refused(&self, what: &'static str) -> crate::error::Error {
        refused(Path::new(&self.path), self.byte(), what)
    }
}
