//! Journals: files of JSON lines, one file per process, each line written whole by one call.
//!
//! A line that was appended survives the process, since the system has it; only the last line of a file can be torn, by a
//! kill in the middle of the call, and readers leave it out.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::trial::now_us;

/// A file that this process alone appends to; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<Mutex<File>>);

impl Journal {
    /// A new file in `directory`, which is made when it does not exist.
    pub(crate) fn create(directory: &Path, prefix: &str) -> io::Result<Self> {
        make(directory)?;
        // Process ids come round again; together with the time they do not.
        let name = format!("{prefix}-{}-{}.jsonl", now_us(), std::process::id());
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        let file = options.append(true).create_new(true).open(&path);
        let file = file.map_err(|error| named(&path, &error))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Appends one line.
    pub(crate) fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&bytes)
    }
}

/// Makes a directory, unless it is there.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory).map_err(|error| {
        if directory.exists() && !directory.is_dir() {
            let text = format!("{}: it is a file; name a directory", directory.display());
            return io::Error::new(error.kind(), text);
        }
        named(directory, &error)
    })
}

/// All whole lines of all files in `directory` whose names start with `prefix`.
pub(crate) fn read_lines<T: DeserializeOwned>(
    directory: &Path,
    prefix: &str,
) -> io::Result<Vec<T>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(|error| named(directory, &error))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".jsonl")
    });
    paths.sort();
    let mut lines = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
        for line in whole_lines(&text) {
            lines.push(serde_json::from_str(line).map_err(|error| named(&path, &error.into()))?);
        }
    }
    Ok(lines)
}

/// The lines that have their end.
pub(crate) fn whole_lines(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text[..text.rfind('\n').map_or(0, |end| end + 1)].lines()
}

/// The error with the path it was met on.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
