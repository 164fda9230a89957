//! The lock that keeps a second process out of a log directory.
//!
//! The operating system holds it for the open file, so it ends with the process, however that ends. The file says which
//! process that is, for people: what it says counts for nothing when nobody holds the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use super::disk::file_error;
use crate::error::{Error, ErrorKind, Result, Retryability};

/// The name of the file in the directory.
pub(super) const LOCK_FILE: &str = "lock";

/// The lock, until it is dropped.
#[derive(Debug)]
pub(super) struct LockFile {
    file: File,
}

impl Drop for LockFile {
    /// Closing the file would not do: a child that this process is starting in another thread has it open too until it runs its
    /// own program, and the lock with it.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
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
            Ok(()) => {
                name_holder(&file);
                Ok(Self { file })
            }
            Err(TryLockError::WouldBlock) => Err(held(directory, &path)),
            Err(TryLockError::Error(error)) => Err(file_error(&path, error)),
        }
    }
}

/// Writes down who holds the lock. That it cannot be written is no reason not to open a log.
fn name_holder(mut file: &File) {
    let _ = file
        .set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()));
}

/// The error of a lock that is held, with the process that wrote itself down.
fn held(directory: &Path, path: &Path) -> Error {
    let holder = fs::read_to_string(path).ok();
    let holder = holder.and_then(|holder| holder.trim().parse::<u32>().ok());
    let (what, remedy) = if holder == Some(std::process::id()) {
        (
            "this process has the log open already",
            "Use one handle: clones of it are the same log",
        )
    } else {
        (
            "another process has the log open",
            "Stop it, or wait until it has ended; a log is for one process at a time",
        )
    };
    let error = Error::new(ErrorKind::Fenced, "open log", what).with("path", directory.display());
    let error = match holder {
        Some(holder) => error.with("process", holder),
        None => error,
    };
    error.retryable(Retryability::Transient).remedy(remedy)
}

#[cfg(all(test, not(dotmsg_loom)))]
mod tests {
    use super::*;
    use crate::log::tests::TestDirectory;

    #[test]
    fn a_file_that_a_child_has_inherited_does_not_hold_the_lock() {
        let directory = TestDirectory::new();
        fs::create_dir(&directory.0).unwrap();
        let lock = LockFile::acquire(&directory.0).unwrap();
        let inherited = lock.file.try_clone().unwrap();
        let refused = LockFile::acquire(&directory.0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced);
        drop(lock);
        LockFile::acquire(&directory.0).unwrap();
        drop(inherited);
    }
}
