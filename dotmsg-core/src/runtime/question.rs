//! A question that others ask a route, any number of times: who asks leaves a number, and waits until that number is answered.
//!
//! The route looks for open questions when it is polled anyway, and answers all of them at once. What must stay true: whoever
//! asks before an answer's work began is answered by it, and nobody waits for a route that has ended.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// What a route is asked, and how far it has answered.
#[derive(Debug, Default)]
pub(super) struct Question {
    asked: AtomicU64,
    answered: AtomicU64,
    answer: Notify,
}

impl Question {
    /// Asks, and waits for the answer; `wake` wakes the route.
    pub(super) async fn ask(&self, wake: impl Fn()) {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        loop {
            let answer = self.answer.notified();
            tokio::pin!(answer);
            answer.as_mut().enable();
            if self.answered.load(Ordering::SeqCst) >= asked {
                return;
            }
            wake();
            answer.await;
        }
    }

    /// The last one that was asked, if it has no answer yet.
    #[inline]
    pub(super) fn open(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::SeqCst);
        (self.answered.load(Ordering::Relaxed) < asked).then_some(asked)
    }

    /// Answers everybody who asked up to this one.
    pub(super) fn answer(&self, up_to: u64) {
        self.answered.fetch_max(up_to, Ordering::SeqCst);
        self.answer.notify_waiters();
    }

    /// The route ended: everybody who asks is answered.
    pub(super) fn answer_for_ever(&self) {
        self.answer(u64::MAX);
    }

    /// Whether the route ended.
    pub(super) fn is_over(&self) -> bool {
        self.answered.load(Ordering::SeqCst) == u64::MAX
    }
}
