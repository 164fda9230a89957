//! The in-flight limit of a route, shared by its workers.
//!
//! Workers are CPU parallelism; *concurrency* is this counter. A worker that finds no permit leaves its waker; a release
//! wakes those that starve. Count and "somebody starves" are one word: a release that finds the mark finds the waker too,
//! and one that comes before the mark is seen by whoever sets it. Loom checks it (`loom_tests` below).

#[cfg(dotmsg_loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
#[cfg(not(dotmsg_loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use std::task::Waker;

/// Somebody starves; the other bits are the count.
const STARVING: usize = 1 << (usize::BITS - 1);

/// Permits to run handlers.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    /// Permits in use, and the mark.
    word: AtomicUsize,
    /// Wakers of those that starve. Mark and list change under its lock.
    starving: Mutex<Vec<Waker>>,
}

impl Permits {
    /// `limit` permits, all free.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            word: AtomicUsize::new(0),
            starving: Mutex::new(Vec::new()),
        }
    }

    /// Takes a permit, or arranges for `waker` to be woken when one may be free.
    pub(crate) fn acquire(&self, waker: &Waker) -> bool {
        let one_more = |word| self.has_room(word).then_some(word + 1);
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_ok()
            || self.acquire_or_starve(waker)
    }

    #[cold]
    fn acquire_or_starve(&self, waker: &Waker) -> bool {
        let mut starving = self.starving.lock().expect("no holder of this lock panics");
        let one_more_or_mark = |word| match self.has_room(word) {
            true => Some(word + 1),
            false => Some(word | STARVING),
        };
        let before = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more_or_mark)
            .unwrap_or_else(|word| word);
        let acquired = self.has_room(before);
        if !acquired && !starving.iter().any(|known| known.will_wake(waker)) {
            starving.push(waker.clone());
        }
        acquired
    }

    fn has_room(&self, word: usize) -> bool {
        word & !STARVING < self.limit
    }

    /// Gives a permit back.
    #[inline]
    pub(crate) fn release(&self) {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(
            before & !STARVING > 0,
            "a permit was given back that nobody held"
        );
        if before & STARVING != 0 {
            self.wake_starving();
        }
    }

    #[cold]
    fn wake_starving(&self) {
        let mut starving = self.starving.lock().expect("no holder of this lock panics");
        self.word.fetch_and(!STARVING, Ordering::AcqRel);
        // Under the lock, so that the list keeps its room: wakers only mark tasks.
        for waker in starving.drain(..) {
            waker.wake();
        }
    }

    /// Whether none is free.
    pub(crate) fn are_exhausted(&self) -> bool {
        !self.has_room(self.word.load(Ordering::Relaxed))
    }

    /// Permits in use.
    pub(crate) fn used(&self) -> usize {
        self.word.load(Ordering::Relaxed) & !STARVING
    }
}

#[cfg(all(test, not(dotmsg_loom)))]
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

#[cfg(all(test, dotmsg_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;
    use std::future::poll_fn;
    use std::task::Poll;

    /// Three workers, one permit: each of them gets it, nobody while another has it.
    #[test]
    fn whoever_starves_gets_its_turn() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let permits = loom::sync::Arc::new(Permits::new(1));
            let held = loom::sync::Arc::new(AtomicBool::new(false));
            let work = |permits: loom::sync::Arc<Permits>, held: loom::sync::Arc<AtomicBool>| {
                loom::future::block_on(poll_fn(|cx| match permits.acquire(cx.waker()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }));
                assert!(!held.swap(true, Ordering::SeqCst), "beyond the limit");
                held.store(false, Ordering::SeqCst);
                permits.release();
            };
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    let (permits, held) = (permits.clone(), held.clone());
                    thread::spawn(move || work(permits, held))
                })
                .collect();
            work(permits, held);
            for worker in workers {
                worker.join().unwrap();
            }
        });
    }
}
