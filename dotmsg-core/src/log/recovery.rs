//! What is in a file after a crash.
//!
//! A crash leaves a *torn tail*: a last frame that is not whole. It was never confirmed, so it is cut off, and the cut is
//! made durable. So are the frames that were written with it before one sync: pages reach the disk in any order. Damage
//! *in the middle*, with a whole frame of a later sync behind it, is something else: confirmed records are
//! damaged, and cutting there would silently lose what follows (as in the Jepsen report on NATS 2.12.1). It is
//! refused, with file and byte. Earlier segments were complete when the next began, so damage there is always refused;
//! they are checked by their headers, and their bodies when they are read.
//!
//! Damage in the very last frame looks like a torn tail. What was [noted](super::ends) as confirmed tells the two apart:
//! a tail that holds such records is refused. Where nothing was noted (the records of the last moments before a crash) it is
//! cut, and the bytes are [kept aside](super::aside), as they may have been confirmed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::aside;
use super::disk::{Disk, file_error};
use super::frame::{self, HEADER, Header, MAGIC, NoFrame};
use super::options::DamagedTail;
use crate::error::{Error, ErrorKind, Result};

/// Bytes fetched at a time.
const WINDOW: usize = 64 << 10;

#[cfg(test)]
std::thread_local! {
    /// Reads of windows by this thread.
    pub(super) static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How much of a file is checked, and what damage in it may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check<'a> {
    /// Headers only; all damage is refused. For segments that were complete when the next one began.
    Complete,
    /// Every byte; a torn tail is cut. For the file that was being written.
    Tail(Tail<'a>),
}

/// What is to become of the end of the file that was being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail<'a> {
    /// Numbers below this one are known to be confirmed.
    pub(super) confirmed: u64,
    /// What to do when such a number is damaged.
    pub(super) damaged: DamagedTail,
    pub(super) disk: &'a dyn Disk,
}

/// Walks the frames of a file whose first is to be number `first`; `visit` gets each with its place and bytes (the
/// header only under [`Check::Complete`]).
pub(super) fn recover(
    path: &Path,
    salt: u32,
    first: u64,
    check: Check<'_>,
    mut visit: impl FnMut(&Header, u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut window = Window::open(path)?;
    let bodies = matches!(check, Check::Tail(_));
    let mut next = first;
    let mut at = 0;
    while at < window.size {
        let wanted = match (window.frame(path, at, salt, bodies)?, check) {
            (Ok(header), _) if header.first == next => header,
            (Ok(_), _) => return Err(refused(path, at, "it holds a frame of another place")),
            (Err(NoFrame::Version(version)), _) => return Err(newer(path, at, version)),
            (Err(NoFrame::Damaged), Check::Tail(tail)) => {
                return cut(path, &mut window, at, salt, next, tail);
            }
            (Err(NoFrame::Damaged), Check::Complete) => {
                return Err(refused(
                    path,
                    at,
                    "a frame fails its check, and records follow it",
                ));
            }
        };
        visit(&wanted, at, window.current())?;
        next = wanted.next();
        at += u64::from(wanted.length);
    }
    match check {
        Check::Tail(tail) => {
            tail.check(path, at, next, "it ends before records that were confirmed")
        }
        Check::Complete => Ok(()),
    }
}

impl Tail<'_> {
    /// Refuses to go on with `next` when later numbers were confirmed, unless that is asked for.
    pub(super) fn check(&self, path: &Path, at: u64, next: u64, what: &'static str) -> Result<()> {
        if next >= self.confirmed {
            return Ok(());
        }
        match self.damaged {
            DamagedTail::Refuse => Err(Error::new(ErrorKind::Corrupt, "read log", what)
                .with("file", path.display())
                .with("byte", at)
                .with("whole up to", next)
                .with("confirmed up to", self.confirmed)
                .remedy(
                    "Restore the file from a copy. To go on without its records from that byte on, open the log once \
                     with on_damaged_tail = \"cut\": the bytes are kept beside the file",
                )),
            DamagedTail::Cut => {
                tracing::warn!(
                    file = %path.display(), at, whole = next, confirmed = self.confirmed,
                    "confirmed records are given up, as on_damaged_tail = \"cut\" says"
                );
                Ok(())
            }
        }
    }
}

