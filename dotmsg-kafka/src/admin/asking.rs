//! A client that is replaced when it gives no answer.
//!
//! Three faults of librdkafka 2.12.1 make that necessary. An administrator's client asks the controller, and hears of a new one only
//! every few minutes: while the one that it knows is gone, it asks nobody. It goes on asking a coordinator that has said that it is
//! none. And a request that times out while the coordinator of its
//! group is not reached is destroyed twice once it is reached, which ends the process (its issue 4605): requests to coordinators
//! give librdkafka far more time than is waited here, and their client does not live so long. A new client asks the brokers of the
//! URL who leads and who coordinates.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::error::Result;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};

use crate::lock;
use crate::patience::{of, patiently};

/// Makes one more client.
type Make<T> = Box<dyn Fn() -> KafkaResult<T> + Send + Sync>;

/// A client, made when it is needed.
pub(super) struct Asking<T> {
    client: Mutex<Option<Arc<T>>>,
    make: Make<T>,
}

impl<T> Asking<T> {
    pub(super) fn new(make: impl Fn() -> KafkaResult<T> + Send + Sync + 'static) -> Self {
        Self {
            client: Mutex::default(),
            make: Box::new(make),
        }
    }

    /// The client.
    ///
    /// # Errors
    /// None could be made.
    pub(super) fn client(&self) -> KafkaResult<Arc<T>> {
        let mut client = lock(&self.client);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        Ok(Arc::clone(client.insert(Arc::new((self.make)()?))))
    }

    /// Asks until there is an answer, each time for at most what the question is told. Blocks its thread.
    ///
    /// # Errors
    /// What befell the last question.
    pub(super) fn ask<A>(
        &self,
        operation: &'static str,
        question: impl Fn(&T, Duration) -> Result<A, Code>,
    ) -> Result<A> {
        patiently(operation, |within| self.ask_once(within, &question))
    }

    /// Asks once, for at most `within`. Blocks its thread.
    ///
    /// # Errors
    /// What befell the question.
    pub(super) fn ask_once<A>(
        &self,
        within: Duration,
        question: impl Fn(&T, Duration) -> Result<A, Code>,
    ) -> Result<A, Code> {
        let client = self.client().map_err(of)?;
        let answer = question(&client, within);
        if matches!(answer, Err(Code::OperationTimedOut | Code::NotCoordinator)) {
            self.let_go(&client);
        }
        answer
    }

    /// The next one who asks gets another client. This one is destroyed when nobody asks with it any more.
    fn let_go(&self, gone: &Arc<T>) {
        lock(&self.client).take_if(|client| Arc::ptr_eq(client, gone));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_client_that_gives_no_answer_is_replaced() {
        let made = AtomicUsize::new(0);
        let asking = Asking::new(move || Ok(made.fetch_add(1, Ordering::Relaxed)));
        let second_answers = |client: &usize, _: Duration| match client {
            0 => Err(Code::OperationTimedOut),
            other => Ok(*other),
        };
        assert_eq!(asking.ask("ask", second_answers).unwrap(), 1);
        assert_eq!(asking.ask("ask", second_answers).unwrap(), 1);
    }
}
