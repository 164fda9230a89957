//! A reader's place in one partition.
//!
//! Shared by group members and readers outside groups. A cursor below the first kept record says so and stays, since
//! what it would skip was never read; one beyond the end waits until the log gets there. It opens the file it reads and
//! holds one span of it at most: what was fetched is read to its end, whatever retention does meanwhile.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::codec::Names;
use super::disk::file_error;
use super::fetch::Fetched;
use super::segment::{Place, Span};
use super::topic::{Partition, Topic};
use crate::backend::{BatchLimits, Record};
use crate::error::Result;

/// A reader's place in one partition.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    next: u64,
    fetched: Option<Fetched>,
    /// Behind what was fetched last: the next read starts there without a search.
    place: Option<Place>,
    file: Option<(u64, File)>,
    names: Names,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Nothing was in the way.
    Through,
    /// What is next was removed: the partition begins here now. The cursor has not moved.
    Overtaken { start: u64 },
}

/// What the topic says a cursor has to read.
enum Next {
    /// Nothing, or it was in memory and is taken.
    Done(Read),
    Fetch(Found),
}

/// Bytes of a file.
struct Found {
    span: Span,
    path: PathBuf,
    salt: u32,
}

impl Cursor {
    /// A cursor at `offset`.
    pub(super) fn at(offset: u64) -> Self {
        Self {
            next: offset,
            ..Self::default()
        }
    }

    /// The offset to be read next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Adds the next records to `out` (empty), within the limits; none at the end of the partition.
    pub(super) fn read(
        &mut self,
        topic: &Topic,
        partition: u32,
        limits: BatchLimits,
        out: &mut Vec<Record>,
    ) -> Result<Read> {
        loop {
            if let Some(fetched) = &mut self.fetched {
                fetched.take(&mut self.next, limits, &mut self.names, out)?;
                if fetched.is_done() {
                    self.place = Some(fetched.end());
                    self.fetched = None;
                }
                if !out.is_empty() {
                    return Ok(Read::Through);
                }
            }
            match self.find(topic, partition, limits, out) {
                Next::Done(read) => return Ok(read),
                Next::Fetch(found) => self.fetch(topic, partition, found)?,
            }
        }
    }

    /// Records in memory are taken at once; for those on disk it gives what to read.
    fn find(
        &mut self,
        topic: &Topic,
        partition: u32,
        limits: BatchLimits,
        out: &mut Vec<Record>,
    ) -> Next {
        topic.with(|partitions| {
            let partition = &partitions[partition as usize];
            let start = partition.range().start;
            if self.next < start {
                return Next::Done(Read::Overtaken { start });
            }
            match partition {
                Partition::Memory(memory) => {
                    self.next = memory.read(self.next, limits, out);
                    Next::Done(Read::Through)
                }
                Partition::Disk(segments) => match segments.span(self.next, self.place) {
                    Some(span) => Next::Fetch(Found {
                        span,
                        path: segments.path(span.place.base),
                        salt: segments.salt(),
                    }),
                    None => Next::Done(Read::Through),
                },
            }
        })
    }

    fn fetch(&mut self, topic: &Topic, partition: u32, found: Found) -> Result<()> {
        let base = found.span.place.base;
        if self.file.as_ref().is_none_or(|(of, _)| *of != base) {
            self.file = match File::open(&found.path) {
                Ok(file) => Some((base, file)),
                // Retention was faster: the partition begins later now, and the next look finds that.
                Err(error) if is_gone(&error) && start_of(topic, partition) > base => None,
                Err(error) => return Err(file_error(&found.path, error)),
            };
        }
        if let Some((_, file)) = &self.file {
            let path = found.path.clone();
            let fetched = Fetched::read(file, found.span, path, found.salt);
            self.fetched = Some(fetched.map_err(|error| file_error(&found.path, error))?);
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn start_of(topic: &Topic, partition: u32) -> u64 {
    topic.with(|partitions| partitions[partition as usize].range().start)
}
