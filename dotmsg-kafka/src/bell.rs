//! Wakes the polling thread: for a command, for room in the inbox, for what librdkafka has to say.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// A bell that one thread listens to and anybody rings. A ring before the thread waits is not lost.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    thread: OnceLock<Thread>,
    rung: AtomicBool,
}

impl Bell {
    /// The calling thread is the one that listens.
    pub(crate) fn mine(&self) {
        let _ = self.thread.set(thread::current());
    }

    /// Wakes it.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Waits for a ring, at most so long.
    pub(crate) fn wait(&self, most: Duration) {
        if !self.rung.swap(false, Ordering::AcqRel) {
            thread::park_timeout(most);
            self.rung.swap(false, Ordering::AcqRel);
        }
    }
}
