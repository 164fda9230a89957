//! The lag of a running route as others see it: the last look of its pump, and a way to ask for another.
//!
//! Who asks leaves a number and wakes the route; the answer is the number of the last question that a look began after.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::lag::Lag;

/// A look is given up before; a route that does not answer by then has not joined its group, or its task is blocked.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const OPERATION: &str = "tell lag";

/// What the pump has seen last.
#[derive(Debug, Default)]
pub(crate) struct LagGauge {
    last: Mutex<Last>,
    asked: AtomicU64,
    answered: AtomicU64,
    answer: Notify,
}

#[derive(Debug, Default)]
struct Last {
    lag: Lag,
    /// Why the last look failed; then `lag` is of an earlier one.
    failure: Option<String>,
}

impl LagGauge {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it was seen last.
    pub(super) fn get(&self) -> Lag {
        self.last().lag.clone()
    }

    /// As it is now, once the route that `wake` wakes has looked.
    pub(super) async fn ask(&self, wake: impl Fn()) -> Result<Lag> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let answered = async {
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
        };
        let problem = |kind, message| Error::new(kind, OPERATION, message);
        if tokio::time::timeout(ANSWER_WITHIN, answered).await.is_err() {
            let error = problem(ErrorKind::Timeout, "the route does not answer");
            return Err(error.remedy("Wait until it has joined its group; from outside of it dotmsg::lag::of tells what was committed"));
        }
        if self.answered.load(Ordering::SeqCst) == u64::MAX {
            let error = problem(ErrorKind::Closed, "the route has ended");
            return Err(error.remedy("Use dotmsg::lag::of"));
        }
        let last = self.last();
        match &last.failure {
            None => Ok(last.lag.clone()),
            Some(failure) => {
                let message = "the broker does not tell how far its partitions go";
                Err(problem(ErrorKind::Unreachable, message).with("failure", failure))
            }
        }
    }

    /// The last question, if it has no answer yet.
    #[inline]
    pub(super) fn question(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Relaxed);
        (self.answered.load(Ordering::Relaxed) < asked).then_some(asked)
    }

    /// Stores what a look has found and answers every question up to `asked`.
    pub(super) fn answer(&self, looked: Result<Lag, String>, asked: Option<u64>) {
        let mut last = self.last();
        match looked {
            Ok(lag) => {
                *last = Last { lag, failure: None };
            }
            Err(failure) => last.failure = Some(failure),
        }
        drop(last);
        if let Some(asked) = asked {
            self.answered.fetch_max(asked, Ordering::SeqCst);
            self.answer.notify_waiters();
        }
    }

    /// The route owns nothing any more, and will not look again.
    pub(super) fn end(&self) {
        self.last().lag.partitions.clear();
        self.answered.store(u64::MAX, Ordering::SeqCst);
        self.answer.notify_waiters();
    }
}
