//! What lies at a path, before anything is made there or locked: a log, nothing, or something else.
//!
//! A refusal leaves no trace. `log.json` is the first file that a new log writes, so whatever else lies there without it was
//! put there by somebody, or belongs to a log that has lost it.

use std::fs;
use std::io;
use std::path::Path;

use super::disk::file_error;
use super::lock_file::LOCK_FILE;
use crate::error::{Error, ErrorKind, Result};

/// Format, identity and openings of a log.
pub(super) const LOG_FILE: &str = "log.json";
/// Position records and noted ends.
pub(super) const POSITIONS_FILE: &str = "positions.journal";
/// A directory per topic.
pub(super) const TOPICS: &str = "topics";
/// Topics on their way out.
pub(super) const DELETED: &str = "deleted";

/// Refuses a path at which no log is and none may be begun.
pub(super) fn look(root: &Path) -> Result<()> {
    match fs::metadata(root) {
        Ok(found) if !found.is_dir() => return Err(no_directory(root)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file_error(root, error)),
    }
    let log = root.join(LOG_FILE);
    if log.try_exists().map_err(|error| file_error(&log, error))? {
        return Ok(());
    }
    let found = names(root)?;
    let begun = [LOCK_FILE, "log.tmp"];
    let strange = found.iter().find(|name| !begun.contains(&name.as_str()));
    let Some(name) = strange else {
        return Ok(());
    };
    // Another process may have begun one since the first look.
    if log.exists() {
        return Ok(());
    }
    if [POSITIONS_FILE, TOPICS, DELETED].contains(&name.as_str()) {
        return Err(headless(root, name));
    }
    Err(foreign(root, name))
}

/// The names in a directory, in order.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|error| file_error(directory, error))
}

fn no_directory(root: &Path) -> Error {
    Error::new(ErrorKind::Invalid, "open log", "it is not a directory")
        .with("path", root.display())
        .remedy("A log is a directory: name one, or a path at which one can be made")
}

fn foreign(root: &Path, name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "open log",
        "the directory is not empty and holds no log",
    )
    .with("path", root.display())
    .with("found", name)
    .remedy("Name another directory, or an empty one")
}

fn headless(root: &Path, name: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "open log",
        "the directory holds a log whose log.json is missing",
    )
    .with("path", root.display())
    .with("found", name)
    .remedy("Restore log.json from a copy, or name another directory to begin a new log there")
}
