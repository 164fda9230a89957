//! The lock that keeps a second process out of a log directory.
//!
//! The operating system holds it for the open file, so it ends with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::disk::file_error;
use crate::error::{Error, ErrorKind, Result, Retryability};

/// The name of the file in the directory.
pub(super) const LOCK_FILE: &str = "lock";

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Locks the directory.
    pub(super) fn acquire(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| file_error(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Fenced,
                "open log",
                "another process, or another handle of this one, has the log open",
            )
            .with("path", directory.display())
            .retryable(Retryability::Transient)
            .remedy("Stop it, or wait until it has ended; a log is for one process at a time")),
            Err(TryLockError::Error(error)) => Err(file_error(&path, error)),
        }
    }
}