/// Cuts the tail off and keeps it aside, unless a whole frame lies in it or it was confirmed.
fn cut(
    path: &Path,
    window: &mut Window,
    at: u64,
    salt: u32,
    next: u64,
    tail: Tail<'_>,
) -> Result<()> {
    if let Some(whole) = window.find_proof(path, at, salt, next)? {
        return Err(refused(
            path,
            at,
            "a frame fails its check, and a whole one follows it",
        )
        .with("whole frame at byte", whole));
    }
    tail.check(path, at, next, "a confirmed record is damaged")?;
    let kept = aside::keep(tail.disk, path, &window.file, at..window.size)?;
    tracing::warn!(
        file = %path.display(), at, bytes = window.size - at, %kept,
        "cut a torn tail off"
    );
    let cut = tail.disk.truncate(path, at);
    cut.map_err(|error| file_error(path, error))
}

/// A file seen through a buffer: small frames come many to a read, large ones are read whole.
struct Window {
    file: File,
    size: u64,
    buffer: Vec<u8>,
    start: u64,
    current: std::ops::Range<usize>,
}

impl Window {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| file_error(path, error))?;
        let size = file
            .metadata()
            .map_err(|error| file_error(path, error))?
            .len();
        Ok(Self {
            file,
            size,
            buffer: Vec::new(),
            start: 0,
            current: 0..0,
        })
    }

    /// The bytes of the last [`Window::get`].
    fn current(&self) -> &[u8] {
        &self.buffer[self.current.clone()]
    }

    /// Bytes `at..at + len`, fewer at the end of the file. Never allocates more than the file holds.
    fn get(&mut self, path: &Path, at: u64, len: usize) -> Result<&[u8]> {
        let left = usize::try_from(self.size - at.min(self.size)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let inside = at
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok());
        let from = match inside {
            Some(skip) if skip + len <= self.buffer.len() => skip,
            _ => {
                #[cfg(test)]
                READS.set(READS.get() + 1);
                self.buffer.resize(len.max(WINDOW).min(left), 0);
                self.start = at;
                self.file
                    .read_exact_at(&mut self.buffer, at)
                    .map_err(|error| file_error(path, error))?;
                0
            }
        };
        self.current = from..from + len;
        Ok(self.current())
    }

    fn frame(
        &mut self,
        path: &Path,
        at: u64,
        salt: u32,
        bodies: bool,
    ) -> Result<std::result::Result<Header, NoFrame>> {
        let header = match frame::header(self.get(path, at, HEADER)?, salt) {
            Ok(header) => header,
            Err(none) => return Ok(Err(none)),
        };
        if at + u64::from(header.length) > self.size {
            return Ok(Err(NoFrame::Damaged));
        }
        if bodies && !header.matches(self.get(path, at, header.length as usize)?) {
            return Ok(Err(NoFrame::Damaged));
        }
        Ok(Ok(header))
    }

    /// The place of a whole frame at or after `from` that was written when number `next` was synced. One of the same
    /// group proves nothing: before their sync a power cut leaves any part of them.
    fn find_proof(&mut self, path: &Path, from: u64, salt: u32, next: u64) -> Result<Option<u64>> {
        let mut at = from;
        while at + (HEADER as u64) <= self.size {
            let bytes = self.get(path, at, WINDOW)?;
            // Headers that begin in this window and end in it. The search must not read anew at each magic: a payload may
            // hold a million of them.
            let candidates = bytes.windows(HEADER).enumerate();
            let found = candidates
                .filter(|(_, header)| header.starts_with(&MAGIC))
                .find(|(_, header)| !matches!(frame::header(header, salt), Err(NoFrame::Damaged)));
            let Some((skip, _)) = found else {
                at += (bytes.len() + 1 - HEADER) as u64;
                continue;
            };
            at += skip as u64;
            match self.frame(path, at, salt, true)? {
                Ok(header) if header.synced <= next && next < header.first => {
                    at += u64::from(header.length);
                }
                Ok(_) | Err(NoFrame::Version(_)) => return Ok(Some(at)),
                Err(NoFrame::Damaged) => at += 1,
            }
        }
        Ok(None)
    }
}

/// The error of damage that is not cut.
pub(super) fn refused(path: &Path, at: u64, what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "read log", what)
        .with("file", path.display())
        .with("byte", at)
        .remedy(
            "Restore the file from a copy. To give the records from there on up, cut the file at that byte and move \
             the partition's later segments away, then open the log once with on_damaged_tail = \"cut\"",
        )
}

/// The error of a file that another format is in.
pub(super) fn newer(path: &Path, at: u64, version: u8) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "read log",
        "a frame of an unknown format",
    )
    .with("file", path.display())
    .with("byte", at)
    .with("format", version)
    .remedy("Open it with the release that wrote it, or a later one")
}
