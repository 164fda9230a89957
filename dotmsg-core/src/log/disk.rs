//! Everything the log writes goes through here: the seam at which tests (and later simulation) make disks fail.
//!
//! Reading uses plain files: what can fail there is damage, which tests make in the files themselves.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// A place to write files.
pub(super) trait Disk: Debug + Send + Sync {
    /// A new file, its name durable.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file, to write behind its end.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Replaces a file's contents as one step, durably: temporary file, fsync, rename, fsync of the directory.
    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()>;

    /// Cuts a file off, durably.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file that is written behind its end.
pub(super) trait DiskFile: Debug + Send {
    /// Writes all of it, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes all of these, one behind the other, or fails: in as few calls of the system as it takes.
    fn write_parts(&mut self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        parts.iter().try_for_each(|part| self.write(part))
    }

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        file.sync_all()?;
        if let Some(directory) = path.parent() {
            self.sync_directory(directory)?;
        }
        Ok(Box::new(file))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent()
            .map_or(Ok(()), |directory| self.sync_directory(directory))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn write_parts(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        // Nothing is left of parts that are empty.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.write_vectored(parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The error of a file that cannot be read, made or changed.
pub(super) fn file_error(path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, what, remedy) = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => (
            ErrorKind::Denied,
            "access is denied",
            "A log needs the right to read and write its directory and all that is in it",
        ),
        Io::NotADirectory => (
            ErrorKind::Invalid,
            "a part of the path is not a directory",
            "Name a directory, or a path at which one can be made",
        ),
        _ if write_error_kind(&error) == ErrorKind::Full => (
            ErrorKind::Full,
            "there is no room",
            "Make room on the device, or raise the quota",
        ),
        _ => (
            ErrorKind::Unexpected,
            "the operating system refused",
            "Look at the file, its device and the limits of the process",
        ),
    };
    Error::new(kind, "use log file", what)
        .with("file", path.display())
        .source_error(error)
        .remedy(remedy)
}

/// The kind of a failed write: [`ErrorKind::Full`] when device, quota or file size limit is reached.
pub(super) fn write_error_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorKind::Full
        }
        _ => ErrorKind::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_has_a_kind_and_a_remedy() {
        use io::ErrorKind as Io;
        for (said, kind) in [
            (Io::PermissionDenied, ErrorKind::Denied),
            (Io::ReadOnlyFilesystem, ErrorKind::Denied),
            (Io::NotADirectory, ErrorKind::Invalid),
            (Io::StorageFull, ErrorKind::Full),
            (Io::QuotaExceeded, ErrorKind::Full),
            (Io::InvalidInput, ErrorKind::Unexpected),
        ] {
            let error = file_error(Path::new("some/where"), said.into());
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            let (thing, remedy) = text.rsplit_once(". ").expect("a remedy");
            assert!(thing.contains("some/where") && !remedy.is_empty(), "{text}");
        }
    }
}
