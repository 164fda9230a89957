//! The in-flight limit of a route, shared by its workers.
//!
//! Workers are CPU parallelism; *concurrency* is this counter. A worker that finds no permit notes that it starves and
//! looks once more (else a release between the two would wake nobody); a release wakes those that starve.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

/// Permits to run handlers.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    used: AtomicUsize,
    anyone_starving: AtomicBool,
    starving: Mutex<Vec<Waker>>,
}

impl Permits {
    /// `limit` permits, all free.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
            anyone_starving: AtomicBool::new(false),
            starving: Mutex::new(Vec::new()),
        }
    }

    /// Takes a permit, or arranges for `waker` to be woken when one may be free.
    pub(crate) fn acquire(&self, waker: &Waker) -> bool {
        if self.try_acquire() {
            return true;
        }
        {
            let mut starving = self.starving.lock().expect("no holder of this lock panics");
            if !starving.iter().any(|known| known.will_wake(waker)) {
                starving.push(waker.clone());
            }
            self.anyone_starving.store(true, Ordering::SeqCst);
        }
        self.try_acquire()
    }

    fn try_acquire(&self) -> bool {
        // Never above the limit, not even for a moment: another worker would take that for no permit, and starve.
        let one_more = |used| (used < self.limit).then_some(used + 1);
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// Gives a permit back.
    pub(crate) fn release(&self) {
        let before = self.used.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a permit was given back that nobody held");
        if self.anyone_starving.load(Ordering::SeqCst) {
            self.wake_starving();
        }
    }

    #[cold]
    fn wake_starving(&self) {
        self.anyone_starving.store(false, Ordering::SeqCst);
        let starving =
            std::mem::take(&mut *self.starving.lock().expect("no holder of this lock panics"));
        for waker in starving {
            waker.wake();
        }
    }

    /// Whether none is free.
    pub(crate) fn are_exhausted(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    /// Permits in use.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_starves_is_woken_by_the_next_release() {
        let permits = Permits::new(1);
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        assert!(permits.acquire(&waker));
        assert!(!permits.acquire(&waker));
        assert!(!permits.acquire(&waker));
        permits.release();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(permits.acquire(&waker));
        assert_eq!(permits.used(), 1);
    }
}
