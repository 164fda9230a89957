//! A topic: its shape, its partitions, and who is to be woken when it grows.
//!
//! One lock per topic: taken once per batch by a reader and once per run of records by a publisher. Nothing is awaited
//! and no file is read under it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::lock;
use super::memory::MemoryPartition;
use super::retention::Limits;
use super::segment::Segments;
use super::signal::Signal;
use crate::backend::{
    OffsetRange, Partitioner, PublishRecord, Retention, TopicDescription, partition_by,
    partition_for_key,
};
use crate::error::{Error, ErrorKind};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    /// Tells it from every other topic of this process, also from one of the same name.
    pub(super) number: u64,
    pub(super) name: Arc<str>,
    pub(super) identity: String,
    pub(super) partitions: u32,
    /// What of it may be removed, where it says nothing.
    log_limits: Limits,
    retention: Mutex<Retention>,
    /// Set when it was deleted: whoever still holds it must not use it.
    pub(super) deleted: AtomicBool,
    /// The partition of the next null key.
    next_null: AtomicU32,
    /// Held while files that retention let go are removed. Taken before the state's lock.
    sweeping: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    partitions: Vec<Partition>,
    watchers: Vec<Weak<Signal>>,
}

/// What a partition keeps its records in.
#[derive(Debug)]
pub(super) enum Partition {
    /// Chunks in memory.
    Memory(MemoryPartition),
    /// Segment files.
    Disk(Segments),
}

impl Partition {
    pub(super) fn range(&self) -> OffsetRange {
        match self {
            Self::Memory(partition) => partition.range(),
            Self::Disk(segments) => segments.range(),
        }
    }
}

impl Topic {
    /// A topic over these partitions, at least one.
    pub(super) fn new(
        name: Arc<str>,
        identity: String,
        retention: Retention,
        log_limits: Limits,
        partitions: Vec<Partition>,
    ) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            name,
            identity,
            partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
            log_limits,
            retention: Mutex::new(retention),
            deleted: AtomicBool::new(false),
            next_null: AtomicU32::new(0),
            sweeping: Mutex::default(),
            state: Mutex::new(State {
                partitions,
                watchers: Vec::new(),
            }),
        }
    }

    pub(super) fn describe(&self) -> TopicDescription {
        let mut description = TopicDescription::new(&*self.name, self.partitions, &*self.identity);
        let limits = self.limits();
        description.retention = limits.age;
        description.retention_bytes = limits.bytes;
        description
    }

    /// How long it was asked to keep its records.
    pub(super) fn retention(&self) -> Retention {
        *lock(&self.retention)
    }

    /// Keeps its records so long from now on.
    pub(super) fn set_retention(&self, retention: Retention) {
        *lock(&self.retention) = retention;
    }

    /// What of it may be removed.
    pub(super) fn limits(&self) -> Limits {
        self.log_limits.of(self.retention())
    }

    /// The partition of a message: the one asked for, else by key, else the next in turn.
    pub(super) fn choose(
        &self,
        record: &PublishRecord,
        partitioner: Option<&dyn Partitioner>,
    ) -> crate::error::Result<u32> {
        match (record.partition, &record.message.key) {
            (Some(partition), _) => self.known(partition, "publish"),
            (None, Some(key)) => match partitioner {
                Some(partitioner) => partition_by(partitioner, &self.name, key, self.partitions),
                None => Ok(partition_for_key(key, self.partitions)),
            },
            (None, None) => Ok(self.next_null.fetch_add(1, Ordering::Relaxed) % self.partitions),
        }
    }

    /// The partition, if the topic has it.
    pub(super) fn known(
        &self,
        partition: u32,
        operation: &'static str,
    ) -> crate::error::Result<u32> {
        if partition < self.partitions {
            return Ok(partition);
        }
        Err(
            Error::new(ErrorKind::Invalid, operation, "no such partition")
                .with("topic", &self.name)
                .with("partition", partition)
                .with("partitions", self.partitions)
                .remedy("Partitions count from 0"),
        )
    }

    /// Fails when the topic was deleted.
    pub(super) fn check(&self, operation: &'static str) -> crate::error::Result<()> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(no_such_topic(operation, &self.name));
        }
        Ok(())
    }

    /// One past the last record of each partition.
    pub(super) fn ends(&self) -> Vec<u64> {
        self.with(|partitions| partitions.iter().map(|p| p.range().end).collect())
    }

    /// Works on the partitions under the topic's lock.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut [Partition]) -> T) -> T {
        work(&mut lock(&self.state).partitions)
    }

    /// Raises `signal` whenever the topic grows.
    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        let mut state = lock(&self.state);
        let signal = Arc::downgrade(signal);
        state
            .watchers
            .retain(|known| known.strong_count() > 0 && !known.ptr_eq(&signal));
        state.watchers.push(signal);
    }

    /// Works on the partitions, then wakes whoever waits for records. The wakers run under the lock: they only mark
    /// their task, and collecting them would allocate on every append.
    pub(super) fn grow<T>(&self, work: impl FnOnce(&mut [Partition]) -> T) -> T {
        let mut state = lock(&self.state);
        let result = work(&mut state.partitions);
        for watcher in state.watchers.iter().filter_map(Weak::upgrade) {
            watcher.raise();
        }
        result
    }

    /// Removes the files of a partition that retention let go, oldest first, up to the first that cannot be removed: with
    /// one missing among those that stay, the log would not open again.
    pub(super) fn sweep(&self, partition: u32) -> Result<(), (PathBuf, io::Error)> {
        let _sweeping = lock(&self.sweeping);
        let index = partition as usize;
        // The files of a deleted topic went with it, and there may be others of their names by now.
        while !self.deleted.load(Ordering::Acquire) {
            let oldest = self.with(|partitions| match &partitions[index] {
                Partition::Disk(segments) => segments.expired().cloned(),
                Partition::Memory(_) => None,
            });
            let Some(file) = oldest else { break };
            match fs::remove_file(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((file, error)),
            }
            self.with(|partitions| {
                if let Partition::Disk(segments) = &mut partitions[index] {
                    segments.expired_is_gone();
                }
            });
        }
        Ok(())
    }

    /// Marks it deleted and wakes its readers, so that they learn it; false when it was deleted before.
    pub(super) fn delete(&self) -> bool {
        let _sweeping = lock(&self.sweeping);
        let deleted = self.deleted.swap(true, Ordering::AcqRel);
        self.grow(|_| ());
        !deleted
    }
}

/// The error of a topic that does not exist.
pub(super) fn no_such_topic(operation: &'static str, topic: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such topic")
        .with("topic", topic)
        .remedy(
            "Create it; [backend.<name>] auto_create = true creates source topics of handlers only, \
             [backend.<name>.log] auto_create = true (.memory) all that are published to",
        )
}

/// Refuses names that not every storage can keep: the rule is that of Apache Kafka.
pub(super) fn check_name(name: &str) -> crate::error::Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(legal)
        && name != "."
        && name != ".."
    {
        return Ok(());
    }
    Err(
        Error::new(ErrorKind::Invalid, "create topic", "impossible topic name")
            .with("topic", name.escape_debug())
            .remedy("Use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'"),
    )
}

/// Longest topic name, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 249;
