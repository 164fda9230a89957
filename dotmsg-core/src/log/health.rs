//! Whether the log is still usable, and if not, why.
//!
//! It goes down once: by being closed, or by a failed write or fsync. After a failed fsync the kernel may have dropped
//! the dirty pages and report success to the next one (Rebello et al., USENIX ATC 2020), so nothing may be tried again;
//! the remedy is to open the log anew, which reads back what is really there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::lock;
use super::signal::Signal;
use crate::error::{Error, ErrorKind, Result, Retryability};

/// Up, or down for a reason; and who is to be woken when it goes down.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
    failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reason: Option<(ErrorKind, String)>,
    watchers: Vec<Weak<Signal>>,
}

impl Health {
    /// Fails when the log is down.
    pub(super) fn check(&self, operation: &'static str) -> Result<()> {
        if self.down.load(Ordering::Acquire) {
            return Err(self.error(operation));
        }
        Ok(())
    }

    /// The reason as an error; of a log that is up: that it was closed.
    pub(super) fn error(&self, operation: &'static str) -> Error {
        let (kind, reason) = lock(&self.state)
            .reason
            .clone()
            .unwrap_or((ErrorKind::Closed, "the log was closed".into()));
        let error = Error::new(kind, operation, reason).retryable(Retryability::Permanent);
        match kind {
            ErrorKind::Full => error.remedy("Make room and open the log again"),
            _ => error.remedy("Open the log again"),
        }
    }

    /// Whether a write failed: what is still queued must not be tried.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes the log down after a failed write.
    pub(super) fn fail(&self, kind: ErrorKind, reason: String) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            // Also when it was closed before: what failed then is what its user has to know.
            lock(&self.state).reason = Some((kind, reason.clone()));
        }
        self.take_down(kind, reason);
    }

    /// Takes the log down because its user is done; what is queued is still carried out.
    pub(super) fn close(&self) {
        self.take_down(ErrorKind::Closed, "the log was closed".into());
    }

    /// The first reason stays, but for a failure.
    fn take_down(&self, kind: ErrorKind, reason: String) {
        let watchers = {
            let mut state = lock(&self.state);
            state.reason.get_or_insert((kind, reason));
            self.down.store(true, Ordering::Release);
            std::mem::take(&mut state.watchers)
        };
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            watcher.raise();
        }
    }

    /// Raises `signal` when the log goes down.
    pub(super) fn watch(&self, signal: &Arc<Signal>) {
        let mut state = lock(&self.state);
        state.watchers.retain(|known| known.strong_count() > 0);
        state.watchers.push(Arc::downgrade(signal));
        if self.down.load(Ordering::Acquire) {
            signal.keep();
        }
    }
}
