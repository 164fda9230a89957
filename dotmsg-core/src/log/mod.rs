//! The reference log broker: the definition of what a partitioned log means to this framework.
//!
//! One state machine, two storages. [`LogBroker::memory`] keeps records in chunks of reference-counted bytes;
//! [`LogBroker::open`] keeps them in a directory of segment files with group commit. Both share topics, partitioning,
//! groups, fencing, positions and retention, so what a test shows on memory holds on disk. Time comes from the
//! [`Clock`](crate::clock::Clock) in [`LogOptions`], identities from its seed.
//!
//! - `broker`, `options`, `factory`: the handle, its settings, the schemes `memory:` and `log:`.
//! - `topic`, `memory`, `cursor`, `signal`: what a partition holds, and how a reader walks and waits.
//! - `directory`, `segment`, `fetch`, `frame`, `codec`: what is on disk, and reading it.
//! - `writer`, `group_commit`, `head`, `journal`, `disk`: group commit, and the seam at which disks fail.
//! - `disk_faults` (feature `testing`): disks that fail on purpose.
//! - `recovery`, `ends`, `aside`, `lock_file`: what a crash leaves, and one process at a time.
//! - `group/`, `assignor/`: who owns a partition, as a state machine; how partitions are shared.
//! - `publisher`, `source`, `reader`, `admin`, `positions`: the backend contract.
//! - `retention`, `health`: rules that both storages share.
//!
//! What must stay true: a record is readable only once it is confirmed; a position is accepted from the current grant
//! only; nothing here sleeps, spawns tasks or polls in a loop: waiters leave a waker and are woken.

mod admin;
mod aside;
mod assignor;
mod broker;
mod codec;
mod cursor;
mod directory;
mod disk;
#[cfg(any(test, feature = "testing"))]
mod disk_faults;
mod ends;
mod factory;
mod fetch;
mod frame;
mod group;
mod group_commit;
mod head;
mod health;
mod journal;
mod lock_file;
mod look;
mod memory;
mod options;
mod positions;
mod publisher;
mod reader;
mod recovery;
mod retention;
mod segment;
mod shared;
mod signal;
mod source;
mod topic;
mod writer;

#[cfg(all(test, not(dotmsg_loom)))]
mod tests;

pub use assignor::Assignor;
pub use broker::LogBroker;
#[cfg(any(test, feature = "testing"))]
pub use disk_faults::{DiskFaults, Struck};
pub use factory::{MemoryLogs, log_factory, memory_factory};
pub use options::{DamagedTail, Fsync, LogOptions, check_setting, setting_list};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere under the lock leaves the state usable, because every change under it is one step.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
