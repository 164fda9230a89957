//! The layout of a log directory, and opening it.
//!
//! ```text
//! lock                      held while the log is open
//! log.json                  format, identity, how often it was opened, whether positions.journal was begun
//! positions.journal         position records, and how far partitions are confirmed
//! topics/NAME/topic.json    name, identity, partitions, retention
//! topics/NAME/PPPPP-OFFSET.segment
//! FILE.cut-BYTE-NUMBER      bytes that were cut off a file, kept for the operator
//! deleted/                  topics on their way out
//! ```
//! A topic exists once its `topic.json` does: what a crash left half made or half deleted is removed at open.
//!
//! A new log writes `log.json`, then `positions.journal`, and then notes in `log.json` that there is one; nothing can be
//! confirmed before. So a journal that was noted and is missing was lost, and with it every group's progress.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, file_error};
use super::ends::Ends;
use super::frame::Header;
use super::look::{DELETED, LOG_FILE, POSITIONS_FILE, TOPICS, names};
use super::options::{Fsync, LogOptions};
use super::recovery::{Check, Tail, recover, refused};
use super::retention::Kept;
use super::segment::{Segment, Segments, parse_segment_name, segment_path};
use super::topic::{Partition, Topic};
use crate::backend::Retention;
use crate::error::{Error, ErrorKind, Result};

const FORMAT: u32 = 1;
const TOPIC_FILE: &str = "topic.json";

/// A log directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

/// What `log.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogFile {
    format: u32,
    pub(super) identity: String,
    /// How often it was opened, this time included: no two owners share a number that counts from here.
    pub(super) opened: u64,
    /// Whether there was a journal of positions: a log without one has lost it.
    pub(super) positions: bool,
}

/// What every `.json` says, whatever else it says.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct TopicFile {
    format: u32,
    name: String,
    identity: String,
    partitions: u32,
    #[serde(default)]
    retention: Kept,
}

impl Directory {
    /// The directory at `root`, made when it does not exist.
    pub(super) fn make(root: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        let made: Vec<&Path> = root
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        fs::create_dir_all(root).map_err(|error| file_error(root, error))?;
        // A name lasts once the directory it is in was synced: else a power cut takes the whole log.
        for path in made {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let synced = disk.sync_directory(parent);
            synced.map_err(|error| file_error(parent, error))?;
        }
        Ok(Self {
            root: root.to_path_buf(),
            disk,
        })
    }

    pub(super) fn positions(&self) -> PathBuf {
        self.root.join(POSITIONS_FILE)
    }

    /// Reads `log.json` and counts this opening; `identity` is used when the log is new.
    pub(super) fn begin(&self, identity: impl FnOnce() -> String) -> Result<LogFile> {
        let path = self.root.join(LOG_FILE);
        let mut log = read_json::<LogFile>(&path)?.unwrap_or_else(|| LogFile {
            format: FORMAT,
            identity: identity(),
            opened: 0,
            positions: false,
        });
        log.opened += 1;
        self.write_json(&path, &log)?;
        for directory in [TOPICS, DELETED] {
            let path = self.root.join(directory);
            fs::create_dir_all(&path).map_err(|error| file_error(&path, error))?;
        }
        let synced = self.disk.sync_directory(&self.root);
        synced.map_err(|error| file_error(&self.root, error))?;
        let deleted = self.root.join(DELETED);
        fs::remove_dir_all(&deleted)
            .and_then(|()| fs::create_dir(&deleted))
            .map_err(|error| file_error(&deleted, error))?;
        Ok(log)
    }

    /// Notes that there is a journal of positions.
    pub(super) fn note_positions(&self, log: &mut LogFile) -> Result<()> {
        if log.positions {
            return Ok(());
        }
        log.positions = true;
        self.write_json(&self.root.join(LOG_FILE), log)
    }

