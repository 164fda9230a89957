//! How a waiting poll learns that there may be something to do.
//!
//! One per poll function: a flag and the waker of the task that waits. Raising sets the flag *before* it takes the
//! waker, waiting leaves the waker *before* it looks at the flag a second time; whichever comes first, the other sees
//! it, so no wake is lost. While there is work the flag stays set and no lock is taken.

#[cfg(dotmsg_loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(dotmsg_loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

/// A flag and the waker of whoever waits for it.
#[derive(Debug)]
pub(super) struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Default for Signal {
    fn default() -> Self {
        Self {
            raised: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }
}

impl Signal {
    /// There may be something: sets the flag and wakes the waiting task.
    pub(super) fn raise(&self) {
        // A swap and not a store: a store would break the release sequence of another raise before it, and whoever
        // takes the flag down would not see what that other one published (found by loom).
        self.raised.swap(true, Ordering::AcqRel);
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There may be more: sets the flag only, by the task that would be woken.
    pub(super) fn keep(&self) {
        // As in `raise`: a store would cut off what a raise before it published.
        self.raised.swap(true, Ordering::AcqRel);
    }

    /// Ready (and the flag is down) when it was raised since; else the task is woken when it is.
    pub(super) fn wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.raised.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
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

#[cfg(all(test, dotmsg_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    /// Whoever looks after a wait that was ready, or is woken, sees what was there before the raise.
    #[test]
    fn no_raise_is_lost() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let signal = Arc::new(Signal::default());
            let records = Arc::new(AtomicU32::new(0));
            let publishers: Vec<_> = (0..2)
                .map(|_| {
                    let (signal, records) = (signal.clone(), records.clone());
                    thread::spawn(move || {
                        records.fetch_add(1, Ordering::Relaxed);
                        signal.raise();
                    })
                })
                .collect();
            let mut taken = 0;
            loom::future::block_on(std::future::poll_fn(|cx| {
                while signal.wait(cx).is_ready() {
                    let found = records.load(Ordering::Relaxed);
                    if found > taken {
                        taken = found;
                        signal.keep();
                    }
                    if taken == 2 {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            }));
            for publisher in publishers {
                publisher.join().unwrap();
            }
        });
    }
}
