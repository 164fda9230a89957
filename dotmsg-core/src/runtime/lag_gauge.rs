//! The lag of a running route as others see it: the last look of its pump, and a way to ask for another.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::question::Question;
use crate::error::{Error, ErrorKind, Result};
use crate::lag::Lag;

/// A look is given up before; a route that does not answer by then has not joined its group, or its task is blocked.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const OPERATION: &str = "tell lag";

/// What the pump has seen last.
#[derive(Debug, Default)]
pub(crate) struct LagGauge {
    last: Mutex<Last>,
    question: Question,
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
        let answered = self.question.ask(wake);
        let problem = |kind, message| Error::new(kind, OPERATION, message);
        if tokio::time::timeout(ANSWER_WITHIN, answered).await.is_err() {
            let error = problem(ErrorKind::Timeout, "the route does not answer");
            return Err(error.remedy("Wait until it has joined its group; from outside of it dotmsg::lag::of tells what was committed"));
        }
        if self.question.is_over() {
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
        self.question.open()
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
            self.question.answer(asked);
        }
    }

    /// The route owns nothing any more, and will not look again.
    pub(super) fn end(&self) {
        self.last().lag.partitions.clear();
        self.question.answer_for_ever();
    }
}