    /// The error of a journal of positions that is missing.
    pub(super) fn positions_lost(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            "open log",
            "the positions of the groups are missing, and the noted ends of the partitions with them",
        )
        .with("file", self.positions().display())
        .remedy(
            "Restore the file from a copy. To go on without, open the log once with on_damaged_tail = \"cut\": each group \
             starts anew, where its route's `start` says, so it handles everything again or passes over what waits; \
             and records that are missing at the end of a partition are not noticed",
        )
    }

    /// All topics, recovered, and durable up to where they end now (unless the options do without fsync).
    pub(super) fn topics(
        &self,
        options: &LogOptions,
        ends: &Ends,
    ) -> Result<BTreeMap<Arc<str>, Arc<Topic>>> {
        let root = self.root.join(TOPICS);
        let mut topics = BTreeMap::new();
        for name in names(&root)? {
            let directory = root.join(&name);
            let path = directory.join(TOPIC_FILE);
            let Some(file) = read_json::<TopicFile>(&path)? else {
                remove_half_made(&directory)?;
                continue;
            };
            if file.name != name || file.partitions == 0 {
                return Err(refused(&path, 0, "it does not describe the topic it is in"));
            }
            let topic = Arc::new(open_topic(&directory, &file, options, ends)?);
            topics.insert(Arc::clone(&topic.name), topic);
        }
        Ok(topics)
    }

    /// Makes a topic durably.
    pub(super) fn create_topic(
        &self,
        name: &str,
        identity: &str,
        partitions: u32,
        retention: Retention,
    ) -> Result<Vec<Partition>> {
        let directory = self.root.join(TOPICS).join(name);
        let made = fs::create_dir_all(&directory);
        made.map_err(|error| file_error(&directory, error))?;
        self.describe_topic(name, identity, partitions, retention)?;
        let topics = self.root.join(TOPICS);
        let synced = self.disk.sync_directory(&topics);
        synced.map_err(|error| file_error(&topics, error))?;
        let empty = (0..partitions).map(|_| VecDeque::new());
        Ok(partitions_of(&directory, identity, empty))
    }

    /// Writes what a topic is, durably; one that is there is replaced.
    pub(super) fn describe_topic(
        &self,
        name: &str,
        identity: &str,
        partitions: u32,
        retention: Retention,
    ) -> Result<()> {
        let file = TopicFile {
            format: FORMAT,
            name: name.to_owned(),
            identity: identity.to_owned(),
            partitions,
            retention: retention.into(),
        };
        let directory = self.root.join(TOPICS).join(name);
        self.write_json(&directory.join(TOPIC_FILE), &file)
    }

    /// Takes a topic's files out of sight durably, then removes them.
    pub(super) fn delete_topic(&self, topic: &Topic) -> io::Result<()> {
        let topics = self.root.join(TOPICS);
        let deleted = self.root.join(DELETED).join(&topic.identity);
        fs::rename(topics.join(&*topic.name), &deleted)?;
        self.disk.sync_directory(&topics)?;
        fs::remove_dir_all(&deleted)
    }

    fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        serde_json::to_vec_pretty(value)
            .map_err(io::Error::from)
            .and_then(|contents| self.disk.replace(path, &contents))
            .map_err(|error| file_error(path, error))
    }
}

fn open_topic(
    directory: &Path,
    file: &TopicFile,
    options: &LogOptions,
    ends: &Ends,
) -> Result<Topic> {
    let mut bases: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for name in names(directory)? {
        if let Some((partition, base)) = parse_segment_name(&name) {
            if partition >= file.partitions {
                let path = directory.join(&name);
                return Err(refused(&path, 0, "its partition is none of the topic's"));
            }
            bases.entry(partition).or_default().push(base);
        }
    }
    let mut partitions = Vec::new();
    for partition in 0..file.partitions {
        let mut bases = bases.remove(&partition).unwrap_or_default();
        bases.sort_unstable();
        let salt = salt(&file.identity, partition);
        let tail = Tail {
            confirmed: ends.get(&file.identity, partition),
            damaged: options.on_damaged_tail,
            disk: &*options.disk,
        };
        let path = |base| segment_path(directory, partition, base);
        let segments = open_partition(path, salt, &bases, tail)?;
        if options.fsync == Fsync::Group
            && let Some(last) = segments.back()
            && last.end > tail.confirmed
        {
            make_durable(&*options.disk, &path(last.base))?;
        }
        partitions.push(segments);
    }
    let partitions = partitions_of(directory, &file.identity, partitions.into_iter());
    Ok(Topic::new(
        file.name.as_str().into(),
        file.identity.clone(),
        file.retention.into(),
        options.limits(),
        partitions,
    ))
}

