//! Bytes that were cut off a file, kept beside it.
//!
//! They are most likely the torn tail of a crash, and nobody misses them; but they may be a confirmed batch that the disk
//! damaged, and then this is all that is left of it. So they are copied before the cut, never over an earlier copy, and
//! nobody but the operator removes them (deleting the topic does). A crash that repeats must not fill the disk with them,
//! so size and number are limited.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{Disk, file_error};
use crate::error::Result;

/// Bytes of a copy at most: four times the largest record by default.
pub(super) const MOST_BYTES: u64 = 64 << 20;
/// Copies beside one file at most.
pub(super) const MOST_COPIES: usize = 100;
/// Bytes copied at a time.
const STEP: usize = 256 << 10;

/// What became of the bytes, in words.
#[derive(Debug)]
pub(super) enum Kept {
    /// In this file; not all of them when they were more than [`MOST_BYTES`].
    In(PathBuf),
    /// Nowhere: there are [`MOST_COPIES`] copies already.
    Nowhere,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(path) => path.display().fmt(f),
            Self::Nowhere => write!(f, "nowhere, as there are {MOST_COPIES} copies already"),
        }
    }
}

/// Copies these bytes of `file` to `FILE.cut-BYTE-NUMBER`, durably.
pub(super) fn keep(disk: &dyn Disk, path: &Path, file: &File, bytes: Range<u64>) -> Result<Kept> {
    copy(disk, path, file, bytes).map_err(|error| {
        file_error(path, error)
            .remedy("The bytes that are to be cut off could not be kept beside it")
    })
}

fn copy(disk: &dyn Disk, path: &Path, file: &File, bytes: Range<u64>) -> io::Result<Kept> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let copies = copies(path, &name)?;
    if copies >= MOST_COPIES {
        return Ok(Kept::Nowhere);
    }
    let mut number = 1;
    let (to, mut out) = loop {
        let to = path.with_file_name(format!("{name}.cut-{}-{number}", bytes.start));
        match disk.create(&to) {
            Ok(out) => break (to, out),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    let mut buffer = vec![0; STEP];
    let mut at = bytes.start;
    let end = bytes.end.min(bytes.start.saturating_add(MOST_BYTES));
    while at < end {
        let step = usize::try_from(end - at).map_or(STEP, |left| left.min(STEP));
        file.read_exact_at(&mut buffer[..step], at)?;
        out.write(&buffer[..step])?;
        at += step as u64;
    }
    out.sync()?;
    Ok(Kept::In(to))
}

fn copies(path: &Path, name: &str) -> io::Result<usize> {
    let prefix = format!("{name}.cut-");
    let mut copies = 0;
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        copies += usize::from(entry?.file_name().to_string_lossy().starts_with(&prefix));
    }
    Ok(copies)
}
