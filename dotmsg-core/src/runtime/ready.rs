//! Which slots were woken: a two-level bitmap, one waker per slot, one parent task.
//!
//! A wake sets a bit and wakes the task that polls the slots; nothing is allocated and nothing is queued. Two orders make
//! it right: the parent registers *before* it takes bits (else a wake between the two is lost), and the taker clears the
//! summary bit *before* it swaps the word (else a bit set in between has no summary bit to be found by). Both are
//! checked by loom (`tests` below, `RUSTFLAGS="--cfg dotmsg_loom"`).
//!
//! Only the first mark in an empty word goes on to the summary and the parent: whoever made the word non-empty is about to
//! do both, or has done so, and the taker empties the word last.

#[cfg(dotmsg_loom)]
use loom::{
    future::AtomicWaker,
    sync::atomic::{AtomicU64, Ordering},
};
#[cfg(not(dotmsg_loom))]
use {
    atomic_waker::AtomicWaker,
    std::sync::atomic::{AtomicU64, Ordering},
};

use std::sync::Arc;
use std::task::{Wake, Waker};

const BITS: usize = u64::BITS as usize;

/// The set of woken slots of one worker.
#[derive(Debug)]
pub(crate) struct ReadySet {
    words: Box<[AtomicU64]>,
    summary: Box<[AtomicU64]>,
    parent: AtomicWaker,
}

impl ReadySet {
    /// A set for slots `0..slots`.
    pub(crate) fn new(slots: usize) -> Self {
        let words = slots.div_ceil(BITS).max(1);
        let zeroes = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            words: zeroes(words),
            summary: zeroes(words.div_ceil(BITS)),
            parent: AtomicWaker::new(),
        }
    }

    /// The task to wake. Call before [`ReadySet::take`].
    #[cfg(not(dotmsg_loom))]
    pub(crate) fn register(&self, parent: &Waker) {
        self.parent.register(parent);
    }

    #[cfg(dotmsg_loom)]
    pub(crate) fn register(&self, parent: &Waker) {
        self.parent.register_by_ref(parent);
    }

    /// Marks a slot as woken and wakes the parent.
    pub(crate) fn mark(&self, slot: usize) {
        let word = slot / BITS;
        let bit = 1 << (slot % BITS);
        if self.words[word].fetch_or(bit, Ordering::AcqRel) == 0 {
            self.summary[word / BITS].fetch_or(1 << (word % BITS), Ordering::AcqRel);
            self.parent.wake();
        }
    }

    /// Takes every woken slot, ascending.
    pub(crate) fn take(&self, mut woken: impl FnMut(usize)) {
        for (block, summary) in self.summary.iter().enumerate() {
            if summary.load(Ordering::Acquire) == 0 {
                continue;
            }
            for word in ones(summary.swap(0, Ordering::AcqRel)) {
                let word = block * BITS + word;
                for bit in ones(self.words[word].swap(0, Ordering::AcqRel)) {
                    woken(word * BITS + bit);
                }
            }
        }
    }

    /// The waker of one slot.
    pub(crate) fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker {
            set: Arc::clone(self),
            slot,
        }))
    }
}

/// The positions of the one bits, ascending.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(bit)
    })
}

struct SlotWaker {
    set: Arc<ReadySet>,
    slot: usize,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.set.mark(self.slot);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.mark(self.slot);
    }
}

#[cfg(all(test, not(dotmsg_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_woken_slot_is_taken_once_and_in_order() {
        let set = Arc::new(ReadySet::new(5_000));
        for slot in [4_999, 0, 64, 63, 4_096, 64] {
            set.waker(slot).wake();
        }
        let mut taken = Vec::new();
        set.take(|slot| taken.push(slot));
        assert_eq!(taken, [0, 63, 64, 4_096, 4_999]);
        set.take(|slot| panic!("{slot} taken twice"));
    }
}

#[cfg(all(test, dotmsg_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    /// A parent that was woken after it registered must find the bit; a bit that it does not find must wake it.
    #[test]
    fn no_wake_is_lost_in_two_words() {
        no_wake_is_lost([0, 64]);
    }

    #[test]
    fn no_wake_is_lost_in_one_word() {
        no_wake_is_lost([0, 1]);
    }

    fn no_wake_is_lost(slots: [usize; 2]) {
        let mut model = loom::model::Builder::new();
        // Bugs of this kind need one or two preemptions; without a bound the wakers' own state explodes.
        model.preemption_bound = Some(2);
        model.check(move || {
            let set = loom::sync::Arc::new(ReadySet::new(65));
            let done = loom::sync::Arc::new(AtomicBool::new(false));
            let wakers: Vec<_> = slots
                .into_iter()
                .map(|slot| {
                    let set = set.clone();
                    thread::spawn(move || set.mark(slot))
                })
                .collect();
            let mut found = 0;
            loom::future::block_on(std::future::poll_fn(|cx| {
                set.register(cx.waker());
                set.take(|_| found += 1);
                if found == 2 {
                    done.store(true, Ordering::SeqCst);
                    return std::task::Poll::Ready(());
                }
                std::task::Poll::Pending
            }));
            for waker in wakers {
                waker.join().unwrap();
            }
            assert!(done.load(Ordering::SeqCst));
        });
    }
}
