//! How a waiting poll learns that there may be something to do.
//!
//! One per poll function: a flag and the waker of the task that waits. Raising sets the flag *before* it takes the
//! waker, waiting leaves the waker *before* it looks at the flag a second time; whichever comes first, the other sees
//! it, so no wake is lost. While there is work the flag stays set and no lock is taken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::lock;

/// A flag and the waker of whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// There may be something: sets the flag and wakes the waiting task.
    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There may be more: sets the flag only, by the task that would be woken.
    pub(super) fn keep(&self) {
        self.raised.store(true, Ordering::Release);
    }

    /// Ready (and the flag is down) when it was raised since; else the task is woken when it is.
    pub(super) fn wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.raised.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        let mut waker = lock(&self.waker);
        match &mut *waker {
            Some(waiting) => waiting.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        drop(waker);
        if self.raised.swap(false, Ordering::AcqRel) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