fn open_partition(
    path: impl Fn(u64) -> PathBuf,
    salt: u32,
    bases: &[u64],
    tail: Tail<'_>,
) -> Result<VecDeque<Segment>> {
    let Some((&active, _)) = bases.split_last() else {
        tail.check(&path(0), 0, 0, "the files of confirmed records are missing")?;
        return Ok(VecDeque::new());
    };
    let mut segments: VecDeque<Segment> = VecDeque::new();
    for &base in bases {
        let path = path(base);
        if segments.back().is_some_and(|before| before.end != base) {
            return Err(refused(
                &path,
                0,
                "it does not begin where the segment before ends",
            ));
        }
        let check = if base == active {
            Check::Tail(tail)
        } else {
            Check::Complete
        };
        let mut segment = Segment::new(base);
        recover(&path, salt, base, check, |header: &Header, _, _| {
            segment.push(u64::from(header.length), header.next(), header.stamp);
            Ok(())
        })?;
        segments.push_back(segment);
    }
    Ok(segments)
}

/// Syncs what a process wrote that did not live to sync it: from now on it is read, and what is read must last.
fn make_durable(disk: &dyn Disk, path: &Path) -> Result<()> {
    disk.append(path)
        .and_then(|mut file| file.sync())
        .map_err(|error| file_error(path, error))
}

fn partitions_of(
    directory: &Path,
    identity: &str,
    segments: impl Iterator<Item = VecDeque<Segment>>,
) -> Vec<Partition> {
    let directory: Arc<Path> = directory.into();
    (0..)
        .zip(segments)
        .map(|(partition, segments)| {
            let salt = salt(identity, partition);
            let directory = Arc::clone(&directory);
            Partition::Disk(Segments::new(directory, partition, salt, segments))
        })
        .collect()
}

/// What the checks of a file's frames start from, so that a file in another's place is noticed.
pub(super) fn salt(identity: &str, partition: u32) -> u32 {
    crc32c::crc32c_append(
        crc32c::crc32c(identity.as_bytes()),
        &partition.to_le_bytes(),
    )
}

/// A description of ours, `None` when there is none. Its format comes first: in a later one everything else may differ.
fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    let contents = match fs::read(path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path, error)),
    };
    let malformed = |error: serde_json::Error| {
        Error::new(ErrorKind::Corrupt, "open log", "the file is malformed")
            .with("file", path.display())
            .source_error(error)
            .remedy("Restore the file from a copy")
    };
    let Format { format } = serde_json::from_slice(&contents).map_err(malformed)?;
    if format != FORMAT {
        return Err(
            Error::new(ErrorKind::Unsupported, "open log", "an unknown format")
                .with("file", path.display())
                .with("format", format)
                .remedy("Open it with the release that wrote it, or a later one"),
        );
    }
    serde_json::from_slice(&contents)
        .map(Some)
        .map_err(malformed)
}

/// A creation that a crash interrupted left a directory with an unfinished `topic.json` at most. Anything else in it is
/// not ours to remove.
fn remove_half_made(directory: &Path) -> Result<()> {
    let unfinished = Path::new(TOPIC_FILE).with_extension("tmp");
    for name in names(directory)? {
        if Path::new(&name) != unfinished {
            let path = directory.join(TOPIC_FILE);
            return Err(
                refused(&path, 0, "it is missing, and files lie beside it").with("found", name)
            );
        }
        let path = directory.join(&unfinished);
        fs::remove_file(&path).map_err(|error| file_error(&path, error))?;
    }
    fs::remove_dir(directory).map_err(|error| file_error(directory, error))
}
